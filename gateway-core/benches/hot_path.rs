//! Micro-benchmarks of what every request goes through: `cargo bench -p gateway-core --features bench`. What a whole request
//! costs is measured in `bench/`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{BatchSize, Criterion};
use futures_util::{FutureExt, join};
use gateway_core::bench::Workbench;
use gateway_core::compose::{Composition, Required, Section};
use gateway_core::error::Error;
use gateway_core::route::Routes;
use gateway_core::upstream::UpstreamError;
use gateway_core::{App, config};
use http::{HeaderMap, HeaderValue, Method};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// What a service answers for a part: some 300 bytes.
const PART: &str = r#"{"id":"part-0123456789","owner":"somebody-0001","state":"READY","version":3,
"name":"a part of a widget","maker":{"id":"maker-1","name":"Somebody & Sons"},"price":{"amount":"61.70","currency":"USD"},
"createdAt":"2030-01-01T18:00:00Z","updatedAt":"2030-01-01T18:00:01Z","readyAt":null,"note":"not for clients"}"#;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Part {
    id: String,
    state: String,
    name: String,
    maker: Maker,
    price: Price,
    created_at: String,
    ready_at: Option<String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Maker {
    id: String,
    name: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Price {
    amount: String,
    currency: String,
}

#[derive(Serialize, JsonSchema)]
struct WidgetScreen {
    widget: Required<Part>,
    stock: Section<Part>,
    maker: Section<Part>,
}

fn main() -> Result<(), Failure> {
    gateway_core::install_crypto();
    let issuer = Issuer::start()?;
    let mut bench = Workbench::new(
        App {
            name: "bench",
            routes: |_, _| Ok(Routes::new().with_state(())),
            tags: gateway_core::events::no_tags,
            tables: &[],
            announce: None,
        },
        config::from_text(&[&configuration(issuer.address)])?,
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(bench.fetch_keys());
    let _inside = runtime.enter();

    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::AUTHORIZATION,
        HeaderValue::from_str(&format!("Bearer {}", issuer.token()?))?,
    );
    let principal = runtime.block_on(bench.authenticate(&headers))?;
    let mut criterion = Criterion::default().configure_from_args();

    criterion.bench_function("route match, 200 routes", |b| {
        b.iter(|| bench.find(black_box(&Method::GET), black_box("/area/142/things/17")));
    });
    criterion.bench_function("JWT, verified before", |b| {
        b.iter(|| now(bench.authenticate(black_box(&headers))));
    });
    criterion.bench_function("two rate limits", |b| {
        b.iter(|| now(bench.limit("/area/142/things/17", black_box(&principal))));
    });
    criterion.bench_function("cache hit", |b| {
        b.iter(|| now(bench.cached(black_box("http://service/things/17"), PART)));
    });
    criterion.bench_function("composition of 3 parts", |b| {
        b.iter_batched(
            || bench.parts(principal.clone()),
            |mut parts| now(compose(&mut parts)),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("JWT, RS256 verified", |b| {
        b.iter(|| {
            bench.forget_tokens();
            now(bench.authenticate(black_box(&headers)))
        });
    });
    criterion.final_summary();
    Ok(())
}

/// A future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    future.now_or_never()
}

async fn compose(parts: &mut http::request::Parts) -> Result<axum::response::Response, Error> {
    let page = Composition::<WidgetScreen>::from_request_parts(parts, &()).await?;
    let part = async || serde_json::from_str::<Part>(black_box(PART));
    let (widget, stock, maker) = join!(
        page.required("widget", |_| async {
            part().await.map_err(|e| Error::bad_request(e.to_string()))
        }),
        page.optional("stock", |_| async {
            Ok::<_, UpstreamError>(part().await.ok())
        }),
        page.optional("maker", |_| async {
            Ok::<_, UpstreamError>(part().await.ok())
        }),
    );
    let screen = WidgetScreen {
        widget: widget?,
        stock: flat(stock),
        maker: flat(maker),
    };
    Ok(page.answer(screen).into_response())
}

fn flat(section: Section<Option<Part>>) -> Section<Part> {
    match section {
        Section::Ok(Some(part)) => Section::Ok(part),
        _ => Section::Omitted,
    }
}

fn configuration(issuer: SocketAddr) -> String {
    let mut text = format!(
        "[[issuers]]\nissuer = \"http://{issuer}\"\naudiences = [\"bench\"]\n\
         [upstreams.service]\naddress = \"http://127.0.0.1:9\"\n\
         [rate_limits.address]\nkey = \"address\"\nrate = \"1000000/s\"\nburst = 1000000\n\
         [rate_limits.caller]\nkey = \"principal\"\nrate = \"1000000/s\"\nburst = 1000000\n"
    );
    for number in 0..200 {
        text.push_str(&format!(
            "[[routes]]\nname = \"things-{number}\"\npath = \"/area/{number}/things/{{id}}\"\nupstream = \"service\"\n\
             access = \"public\"\nlimits = [\"address\", \"caller\"]\n"
        ));
    }
    text
}

/// An issuer with one key: discovery and the key set, on a thread of its own until the process ends.
struct Issuer {
    address: SocketAddr,
    key: EncodingKey,
}

impl Issuer {
    fn start() -> Result<Self, Failure> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::RS256)?)?;
        jwk["kid"] = "bench".into();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let issuer = format!("http://{address}");
        let discovery = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string();
        let keys = json!({"keys": [jwk]}).to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut stream, mut head) = (stream, [0; 4096]);
                let Ok(read) = stream.read(&mut head) else {
                    continue;
                };
                let body = if head[..read].starts_with(b"GET /keys") {
                    &keys
                } else {
                    &discovery
                };
                // A client that has gone asks again.
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Ok(Self { address, key })
    }

    fn token(&self) -> Result<String, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let claims = json!({
            "iss": format!("http://{}", self.address), "sub": "somebody-0001", "aud": "bench",
            "exp": (now + Duration::from_secs(3600)).as_secs(), "scope": "things:read", "roles": ["member"],
        });
        let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "bench"});
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::RS256)?;
        Ok(format!("{message}.{signature}"))
    }
}
