//! One order as it goes: its present state as JSON, or every change of it, of its ticket, its delivery and its courier's
//! location as a stream. How a stream is kept is `gateway_core::streams`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use chrono::{SecondsFormat, Utc};
use gateway_core::RequestContext;
use gateway_core::compose::{Composition, Required, Section};
use gateway_core::error::{Error, GatewayError};
use gateway_core::events::ChangeEvent;
use gateway_core::extract::PathParam;
use gateway_core::streams::{Asked, Beginning, Begun, Messages, Source, Start, StateOrStream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::contradictions::{Contradiction, States};
use super::order_details::{DeliveryView, OrderView, TicketView, ask_again};
use crate::clients::Clients;
use crate::clients::delivery::Delivery;
use crate::clients::kitchen::Ticket;
use crate::clients::order::LineItem;
use crate::error::of_lookup;
use crate::tags;
use crate::values::{Location, Money, Timestamp};

/// The longest that what was missed waits for the courier's place.
const LOCATING: Duration = Duration::from_millis(500);

/// What has to be read to say how an order is doing.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OrderNow {
    order: Required<OrderView>,
    ticket: Section<TicketView>,
    delivery: Section<DeliveryView>,
    /// `true` when sections contradict each other, else absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inconsistent: bool,
    /// Which ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inconsistencies: Vec<Contradiction>,
}

/// A change, as a stream tells it: what it is named for is in it, as it is afterwards.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    order_id: &'a str,
    time: Timestamp,
    #[serde(flatten)]
    change: Change,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Change {
    Order(ChangedOrder),
    Ticket(TicketView),
    Delivery(Box<DeliveryView>),
    Location(Location),
}

/// An order in its events; what never changes is left out.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "camelCase"))]
struct ChangedOrder {
    state: String,
    line_items: Vec<LineItem>,
    total: Money,
    delivery_time: Option<Timestamp>,
    #[serde(rename(deserialize = "reason"), default)]
    rejection_reason: Option<String>,
    updated_at: Timestamp,
}

/// The parts of an envelope that are shown.
#[derive(Deserialize)]
struct Envelope<T> {
    time: Timestamp,
    data: T,
}

#[derive(Deserialize)]
struct Located {
    location: Location,
}

/// Somebody else's order is 404, whatever was asked.
pub(crate) async fn follow(
    page: Composition<OrderNow>,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    asked: Asked,
) -> Result<StateOrStream<OrderNow>, Error> {
    let start = match asked {
        Asked::State => {
            let now = now(&page, &clients, &id).await?;
            let after = ask_again(&now.order, &now.ticket, &now.delivery);
            return Ok(StateOrStream::State(page.answer(now).ask_again(after)));
        }
        Asked::Stream(start) => start,
    };
    let context = page.context().clone();
    clients
        .orders
        .own(context.for_required("order"), &id)
        .await?;
    let events = clients.events.clone();
    let tags = tags::followed(&id);
    let source = OrderStream { page, clients, id };
    let stream = events.stream(&context, tags, start, source).await?;
    Ok(StateOrStream::Stream(stream))
}

async fn now(page: &Composition<OrderNow>, clients: &Clients, id: &str) -> Result<OrderNow, Error> {
    let (order, ticket, delivery) = page
        .all((
            page.required("order", |call| clients.orders.own(call, id)),
            page.optional("ticket", |call| clients.kitchen.ticket(call, id)),
            page.optional("delivery", |call| clients.deliveries.delivery(call, id)),
        ))
        .await?;
    let states = States {
        order: &order.state,
        ticket: ticket.data().map(|ticket| ticket.state.as_str()),
        delivery: delivery.data().map(|delivery| delivery.state.as_str()),
        bill: None,
    };
    let inconsistencies = states.contradictions();
    Ok(OrderNow {
        inconsistent: !inconsistencies.is_empty(),
        inconsistencies,
        order: order.map(OrderView::from),
        ticket: ticket.map(TicketView::from),
        delivery: delivery.map(DeliveryView::from),
    })
}

/// One client that follows one order.
struct OrderStream {
    /// What the client picked.
    page: Composition<OrderNow>,
    clients: Clients,
    id: String,
}

impl Source for OrderStream {
    fn tell(&self, event: &ChangeEvent, messages: &mut Messages) {
        // What does not fit was told in another language: the order's state is there to be read.
        if let Err(error) = self.told(event, messages) {
            tracing::warn!(kind = event.kind, %error, "an event of an order is not understood, and not told");
        }
    }

    async fn begin(self: Arc<Self>, beginning: Beginning) -> Result<Begun, Error> {
        let Beginning {
            context,
            start,
            heard,
        } = beginning;
        let mut messages = Messages::default();
        if let Start::After(position) = start
            && let Some(mut begun) = self.since(&context, position).await?
        {
            self.locate(context, &mut begun.messages).await?;
            return Ok(begun);
        }
        let position = match heard {
            Some(position) => position,
            None => {
                let end = self
                    .clients
                    .history
                    .end_of_events(context.for_required("events"), &self.id);
                let position = end.await.map_err(of_lookup)?;
                // What this process has not heard of yet may be stored as it was before.
                for tag in tags::followed(&self.id) {
                    self.clients.events.expire(&tag);
                }
                position
            }
        };
        if start != Start::Now {
            let gap = serde_json::json!({});
            add(&mut messages, "reset", None, &gap)?;
        }
        let page = self.page.again(context);
        let now = now(&page, &self.clients, &self.id).await?;
        add(&mut messages, "state", Some(position), &page.shown(&now))?;
        Ok(Begun { messages, position })
    }
}

impl OrderStream {
    /// What the client is told of an event; nothing of a section that it did not pick. Where the courier is, is a part of the
    /// delivery.
    fn change(
        &self,
        event: &ChangeEvent,
    ) -> Result<Option<(Timestamp, Change)>, serde_json::Error> {
        let is_of = |section, prefix| self.page.picks(section) && event.kind.starts_with(prefix);
        Ok(if event.kind == tags::COURIER_LOCATION_CHANGED {
            let Envelope { time, data } = read::<Located>(event)?;
            let picked = self.page.picks("delivery");
            picked.then_some((time, Change::Location(data.location)))
        } else if is_of("order", "Order") {
            let Envelope { time, data } = read(event)?;
            Some((time, Change::Order(data)))
        } else if is_of("ticket", "Ticket") {
            let Envelope { time, data } = read::<Ticket>(event)?;
            Some((time, Change::Ticket(data.into())))
        } else if is_of("delivery", "Delivery") {
            let Envelope { time, data } = read::<Delivery>(event)?;
            Some((time, Change::Delivery(Box::new(data.into()))))
        } else {
            None
        })
    }

    fn told(&self, event: &ChangeEvent, messages: &mut Messages) -> Result<(), serde_json::Error> {
        let Some((time, change)) = self.change(event)? else {
            return Ok(());
        };
        let told = Told {
            kind: &event.kind,
            order_id: &self.id,
            time,
            change,
        };
        messages.add(&event.kind, event.position, &told)
    }

    /// Where the courier is who carries the food: of moves that were missed none is told. Who cannot be found at once is heard
    /// of at the next move.
    async fn locate(&self, context: RequestContext, messages: &mut Messages) -> Result<(), Error> {
        let page = self.page.again(context);
        let delivery = page.optional("delivery", |call| {
            self.clients.deliveries.delivery(call, &self.id)
        });
        let Ok(delivery) = timeout(LOCATING, delivery).await else {
            return Ok(());
        };
        let Some(location) = location_now(&delivery) else {
            return Ok(());
        };
        let told = Told {
            kind: tags::COURIER_LOCATION_CHANGED,
            order_id: &self.id,
            time: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            change: Change::Location(location),
        };
        add(messages, told.kind, None, &told)
    }

    /// What came after `position`; `None` when that cannot be told any more.
    async fn since(
        &self,
        context: &RequestContext,
        mut position: u64,
    ) -> Result<Option<Begun>, Error> {
        let mut messages = Messages::default();
        loop {
            let call = context.for_required("events");
            let passage = self.clients.history.events(call, &self.id, position);
            let passage = passage.await.map_err(of_lookup)?;
            if passage.reset {
                return Ok(None);
            }
            for event in passage.events() {
                self.tell(&event, &mut messages);
            }
            let is_further = passage.position > position;
            position = passage.position;
            if !(passage.more && is_further) {
                return Ok(Some(Begun { messages, position }));
            }
        }
    }
}

/// Where the courier is who carries the food, as the service says it now.
fn location_now(delivery: &Section<Delivery>) -> Option<Location> {
    let Section::Ok(delivery) = delivery else {
        return None;
    };
    let carries = matches!(delivery.state.as_str(), "SCHEDULED" | "PICKED_UP");
    let courier = delivery.courier.as_ref().filter(|_| carries)?;
    courier.location
}

fn read<T: for<'de> Deserialize<'de>>(
    event: &ChangeEvent,
) -> Result<Envelope<T>, serde_json::Error> {
    serde_json::from_slice(&event.envelope)
}

fn add(
    messages: &mut Messages,
    name: &str,
    position: Option<u64>,
    data: &impl Serialize,
) -> Result<(), Error> {
    messages
        .add(name, position, data)
        .map_err(|error| GatewayError::Bug(format!("{name}: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::delivery::Courier;

    #[test]
    fn where_a_courier_was_is_not_where_they_are() {
        let location = Location {
            lat: 37.8,
            lng: -122.2,
        };
        let delivery = |state: &str| Delivery {
            id: "order-1".to_owned(),
            state: state.to_owned(),
            version: 1,
            updated_at: "2030-01-01T18:00:00Z".to_owned(),
            courier: Some(Courier {
                id: "courier-1".to_owned(),
                name: "Courier One".to_owned(),
                location: Some(location),
            }),
            scheduled_pickup_time: None,
            scheduled_delivery_time: None,
            picked_up_at: None,
            delivered_at: None,
        };
        let stale = Section::Stale {
            data: delivery("PICKED_UP"),
            age: Some(3),
            reason: Some("timeout"),
        };
        for (section, is_known) in [
            (Section::Ok(delivery("PICKED_UP")), true),
            (Section::Ok(delivery("DELIVERED")), false),
            (stale, false),
            (Section::unavailable("timeout"), false),
        ] {
            assert_eq!(location_now(&section).is_some(), is_known, "{section:?}");
        }
    }
}
