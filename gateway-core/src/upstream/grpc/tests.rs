//! Calls against a service over HTTP/2: what is shared, stored and repeated of them, and what is no answer of gRPC's.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{GrpcCall, GrpcMethod, GrpcUpstream, framed};
use crate::auth::Principal;
use crate::cache::Lifetime;
use crate::config;
use crate::context::RequestContext;
use crate::metrics::Metrics;
use crate::upstream::tests::with_reads;
use crate::upstream::{Reads, SharedUpstreams, UpstreamError};

const LONG: Duration = Duration::from_secs(20);

/// Messages that are one number, and one text.
type Ask<Answer> = GrpcMethod<u32, Answer>;
const COUNT: Ask<u32> = Ask::new("/widgets.Widgets/Count");
const PAINT: Ask<u32> = Ask::new("/widgets.Widgets/Paint");

struct Service {
    asked: AtomicUsize,
    answers: Semaphore,
}

/// How often it was asked; for other methods what their name says.
async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let number = service.asked.fetch_add(1, Ordering::SeqCst) + 1;
    service.answers.acquire().await.unwrap().forget();
    assert_eq!(request.headers()["te"], "trailers");
    let message = framed(&u32::try_from(number).unwrap());
    match request.uri().path().rsplit('/').next().unwrap() {
        "Unknown" => with(framed(&0), "5"),
        "Silent" => ([("content-type", "application/grpc")], message).into_response(),
        "Html" => ([("content-type", "text/html"), ("grpc-status", "0")], "<p>").into_response(),
        "Away" => (StatusCode::BAD_GATEWAY, "<p>").into_response(),
        "Twice" => with([message.clone(), message].concat(), "0"),
        "Squeezed" => with([&[1], &message[1..]].concat(), "0"),
        "Short" => with(message[..message.len() - 1].to_vec(), "0"),
        "Garbage" => with(vec![0, 0, 0, 0, 1, 0xff], "0"),
        "Details" => {
            // Two values of a field for bytes may come joined (gRPC over HTTP/2); nobody looks at these.
            let details = ("grpc-status-details-bin", "CAU,=not base64=");
            let headers = [
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                details,
            ];
            (headers, ()).into_response()
        }
        "Message" => {
            let message = ("grpc-message", "not %ff there %zz");
            let headers = [
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                message,
            ];
            (headers, ()).into_response()
        }
        "Unavailable" => {
            let headers = [("content-type", "application/grpc"), ("grpc-status", "14")];
            (headers, ()).into_response()
        }
        _ => with(message, "0"),
    }
}

fn with(bytes: impl Into<bytes::Bytes>, status: &'static str) -> Response {
    let mut trailers = HeaderMap::new();
    let name = HeaderName::from_static("grpc-status");
    trailers.insert(name, HeaderValue::from_static(status));
    let body = Full::new(bytes.into()).with_trailers(async move { Some(Ok(trailers)) });
    ([("content-type", "application/grpc")], Body::new(body)).into_response()
}

struct World {
    service: Arc<Service>,
    client: GrpcUpstream,
}

impl World {
    async fn new() -> Self {
        let world = Self::held().await;
        world.service.answers.add_permits(1 << 20);
        world
    }

    /// With a service that answers when it is let.
    async fn held() -> Self {
        crate::install_crypto();
        let service = Arc::new(Service {
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let text = format!(
            "[upstreams.widgets]\naddress = \"http://{address}\"\nprotocol = \"grpc\"\n\
             retry.backoff = \"1ms\"\n"
        );
        let config = config::from_text(&[&text]).unwrap();
        let metrics = Metrics::new(1);
        let reads = Reads::new(1 << 20, &Arc::default(), &metrics);
        let shared = SharedUpstreams::new(&config.upstreams, 1, &metrics);
        let upstreams = with_reads(0, &shared, &reads);
        Self {
            service,
            client: upstreams.grpc("widgets").unwrap(),
        }
    }

    fn asked(&self) -> usize {
        self.service.asked.load(Ordering::SeqCst)
    }

    fn count(&self, of: u32) -> GrpcCall<u32> {
        self.client
            .read(context(), &COUNT, &of)
            .cached(Lifetime::seconds(600))
            .tagged([format!("widget:{of}")])
    }

    /// A method that the service has by this name.
    async fn read(&self, name: &str) -> Result<u32, UpstreamError> {
        let method = Ask::new(format!("/widgets.Widgets/{name}").leak());
        let call = self.client.read(context(), &method, &1);
        call.cached(Lifetime::seconds(600)).answer().await
    }
}

fn context() -> RequestContext {
    RequestContext::for_tests_as(Principal::Anonymous, LONG)
}

#[tokio::test]
async fn identical_reads_are_one_call_and_messages_tell_them_apart() {
    let world = World::held().await;
    let waiting: Vec<_> = [1, 1, 1, 2]
        .map(|of| tokio::spawn(world.count(of).answer()))
        .into();
    tokio::time::timeout(LONG, async {
        while world.asked() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    world.service.answers.add_permits(2);
    let mut answers = Vec::new();
    for answer in waiting {
        answers.push(answer.await.unwrap().unwrap());
    }
    assert_eq!(answers[..3], [answers[0]; 3]);
    assert_ne!(answers[0], answers[3]);
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn what_is_stored_is_used_until_a_command_or_a_purge() {
    let world = World::new().await;
    let count = async || world.count(7).answer().await.unwrap();
    assert_eq!((count().await, count().await), (1, 1));
    let paint = world.client.command(context(), &PAINT, &7);
    assert_eq!(paint.tagged(["widget:7"]).answer().await.unwrap(), 2);
    assert_eq!((count().await, count().await), (3, 3));
    // It is neither stored nor shared itself.
    let again = world.client.command(context(), &PAINT, &7).answer();
    assert_eq!(again.await.unwrap(), 4);
}

#[tokio::test]
async fn reads_are_repeated_and_commands_are_not() {
    let world = World::new().await;
    assert!(world.read("Unavailable").await.is_err());
    let repeated = world.asked();
    assert!(repeated > 1, "{repeated}");
    let method = Ask::<u32>::new("/widgets.Widgets/Unavailable");
    let command = world.client.command(context(), &method, &1).answer();
    assert!(command.await.is_err());
    assert_eq!(world.asked(), repeated + 1);
}

#[tokio::test]
async fn what_is_no_answer_says_so_and_is_not_stored() {
    let world = World::new().await;
    for (name, reason) in [
        ("Unknown", "not_found"),
        ("Details", "not_found"),
        ("Message", "not_found"),
        ("Silent", "invalid_response"),
        ("Html", "invalid_response"),
        ("Away", "upstream_error"),
        ("Twice", "invalid_response"),
        ("Squeezed", "invalid_response"),
        ("Short", "invalid_response"),
        ("Garbage", "invalid_response"),
    ] {
        for _ in 0..2 {
            let before = world.asked();
            let error = world.read(name).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{name}: {error:?}");
            assert!(world.asked() > before, "{name}");
        }
    }
}

#[test]
fn a_message_stands_behind_its_length() {
    let text = "widget".to_owned();
    let bytes = framed(&text);
    assert_eq!(bytes[..5], [0, 0, 0, 0, 8]);
    assert_eq!(String::decode(&bytes[5..]).unwrap(), text);
}
