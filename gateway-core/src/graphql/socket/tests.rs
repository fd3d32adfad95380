//! The protocol over a pipe: every message, every close code, every limit. Handshakes over real sockets are in `tests/it/web/socket.rs`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use serde_json::{Value, json};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::graphql::tests::{open as open_settings, transport};

struct Client {
    socket: WebSocketStream<DuplexStream>,
    drain: CancellationToken,
    served: JoinHandle<()>,
}

fn bounds(drain: &CancellationToken) -> Bounds {
    Bounds {
        idle: Duration::from_secs(120),
        end: StreamEnd {
            at: Instant::now() + Duration::from_secs(3600),
            by_credential: false,
        },
        max_message: 1000,
        drain: drain.clone(),
        limits: SocketLimits {
            init_timeout: Duration::from_secs(3),
            operations: 3,
            operations_per_second: 10,
        },
    }
}

impl Client {
    async fn connect() -> Self {
        Self::connect_with(true, |_| {}).await
    }

    async fn connect_with(speaks: bool, change: impl FnOnce(&mut Bounds)) -> Self {
        let (near, far) = duplex(1 << 16);
        let drain = CancellationToken::new();
        let mut bounds = bounds(&drain);
        change(&mut bounds);
        let context = RequestContext::for_tests(Duration::from_secs(3));
        let served = tokio::spawn(run(
            far,
            transport(&open_settings()),
            context,
            bounds,
            speaks,
        ));
        Self {
            socket: WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            drain,
            served,
        }
    }

    /// After `connection_init` and its answer.
    async fn ready() -> Self {
        let mut client = Self::connect().await;
        client.init().await;
        client
    }

    async fn init(&mut self) {
        self.say(json!({"type": "connection_init"})).await;
        assert_eq!(self.hear().await, json!({"type": "connection_ack"}));
    }

    async fn say(&mut self, message: Value) {
        let text = message.to_string();
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_text().await).unwrap()
    }

    /// As it stands on the wire.
    async fn hear_text(&mut self) -> String {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code and the reason with which the socket is closed.
    async fn closed(mut self) -> (u16, String) {
        let frame = loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Close(frame) => break frame.unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        while let Some(Ok(_)) = self.socket.next().await {}
        drop(self.socket);
        self.served.await.unwrap();
        (frame.code.into(), frame.reason.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_a_mutation_and_a_subscription_have_their_results() {
    let mut client = Client::ready().await;
    client.subscribe("q", "{ slow quick }").await;
    // In the order of the query, not in that of their resolvers.
    assert_eq!(
        client.hear_text().await,
        r#"{"id":"q","type":"next","payload":{"data":{"slow":2,"quick":1}}}"#
    );
    assert_eq!(client.hear().await, json!({"id": "q", "type": "complete"}));
    client.subscribe("q", "mutation { change { name } }").await;
    assert_eq!(
        client.hear().await["payload"]["data"]["change"]["name"],
        "changed"
    );
    client.hear().await;

    client
        .subscribe("s", "subscription { count(to: 2) { later number shared } }")
        .await;
    let mut shared = Vec::new();
    for number in [1, 2] {
        let next = client.hear_text().await;
        let in_order = format!("{{\"later\":0,\"number\":{number},\"shared\":");
        assert!(next.contains(&in_order), "{next}");
        // Each has something of its own.
        let next: Value = serde_json::from_str(&next).unwrap();
        shared.push(next["payload"]["data"]["count"]["shared"].as_i64().unwrap());
    }
    assert!(shared[0] < shared[1], "{shared:?}");
    client.say(json!({"type": "complete", "id": "s"})).await;
    client
        .subscribe("s", "subscription { finite(to: 1) }")
        .await;
    assert_eq!(client.hear().await["payload"]["data"]["finite"], 1);
    assert_eq!(client.hear().await, json!({"id": "s", "type": "complete"}));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_executed_is_an_error_and_its_id_is_free_again() {
    let many = |bounds: &mut Bounds| bounds.limits.operations_per_second = 100;
    let mut client = Client::connect_with(true, many).await;
    client.init().await;
    for (query, code) in [
        ("{ quick", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { finite(to: 1) count(to: 1) { number } }",
            "BAD_REQUEST",
        ),
        ("subscription { __typename }", "BAD_REQUEST"),
        // One key, and two streams of async-graphql's.
        (
            "subscription { finite(to: 1) finite(to: 1) }",
            "BAD_REQUEST",
        ),
        (
            "subscription { finite(to: 1) ... on Follow { finite(to: 1) } }",
            "BAD_REQUEST",
        ),
        // One that async-graphql passes over, and would end in silence.
        (
            "subscription { ... on Follow { finite(to: 1) } }",
            "BAD_REQUEST",
        ),
        (
            "subscription { ...F } fragment F on Follow { finite(to: 1) }",
            "BAD_REQUEST",
        ),
        (
            "subscription { finite(to: 1) @skip(if: true) }",
            "BAD_REQUEST",
        ),
    ] {
        client.subscribe("same", query).await;
        let answer = client.hear().await;
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["id"], "same");
        let extensions = &answer["payload"][0]["extensions"];
        assert_eq!(extensions["code"], code, "{answer}");
        assert!(extensions["requestId"].is_string());
    }
    client.subscribe("same", "subscription { refused }").await;
    let answer = client.hear().await;
    let errors = match answer["type"].as_str().unwrap() {
        "error" => &answer["payload"],
        _ => &answer["payload"]["errors"],
    };
    assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND", "{answer}");
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_with_what_they_carry_also_before_the_init() {
    let mut client = Client::connect().await;
    let payload = json!({"at": 7, "deep": {"er": [1]}});
    client
        .say(json!({"type": "ping", "payload": payload}))
        .await;
    assert_eq!(
        client.hear().await,
        json!({"type": "pong", "payload": payload})
    );
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
    client.say(json!({"type": "pong", "payload": {}})).await;
    client.init().await;
}

#[tokio::test(start_paused = true)]
async fn every_breach_of_the_protocol_has_its_code() {
    let init = || json!({"type": "connection_init", "payload": {"any": 1}});
    let subscribe = |id: &str| {
        let query = "subscription { count(to: 0) { number } }";
        json!({"type": "subscribe", "id": id, "payload": {"query": query}})
    };
    let cases = [
        (vec![json!({"type": "unknown"})], 4400),
        (vec![json!([])], 4400),
        (vec![json!({"type": "connection_init", "payload": 1})], 4400),
        (vec![json!({"type": "ping", "payload": "x"})], 4400),
        (
            vec![
                init(),
                json!({"type": "subscribe", "payload": {"query": "{quick}"}}),
            ],
            4400,
        ),
        (
            vec![
                init(),
                json!({"type": "subscribe", "id": "", "payload": {"query": "{quick}"}}),
            ],
            4400,
        ),
        (
            vec![
                init(),
                json!({"type": "subscribe", "id": "1", "payload": {}}),
            ],
            4400,
        ),
        (
            vec![
                init(),
                json!({"type": "subscribe", "id": "1", "payload": {"query": 1}}),
            ],
            4400,
        ),
        (vec![init(), json!({"type": "complete"})], 4400),
        (vec![init(), json!({"type": "next", "id": "1"})], 4400),
        (vec![subscribe("1")], 4401),
        (vec![init(), init()], 4429),
        (vec![init(), subscribe("1"), subscribe("1")], 4409),
    ];
    for (messages, expected) in cases {
        let mut client = Client::connect().await;
        let name = format!("{messages:?}");
        for message in messages {
            let is_first = message["type"] == "connection_init";
            client.say(message).await;
            if is_first && expected != 4429 && !name.contains("\"payload\": Number(1)") {
                client.hear().await;
            }
        }
        if expected == 4429 {
            client.hear().await;
        }
        let (code, reason) = client.closed().await;
        assert_eq!(code, expected, "{name}: {reason}");
        assert!(!reason.is_empty());
    }
    let mut client = Client::connect().await;
    client
        .socket
        .send(Message::Binary(vec![1].into()))
        .await
        .unwrap();
    assert_eq!(client.closed().await.0, 4400);
    let mut client = Client::connect().await;
    client.socket.send(Message::Text("{".into())).await.unwrap();
    assert_eq!(client.closed().await.0, 4400);
    let client = Client::connect_with(false, |_| {}).await;
    assert_eq!(
        client.closed().await,
        (4406, "Subprotocol not acceptable".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_socket_does_not_outlast_its_limits() {
    // Nothing is said, not even hello.
    let client = Client::connect().await;
    let (code, reason) = client.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (4408, "Connection initialisation timeout")
    );

    // Nothing happens on it, although somebody is there.
    let client = Client::ready().await;
    let began = Instant::now();
    assert_eq!(client.closed().await, (4403, "idle".to_owned()));
    assert!(began.elapsed() >= Duration::from_secs(120));

    // Something is waited for: then it goes on, until its time is over.
    for (by_credential, reason) in [(false, "lifetime"), (true, "credentials expired")] {
        let mut client = Client::connect_with(true, |bounds| {
            bounds.end.at = Instant::now() + Duration::from_secs(600);
            bounds.end.by_credential = by_credential;
        })
        .await;
        client.init().await;
        client
            .subscribe("1", "subscription { count(to: 0) { number } }")
            .await;
        let began = Instant::now();
        assert_eq!(client.closed().await, (4403, reason.to_owned()));
        assert!(began.elapsed() >= Duration::from_secs(599));
    }

    let client = Client::ready().await;
    client.drain.cancel();
    assert_eq!(client.closed().await, (1001, "going away".to_owned()));

    let mut client = Client::ready().await;
    client
        .subscribe("1", &format!("{{ quick # {} \n }}", "x".repeat(2000)))
        .await;
    assert_eq!(client.closed().await.0, 1009);

    let mut client = Client::ready().await;
    client.subscribe("1", "subscription { broken }").await;
    assert_eq!(client.closed().await.0, 4500);
}

#[tokio::test(start_paused = true)]
async fn operations_are_bounded_at_once_and_over_time() {
    let mut client = Client::ready().await;
    for id in ["1", "2", "3", "4"] {
        client
            .subscribe(id, "subscription { count(to: 0) { number } }")
            .await;
    }
    let answer = client.hear().await;
    assert_eq!(
        (&answer["id"], &answer["type"]),
        (&json!("4"), &json!("error"))
    );
    assert_eq!(
        answer["payload"][0]["extensions"]["code"],
        "TOO_MANY_OPERATIONS"
    );

    let mut client = Client::ready().await;
    for _ in 0..10 {
        client.subscribe("1", "{ quick }").await;
        client.hear().await;
        client.hear().await;
    }
    client.subscribe("1", "{ quick }").await;
    let answer = client.hear().await;
    assert_eq!(answer["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.subscribe("1", "{ quick }").await;
    assert_eq!(client.hear().await["type"], "next");
}
