//! Connections: how many there are, and what becomes of calls when their peer closes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::service::Service;
use super::{TIME, World, a_caller, of_worker, reason, until};
use crate::config;
use crate::metrics::Metrics;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::pool::warm_up;
use crate::upstream::stack::{CallKind, Judged};
use crate::upstream::{SharedUpstreams, UpstreamErrorKind, Upstreams};
use crate::waterfall::CallTarget;

#[tokio::test]
async fn connections_are_used_again() {
    let service = Service::start().await;
    let world = World::of(&[&service], "");
    for path in ["/ok", "/body", "/404"] {
        for _ in 0..20 {
            let _ = world.get(path).await;
        }
    }
    for _ in 0..20 {
        world.post("/body").await.unwrap();
    }
    assert_eq!(service.connections(), 1);
    let endpoint = &world.status().endpoints[0];
    assert_eq!((endpoint.connections, endpoint.idle_connections), (1, 1));
}

#[tokio::test]
async fn one_http2_connection_carries_all_calls() {
    let service = Service::start().await;
    let world = World::of(&[&service], "protocol = \"http2\"\n");
    for answer in futures_util::future::join_all((0..50).map(|_| world.get("/body"))).await {
        assert_eq!(&answer.unwrap().body[..], b"a body");
    }
    world.post("/ok").await.unwrap();
    assert_eq!(service.connections(), 1);
}

#[tokio::test]
async fn there_are_no_more_connections_than_configured() {
    let service = Service::start().await;
    let world = World::of(&[&service], "max_connections = 3\nmax_idle = 1\n");
    let held: Vec<_> = futures_util::future::join_all((0..10).map(|_| async {
        tokio::time::timeout(Duration::from_millis(300), world.get("/hang")).await
    }))
    .await;
    let refused = held
        .into_iter()
        .filter_map(Result::ok)
        .map(reason)
        .collect::<Vec<_>>();
    assert_eq!(refused, ["overloaded"; 7]);
    // That is our limit, and says nothing of the service.
    assert_eq!(world.status().breaker.failures, 0);
    assert_eq!(service.connections(), 3);
    until(|| world.status().endpoints[0].connections == 0).await;
    for answer in futures_util::future::join_all((0..3).map(|_| world.get("/body"))).await {
        answer.unwrap();
    }
    until(|| world.status().endpoints[0].connections == 1).await;
}

/// One worker keeps what it does not need, another needs one, and there may be no more.
#[tokio::test]
async fn idle_connections_of_one_worker_make_room_for_another() {
    let service = Service::start().await;
    let text = format!(
        "[upstreams.widgets]\naddress = {}\nmax_connections = 2\n",
        service.quoted_url()
    );
    let config = config::from_text(&[&text]).unwrap();
    let metrics = Metrics::new(2);
    let shared = SharedUpstreams::new(&config.upstreams, 2, &metrics);
    let [one, other] = [0, 1].map(|worker| of_worker(worker, &shared, &metrics));
    let held = |upstreams: &Upstreams| {
        let client = upstreams.client("widgets").unwrap();
        tokio::spawn(client.get(a_caller(TIME), "/held").send())
    };
    let (first, second) = (held(&one), held(&one));
    until(|| service.seen("/held") == 2).await;
    let refused = held(&other).await.unwrap();
    assert_eq!(reason(refused), "overloaded");
    service.release();
    for call in [first, second] {
        call.await.unwrap().unwrap();
    }
    for _ in 0..2 {
        held(&other).await.unwrap().unwrap();
    }
    assert_eq!(service.connections(), 3);
}

/// Nobody answers there, not even with a refusal: the place where connections wait to be accepted is full.
async fn black_hole() -> (SocketAddr, Vec<TcpStream>, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    (address, waiting, socket)
}

#[tokio::test]
async fn calls_that_wait_for_one_connection_fail_with_it() {
    let (address, _waiting, _socket) = black_hole().await;
    let world = World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://{address}\"\nprotocol = \"http2\"\nconnect_timeout = \"400ms\"\n\
         [upstreams.widgets.retry]\nretries = 0\n[upstreams.widgets.breaker]\nenabled = false\n"
    ));
    let began = tokio::time::Instant::now();
    let calls = futures_util::future::join_all((0..20).map(|_| world.get("/ok"))).await;
    for call in calls {
        assert_eq!(reason(call), "unreachable");
    }
    // One after the other they would take 8 s.
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn what_was_idle_for_too_long_is_closed() {
    let service = Service::start().await;
    let world = World::of(&[&service], "idle_timeout = \"50ms\"\n");
    world.get("/ok").await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    world.get("/ok").await.unwrap();
    assert_eq!(service.connections(), 2);
    tokio::time::sleep(Duration::from_millis(60)).await;
    world.shared.sweep();
    until(|| world.status().endpoints[0].connections == 0).await;
}

/// Answers one request on each connection, and then does `after` with it; counts what it has read.
async fn fickle<F, Fut>(after: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(TcpStream) -> Fut + Send + Copy + 'static,
    Fut: Future<Output = usize> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                if request(&mut socket).await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    socket.write_all(answer).await.unwrap();
                    counted.fetch_add(after(socket).await, Ordering::Relaxed);
                }
            });
        }
    });
    (address, read)
}

/// Reads a request of at most one packet.
async fn request(socket: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    matches!(socket.read(&mut bytes).await, Ok(length) if length > 0)
}

fn world(address: SocketAddr) -> World {
    World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://{address}\"\n[upstreams.widgets.retry]\nretries = 0\n"
    ))
}

/// The race that every pool has: the peer closes while the next request is on its way.
#[tokio::test]
async fn a_connection_that_was_closed_while_idle_loses_no_read() {
    let (address, _) = fickle(|socket| async {
        drop(socket);
        0
    })
    .await;
    let world = world(address);
    for _ in 0..200 {
        assert_eq!(&world.get("/").await.unwrap().body[..], b"ok");
    }
    assert_eq!(world.status().breaker.failures, 0);
    // A command goes over a new connection once it is known that the old one is closed.
    for _ in 0..20 {
        until(|| world.status().endpoints[0].connections == 0).await;
        assert_eq!(&world.post("/").await.unwrap().body[..], b"ok");
    }
}

/// The peer fails in the middle of its work, long after the request was handed over: that is no old connection.
#[tokio::test]
async fn a_service_that_dies_while_it_works_has_failed() {
    let (address, read) = fickle(|mut socket| async move {
        let read = request(&mut socket).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        usize::from(read)
    })
    .await;
    let world = world(address);
    for failures in 1..=3 {
        assert!(world.get("/").await.is_ok());
        assert_eq!(reason(world.get("/").await), "unreachable");
        assert_eq!(world.status().breaker.failures, failures);
    }
    assert_eq!(read.load(Ordering::Relaxed), 6);
}

/// The peer reads the next request and closes: nobody knows what it did with it.
#[tokio::test]
async fn a_command_that_was_sent_is_not_sent_again() {
    let (address, read) =
        fickle(|mut socket| async move { usize::from(request(&mut socket).await) }).await;
    let world = world(address);
    assert!(world.post("/").await.is_ok());
    assert_eq!(reason(world.post("/").await), "unreachable");
    assert_eq!(read.load(Ordering::Relaxed), 2);
    // A read may be: over a new connection, and for nothing.
    assert!(world.get("/").await.is_ok());
    assert!(world.get("/").await.is_ok());
    assert_eq!(read.load(Ordering::Relaxed), 5);
    assert_eq!(world.status().breaker.failures, 0);
}

/// Speaks HTTP/2, and on each connection refuses one stream and then says that it closes (RFC 9113, 6.8 and 8.7), as a
/// service that is being replaced does.
async fn leaving() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let mut number = 0;
                while let Some(Ok((_, mut stream))) = connection.accept().await {
                    number += 1;
                    if number == 3 {
                        stream.send_reset(h2::Reason::REFUSED_STREAM);
                        connection.graceful_shutdown();
                    } else {
                        let answer = http::Response::new(());
                        let _ = stream.send_response(answer, true);
                    }
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn a_service_that_leaves_in_good_order_loses_no_read() {
    let (address, connections) = leaving().await;
    let world = World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://{address}\"\nprotocol = \"http2\"\n[upstreams.widgets.retry]\nretries = 0\n"
    ));
    for _ in 0..30 {
        let answers = futures_util::future::join_all((0..4).map(|_| world.get("/ok"))).await;
        for answer in answers {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    assert!(connections.load(Ordering::Relaxed) > 20);
    assert_eq!(world.status().breaker.failures, 0);
}

/// Speaks HTTP/2: what its answers' bodies are, and how they end, says the path.
async fn over_http2() -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, mut stream))) = connection.accept().await {
                    let answer = http::Response::new(());
                    let mut body = stream.send_response(answer, false).unwrap();
                    match request.uri().path() {
                        "/large" => body.send_data(vec![b'x'; 3 << 20].into(), true).unwrap(),
                        "/cut" => {
                            body.send_data("half".into(), false).unwrap();
                            tokio::spawn(async move {
                                // When what was said before has been sent.
                                tokio::time::sleep(Duration::from_millis(50)).await;
                                body.send_reset(h2::Reason::NO_ERROR);
                            });
                        }
                        _ => body.send_data("whole".into(), true).unwrap(),
                    }
                }
            });
        }
    });
    World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://{address}\"\nprotocol = \"http2\"\n[upstreams.widgets.retry]\nretries = 0\n"
    ))
}

#[tokio::test]
async fn an_answer_that_is_cut_off_without_an_error_is_not_whole() {
    let world = over_http2().await;
    assert_eq!(&world.get("/whole").await.unwrap().body[..], b"whole");
    let cut = world.get("/cut").await.unwrap_err();
    assert_eq!(cut.kind, UpstreamErrorKind::Reset);
    assert_eq!(world.status().breaker.failures, 1);
}

/// Over the one connection that all calls have.
#[tokio::test]
async fn answers_that_nobody_takes_are_in_nobodys_way() {
    let world = over_http2().await;
    let stack = world.upstreams.stack("widgets").unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        let context = a_caller(TIME);
        let mut attempt = stack.begin(
            &context,
            CallTarget::Http {
                method: http::Method::GET,
                template: None,
            },
        );
        let mut request = Box::new(http::Request::new(Outgoing::empty()));
        *request.uri_mut() = "/large".parse().unwrap();
        let answer = stack
            .send(request, &mut attempt, CallKind::Safe, Judged::AtHead)
            .await;
        held.push((answer.unwrap(), attempt));
    }
    for _ in 0..5 {
        assert_eq!(&world.get("/whole").await.unwrap().body[..], b"whole");
    }
}

#[tokio::test]
async fn what_is_kept_ready_takes_nobodys_place() {
    let service = Service::start().await;
    let world = World::of(&[&service], "max_connections = 3\nmax_idle = 3\nwarm = 3\n");
    let context = a_caller(TIME);
    let call = tokio::spawn(world.client().get(context, "/hang").send());
    until(|| service.seen("/hang") == 1).await;
    let endpoints = world.shared.iter().next().unwrap().endpoints.load();
    for _ in 0..3 {
        let warming = timeout(TIME, warm_up(&endpoints.all()[0], 0)).await;
        warming.expect("it comes to an end").unwrap();
    }
    assert_eq!(service.connections(), 3);
    call.abort();
}
