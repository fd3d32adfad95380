//! `/v2/orders` and `/v2/orders/{id}`: the orders of the partner's account. How one is placed is `place_order.rs`.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition};
use gateway_core::encode::with_parameters;
use gateway_core::error::Error;
use gateway_core::extract::{PathParam, QueryParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Address, ID, Linked, Money, ORDERS_CURSOR, Page, STATES, given, limit, linked, moment,
};
use crate::clients::Clients;
use crate::clients::order::Order;
use crate::clients::order_history::{OrderSearch, PastOrder};
use crate::partner;

pub(crate) async fn show(
    page: Composition,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Answer<OrderV2>, Error> {
    let consumer = partner::consumer(page.context())?;
    let call = page.context().for_required("order");
    let order = clients.orders.order_of(call, consumer, &id).await?;
    Ok(page.answer(OrderV2::from(order)))
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct OrdersQuery {
    /// Orders in one of these states, separated by commas.
    #[schemars(regex(pattern = STATES))]
    status: Option<String>,
    /// In the names of the restaurant and of the menu items.
    keyword: Option<String>,
    /// Orders that were placed then or later.
    #[schemars(extend("anyOf" = [{"format": "date-time"}, {"maxLength": 0}]))]
    since: Option<String>,
    /// The `nextCursor` of a page of the same search.
    #[schemars(regex(pattern = ORDERS_CURSOR))]
    cursor: Option<String>,
    /// The size of a page, 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

pub(crate) async fn list(
    page: Composition,
    State(clients): State<Clients>,
    QueryParams(query): QueryParams<OrdersQuery>,
) -> Result<Linked<OrderSummaryV2>, Error> {
    let search = OrderSearch {
        status: given(query.status.as_ref()),
        keyword: given(query.keyword.as_ref()),
        since: moment("since", query.since.as_ref())?,
        cursor: given(query.cursor.as_ref()),
        limit: limit(query.limit)?,
    };
    let consumer = partner::consumer(page.context())?;
    let call = page.context().for_required("orders");
    let found = clients.history.orders_of(call, consumer, &search).await?;
    let next = found.next_cursor.clone();
    let answer = page.answer(Page {
        items: found.items.into_iter().map(OrderSummaryV2::from).collect(),
        next_cursor: found.next_cursor,
    });
    Ok(linked(answer, &first_page(&search), next.as_deref()))
}

fn first_page(search: &OrderSearch<'_>) -> String {
    let first = format!("/v2/orders?limit={}", search.limit);
    with_parameters(
        first,
        [
            ("status", search.status),
            ("keyword", search.keyword),
            ("since", search.since),
        ],
    )
}

/// An order.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderV2 {
    #[schemars(regex(pattern = ID))]
    id: String,
    /// `APPROVAL_PENDING`, `APPROVED`, `REJECTED`, `CANCEL_PENDING`, `CANCELLED` or `REVISION_PENDING`; others may come.
    state: String,
    /// Why it was rejected; `null` when it was not.
    rejection_reason: Option<String>,
    #[schemars(regex(pattern = ID))]
    restaurant_id: String,
    restaurant_name: String,
    line_items: Vec<LineItemV2>,
    total: Money,
    delivery_address: Address,
    /// `null`: as soon as possible.
    delivery_time: Option<String>,
    created_at: String,
    updated_at: String,
}

/// So many of a dish, at the price that was agreed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LineItemV2 {
    menu_item_id: String,
    name: String,
    quantity: u32,
    price: Money,
}

/// An order in a list, as the views know it: a moment behind the order itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderSummaryV2 {
    #[schemars(regex(pattern = ID))]
    id: String,
    state: String,
    #[schemars(regex(pattern = ID))]
    restaurant_id: String,
    restaurant_name: String,
    total: Money,
    created_at: String,
    updated_at: String,
}

impl From<Order> for OrderV2 {
    fn from(order: Order) -> Self {
        let line_items = order.line_items.into_iter().map(|item| LineItemV2 {
            menu_item_id: item.menu_item_id,
            name: item.name,
            quantity: item.quantity,
            price: item.price.into(),
        });
        Self {
            id: order.id,
            state: order.state,
            rejection_reason: order.rejection_reason,
            restaurant_id: order.restaurant_id,
            restaurant_name: order.restaurant_name,
            line_items: line_items.collect(),
            total: order.total.into(),
            delivery_address: order.delivery_address.into(),
            delivery_time: order.delivery_time,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<PastOrder> for OrderSummaryV2 {
    fn from(order: PastOrder) -> Self {
        Self {
            id: order.id,
            state: order.state,
            restaurant_id: order.restaurant_id,
            restaurant_name: order.restaurant_name,
            total: order.total.into(),
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}
