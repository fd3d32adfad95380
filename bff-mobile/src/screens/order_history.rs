//! Order history: the caller's orders, newest first, page by page.

use axum::extract::State;
use gateway_core::compose::{Answer, Composition};
use gateway_core::error::Error;
use gateway_core::extract::QueryParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contradictions::States;
use super::{ORDERS_CURSOR, STATES, given, limit, moment};
use crate::caller;
use crate::clients::Clients;
use crate::clients::order_history::{OrderSearch, PastLineItem, PastOrder};
use crate::error::of_search;
use crate::values::{Money, Page, Timestamp};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct HistoryQuery {
    /// Orders in one of these states, separated by commas.
    #[schemars(regex(pattern = STATES))]
    status: Option<String>,
    /// In the names of the restaurant and of the menu items.
    keyword: Option<String>,
    /// Orders that were placed after this.
    #[schemars(extend("anyOf" = [{"format": "date-time"}, {"maxLength": 0}]))]
    since: Option<String>,
    /// The `nextCursor` of a page of the same search.
    #[schemars(regex(pattern = ORDERS_CURSOR))]
    cursor: Option<String>,
    /// The size of a page, 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

pub(crate) async fn show(
    page: Composition,
    State(clients): State<Clients>,
    QueryParams(query): QueryParams<HistoryQuery>,
) -> Result<Answer<Page<OrderSummary>>, Error> {
    let limit = limit(query.limit)?;
    let search = OrderSearch {
        active: None,
        status: given(query.status.as_ref()),
        keyword: given(query.keyword.as_ref()),
        since: moment("since", query.since.as_ref())?,
        cursor: given(query.cursor.as_ref()),
    };
    let consumer = caller::consumer(page.context())?;
    let call = page.context().for_required("orders");
    let orders = clients
        .history
        .orders(call, consumer, &search, limit)
        .await
        .map_err(of_search)?;
    Ok(page.answer(orders.map(OrderSummary::from)))
}

/// An order in a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderSummary {
    id: String,
    state: String,
    /// Which of the order's versions had this state; it grows with every change.
    version: i64,
    /// `null` while the kitchen knows nothing of the order.
    ticket_state: Option<String>,
    /// As `version`, of the ticket.
    ticket_version: Option<i64>,
    /// `null` while there is no delivery.
    delivery_state: Option<String>,
    /// As `version`, of the delivery.
    delivery_version: Option<i64>,
    restaurant_id: String,
    restaurant_name: String,
    line_items: Vec<PastLineItem>,
    total: Money,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Whether these states contradict each other: one of them is late.
    inconsistent: bool,
}

impl From<PastOrder> for OrderSummary {
    fn from(order: PastOrder) -> Self {
        let states = States {
            order: &order.state,
            ticket: order.ticket_state.as_deref(),
            delivery: order.delivery_state.as_deref(),
            bill: None,
        };
        Self {
            inconsistent: !states.contradictions().is_empty(),
            id: order.id,
            state: order.state,
            version: order.version,
            ticket_state: order.ticket_state,
            ticket_version: order.ticket_version,
            delivery_state: order.delivery_state,
            delivery_version: order.delivery_version,
            restaurant_id: order.restaurant_id,
            restaurant_name: order.restaurant_name,
            line_items: order.line_items,
            total: order.total,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}
