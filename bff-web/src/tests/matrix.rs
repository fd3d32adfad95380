//! Every field that a service feeds, through every fault; and that no such field was forgotten.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use async_graphql::SDLExportOptions;
use gateway_core::testkit::{Matrix, Screen};

use super::fake::{LIST_BILLS, SETUP, STAFF};

/// Fields that may be null because there may be nothing: they come with what holds them, and no call is made for them.
const PLAIN: &[&str] = &[
    "Address.street2",
    "Bill.amount",
    "Bill.authorizedAt",
    "Consumer.email",
    "Courier.location",
    "Delivery.courier",
    "Delivery.deliveredAt",
    "Delivery.pickedUpAt",
    "Delivery.scheduledDeliveryTime",
    "Delivery.scheduledPickupTime",
    "MenuItem.description",
    "NearbyRestaurant.openUntil",
    "PageInfo.endCursor",
    "PageInfo.startCursor",
    "Query.me",
    "Restaurant.location",
    // Without a service there are no events of it: subscriptions are tested with real ones, in `tests/`.
    "Subscription.orderChanged",
    "Subscription.ticketsChanged",
    "Ticket.acceptedAt",
    "Ticket.pickedUpAt",
    "Ticket.preparingAt",
    "Ticket.readyBy",
    "Ticket.readyForPickupAt",
    "TicketsChange.ticket",
];

fn matrix() -> Matrix {
    let graphql = |query| Screen::graphql("graphql", "/graphql", query);
    #[rustfmt::skip]
    let screens = vec![
        graphql("{ order(id: \"order-1\") {
                id ticket { state } delivery { state } restaurant { name } consumer { firstName } bill { state } } }")
            .optional("order", "order", "GET /orders")
            .optional("order.ticket", "kitchen", "GET /tickets")
            .optional("order.delivery", "delivery", "GET /deliveries")
            .optional("order.restaurant", "restaurant", "GET /restaurants")
            .optional("order.consumer", "consumer", "GET /consumers")
            .optional("order.bill", "accounting", LIST_BILLS),
        graphql("{ orders(first: 1) { nodes {
                rejectionReason deliveryAddress { city } deliveryTime lineItems { price { amount } } } } }")
            .optional("orders", "order-history", "GET /orders")
            .optional_for(&[
                "orders.nodes.0.rejectionReason",
                "orders.nodes.0.deliveryAddress",
                "orders.nodes.0.deliveryTime",
                "orders.nodes.0.lineItems.0.price",
            ], "order", "GET /orders"),
        graphql("{ restaurant(id: \"restaurant-1\") { name } }")
            .optional("restaurant", "restaurant", "GET /restaurants"),
        graphql("{ restaurants(near: {lat: 37.8, lng: -122.27}) { nodes { restaurant { name } } } }")
            .optional("restaurants", "order-history", "GET /restaurants/available")
            .optional("restaurants.nodes.0.restaurant", "restaurant", "GET /restaurants"),
        graphql("{ me { consumer { email } } }")
            .optional("me.consumer", "consumer", "GET /consumers"),
        graphql("{ me { restaurants { name } } }").as_caller(STAFF)
            .optional("me.restaurants", "restaurant", "GET /restaurants"),
        graphql("{ ticket(id: \"order-1\") { state } }").as_caller(STAFF)
            .optional("ticket", "kitchen", "GET /tickets"),
        graphql("{ tickets(restaurantId: \"restaurant-1\") { nodes { state } } }").as_caller(STAFF)
            .optional("tickets", "kitchen", "GET /tickets"),
        graphql("mutation { acceptTicket(id: \"order-1\", readyBy: \"2030-01-01T18:30:00Z\") { state } }")
            .as_caller(STAFF)
            .optional("acceptTicket", "kitchen", "GET /tickets")
            .optional("acceptTicket", "kitchen", "POST /tickets/order-1/accept").or_not_found(),
        graphql("mutation { markPreparing(id: \"order-1\") { state } }").as_caller(STAFF)
            .optional("markPreparing", "kitchen", "GET /tickets")
            .optional("markPreparing", "kitchen", "POST /tickets/order-1/preparing").or_not_found(),
        graphql("mutation { markReady(id: \"order-1\") { state } }").as_caller(STAFF)
            .optional("markReady", "kitchen", "GET /tickets")
            .optional("markReady", "kitchen", "POST /tickets/order-1/ready").or_not_found(),
        graphql("mutation { reviseMenu(input: {restaurantId: \"restaurant-1\", version: 4, items: [
                {id: \"item-1\", name: \"Naan\", price: {amount: \"3.00\", currency: \"USD\"}}]}) { version } }")
            .as_caller(STAFF)
            .optional("reviseMenu", "restaurant", "PUT /restaurants/restaurant-1/menu").or_not_found(),
        graphql("mutation { cancelOrder(id: \"order-1\") { state } }")
            .optional("cancelOrder", "order", "GET /orders")
            .optional("cancelOrder", "order", "POST /orders/order-1/cancel").or_not_found(),
        graphql("mutation { reviseOrder(input: {
                orderId: \"order-1\", lineItems: [{menuItemId: \"item-1\", quantity: 2}]}) { state } }")
            .optional("reviseOrder", "order", "GET /orders")
            .optional("reviseOrder", "order", "POST /orders/order-1/revise").or_not_found(),
        graphql("mutation { placeOrder(input: {
                restaurantId: \"restaurant-1\", lineItems: [{menuItemId: \"item-1\", quantity: 2}]
                deliveryAddress: {street1: \"1 Main Library\", city: \"Oakland\", state: \"CA\", zip: \"94612\"}
            }) { order { id } } }")
            .optional("placeOrder", "order", "POST /orders").or_not_found()
            .optional("placeOrder.order", "order", "GET /orders"),
    ];
    Matrix {
        setup: SETUP,
        screens,
        without_upstreams: &[
            "graphiql",
            "storefront",
            "assets",
            "session-login",
            "session-callback",
            "session-user",
            "session-logout",
            "session-backchannel",
        ],
    }
}

#[tokio::test]
async fn every_part_may_fail_in_every_way() {
    matrix().run().await;
}

/// Only what may be null can fail by itself: each such field is fed by a service and in the matrix, or known to be plain.
#[test]
fn no_field_is_forgotten() {
    let types = object_types();
    let mut in_matrix = Vec::new();
    for path in matrix().fields() {
        let is_query = types["Query"].contains_key(path[0]);
        let mut holder = if is_query { "Query" } else { "Mutation" };
        let mut field = String::new();
        for name in path {
            field = format!("{holder}.{name}");
            holder = types[holder][name].trim_matches(['[', ']', '!']);
        }
        in_matrix.push(field);
    }
    let nullable: Vec<String> = types
        .iter()
        .flat_map(|(holder, fields)| {
            let nullable = fields.iter().filter(|(_, kind)| !kind.ends_with('!'));
            nullable.map(move |(name, _)| format!("{holder}.{name}"))
        })
        .collect();
    for field in &nullable {
        let known = PLAIN.contains(&field.as_str());
        assert!(
            known != in_matrix.contains(field),
            "{field} has to be either in the matrix or in PLAIN"
        );
    }
    for field in PLAIN
        .iter()
        .copied()
        .chain(in_matrix.iter().map(String::as_str))
    {
        assert!(
            nullable.iter().any(|known| known == field),
            "{field} is not in the schema"
        );
    }
}

/// The object types of the schema: each field with its type.
fn object_types() -> BTreeMap<String, BTreeMap<String, String>> {
    let sdl = crate::graphql::sdl(SDLExportOptions::new());
    let mut types = BTreeMap::new();
    let mut inside: Option<(String, BTreeMap<String, String>)> = None;
    // Every other piece is a description.
    let code: String = sdl.split("\"\"\"").step_by(2).collect();
    for line in code.lines() {
        if let Some(name) = line.strip_prefix("type ") {
            let name = name.split_whitespace().next().unwrap();
            inside = Some((name.to_owned(), BTreeMap::new()));
        } else if line.starts_with('}') {
            types.extend(inside.take());
        } else if let (Some((_, fields)), Some((head, kind))) =
            (&mut inside, line.rsplit_once(": "))
        {
            let name = head.trim().split(['(', ':']).next().unwrap();
            fields.insert(name.to_owned(), kind.trim().to_owned());
        }
    }
    types
}
