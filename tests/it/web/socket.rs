//! GraphQL over WebSockets and as events, over real sockets: handshakes, results fed by real events, how they end, and what
//! they are counted by. Every message and every close code of the protocol is tested in gateway-core.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use ftgo_runner::service::Service;
use ftgo_tests::System;
use ftgo_tests::bff::gateway_key;
use ftgo_tests::browser::Browser;
use ftgo_tests::system::{PATIENCE, eventually};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::session::sign_in;

const ORDER: &str =
    "subscription($id: ID!) { orderChanged(id: $id) { state id ticket { state } } }";

/// What a handshake was answered.
struct Shaken {
    head: String,
    stream: TcpStream,
}

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

/// A handshake with further header fields.
async fn shake(address: SocketAddr, protocol: &str, fields: &[(&str, &str)]) -> Result<Shaken> {
    let mut head = format!(
        "GET /graphql HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {protocol}\r\n"
    );
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n")?;
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    let reading = async {
        // Byte by byte: what follows is the socket's.
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>(())
    };
    timeout(PATIENCE, reading).await??;
    Ok(Shaken {
        head: String::from_utf8(answer)?,
        stream,
    })
}

impl Shaken {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    async fn open(self) -> Result<Socket> {
        ensure!(self.status() == "101", "{}", self.head);
        let socket = WebSocketStream::from_raw_socket(self.stream, Role::Client, None).await;
        Ok(Socket(socket))
    }
}

impl Socket {
    /// After `connection_init` and its answer.
    pub(crate) async fn ready(address: SocketAddr, fields: &[(&str, &str)]) -> Result<Self> {
        let shaken = shake(address, "graphql-transport-ws", fields).await?;
        let mut socket = shaken.open().await?;
        socket.say(&json!({"type": "connection_init"})).await?;
        let answer = socket.hear().await?;
        ensure!(answer == json!({"type": "connection_ack"}), "{answer}");
        Ok(socket)
    }

    async fn of(address: SocketAddr, token: &str) -> Result<Self> {
        Self::ready(address, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    async fn say(&mut self, message: &Value) -> Result<()> {
        let text = Message::Text(message.to_string().into());
        Ok(self.0.send(text).await?)
    }

    async fn subscribe(&mut self, id: &str, query: &str, variables: Value) -> Result<()> {
        let payload = json!({"query": query, "variables": variables});
        self.say(&json!({"type": "subscribe", "id": id, "payload": payload}))
            .await
    }

    async fn message(&mut self) -> Result<Message> {
        let next = timeout(PATIENCE, self.0.next());
        Ok(next
            .await
            .context("nothing came")?
            .context("the end, without a word")??)
    }

    async fn hear(&mut self) -> Result<Value> {
        loop {
            match self.message().await? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("{other:?}"),
            }
        }
    }

    /// Hears results until one contains `wanted`; that one.
    async fn until(&mut self, wanted: &str) -> Result<Value> {
        loop {
            let heard = self.hear().await?;
            ensure!(heard["type"] == "next", "waiting for {wanted}: {heard}");
            if heard.to_string().contains(wanted) {
                return Ok(heard);
            }
        }
    }

    /// The code and the reason with which the socket is closed.
    pub(crate) async fn closed(mut self) -> Result<(u16, String)> {
        loop {
            match self.message().await? {
                Message::Close(frame) => {
                    let frame = frame.context("no code")?;
                    return Ok((frame.code.into(), frame.reason.to_string()));
                }
                Message::Text(text) => bail!("{text}"),
                _ => {}
            }
        }
    }

    /// Says goodbye, and waits for the answer.
    async fn close(mut self) -> Result<()> {
        self.0.close(None).await?;
        let rest = async { while let Some(Ok(_)) = self.0.next().await {} };
        Ok(timeout(PATIENCE, rest).await?)
    }
}

/// bff-web's.
async fn metrics(system: &System) -> Result<String> {
    let url = format!("http://{}/metrics", system.web.admin_address());
    Ok(system.http.get_raw(&url).await?.text().await?)
}

/// Waits until bff-web's metrics have this line.
async fn becomes(system: &System, line: &str) -> Result<()> {
    eventually(line, async || {
        let text = metrics(system).await?;
        Ok(text.lines().any(|said| said == line).then_some(()))
    })
    .await
}

/// The restaurant's staff accepts the order's ticket.
async fn accept(system: &System, id: &str) -> Result<()> {
    let accept =
        "mutation($id: ID!) { acceptTicket(id: $id, readyBy: \"2099-01-01T00:00:00Z\") { state } }";
    let body = json!({"query": accept, "variables": {"id": id}});
    for name in ["staff-1", "staff-2"] {
        let token = system.token(name).await?;
        let url = system.web_url("/graphql");
        let answer = system.http.post(&url, &token, &body).await?;
        if answer.body["data"]["acceptTicket"]["state"] == "ACCEPTED" {
            return Ok(());
        }
    }
    bail!("nobody's ticket")
}

/// A GraphQL operation whose results are asked for as events.
async fn events(system: &System, token: &str, body: &Value) -> Result<reqwest::Response> {
    let url = system.web_url("/graphql");
    let request = system.http.request(Method::POST, &url).bearer_auth(token);
    let request = request.header("accept", "text/event-stream").json(body);
    Ok(request.send().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_answers_and_tells_of_real_changes() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.place(&token).await?;
    system.order_becomes(&token, &id, "APPROVED").await?;
    let address = system.web.address();
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str())];
    let shaken = shake(address, "other, graphql-transport-ws", &fields).await?;
    // RFC 6455, 1.3 has the answer to this key.
    let accept_key = shaken.header("sec-websocket-accept");
    assert_eq!(accept_key, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let protocol = shaken.header("sec-websocket-protocol");
    assert_eq!(protocol, Some("graphql-transport-ws"));
    let mut socket = shaken.open().await?;

    let payload = json!({"at": 7, "deep": {"er": [1]}});
    let ping = json!({"type": "ping", "payload": payload});
    socket.say(&ping).await?;
    let pong = json!({"type": "pong", "payload": payload});
    assert_eq!(socket.hear().await?, pong);
    socket.say(&json!({"type": "connection_init"})).await?;
    assert_eq!(socket.hear().await?, json!({"type": "connection_ack"}));

    socket.subscribe("q", "{ me { id } }", json!({})).await?;
    let answer = socket.hear().await?;
    assert_eq!(
        answer["payload"],
        json!({"data": {"me": {"id": "consumer-1"}}})
    );
    assert_eq!(socket.hear().await?, json!({"type": "complete", "id": "q"}));

    socket.subscribe("s", ORDER, json!({"id": id})).await?;
    socket.until("\"state\":\"APPROVED\"").await?;
    accept(&system, &id).await?;
    socket.until("\"ticket\":{\"state\":\"ACCEPTED\"}").await?;

    // A stream while it lasts, and no request that is worked on.
    becomes(&system, "gateway_streams_open 1").await?;
    becomes(&system, "gateway_admission_places_taken 0").await?;
    socket.close().await?;
    becomes(&system, "gateway_streams_open 0").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_with_what_was_wrong() -> Result<()> {
    let system = System::start().await?;
    let address = system.web.address();
    let init = || json!({"type": "connection_init"});
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}});
    for (messages, expected) in [
        (vec![init(), init()], 4429),
        (vec![subscribe], 4401),
        (vec![json!({"type": "unknown"})], 4400),
    ] {
        let shaken = shake(address, "graphql-transport-ws", &[]).await?;
        let mut socket = shaken.open().await?;
        for message in &messages {
            socket.say(message).await?;
        }
        if messages[0] == init() {
            assert_eq!(socket.hear().await?, json!({"type": "connection_ack"}));
        }
        assert_eq!(socket.closed().await?.0, expected, "{messages:?}");
    }
    let shaken = shake(address, "graphql-ws", &[]).await?;
    assert_eq!(shaken.header("sec-websocket-protocol"), None);
    assert_eq!(shaken.open().await?.closed().await?.0, 4406);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_opens_a_socket_from_our_own_pages_alone() -> Result<()> {
    let system = System::start().await?;
    let browser = Browser::new()?;
    let cookie = format!(
        "__Host-ftgo={}",
        sign_in(&system, &browser, "consumer-1").await?
    );
    let address = system.web.address();
    for (origin, expected) in [
        (Some("https://elsewhere.example".to_owned()), "403"),
        (Some("null".to_owned()), "403"),
        (None, "403"),
        // The same site, and another origin.
        (Some("http://127.0.0.1:1".to_owned()), "403"),
        (Some(format!("http://{address}")), "101"),
    ] {
        let mut fields = vec![("Cookie", cookie.as_str())];
        if let Some(origin) = &origin {
            fields.push(("Origin", origin));
        }
        let shaken = shake(address, "graphql-transport-ws", &fields).await?;
        assert_eq!(shaken.status(), expected, "{origin:?}: {}", shaken.head);
        if expected == "101" {
            let mut socket = Socket::ready(address, &fields).await?;
            socket.subscribe("1", "{ me { id } }", json!({})).await?;
            let answer = socket.hear().await?;
            assert_eq!(answer["payload"]["data"]["me"]["id"], "consumer-1");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_opened_ends_with_it() -> Result<()> {
    let system = System::start().await?;
    let address = system.web.address();
    let origin = format!("http://{address}");
    let mut sockets = Vec::new();
    for subject in ["consumer-1", "consumer-2"] {
        let browser = Browser::new()?;
        let cookie = sign_in(&system, &browser, subject).await?;
        let cookie = format!("__Host-ftgo={cookie}");
        let fields = [("Cookie", cookie.as_str()), ("Origin", origin.as_str())];
        let socket = Socket::ready(address, &fields).await?;
        sockets.push((socket, cookie));
    }
    let (mut other, _) = sockets.pop().context("two")?;
    let (mine, cookie) = sockets.pop().context("two")?;
    let answer = reqwest::Client::new()
        .post(format!("{origin}/bff/logout"))
        .header("cookie", cookie)
        .header("origin", &origin)
        .header("sec-fetch-site", "same-origin")
        .header("x-csrf", "1")
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        mine.closed().await?,
        (4403, "credentials revoked".to_owned())
    );
    // Another person's goes on.
    other.subscribe("1", "{ me { id } }", json!({})).await?;
    let answer = other.hear().await?;
    assert_eq!(answer["payload"]["data"]["me"]["id"], "consumer-2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_ends_with_its_credentials_and_with_the_gateway() -> Result<()> {
    let system = System::start().await?;
    let address = system.web.address();
    let revoked = Socket::of(address, &system.token("consumer-1").await?).await?;
    let drained = Socket::of(address, &system.token("consumer-2").await?).await?;
    let issuer = format!("http://{}", system.address(Service::Identity)?);
    let url = format!("http://{}/revocations", system.web.admin_address());
    let revocation = json!({"issuer": issuer, "sub": "consumer-1"});
    let answer = system.http.post_raw(&url, &revocation).await?;
    assert_eq!(answer.status(), 204);
    assert_eq!(
        revoked.closed().await?,
        (4403, "credentials revoked".to_owned())
    );

    let System { web, .. } = system;
    let (closed, ()) = tokio::join!(drained.closed(), web.drain());
    assert_eq!(closed?, (1001, "going away".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_so_many_sockets_and_subscriptions() -> Result<()> {
    let system = System::start_with("[streams]\nmax_per_caller = 2\n").await?;
    let address = system.web.address();
    let token = system.token("consumer-1").await?;
    let order = system.approved_order(&token).await?;
    let follow = json!({"query": ORDER, "variables": {"id": order}});

    // Whoever has no name is counted by address.
    let one = Socket::ready(address, &[]).await?;
    let two = Socket::ready(address, &[]).await?;
    let refused = shake(address, "graphql-transport-ws", &[]).await?;
    assert_eq!(refused.status(), "429", "{}", refused.head);
    becomes(&system, "gateway_streams_open 2").await?;

    // A socket and a subscription are one each; what is only read is none.
    let mine = Socket::of(address, &token).await?;
    let mut stream = events(&system, &token, &follow).await?;
    assert_eq!(stream.status(), 200);
    let first = stream.chunk().await?.context("no event")?;
    assert!(first.starts_with(b"event: next\n"), "{first:?}");
    let more = events(&system, &token, &follow).await?;
    assert_eq!(more.status(), 429);
    let query = json!({"query": "{ me { id } }"});
    let read = events(&system, &token, &query).await?.text().await?;
    assert!(read.contains("\"consumer-1\""), "{read}");
    becomes(&system, "gateway_streams_open 4").await?;
    becomes(&system, "gateway_streams_refused_total 2").await?;
    // They wait, and keep nobody from working.
    becomes(&system, "gateway_admission_places_taken 0").await?;

    drop(stream);
    for socket in [one, two, mine] {
        socket.close().await?;
    }
    becomes(&system, "gateway_streams_open 0").await?;
    let again = Socket::of(address, &token).await?;
    again.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_bounded_all_together() -> Result<()> {
    let system = System::start_with("[server]\nmax_connections = 4\n").await?;
    let address = system.web.address();
    let mut sockets = Vec::new();
    for number in 1..=4 {
        sockets.push(Socket::ready(address, &[]).await?);
        becomes(&system, &format!("gateway_streams_open {number}")).await?;
        // Its connection is not among the server's any more.
        becomes(&system, "gateway_connections 0").await?;
    }
    let refused = shake(address, "graphql-transport-ws", &[]).await?;
    assert_eq!(refused.status(), "503", "{}", refused.head);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_operations_however_they_come() -> Result<()> {
    let limits = "[rate_limits.caller]\nkey = \"principal\"\nrate = \"1/m\"\nburst = 12\n";
    let system = System::start_with(&format!("{limits}[graphql]\nmax_batch = 20\n")).await?;
    let url = system.web_url("/graphql");
    let post = async |token: &str, body: &Value| system.http.post(&url, token, body).await;
    let mutations = |count: usize| {
        let fields: String = (0..count)
            .map(|number| format!("m{number}: markReady(id: \"none\") {{ state }} "))
            .collect();
        json!({"query": format!("mutation {{ {fields} }}")})
    };

    // Ten are ten, and three more are over the limit; then two are left.
    let token = system.token("consumer-1").await?;
    let answer = post(&token, &mutations(10)).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body["errors"].is_array(), "{answer:?}");
    let answer = post(&token, &mutations(3)).await?;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");

    let token = system.token("consumer-2").await?;
    let batch = |count: usize| Value::from(vec![json!({"query": "{ me { id } }"}); count]);
    assert_eq!(post(&token, &batch(10)).await?.status, 200);
    assert_eq!(post(&token, &batch(3)).await?.status, 429);

    let token = system.token("consumer-3").await?;
    let mut socket = Socket::of(system.web.address(), &token).await?;
    for number in 1..=12 {
        socket.subscribe("1", "{ me { id } }", json!({})).await?;
        let answer = socket.hear().await?;
        // The handshake was one.
        if number < 12 {
            assert_eq!(answer["type"], "next", "{number}: {answer}");
            socket.hear().await?;
        } else {
            assert_eq!(answer["type"], "error", "{answer}");
            let extensions = &answer["payload"][0]["extensions"];
            assert_eq!(extensions["code"], "RATE_LIMITED", "{answer}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_read_yet_is_told_when_it_can() -> Result<()> {
    let system = System::start().await?;
    let token = system.token("consumer-1").await?;
    let id = system.place(&token).await?;
    system.order_becomes(&token, &id, "APPROVED").await?;
    let mut socket = Socket::of(system.web.address(), &token).await?;
    socket.subscribe("s", ORDER, json!({"id": id})).await?;
    socket.until("\"state\":\"APPROVED\"").await?;

    let broken = json!([{"path": "/orders", "kind": "error", "status": 503}]);
    system.fault(Service::Order, &broken).await?;
    accept(&system, &id).await?;
    // It was tried, and failed.
    let failed = r#"gateway_upstream_calls_total{upstream="order",outcome="upstream_error"} "#;
    eventually("the order was asked for", async || {
        let text = metrics(&system).await?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(failed));
        Ok(lines.any(|count| count != "0").then_some(()))
    })
    .await?;
    system.no_faults(Service::Order).await?;
    socket.until("\"ticket\":{\"state\":\"ACCEPTED\"}").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_cannot_be_read_is_a_list_to_read_anew() -> Result<()> {
    let system = System::start().await?;
    let consumer = system.token("consumer-1").await?;
    let restaurant = system.open_restaurant(&consumer).await?["id"].clone();
    let id = system.place(&consumer).await?;
    system.order_becomes(&consumer, &id, "APPROVED").await?;
    let query =
        "subscription($r: ID!) { ticketsChanged(restaurantId: $r) { ticket { id state } } }";
    let list = json!({"data": {"ticketsChanged": {"ticket": null}}});
    let mut staff = None;
    for name in ["staff-1", "staff-2"] {
        let token = system.token(name).await?;
        let mut socket = Socket::of(system.web.address(), &token).await?;
        socket
            .subscribe("t", query, json!({"r": restaurant}))
            .await?;
        let first = socket.hear().await?;
        if first["payload"] == list {
            staff = Some(socket);
        } else {
            ensure!(first.to_string().contains("NOT_FOUND"), "{first}");
        }
    }
    let mut staff = staff.context("nobody's restaurant")?;

    let unreadable = json!([{"path": "/tickets", "method": "GET", "kind": "error", "status": 503}]);
    system.fault(Service::Kitchen, &unreadable).await?;
    // Past bff-web, which would look at the ticket before.
    let kitchen = system.address(Service::Kitchen)?;
    let url = format!("http://{kitchen}/tickets/{id}/accept");
    let itself = gateway_key().signer().for_itself(Service::Kitchen.name())?;
    let request = system.http.request(Method::POST, &url);
    let request = request.header("x-internal-token", itself);
    let body = json!({"readyBy": "2099-01-01T00:00:00Z"});
    let accepted = request.json(&body).send().await?;
    ensure!(accepted.status().is_success(), "{accepted:?}");
    assert_eq!(staff.hear().await?["payload"], list);
    Ok(())
}
