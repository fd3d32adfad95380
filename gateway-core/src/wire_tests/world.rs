//! A gateway with a small app and a service behind it, both on real sockets, and a client that sends bytes as a test wants
//! them. What is claimed about them stands in `wire_tests.rs`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::api_key::{self, Environment};
use crate::cache::ResponseCache;
use crate::error::{Error, FieldError};
use crate::extract::{JsonBody, PathParam};
use crate::route::Routes;
use crate::upstream::{GrpcMethod, GrpcUpstream, UnknownUpstream, UpstreamClient, Upstreams};
use crate::{App, Gateway, RequestContext, RunningGateway, config};

pub(super) struct World {
    gateway: RunningGateway,
    key: String,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    /// As it came, with its transfer coding.
    bytes: Vec<u8>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// All lines of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The names of all fields but those that differ from one answer to the next.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()))
            .filter(|name| name != "transfer-encoding" && name != "date")
            .collect();
        names.sort_unstable();
        names
    }

    /// The body's bytes without their transfer coding.
    pub(super) fn content(&self) -> Vec<u8> {
        if self.header("transfer-encoding") == Some("chunked") {
            dechunked(&self.bytes)
        } else {
            self.bytes.clone()
        }
    }

    /// The problem document, after the checks that hold for every one.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status, "{self:?}");
        assert_eq!(
            problem["requestId"].as_str(),
            self.header("x-request-id"),
            "{self:?}"
        );
        assert!(problem["instance"].is_string(), "{self:?}");
        problem
    }

    /// How the calls to services ended, as the answer tells callers that are known.
    pub(super) fn outcome(&self) -> &str {
        self.header("server-timing")
            .and_then(|timing| timing.split("desc=").nth(1))
            .unwrap_or("")
    }
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with("").await
    }

    /// With another configuration merged over the usual one.
    pub(super) async fn with(more: &str) -> Self {
        crate::install_crypto();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = axum::Router::new().fallback(async move |request: Request| {
            record.lock().unwrap().push(request.headers().clone());
            serve(request).await
        });
        tokio::spawn(async { axum::serve(listener, service).await });

        let key = api_key::generate("acme", Environment::Test).unwrap();
        let config = config::from_text(&[&configuration(address, &key.hash_hex), more]).unwrap();
        let app = App {
            name: "widgets",
            routes,
            tags: crate::events::no_tags,
            tables: &[],
            announce: None,
        };
        Self {
            gateway: Gateway::start(app, config).unwrap(),
            key: key.secret,
            seen,
        }
    }

    /// The head of an authenticated request.
    pub(super) fn head(&self, line: &str, fields: &[&str]) -> String {
        let mut head = format!(
            "{line} HTTP/1.1\r\nHost: gateway.example\r\nConnection: close\r\nX-API-Key: {}\r\n",
            self.key
        );
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }

    pub(super) fn cache(&self) -> Arc<ResponseCache> {
        Arc::clone(&self.gateway.shared().cache)
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.gateway.address()).await.unwrap()
    }

    pub(super) async fn connect_to_admin(&self) -> TcpStream {
        let address = self.gateway.admin_address();
        TcpStream::connect(address).await.unwrap()
    }

    /// What the admin listener tells a scraper.
    pub(super) async fn metrics(&self) -> String {
        let mut socket = self.connect_to_admin().await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        reply(socket).await.body
    }

    /// Sends bytes and reads what comes back until the gateway closes.
    pub(super) async fn raw(&self, bytes: &str) -> Reply {
        let mut socket = self.connect().await;
        socket.write_all(bytes.as_bytes()).await.unwrap();
        reply(socket).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.raw(&self.head(&format!("GET {path}"), &[])).await
    }

    pub(super) async fn send(&self, line: &str, fields: &[&str], body: &str) -> Reply {
        let length = format!("Content-Length: {}", body.len());
        let mut fields = fields.to_vec();
        fields.push(&length);
        self.raw(&(self.head(line, &fields) + body)).await
    }

    /// The headers that the service saw last.
    pub(super) fn last_seen(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub(super) async fn reply(mut socket: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A reset after the answer loses nothing of it.
    let _ = socket.read_to_end(&mut bytes).await;
    let end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.split_off(end + 4);
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body,
    }
}

/// What has come of a chunked body, also of one without its end.
pub(super) fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let piece = &rest[end + 2..];
        if size == 0 || piece.len() < size + 2 {
            break;
        }
        content.extend_from_slice(&piece[..size]);
        rest = &piece[size + 2..];
    }
    content
}

fn configuration(service: SocketAddr, hash: &str) -> String {
    let mut text = format!(
        r#"
        [server]
        address = "127.0.0.1:0"
        workers = 1
        lame_duck = "0ms"
        max_body = "1KiB"
        [admin]
        address = "127.0.0.1:0"
        [api_keys]
        prefix = "acme"
        [[api_keys.keys]]
        id = "k1"
        owner = "acme"
        hash = "sha256:{hash}"
        [upstreams.parts]
        address = "http://{service}"
        [upstreams.labels]
        address = "http://{service}"
        protocol = "grpc"
        max_response = "1KiB"
        [[routes]]
        name = "parts"
        path = "/parts/{{*rest}}"
        methods = ["GET", "POST"]
        upstream = "parts"
        access = "authenticated"
        deadline = "500ms"
        "#
    );
    for route in [
        "widget", "change", "teapot", "graphql", "composed", "label", "long", "html",
    ] {
        text.push_str(&format!("[policies.{route}]\naccess = \"authenticated\"\n"));
    }
    for route in ["page", "asset"] {
        text.push_str(&format!("[policies.{route}]\naccess = \"public\"\n"));
    }
    text
}

#[derive(Clone)]
struct Clients {
    parts: UpstreamClient,
    labels: GrpcUpstream,
}

#[derive(Deserialize, JsonSchema)]
struct Change {
    size: u8,
}

fn routes(upstreams: &Upstreams, _: &crate::config::Config) -> Result<Routes, UnknownUpstream> {
    let clients = Clients {
        parts: upstreams.client("parts")?,
        labels: upstreams.grpc("labels")?,
    };
    Ok(Routes::new()
        .get(
            "widget",
            "/widgets/{id}",
            async |PathParam(id): PathParam<u32>| id.to_string(),
        )
        .post("change", "/widgets/{id}", change)
        .get("teapot", "/teapot", async || {
            (
                StatusCode::IM_A_TEAPOT,
                "thread 'main' panicked at secret.rs",
            )
        })
        .get("graphql", "/graphql", async || {
            let kind = [(
                CONTENT_TYPE,
                "application/graphql-response+json; charset=utf-8",
            )];
            (StatusCode::BAD_REQUEST, kind, "{\"errors\":[]}")
        })
        .get("composed", "/composed/{id}", composed)
        .get("long", "/long", async || {
            let kind = [(CONTENT_TYPE, "application/json")];
            (kind, format!("\"{}\"", long()))
        })
        .get("html", "/html", async || axum::response::Html(long()))
        .get("label", "/label/{case}", label)
        .open("page", "/page", async || super::site::PAGE.answer())
        .open("asset", "/assets/{file}", asset)
        .with_state(clients))
}

/// Widget 1 is the caller's; who sees the others learns that from nothing, not even from a complaint about a body.
async fn change(PathParam(id): PathParam<u32>, request: Request) -> Result<String, Error> {
    use axum::extract::FromRequest;
    if id != 1 {
        return Err(Error::not_found());
    }
    let JsonBody(change) = JsonBody::<Change>::from_request(request, &()).await?;
    Ok(change.size.to_string())
}

async fn composed(
    context: RequestContext,
    axum::extract::State(clients): axum::extract::State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<String, Error> {
    let call = clients.parts.get(context, format!("/parts/{id}"));
    Ok(call.json_answer::<Value>().await?.to_string())
}

async fn asset(PathParam(file): PathParam<String>, headers: HeaderMap) -> Result<Response, Error> {
    super::site::ASSETS.answer(&file, &headers)
}

async fn label(
    context: RequestContext,
    axum::extract::State(clients): axum::extract::State<Clients>,
    PathParam(case): PathParam<String>,
) -> Result<String, Error> {
    let method = GrpcMethod::<(), String>::new(format!("/labels/{case}").leak());
    let text = clients
        .labels
        .read(context, &method, &())
        .answer()
        .await
        .map_err(|error| match error.refusal() {
            Some(refusal) => crate::error::ClientError::Unprocessable(vec![FieldError {
                pointer: refusal.status.as_str().to_owned(),
                detail: refusal.detail.clone().unwrap_or_default(),
            }])
            .into(),
            None => Error::Upstream(error),
        })?;
    Ok(text)
}

/// Longer than what is left as it is.
pub(super) fn long() -> String {
    "All work and no play. ".repeat(200)
}

/// The service: what it answers hangs on the last segment of the path.
async fn serve(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asks = parts.headers.get("if-none-match").cloned();
    let demands = parts.headers.get("if-match").cloned();
    let path = parts.uri.path().to_owned();
    let Ok(body) = body.collect().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let json = |status: u16, media_type: &'static str, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [(CONTENT_TYPE, media_type)], body.to_owned()).into_response()
    };
    match path.rsplit('/').next().unwrap() {
        "path" => parts.uri.to_string().into_response(),
        "echo" => body.to_bytes().into_response(),
        "hang" => std::future::pending().await,
        "text" => versioned(asks.as_ref(), demands.as_ref()),
        "opinions" => {
            let mut response = json(200, "text/html", "<p>");
            let headers = response.headers_mut();
            for (name, value) in [
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("strict-transport-security", "max-age=1"),
                ("x-frame-options", "SAMEORIGIN"),
                ("x-content-type-options", "sniff"),
                ("content-security-policy", "default-src 'self'"),
                ("referrer-policy", "origin"),
                ("set-cookie", "__Host-session=stolen"),
                ("server", "acme/1.0"),
                ("x-powered-by", "acme"),
            ] {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            response
        }
        "drip" => {
            let frames = futures_util::stream::iter([Ok::<_, axum::Error>("first")]);
            let frames = futures_util::StreamExt::chain(frames, futures_util::stream::pending());
            let body = Body::from_stream(frames);
            ([(CONTENT_TYPE, "text/plain")], body).into_response()
        }
        "trace" => {
            let mut response = json(500, "text/plain", "at com.acme.Secret(Secret.java:42)");
            let headers = response.headers_mut();
            headers.insert("server", HeaderValue::from_static("acme/1.0"));
            headers.insert("x-powered-by", HeaderValue::from_static("secret"));
            response
        }
        "chatty" => {
            let mut response = json(200, "application/json", "{}");
            for name in ["server", "x-powered-by", "server-timing"] {
                let name = HeaderName::from_static(name);
                let value = HeaderValue::from_static("secret;dur=1");
                response.headers_mut().insert(name, value);
            }
            response
        }
        "busy" => ([("retry-after", "7")], json(503, "text/plain", "busy")).into_response(),
        "conflict" => json(
            409,
            "application/problem+json",
            r#"{"type":"/problems/too-late","detail":"The part has left.","instance":"/internal","stack":"secret"}"#,
        ),
        "gone" => json(410, "text/html", "<h1>secret</h1>"),
        "unauthenticated" => json(401, "text/plain", "who is that gateway?"),
        "limited" => ([("retry-after", "3")], json(429, "text/plain", "")).into_response(),
        "not-modified" => StatusCode::NOT_MODIFIED.into_response(),
        "good" => grpc("0", b"good"),
        "large" => grpc("0", "x".repeat(2000).as_bytes()),
        "broken" => grpc("0", b"\xff\xfe"),
        "empty" => grpc_of("0", Vec::new()),
        "internal" => grpc("13", b""),
        "range" => grpc("11", b""),
        _ => json(200, "application/json", "{}"),
    }
}

/// A thing with a strong validator, and a service that compares it as RFC 9110 says.
fn versioned(asks: Option<&HeaderValue>, demands: Option<&HeaderValue>) -> Response {
    const ETAG: &str = "\"v1\"";
    let weakly = |value: &HeaderValue| value == ETAG || value == "W/\"v1\"";
    let headers = [
        ("content-type", "text/plain"),
        ("etag", ETAG),
        ("accept-ranges", "bytes"),
    ];
    if demands.is_some_and(|value| value != ETAG) {
        StatusCode::PRECONDITION_FAILED.into_response()
    } else if asks.is_some_and(weakly) {
        (StatusCode::NOT_MODIFIED, [("etag", ETAG)]).into_response()
    } else {
        (headers, long()).into_response()
    }
}

/// An answer with a message whose first field is this text, or none.
fn grpc(status: &'static str, text: &[u8]) -> Response {
    let mut field = vec![0x0a];
    prost::encoding::encode_varint(text.len() as u64, &mut field);
    field.extend(text);
    let mut message = vec![0];
    message.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
    message.extend(field);
    if status != "0" {
        message.clear();
    }
    grpc_of(status, message)
}

fn grpc_of(status: &'static str, bytes: Vec<u8>) -> Response {
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )]);
    let body = Full::from(bytes);
    let body = Body::new(body.with_trailers(async { Some(Ok(trailers)) }));
    ([(CONTENT_TYPE, "application/grpc")], body).into_response()
}
