//! `GET /orders/{id}/events` over real sockets: what came after a place in the feed, page by page, and when that cannot be
//! told. That it is the consumer's own is tested with the gateways, in `tests/`.

use serde_json::Value;

use super::{History, delivery_event, order_event, ticket_event};
use crate::Settings;

fn told(page: &Value) -> Vec<(i64, String)> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let kind = item["event"]["type"].as_str().unwrap().to_owned();
            (item["position"].as_i64().unwrap(), kind)
        })
        .collect()
}

fn expect(page: &Value, kinds: &[(i64, &str)], position: i64, more: bool) {
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(at, kind)| (*at, (*kind).to_owned()))
        .collect();
    assert_eq!(told(page), kinds, "{page}");
    assert_eq!(
        (page["position"].as_i64(), page["more"].as_bool()),
        (Some(position), Some(more))
    );
    assert_eq!(page["reset"], false);
}

#[tokio::test]
async fn an_orders_events_are_told_alone_and_page_by_page() {
    let history = History::start().await;
    let get = |query: &'static str| history.get_json(query);
    // Nothing is known of it yet: it may have been placed a moment ago.
    expect(&get("/orders/o-1/events").await, &[], 0, false);
    history
        .offer(&order_event("OrderCreated", "o-1", 1, "APPROVAL_PENDING"))
        .await;
    history
        .offer(&order_event("OrderCreated", "o-2", 1, "APPROVAL_PENDING"))
        .await;
    history
        .offer(&ticket_event(
            "TicketCreated",
            "o-1",
            2,
            "AWAITING_ACCEPTANCE",
        ))
        .await;
    history
        .offer(&delivery_event("DeliveryScheduled", "o-1", 3, "SCHEDULED"))
        .await;
    history
        .offer(&order_event("OrderAuthorized", "o-2", 2, "APPROVED"))
        .await;

    expect(&get("/orders/o-1/events").await, &[], 5, false);
    let all = [
        (1, "OrderCreated"),
        (3, "TicketCreated"),
        (4, "DeliveryScheduled"),
    ];
    expect(&get("/orders/o-1/events?since=0").await, &all, 5, false);
    expect(
        &get("/orders/o-1/events?since=3").await,
        &all[2..],
        5,
        false,
    );
    expect(&get("/orders/o-1/events?since=5").await, &[], 5, false);
    expect(
        &get("/orders/o-1/events?since=0&pageSize=2").await,
        &all[..2],
        3,
        true,
    );
    expect(
        &get("/orders/o-1/events?since=3&pageSize=2").await,
        &all[2..],
        5,
        false,
    );
    // A place of the future, of another log perhaps.
    let lost = get("/orders/o-1/events?since=6").await;
    assert_eq!(
        (&lost["reset"], &lost["position"]),
        (&true.into(), &5.into())
    );
    for bad in ["since=x", "since=1&pageSize=0", "pageSize=101"] {
        let response = history.get(&format!("/orders/o-1/events?{bad}")).await;
        assert_eq!(response.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn what_has_been_pruned_cannot_be_told() {
    let history = History::start_with(Settings {
        log_capacity: 2,
        ..Settings::default()
    })
    .await;
    for version in 1..=4 {
        history
            .offer(&order_event("OrderRevised", "o-1", version, "APPROVED"))
            .await;
    }
    let page = history.get_json("/orders/o-1/events?since=1").await;
    assert_eq!(
        (&page["reset"], &page["items"]),
        (&true.into(), &Value::Array(Vec::new()))
    );
    let page = history.get_json("/orders/o-1/events?since=2").await;
    expect(&page, &[(3, "OrderRevised"), (4, "OrderRevised")], 4, false);
}
