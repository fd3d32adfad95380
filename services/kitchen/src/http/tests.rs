//! The kitchen's surface over real sockets, with commands coming in over the real transport; no gateway.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{TimeDelta, Utc};
use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{InProcessTransport, Message, Transport};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

use super::cursor;
use crate::fixtures::{command, create_ticket, restaurant_created};

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
        server.tell(&restaurant_created("restaurant-1")).await;
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
        tokio::time::timeout(std::time::Duration::from_secs(10), told)
            .await
            .unwrap();
    }

    /// A ticket that awaits acceptance.
    async fn add(&self, order_id: &str) {
        self.tell(&create_ticket(order_id, "restaurant-1")).await;
        self.tell(&command("ConfirmTicket", order_id, json!({})))
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

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    fn accept(&self, id: &str) -> RequestBuilder {
        let ready_by = Utc::now() + TimeDelta::minutes(30);
        self.post(&format!("/tickets/{id}/accept"))
            .json(&json!({"readyBy": ready_by}))
    }
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn tag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
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

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_ticket_goes_through_the_kitchen() {
    let server = Server::start().await;
    server.add("order-1").await;

    let response = server.get("/tickets/order-1").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(tag(&response), "\"v2\"");
    let ticket: Value = response.json().await.unwrap();
    assert_eq!(ticket["id"], "order-1");
    assert_eq!(ticket["orderId"], "order-1");
    assert_eq!(ticket["restaurantId"], "restaurant-1");
    assert_eq!(ticket["state"], "AWAITING_ACCEPTANCE");
    assert_eq!(ticket["version"], 2);
    assert_eq!(ticket["lineItems"][0]["menuItemId"], "restaurant-1-item-1");
    assert_eq!(ticket["lineItems"][0]["quantity"], 1);
    assert_eq!(ticket["readyBy"], Value::Null);

    let response = send(server.accept("order-1")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(tag(&response), "\"v3\"");
    let ticket: Value = response.json().await.unwrap();
    assert_eq!(ticket["state"], "ACCEPTED");
    assert_ne!(ticket["readyBy"], Value::Null);
    assert_ne!(ticket["acceptedAt"], Value::Null);

    for (path, state, stamp) in [
        ("preparing", "PREPARING", "preparingAt"),
        ("ready", "READY_FOR_PICKUP", "readyForPickupAt"),
        ("picked-up", "PICKED_UP", "pickedUpAt"),
    ] {
        let path = format!("/tickets/order-1/{path}");
        let response = send(server.post(&path)).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let ticket: Value = response.json().await.unwrap();
        assert_eq!(ticket["state"], state);
        assert_ne!(ticket[stamp], Value::Null);
        // The move is made: making it again is a conflict.
        let again = problem(send(server.post(&path)).await, 409).await;
        assert_eq!(again["code"], "ILLEGAL_TICKET_STATE");
    }

    let server = server.restart().await;
    assert_eq!(server.json("/tickets/order-1").await["state"], "PICKED_UP");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_with_the_right_problem() {
    let server = Server::start().await;
    server.add("order-1").await;

    problem(server.get("/tickets/order-2").await, 404).await;
    for action in ["preparing", "ready", "picked-up"] {
        problem(
            send(server.post(&format!("/tickets/order-2/{action}"))).await,
            404,
        )
        .await;
        problem(
            send(server.post(&format!("/tickets/order-1/{action}"))).await,
            409,
        )
        .await;
    }
    problem(send(server.accept("order-2")).await, 404).await;

    let accept = || server.post("/tickets/order-1/accept");
    let past = Utc::now() - TimeDelta::seconds(1);
    let late = problem(send(accept().json(&json!({"readyBy": past}))).await, 422).await;
    assert_eq!(late["errors"][0]["pointer"], "/readyBy");
    let vague = problem(send(accept().json(&json!({"readyBy": "soon"}))).await, 422).await;
    assert_eq!(vague["errors"][0]["pointer"], "/readyBy");
    problem(send(accept().json(&json!({}))).await, 422).await;
    let json = "application/json";
    problem(
        send(accept().header("content-type", json).body("{")).await,
        400,
    )
    .await;
    problem(send(accept().body("readyBy=now")).await, 415).await;

    for query in [
        "",
        "?state=ACCEPTED",
        "?ids=order-1&restaurantId=restaurant-1",
        "?restaurantId=restaurant-1&state=HOT",
        "?restaurantId=restaurant-1&pageSize=0",
        "?restaurantId=restaurant-1&pageSize=101",
        "?restaurantId=restaurant-1&pageSize=many",
        "?restaurantId=restaurant-1&cursor=3",
        "?restaurantId=restaurant-1&cursor=t-1",
        "?restaurantId=restaurant-1&cursor=",
    ] {
        problem(server.get(&format!("/tickets{query}")).await, 400).await;
    }
    assert_eq!(
        server.json("/tickets/order-1").await["state"],
        "AWAITING_ACCEPTANCE"
    );
}

#[tokio::test]
async fn preconditions_are_honoured() {
    let server = Server::start().await;
    server.add("order-1").await;
    let seen = tag(&server.get("/tickets/order-1").await);
    assert_eq!(
        send(server.accept("order-1").header("if-match", &seen))
            .await
            .status(),
        200
    );

    let stale = server
        .post("/tickets/order-1/preparing")
        .header("if-match", &seen);
    problem(send(stale).await, 412).await;
    assert_eq!(server.json("/tickets/order-1").await["state"], "ACCEPTED");

    let unchanged = server
        .client
        .get(server.url("/tickets/order-1"))
        .header("if-none-match", "\"v3\"");
    assert_eq!(send(unchanged).await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn tickets_are_found_by_their_ids() {
    let server = Server::start().await;
    for order_id in ["order-1", "order-2", "order-3"] {
        server.add(order_id).await;
    }
    let list = server.json("/tickets?ids=order-3,nobody,order-1").await;
    assert_eq!(ids(&list), ["order-1", "order-3"]);
    assert_eq!(server.json("/tickets?ids=").await["items"], json!([]));
}

#[tokio::test]
async fn pages_stay_right_while_tickets_are_added() {
    let server = Server::start().await;
    // Ids that sort the other way round: pages are cut by creation, whatever the ids look like.
    for number in (10..17).rev() {
        server.add(&format!("order-{number}")).await;
    }
    let mut seen = Vec::new();
    let mut query = "/tickets?restaurantId=restaurant-1&pageSize=3".to_owned();
    for round in 0.. {
        let page = server.json(&query).await;
        seen.extend(ids(&page));
        if round == 0 {
            for order_id in ["order-01", "order-99"] {
                server.add(order_id).await;
            }
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        assert_eq!(page["items"].as_array().unwrap().len(), 3);
        query = format!("/tickets?restaurantId=restaurant-1&pageSize=3&cursor={cursor}");
    }
    let mut expected: Vec<_> = (10..17)
        .rev()
        .map(|number| format!("order-{number}"))
        .collect();
    expected.extend(["order-01".to_owned(), "order-99".to_owned()]);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_restaurant_sees_its_own_tickets_by_their_state() {
    let server = Server::start().await;
    server.tell(&restaurant_created("restaurant-2")).await;
    server.tell(&create_ticket("other", "restaurant-2")).await;
    for order_id in ["order-1", "order-2", "order-3"] {
        server.add(order_id).await;
    }
    send(server.accept("order-2")).await;
    let list =
        async |query: &str| ids(&server.json(&format!("/tickets?restaurantId={query}")).await);
    assert_eq!(list("restaurant-1&state=ACCEPTED").await, ["order-2"]);
    assert_eq!(
        list("restaurant-1&state=AWAITING_ACCEPTANCE").await,
        ["order-1", "order-3"]
    );
    assert_eq!(list("restaurant-1").await.len(), 3);
    assert_eq!(list("restaurant-2&state=CREATE_PENDING").await, ["other"]);
    assert_eq!(list("nowhere").await, Vec::<String>::new());
}

#[tokio::test]
async fn of_two_who_accept_at_once_one_is_refused() {
    let server = Server::start().await;
    server.add("order-1").await;
    let (one, other) = tokio::join!(
        send(server.accept("order-1")),
        send(server.accept("order-1"))
    );
    let mut statuses = [one.status().as_u16(), other.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn the_surface_is_described() {
    let server = Server::start().await;
    let document = server.json("/openapi.json").await;
    let paths: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(paths.len(), 6);
    assert_eq!(server.get("/health/ready").await.status(), StatusCode::OK);
}

#[test]
fn only_our_own_cursors_are_read() {
    for position in [1, 17, i64::MAX] {
        assert_eq!(cursor::read(&cursor::write(position)).unwrap(), position);
    }
    for foreign in ["", "t", "t0", "t-5", "t+5", "T11", "t011", "17", "tg"] {
        assert!(cursor::read(foreign).is_err(), "{foreign}");
    }
}
