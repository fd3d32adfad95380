//! An order: as the order service knows it, or as order-history lists it. What a list does not have is loaded for the
//! whole list at once, and only when it is selected. That an order is the caller's has been checked before.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject};

use super::bill::Bill;
use super::consumer::Consumer;
use super::delivery::Delivery;
use super::restaurant::Restaurant;
use super::ticket::Ticket;
use super::values::{self, Address, DateTime, Money};
use super::{Failure, Nullable, loaders, request};
use crate::clients::order::{self, Order as WholeOrder};
use crate::clients::order_history::{PastLineItem, PastOrder};

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderState {
    ApprovalPending,
    Approved,
    Rejected,
    CancelPending,
    Cancelled,
    RevisionPending,
    /// A state that this schema does not know yet.
    Unknown,
}

impl OrderState {
    /// The state that a service means by `word`.
    pub(super) fn of(word: &str) -> Self {
        values::of_word(word, Self::Unknown)
    }

    /// The service's word for this state.
    pub(super) fn word(self) -> &'static str {
        values::word(self)
    }
}

pub(super) enum Order {
    Whole(Arc<WholeOrder>),
    Listed(Arc<PastOrder>),
}

impl Order {
    fn order_id(&self) -> &str {
        match self {
            Self::Whole(order) => &order.id,
            Self::Listed(order) => &order.id,
        }
    }

    fn restaurant_id(&self) -> &str {
        match self {
            Self::Whole(order) => &order.restaurant_id,
            Self::Listed(order) => &order.restaurant_id,
        }
    }

    /// Who placed it: lists are the caller's own.
    fn consumer_id<'a>(&'a self, context: &Context<'a>) -> Result<&'a str, Failure> {
        match self {
            Self::Whole(order) => Ok(&order.consumer_id),
            Self::Listed(_) => Ok(request(context)?.principal().subject().unwrap_or_default()),
        }
    }

    /// All of the order; `None` when the order service does not know what order-history lists.
    async fn whole(&self, context: &Context<'_>) -> Result<Option<Arc<WholeOrder>>, Failure> {
        match self {
            Self::Whole(order) => Ok(Some(Arc::clone(order))),
            Self::Listed(order) => loaders(context)?.orders.load(&order.id).await,
        }
    }

    /// A field of the whole order.
    async fn of_whole<T>(
        &self,
        context: &Context<'_>,
        field: impl FnOnce(&WholeOrder) -> Option<T>,
    ) -> Nullable<T> {
        self.whole(context)
            .await
            .map(|order| order.and_then(|order| field(&order)))
            .transpose()
    }
}

/// An order of the caller.
#[Object]
impl Order {
    async fn id(&self) -> ID {
        ID::from(self.order_id())
    }

    async fn state(&self) -> OrderState {
        match self {
            Self::Whole(order) => OrderState::of(&order.state),
            Self::Listed(order) => OrderState::of(&order.state),
        }
    }

    /// Why the order was rejected.
    async fn rejection_reason(&self, context: &Context<'_>) -> Nullable<String> {
        self.of_whole(context, |order| order.rejection_reason.clone())
            .await
    }

    async fn total(&self) -> Money {
        match self {
            Self::Whole(order) => order.total.clone().into(),
            Self::Listed(order) => order.total.clone().into(),
        }
    }

    async fn line_items(&self) -> Vec<LineItem> {
        match self {
            Self::Whole(order) => order.line_items.iter().map(LineItem::from).collect(),
            Self::Listed(order) => order
                .line_items
                .iter()
                .map(|item| LineItem::listed(order, item))
                .collect(),
        }
    }

    async fn delivery_address(&self, context: &Context<'_>) -> Nullable<Address> {
        self.of_whole(context, |order| Some(order.delivery_address.clone().into()))
            .await
    }

    /// When the food is wanted; as soon as possible when absent.
    async fn delivery_time(&self, context: &Context<'_>) -> Nullable<DateTime> {
        self.of_whole(context, |order| order.delivery_time.clone().map(DateTime))
            .await
    }

    async fn created_at(&self) -> DateTime {
        DateTime(match self {
            Self::Whole(order) => order.created_at.clone(),
            Self::Listed(order) => order.created_at.clone(),
        })
    }

    async fn updated_at(&self) -> DateTime {
        DateTime(match self {
            Self::Whole(order) => order.updated_at.clone(),
            Self::Listed(order) => order.updated_at.clone(),
        })
    }

    /// The restaurant's name when the order was placed.
    async fn restaurant_name(&self) -> &str {
        match self {
            Self::Whole(order) => &order.restaurant_name,
            Self::Listed(order) => &order.restaurant_name,
        }
    }

    async fn restaurant(&self, context: &Context<'_>) -> Nullable<Restaurant> {
        let restaurant = async {
            loaders(context)?
                .restaurants
                .load(self.restaurant_id())
                .await
        };
        restaurant
            .await
            .map(|found| found.map(Restaurant))
            .transpose()
    }

    /// Who ordered.
    async fn consumer(&self, context: &Context<'_>) -> Nullable<Consumer> {
        Consumer::load(context, self.consumer_id(context)).await
    }

    /// What the order was charged; absent until the card is authorized.
    async fn bill(&self, context: &Context<'_>) -> Nullable<Bill> {
        let bill = async { loaders(context)?.bills.load(self.order_id()).await };
        bill.await.map(|found| found.map(Bill)).transpose()
    }

    /// The kitchen's side of the order; absent until the order is accepted for preparation.
    async fn ticket(&self, context: &Context<'_>) -> Nullable<Ticket> {
        let ticket = async { loaders(context)?.tickets.load(self.order_id()).await };
        ticket.await.map(|found| found.map(Ticket)).transpose()
    }

    /// The courier's side of the order; absent until the order is approved.
    async fn delivery(&self, context: &Context<'_>) -> Nullable<Delivery> {
        let delivery = async { loaders(context)?.deliveries.load(self.order_id()).await };
        delivery.await.map(|found| found.map(Delivery)).transpose()
    }
}

/// So many of a menu item, as it was when the order was placed.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct LineItem {
    menu_item_id: ID,
    name: String,
    quantity: u32,
    #[graphql(skip)]
    price: Price,
}

enum Price {
    Known(Money),
    OfOrder(Arc<PastOrder>),
}

#[ComplexObject]
impl LineItem {
    /// The price of one.
    async fn price(&self, context: &Context<'_>) -> Nullable<Money> {
        match &self.price {
            Price::Known(price) => Some(Ok(price.clone())),
            Price::OfOrder(order) => {
                let price_of = |whole: &WholeOrder| {
                    let item = whole
                        .line_items
                        .iter()
                        .find(|item| item.menu_item_id == *self.menu_item_id)?;
                    Some(item.price.clone().into())
                };
                Order::Listed(Arc::clone(order))
                    .of_whole(context, price_of)
                    .await
            }
        }
    }
}

impl From<&order::LineItem> for LineItem {
    fn from(item: &order::LineItem) -> Self {
        let price = Price::Known(item.price.clone().into());
        Self {
            menu_item_id: ID::from(&item.menu_item_id),
            name: item.name.clone(),
            quantity: item.quantity,
            price,
        }
    }
}

impl LineItem {
    fn listed(order: &Arc<PastOrder>, item: &PastLineItem) -> Self {
        let price = Price::OfOrder(Arc::clone(order));
        Self {
            menu_item_id: ID::from(&item.menu_item_id),
            name: item.name.clone(),
            quantity: item.quantity,
            price,
        }
    }
}
