//! Everything that can be followed. Events say that something has changed; what it is like now is read from the services,
//! with the caller's permissions, each time.

use async_graphql::{Context, ID, SimpleObject, Subscription};
use futures_util::FutureExt;
use futures_util::stream::{Stream, StreamExt, once, unfold};
use gateway_core::RequestContext;
use gateway_core::error::{Error, GatewayError};
use gateway_core::events::{Events, Notice};
use gateway_core::streams::Pauses;

use super::loaders::Loaders;
use super::order::Order;
use super::query::own_order;
use super::ticket::Ticket;
use super::{Failure, Nullable, clients, from_data, request};
use crate::caller::{self, ORDERS_READ, TICKETS_READ};
use crate::clients::Clients;
use crate::tags;

pub(super) struct Subscription;

/// What has happened to the tickets of a restaurant.
#[derive(SimpleObject)]
struct TicketsChange {
    /// The ticket as it is now; `null` = any of them may have changed, so that the list has to be read anew.
    ticket: Option<Ticket>,
}

#[Subscription]
impl Subscription {
    /// One of the caller's orders: as it is now, and again whenever it, its ticket or its delivery changes.
    async fn order_changed(
        &self,
        context: &Context<'_>,
        id: ID,
    ) -> Result<impl Stream<Item = Nullable<Order>> + use<>, Failure> {
        let request = request(context)?;
        caller::consumer(request, ORDERS_READ)?;
        // Before it is read, so that no change falls in between.
        let changes = follow(context, &tags::order(&id))?;
        let Some(order) = own_order(context, &id).await? else {
            return Err(Error::not_found().into());
        };
        let reader = Reader::new(request, clients(context)?);
        let later = unfold((changes, reader, id), async |(mut changes, reader, id)| {
            changes.next().await;
            let mut pauses = Pauses::default();
            let order = loop {
                // One look is enough for all that has happened until now.
                while changes.next().now_or_never().is_some() {}
                match reader.order(&id).await {
                    // There may be no other event that would tell of this change.
                    Err(failure) if failure.may_pass => pauses.wait().await,
                    read => break read.transpose(),
                }
            };
            Some((order, (changes, reader, id)))
        });
        Ok(once(async { Some(Ok(order)) }).chain(later))
    }

    /// The tickets of a restaurant that the caller works for, each time one of them changes. The first change says that
    /// changes are heard of from now on: now is the time to read the list.
    async fn tickets_changed(
        &self,
        context: &Context<'_>,
        restaurant_id: ID,
    ) -> Result<impl Stream<Item = Nullable<TicketsChange>> + use<>, Failure> {
        let request = request(context)?;
        if !caller::staff(request, TICKETS_READ)?.works_for(&restaurant_id) {
            return Err(Error::not_found().into());
        }
        let changes = follow(context, &tags::tickets(&restaurant_id))?;
        let reader = Reader::new(request, clients(context)?);
        let later = unfold((changes, reader), async |(mut changes, reader)| {
            let change = match changes.next().await {
                Notice::Changed(event) => match reader.ticket(event.subject.as_deref()).await {
                    // What has changed cannot be shown now, and must not be lost.
                    Err(failure) if failure.may_pass => Ok(TicketsChange { ticket: None }),
                    read => read,
                },
                Notice::Missed => Ok(TicketsChange { ticket: None }),
            };
            Some((Some(change), (changes, reader)))
        });
        let first = async { Some(Ok(TicketsChange { ticket: None })) };
        Ok(once(first).chain(later))
    }
}

fn follow(context: &Context<'_>, tag: &str) -> Result<gateway_core::events::Subscription, Failure> {
    let events: &Events = from_data(context)?;
    events
        .subscribe([tag])
        .map_err(|_full| GatewayError::Overloaded.into())
}

/// Reads for a subscriber, long after its request was answered.
struct Reader {
    subscribed: RequestContext,
    clients: Clients,
}

impl Reader {
    fn new(subscribed: &RequestContext, clients: &Clients) -> Self {
        Self {
            subscribed: subscribed.clone(),
            clients: clients.clone(),
        }
    }

    /// With a deadline of its own, and nothing that was read before.
    fn loaders(&self) -> Loaders {
        Loaders::new(&self.subscribed.renewed(), &self.clients)
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, Failure> {
        let order = self.loaders().orders.load(id).await?;
        let consumer = self.subscribed.principal().subject();
        Ok(order
            .filter(|order| consumer == Some(&order.consumer_id))
            .map(Order::Whole))
    }

    async fn ticket(&self, id: Option<&str>) -> Result<TicketsChange, Failure> {
        let ticket = match id {
            Some(id) => self.loaders().tickets.load(id).await?,
            None => None,
        };
        Ok(TicketsChange {
            ticket: ticket.map(Ticket),
        })
    }
}
