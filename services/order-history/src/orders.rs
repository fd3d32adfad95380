//! The order history: one row for each order, fed by order, ticket and delivery events in whatever order they come, and
//! the query `findOrderHistory` over it. Not here: the HTTP parameters of the query.

use chrono::{DateTime, TimeZone, Utc};
use ftgo_chassis::money::Money;
use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use crate::cursor::{self, InvalidCursor};
use crate::events::{LineItem, OrderSnapshot};

/// The states that an order can be in; the values of the `status` filter.
pub(crate) const ORDER_STATES: [&str; 6] = [
    "APPROVAL_PENDING",
    "APPROVED",
    "REJECTED",
    "CANCEL_PENDING",
    "CANCELLED",
    "REVISION_PENDING",
];

/// An order as the history shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderRow {
    pub(crate) id: String,
    pub(crate) consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    /// Of the order, when this was its state.
    pub(crate) version: i64,
    pub(crate) total: Money,
    pub(crate) line_items: Vec<LineItem>,
    /// `None` until the kitchen has told of the ticket.
    pub(crate) ticket_state: Option<String>,
    pub(crate) ticket_version: Option<i64>,
    /// `None` until the delivery has been scheduled.
    pub(crate) delivery_state: Option<String>,
    pub(crate) delivery_version: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Which orders to find.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryFilter {
    pub(crate) consumer_id: String,
    /// Orders created at this instant or later.
    pub(crate) since: Option<DateTime<Utc>>,
    /// One of these states; all states when empty.
    pub(crate) states: Vec<String>,
    /// Only those that are under way (neither rejected nor cancelled nor delivered), or only the others.
    pub(crate) active: Option<bool>,
    /// Part of the restaurant's name or of an item's, whatever the case.
    pub(crate) keyword: Option<String>,
}

/// The last order of a page; the next page begins after it. Orders are sorted by (created, id), newest first, so that a
/// new order never shifts a page that is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryPlace {
    created_at: i64,
    id: String,
}

impl HistoryPlace {
    /// The list's mark in its cursors.
    const LIST: char = 'o';

    pub(crate) fn cursor(&self) -> String {
        cursor::encode(Self::LIST, &[self.created_at.cast_unsigned()], &self.id)
    }

    pub(crate) fn read(cursor: &str) -> Result<Self, InvalidCursor> {
        let ([created_at], id) = cursor::decode(Self::LIST, cursor)?;
        Ok(Self {
            created_at: created_at.cast_signed(),
            id,
        })
    }
}

/// Some orders, and where the next page begins if there is one.
#[derive(Debug)]
pub(crate) struct HistoryPage {
    pub(crate) items: Vec<OrderRow>,
    pub(crate) next: Option<HistoryPlace>,
}

/// Why an order could not be stored or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error("the order history's storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("the order {id} is stored in a form that can't be read")]
    Stored {
        id: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Whose order it is; `None` while nothing is known of it.
pub(crate) async fn consumer_of(
    pool: &SqlitePool,
    id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT consumer_id FROM order_view WHERE id = ?")
        .bind(id)
        .fetch_optional(pool)
        .await
}

/// Takes over an order's snapshot unless a newer one is there.
pub(crate) async fn apply_order(
    connection: &mut SqliteConnection,
    order: &OrderSnapshot,
    version: i64,
) -> Result<(), HistoryError> {
    let stored = |source| HistoryError::Stored {
        id: order.order_id.clone(),
        source,
    };
    sqlx::query(
        "INSERT INTO order_view (id, consumer_id, restaurant_id, restaurant_name, state, total, line_items, search_text,
             created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET consumer_id = excluded.consumer_id, restaurant_id = excluded.restaurant_id,
             restaurant_name = excluded.restaurant_name, state = excluded.state, total = excluded.total,
             line_items = excluded.line_items, search_text = excluded.search_text, created_at = excluded.created_at,
             updated_at = excluded.updated_at, version = excluded.version
         WHERE excluded.version >= order_view.version",
    )
    .bind(&order.order_id)
    .bind(&order.consumer_id)
    .bind(&order.restaurant_id)
    .bind(&order.restaurant_name)
    .bind(&order.state)
    .bind(serde_json::to_string(&order.total).map_err(stored)?)
    .bind(serde_json::to_string(&order.line_items).map_err(stored)?)
    .bind(search_text(order))
    .bind(nanoseconds(order.created_at))
    .bind(nanoseconds(order.updated_at))
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes over a ticket's state unless a newer one is there.
pub(crate) async fn apply_ticket_state(
    connection: &mut SqliteConnection,
    order_id: &str,
    state: &str,
    version: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ticket_view (order_id, state, version) VALUES (?, ?, ?)
         ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, version = excluded.version
         WHERE excluded.version >= ticket_view.version",
    )
    .bind(order_id)
    .bind(state)
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes over a delivery's state unless a newer one is there.
pub(crate) async fn apply_delivery_state(
    connection: &mut SqliteConnection,
    order_id: &str,
    state: &str,
    version: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO delivery_view (order_id, state, version) VALUES (?, ?, ?)
         ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, version = excluded.version
         WHERE excluded.version >= delivery_view.version",
    )
    .bind(order_id)
    .bind(state)
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct StoredOrder {
    id: String,
    consumer_id: String,
    restaurant_id: String,
    restaurant_name: String,
    state: String,
    version: i64,
    total: String,
    line_items: String,
    ticket_state: Option<String>,
    ticket_version: Option<i64>,
    delivery_state: Option<String>,
    delivery_version: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

/// One page of a consumer's orders, newest first.
pub(crate) async fn find(
    pool: &SqlitePool,
    filter: &HistoryFilter,
    after: Option<&HistoryPlace>,
    page_size: usize,
) -> Result<HistoryPage, HistoryError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT o.id, o.consumer_id, o.restaurant_id, o.restaurant_name, o.state, o.version, o.total, o.line_items,
             t.state AS ticket_state, t.version AS ticket_version, d.state AS delivery_state, d.version AS delivery_version,
             o.created_at, o.updated_at
         FROM order_view o LEFT JOIN ticket_view t ON t.order_id = o.id LEFT JOIN delivery_view d ON d.order_id = o.id
         WHERE o.consumer_id = ",
    );
    query.push_bind(filter.consumer_id.as_str());
    if let Some(since) = filter.since {
        query.push(" AND o.created_at >= ");
        query.push_bind(nanoseconds(since));
    }
    if !filter.states.is_empty() {
        query.push(" AND o.state IN (");
        let mut states = query.separated(", ");
        for state in &filter.states {
            states.push_bind(state.as_str());
        }
        query.push(")");
    }
    if let Some(active) = filter.active {
        query.push(if active { " AND NOT " } else { " AND " });
        query.push("(o.state IN ('REJECTED', 'CANCELLED') OR coalesce(d.state, '') = 'DELIVERED')");
    }
    if let Some(keyword) = &filter.keyword {
        query.push(" AND instr(o.search_text, ");
        query.push_bind(keyword.to_lowercase());
        query.push(") > 0");
    }
    if let Some(place) = after {
        query.push(" AND (o.created_at, o.id) < (");
        query.push_bind(place.created_at);
        query.push(", ");
        query.push_bind(place.id.as_str());
        query.push(")");
    }
    query.push(" ORDER BY o.created_at DESC, o.id DESC LIMIT ");
    // One more than asked for tells whether there is a next page.
    query.push_bind(i64::try_from(page_size.saturating_add(1)).unwrap_or(i64::MAX));

    let mut rows = query
        .build_query_as::<StoredOrder>()
        .fetch_all(pool)
        .await?;
    let more = rows.len() > page_size;
    rows.truncate(page_size);
    let next = rows.last().filter(|_| more).map(|row| HistoryPlace {
        created_at: row.created_at,
        id: row.id.clone(),
    });
    let items = rows
        .into_iter()
        .map(OrderRow::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HistoryPage { items, next })
}

impl TryFrom<StoredOrder> for OrderRow {
    type Error = HistoryError;

    fn try_from(row: StoredOrder) -> Result<Self, HistoryError> {
        let stored = |source| HistoryError::Stored {
            id: row.id.clone(),
            source,
        };
        Ok(OrderRow {
            total: serde_json::from_str(&row.total).map_err(stored)?,
            line_items: serde_json::from_str(&row.line_items).map_err(stored)?,
            id: row.id,
            consumer_id: row.consumer_id,
            restaurant_id: row.restaurant_id,
            restaurant_name: row.restaurant_name,
            state: row.state,
            version: row.version,
            ticket_state: row.ticket_state,
            ticket_version: row.ticket_version,
            delivery_state: row.delivery_state,
            delivery_version: row.delivery_version,
            created_at: Utc.timestamp_nanos(row.created_at),
            updated_at: Utc.timestamp_nanos(row.updated_at),
        })
    }
}

fn search_text(order: &OrderSnapshot) -> String {
    let mut text = order.restaurant_name.to_lowercase();
    for item in &order.line_items {
        // Between two names stands what no keyword holds.
        text.push('\n');
        text.push_str(&item.name.to_lowercase());
    }
    text
}

/// Exact from 1677 to 2262; the nearest bound beyond.
fn nanoseconds(instant: DateTime<Utc>) -> i64 {
    instant
        .timestamp_nanos_opt()
        .unwrap_or(if instant.timestamp() < 0 {
            i64::MIN
        } else {
            i64::MAX
        })
}

#[cfg(test)]
mod tests;
