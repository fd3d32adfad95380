//! The surface over real sockets, with events coming in over the real transport and the background loops running; no
//! gateway.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{Database, InProcessTransport, Message, Transport};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clock;
use crate::fixtures::{order_event, restaurant_created, said, ticket_event};

struct Server {
    service: RunningService,
    transport: Arc<InProcessTransport>,
    client: Client,
    directory: TempDir,
}

impl Server {
    async fn start() -> Server {
        // The client insists on one, also where nothing is encrypted. It may be there from another test.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let transport = InProcessTransport::new(&[crate::SUBSCRIPTION]);
        let service = Server::run(&directory, &transport).await;
        let server = Server {
            service,
            transport,
            client: Client::builder().no_proxy().build().unwrap(),
            directory,
        };
        server.tell(&restaurant_created()).await;
        server
    }

    async fn run(directory: &TempDir, transport: &Arc<InProcessTransport>) -> RunningService {
        crate::start(Environment {
            address: "127.0.0.1:0".parse().unwrap(),
            data_dir: directory.path().to_owned(),
            transport: Some(Arc::clone(transport)),
            faults: false,
            seed: true,
            trust: None,
            collector: None,
        })
        .await
        .unwrap()
    }

    async fn restart(self) -> Server {
        self.service.stop().await;
        let service = Server::run(&self.directory, &self.transport).await;
        Server { service, ..self }
    }

    /// The consumer is attached by the service's own task, a moment after `start` answered.
    async fn tell(&self, message: &Message) {
        let told = async {
            while self.transport.offer(message).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told)
            .await
            .unwrap();
    }

    /// An order whose ticket is accepted.
    async fn add(&self, order_id: &str, ready_by: DateTime<Utc>) {
        self.tell(&order_event("OrderCreated", order_id)).await;
        self.tell(&ticket_event("TicketAccepted", order_id, ready_by))
            .await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address())
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        send(self.client.post(self.url(path)).json(&body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Response {
        send(self.client.put(self.url(path)).json(&body)).await
    }

    async fn set_available(&self, courier_id: &str, available: bool) {
        let path = format!("/couriers/{courier_id}/availability");
        let response = self.post(&path, json!({"available": available})).await;
        assert_eq!(response.status(), StatusCode::OK);
        let courier: Value = response.json().await.unwrap();
        assert_eq!(courier["available"], available);
    }

    async fn move_to(&self, courier_id: &str, lat: f64) {
        let body = json!({"lat": lat, "lng": -122.27});
        let response = self
            .put(&format!("/couriers/{courier_id}/location"), body)
            .await;
        assert_eq!(response.status(), StatusCode::OK);
    }

    async fn all_off_duty(&self) {
        for courier_id in ["courier-1", "courier-2", "courier-3"] {
            self.set_available(courier_id, false).await;
        }
    }

    /// The locations announced so far, read from the service's outbox.
    async fn announced(&self) -> Vec<Message> {
        let file = self.directory.path().join("delivery.db");
        let database = Database::open(&file, &[]).await.unwrap();
        let mut said = said(&database).await;
        database.close().await;
        said.retain(|message| message.kind == "CourierLocationChanged");
        said
    }
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

/// Asserts the status and that the answer is a problem that names it, and gives the problem.
async fn problem(response: Response, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    problem
}

fn soon() -> DateTime<Utc> {
    clock::now() + TimeDelta::minutes(30)
}

#[tokio::test]
async fn a_delivery_from_the_restaurant_to_the_door() {
    let server = Server::start().await;
    let ready_by = soon();
    server.tell(&order_event("OrderCreated", "order-1")).await;
    let delivery = server.json("/deliveries/order-1").await;
    assert_eq!(delivery["state"], "PENDING");
    assert_eq!(delivery["courier"], Value::Null);
    assert_eq!(delivery["pickupAddress"]["street1"], "1 Main Street");
    assert_eq!(delivery["deliveryAddress"]["street1"], "9 Amazing View");
    problem(
        server
            .post(
                "/deliveries/order-1/pickup",
                json!({"courierId": "courier-1"}),
            )
            .await,
        409,
    )
    .await;

    server
        .tell(&ticket_event("TicketAccepted", "order-1", ready_by))
        .await;
    let response = server.get("/deliveries/order-1").await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let delivery: Value = response.json().await.unwrap();
    assert_eq!(delivery["state"], "SCHEDULED");
    // The restaurant lies next to where courier-1 is.
    assert_eq!(delivery["courier"]["id"], "courier-1");
    assert_eq!(delivery["courier"]["name"], "Courier One");
    assert_eq!(
        delivery["courier"]["location"],
        json!({"lat": 37.8044, "lng": -122.2712})
    );
    assert_eq!(delivery["scheduledPickupTime"], json!(ready_by));

    let plan = server.json("/couriers/courier-1/plan").await;
    assert_eq!(plan["courierId"], "courier-1");
    assert_eq!(plan["available"], true);
    assert_eq!(plan["actions"][0]["type"], "PICKUP");
    assert_eq!(plan["actions"][0]["deliveryId"], "order-1");
    assert_eq!(plan["actions"][0]["address"]["street1"], "1 Main Street");
    assert_eq!(plan["actions"][1]["type"], "DROPOFF");
    assert_eq!(
        plan["actions"][1]["time"],
        delivery["scheduledDeliveryTime"]
    );

    let assigned = json!({"courierId": "courier-1"});
    let stranger = problem(
        server
            .post(
                "/deliveries/order-1/pickup",
                json!({"courierId": "courier-2"}),
            )
            .await,
        409,
    )
    .await;
    assert_eq!(stranger["code"], "COURIER_NOT_ASSIGNED");
    problem(
        server
            .post("/deliveries/order-1/dropoff", assigned.clone())
            .await,
        409,
    )
    .await;
    let pickup = server
        .client
        .post(server.url("/deliveries/order-1/pickup"))
        .json(&assigned);
    let stale = pickup.try_clone().unwrap().header("if-match", "\"v1\"");
    problem(send(stale).await, 412).await;
    let picked_up: Value = send(pickup.header("if-match", tag))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(picked_up["state"], "PICKED_UP");
    assert_ne!(picked_up["pickedUpAt"], Value::Null);
    let again = problem(
        server
            .post("/deliveries/order-1/pickup", assigned.clone())
            .await,
        409,
    )
    .await;
    assert_eq!(again["code"], "ILLEGAL_DELIVERY_STATE");
    let plan = server.json("/couriers/courier-1/plan").await;
    assert_eq!(plan["actions"].as_array().unwrap().len(), 1);

    let delivered: Value = server
        .post("/deliveries/order-1/dropoff", assigned)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(delivered["state"], "DELIVERED");
    assert_ne!(delivered["deliveredAt"], Value::Null);
    assert_eq!(
        delivered["courier"]["location"],
        Value::Null,
        "no longer the consumer's business"
    );

    let server = server.restart().await;
    assert_eq!(
        server.json("/deliveries/order-1").await["state"],
        "DELIVERED"
    );
    assert_eq!(
        server.json("/couriers/courier-1/plan").await["actions"],
        json!([])
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_with_the_right_problem() {
    let server = Server::start().await;
    server.add("order-1", soon()).await;
    let somebody = json!({"courierId": "courier-1"});
    problem(server.get("/deliveries/order-2").await, 404).await;
    problem(server.get("/deliveries").await, 400).await;
    problem(server.get("/couriers/courier-9/plan").await, 404).await;
    for action in ["pickup", "dropoff"] {
        problem(
            server
                .post(&format!("/deliveries/order-2/{action}"), somebody.clone())
                .await,
            404,
        )
        .await;
        let path = format!("/deliveries/order-1/{action}");
        problem(
            server.post(&path, json!({"courierId": "courier-9"})).await,
            404,
        )
        .await;
        problem(server.post(&path, json!({})).await, 422).await;
    }

    problem(
        server
            .post(
                "/couriers/courier-9/availability",
                json!({"available": true}),
            )
            .await,
        404,
    )
    .await;
    let vague = problem(
        server
            .post(
                "/couriers/courier-1/availability",
                json!({"available": "maybe"}),
            )
            .await,
        422,
    )
    .await;
    assert_eq!(vague["errors"][0]["pointer"], "/available");
    problem(
        server
            .put(
                "/couriers/courier-9/location",
                json!({"lat": 37.8, "lng": -122.2}),
            )
            .await,
        404,
    )
    .await;
    for (body, pointers) in [
        (json!({"lat": 90.1, "lng": 0}), vec!["/lat"]),
        (json!({"lat": 0, "lng": -180.1}), vec!["/lng"]),
        (json!({"lat": -91, "lng": 181}), vec!["/lat", "/lng"]),
        (json!({"lat": "north", "lng": 0}), vec!["/lat"]),
    ] {
        let problem = problem(server.put("/couriers/courier-1/location", body).await, 422).await;
        let errors = problem["errors"].as_array().unwrap();
        let named: Vec<_> = errors
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(named, pointers);
    }
    problem(
        server
            .put("/couriers/courier-1/location", json!({"lat": 37.8}))
            .await,
        422,
    )
    .await;
}

#[tokio::test]
async fn deliveries_are_found_by_their_ids() {
    let server = Server::start().await;
    for order_id in ["order-1", "order-2", "order-3"] {
        server.tell(&order_event("OrderCreated", order_id)).await;
    }
    let list = server.json("/deliveries?ids=order-3,nobody,order-1").await;
    let ids: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["id"])
        .collect();
    assert_eq!(ids, ["order-1", "order-3"]);
    assert_eq!(server.json("/deliveries?ids=").await["items"], json!([]));
}

#[tokio::test]
async fn deliveries_wait_until_a_courier_is_available_again() {
    let server = Server::start().await;
    server.all_off_duty().await;
    for order_id in ["order-1", "order-2"] {
        server.add(order_id, soon()).await;
        assert_eq!(
            server.json(&format!("/deliveries/{order_id}")).await["state"],
            "PENDING"
        );
    }
    server.tell(&order_event("OrderCancelled", "order-2")).await;
    // Who is off duty gets nothing, wherever they go.
    server.move_to("courier-2", 37.8040).await;
    assert_eq!(server.json("/deliveries/order-1").await["state"], "PENDING");

    // The delivery waits in the database, not in a process.
    let server = server.restart().await;
    assert_eq!(
        server.json("/couriers/courier-3/plan").await["available"],
        false,
        "seeding changes nobody"
    );
    server.set_available("courier-3", true).await;
    let delivery = server.json("/deliveries/order-1").await;
    assert_eq!(delivery["state"], "SCHEDULED");
    assert_eq!(delivery["courier"]["id"], "courier-3");
    assert_eq!(
        server.json("/deliveries/order-2").await["state"],
        "CANCELLED"
    );
}

#[tokio::test]
async fn the_plan_is_freed_when_an_order_is_cancelled() {
    let server = Server::start().await;
    server.add("order-1", soon()).await;
    assert_eq!(
        server.json("/couriers/courier-1/plan").await["actions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    server.tell(&order_event("OrderCancelled", "order-1")).await;
    assert_eq!(
        server.json("/couriers/courier-1/plan").await["actions"],
        json!([])
    );
    let delivery = server.json("/deliveries/order-1").await;
    assert_eq!(delivery["state"], "CANCELLED");
    assert_eq!(delivery["courier"], Value::Null);
    problem(
        server
            .post(
                "/deliveries/order-1/pickup",
                json!({"courierId": "courier-1"}),
            )
            .await,
        409,
    )
    .await;
}

#[tokio::test]
async fn locations_are_announced_once_a_second_and_the_last_one_always() {
    let server = Server::start().await;
    server.add("order-1", soon()).await;
    for step in 0..20 {
        server
            .move_to("courier-1", 37.80 + f64::from(step) / 1000.0)
            .await;
    }
    let last = json!({"lat": 37.819, "lng": -122.27});
    let all_told = async {
        loop {
            let announced = server.announced().await;
            if announced
                .last()
                .is_some_and(|message| message.data["location"] == last)
            {
                return announced;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let announced = tokio::time::timeout(Duration::from_secs(20), all_told)
        .await
        .unwrap();
    for message in &announced {
        assert_eq!(message.topic, "delivery.events");
        assert_eq!(message.subject, "courier-1");
        assert_eq!(message.data["courierId"], "courier-1");
        assert_eq!(message.data["orderIds"], json!(["order-1"]));
    }
    for pair in announced.windows(2) {
        let apart = pair[1].time - pair[0].time;
        assert!(apart >= TimeDelta::milliseconds(990), "{apart} apart");
    }
    assert_eq!(
        server.json("/deliveries/order-1").await["courier"]["location"],
        last
    );
}

#[tokio::test]
async fn the_surface_is_described() {
    let server = Server::start().await;
    let document = server.json("/openapi.json").await;
    assert_eq!(document["paths"].as_object().unwrap().len(), 7);
    assert_eq!(server.get("/health/ready").await.status(), StatusCode::OK);
}
