//! Batches of one request: everything that one level of a query wants of a service is one call with `?ids=`.
//! What may be seen of what was loaded is decided where it is resolved.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::dataloader::{DataLoader, HashMapCache, Loader};
use gateway_core::RequestContext;
use gateway_core::error::UpstreamError;
use tokio::task::JoinSet;

use super::Failure;
use crate::clients::Clients;
use crate::clients::accounting::{AccountingClient, Bill};
use crate::clients::consumer::{Consumer, ConsumerClient};
use crate::clients::delivery::{Delivery, DeliveryClient};
use crate::clients::kitchen::{KitchenClient, Ticket};
use crate::clients::order::{Order, OrderClient};
use crate::clients::restaurant::{Restaurant, RestaurantClient};

/// What services answer in one call at most.
const MAX_BATCH: usize = 100;

pub(super) struct Loaders {
    pub(super) orders: Batches<OrderClient>,
    pub(super) tickets: Batches<KitchenClient>,
    pub(super) deliveries: Batches<DeliveryClient>,
    pub(super) restaurants: Batches<RestaurantClient>,
    pub(super) consumers: Batches<ConsumerClient>,
    pub(super) bills: Batches<AccountingClient>,
}

impl Loaders {
    pub(super) fn new(context: &RequestContext, clients: &Clients) -> Self {
        Self {
            orders: Batches::new(context, &clients.orders),
            tickets: Batches::new(context, &clients.kitchen),
            deliveries: Batches::new(context, &clients.deliveries),
            restaurants: Batches::new(context, &clients.restaurants),
            consumers: Batches::new(context, &clients.consumers),
            bills: Batches::new(context, &clients.accounting),
        }
    }
}

/// A service that answers for many ids at once.
pub(super) trait ByIds: Clone + Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    /// How the call is called in timings.
    const PART: &'static str;

    fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> impl Future<Output = Result<Vec<Self::Item>, UpstreamError>> + Send;

    fn id(item: &Self::Item) -> &str;
}

/// The batches that go to one service.
pub(super) struct Batches<C: ByIds>(DataLoader<Batch<C>, HashMapCache>);

struct Batch<C> {
    context: RequestContext,
    client: C,
}

impl<C: ByIds> Batches<C> {
    fn new(context: &RequestContext, client: &C) -> Self {
        // Whatever is late is given up in time for the rest of the answer.
        let batch = Batch {
            context: context.for_optional(C::PART),
            client: client.clone(),
        };
        // Batches are tasks of their own, and end with the request: nobody waits for them any more.
        let tasks = Mutex::new(JoinSet::new());
        let spawn = move |batch| {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(batch);
        };
        let loader = DataLoader::with_cache(batch, spawn, HashMapCache::default());
        Self(loader.max_batch_size(MAX_BATCH))
    }

    /// The thing with this id, or `None`. Waits for others of the same level, and is loaded with them.
    pub(super) async fn load(&self, id: &str) -> Result<Option<Arc<C::Item>>, Failure> {
        self.0.load_one(id.to_owned()).await
    }

    /// Something was changed: what was loaded before is not what there is.
    pub(super) fn forget(&self) {
        self.0.clear::<String>();
    }
}

impl<C: ByIds> Loader<String> for Batch<C> {
    type Value = Arc<C::Item>;
    type Error = Failure;

    async fn load(&self, ids: &[String]) -> Result<HashMap<String, Self::Value>, Failure> {
        // They come in any order. Who asks for the same at this time, or did so before, asks with the same words.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let items = self.client.fetch(self.context.clone(), &ids).await?;
        Ok(items
            .into_iter()
            .map(|item| (C::id(&item).to_owned(), Arc::new(item)))
            .collect())
    }
}

impl ByIds for OrderClient {
    type Item = Order;
    const PART: &'static str = "order";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Order>, UpstreamError> {
        self.orders(context, ids).await
    }

    fn id(order: &Order) -> &str {
        &order.id
    }
}

impl ByIds for KitchenClient {
    type Item = Ticket;
    const PART: &'static str = "ticket";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Ticket>, UpstreamError> {
        self.tickets(context, ids).await
    }

    fn id(ticket: &Ticket) -> &str {
        &ticket.id
    }
}

impl ByIds for DeliveryClient {
    type Item = Delivery;
    const PART: &'static str = "delivery";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Delivery>, UpstreamError> {
        self.deliveries(context, ids).await
    }

    fn id(delivery: &Delivery) -> &str {
        &delivery.id
    }
}

impl ByIds for RestaurantClient {
    type Item = Restaurant;
    const PART: &'static str = "restaurant";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Restaurant>, UpstreamError> {
        self.restaurants(context, ids).await
    }

    fn id(restaurant: &Restaurant) -> &str {
        &restaurant.id
    }
}

impl ByIds for ConsumerClient {
    type Item = Consumer;
    const PART: &'static str = "consumer";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Consumer>, UpstreamError> {
        self.consumers(context, ids).await
    }

    fn id(consumer: &Consumer) -> &str {
        &consumer.id
    }
}

impl ByIds for AccountingClient {
    type Item = Bill;
    const PART: &'static str = "bill";

    async fn fetch(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Bill>, UpstreamError> {
        self.bills(context, ids).await
    }

    fn id(bill: &Bill) -> &str {
        &bill.order_id
    }
}
