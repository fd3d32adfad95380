//! What goes on across a reload, what takes over with it, and what waits for a restart: beside routes and limits by address,
//! which `reload/tests.rs` has.

use std::fs;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{PATIENCE, World, route};
use crate::auth::api_key::{self, Environment};

async fn reloaded(world: &World, text: &str) -> Value {
    let next = world.report().await["generation"].as_u64().unwrap() + 1;
    world.write(text);
    world.gateway.reload();
    world
        .reports("the reload", |report| {
            report["generation"].as_u64().unwrap() >= next
                && report["lastReload"]["outcome"] == "success"
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_kept() {
    // Nobody is there: whether it has keys is not the question.
    let issuer = "[[issuers]]\nissuer = \"http://127.0.0.1:9\"\naudiences = [\"a\"]\n";
    let text = |name: &str| format!("{issuer}{}", route(name, ""));
    let world = World::start(&text("always")).await;
    let url = format!("http://{}/revocations", world.gateway.admin_address());
    let told = async |revocation: Value| {
        let told = world.http.post(&url).json(&revocation).send().await;
        told.unwrap().status().as_u16()
    };
    let revocation = json!({ "issuer": "http://127.0.0.1:9", "jti": "stolen" });
    assert_eq!(told(revocation).await, 204);
    // What would refuse nothing is not taken for done.
    let unknown = json!({ "issuer": "http://127.0.0.1:9/", "jti": "stolen" });
    assert_eq!(told(unknown).await, 422);
    let over = json!({ "issuer": "http://127.0.0.1:9", "sub": "anna", "until": 1_700_000_000 });
    assert_eq!(told(over).await, 422);
    assert_eq!(world.admin("/revocations").await, r#"{"entries":1}"#);
    reloaded(&world, &text("other")).await;
    assert_eq!(world.admin("/revocations").await, r#"{"entries":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_said_is_forgotten_when_its_name_goes() {
    let service = async |says: &'static str| {
        let fields = [("cache-control", "max-age=600")];
        let router = axum::Router::new().fallback(async move || (fields, says));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        format!(
            "[upstreams.widgets]\naddress = \"http://{address}\"\n[[routes]]\nname = \"widgets\"\n\
             path = \"/widgets\"\nupstream = \"widgets\"\naccess = \"public\"\ncache = \"shared\"\n"
        )
    };
    let (one, other) = (service("one").await, service("another").await);
    let world = World::start(&one).await;
    let said = async || {
        let answer = world.http.get(world.url("/widgets")).send().await.unwrap();
        let from = answer.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        (from, answer.text().await.unwrap())
    };
    assert_eq!(said().await.1, "one");
    // What stays the same keeps what is stored.
    reloaded(&world, &format!("{one}{}", route("more", ""))).await;
    let (from, text) = said().await;
    assert!(from.contains("hit") && text == "one", "{from}: {text}");
    reloaded(&world, &route("more", "")).await;
    assert_eq!(world.get("/widgets").await, StatusCode::NOT_FOUND);
    reloaded(&world, &other).await;
    assert_eq!(said().await.1, "another");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_key_has_open_is_closed() {
    let [kept, removed] = [(); 2].map(|()| api_key::generate("acme", Environment::Live).unwrap());
    let text = |keys: &[(&str, &api_key::NewApiKey)]| {
        let mut text = "[api_keys]\nprefix = \"acme\"\n".to_owned();
        for (id, key) in keys {
            text.push_str(&format!(
                "[[api_keys.keys]]\nid = \"{id}\"\nowner = \"partner\"\nhash = \"sha256:{}\"\n",
                key.hash_hex
            ));
        }
        text + "[[routes]]\nname = \"events\"\npath = \"/events\"\nupstream = \"service\"\naccess = \"authenticated\"\n"
    };
    let world = World::start(&text(&[("kept", &kept), ("removed", &removed)])).await;
    let open = async |key: &api_key::NewApiKey| {
        let request = world.http.get(world.url("/events"));
        let mut events = request.bearer_auth(&key.secret).send().await.unwrap();
        assert_eq!(events.chunk().await.unwrap().unwrap(), "data: 1\n\n");
        events
    };
    let (mut stays, ends) = (open(&kept).await, open(&removed).await);
    reloaded(&world, &text(&[("kept", &kept)])).await;
    let rest = timeout(PATIENCE, ends.text()).await.unwrap().unwrap();
    assert_eq!(
        rest,
        "event: end\ndata: {\"reason\":\"credentials_revoked\"}\n\n"
    );
    assert!(stays.chunk().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_count_for_a_lower_limit() {
    let text = |places: u32| {
        format!(
            "[server]\naddress = \"127.0.0.1:0\"\nworkers = 2\nlame_duck = \"0ms\"\nmax_wait = \"0ms\"\n\
             max_requests = {places}\n{}{}",
            route("wait", "deadline = \"15s\""),
            route("always", "")
        )
    };
    let world = World::start(&text(2)).await;
    let running = tokio::spawn(world.http.get(world.url("/wait")).send());
    world.waits(1).await;
    assert_eq!(world.get("/always").await, StatusCode::OK);
    let report = reloaded(&world, &text(1)).await;
    assert_eq!(report["needsRestart"], json!([]));
    assert_eq!(world.get("/always").await.as_u16(), 503);
    world.release.add_permits(1);
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "waited");
    // The place is free when the server has seen the answer's end.
    let mut status = world.get("/always").await;
    for _ in 0..100 {
        if status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        status = world.get("/always").await;
    }
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_tls_wait_for_a_restart() {
    let always = route("always", "");
    let world = World::start(&always).await;
    let text = format!(
        "[redis]\nurl = \"redis://user:correct-horse@10.0.0.8:6379/2\"\nreplicas = 3\n\
         [server.tls]\ncertificate = \"/nowhere/tls.crt\"\nkey = \"/nowhere/tls.key\"\n{always}"
    );
    let report = reloaded(&world, &text).await;
    let [tls, redis] = report["needsRestart"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!(tls["key"], "server.tls");
    assert_eq!(tls["configured"]["key"], "/nowhere/tls.key");
    assert_eq!(redis["key"], "redis");
    assert_eq!(redis["configured"]["url"], "redis://10.0.0.8:6379/2");
    assert!(redis["running"].is_null() && report["configuration"]["redis"].is_null());
    assert!(!report.to_string().contains("correct-horse"), "{report}");
    assert_eq!(world.get("/always").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_in_its_file_signs_from_then_on() {
    let pem = |der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let old = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let new = Ed25519KeyPair::generate().unwrap();
    let new = pem(new.to_pkcs8v1().unwrap().as_ref());
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("internal.pem");
    fs::write(&file, pem(old.to_pkcs8v1().unwrap().as_ref())).unwrap();

    let told = axum::Router::new().fallback(|headers: HeaderMap| async move {
        let token = headers.get("x-internal-token");
        token.map_or_else(String::new, |token| token.to_str().unwrap().to_owned())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, told).await });
    // Of callers without a name services are told nothing.
    let caller = api_key::generate("acme", Environment::Live).unwrap();
    let world = World::start(&format!(
        "[api_keys]\nprefix = \"acme\"\n[[api_keys.keys]]\nid = \"one\"\nowner = \"partner\"\nhash = \"sha256:{}\"\n\
         [internal_token]\nkey_file = \"{}\"\n[upstreams.told]\naddress = \"http://{address}\"\n{}",
        caller.hash_hex,
        file.display(),
        route("always", "")
            .replace("\"service\"", "\"told\"")
            .replace("\"public\"", "\"authenticated\"")
    ))
    .await;
    let algorithm = async || {
        let request = world.http.get(world.url("/always"));
        let answer = request.bearer_auth(&caller.secret).send().await.unwrap();
        let token = answer.text().await.unwrap();
        jsonwebtoken::decode_header(token).unwrap().alg
    };
    assert_eq!(algorithm().await, Algorithm::ES256);

    fs::write(keys.path().join("new"), &new).unwrap();
    fs::rename(keys.path().join("new"), &file).unwrap();
    let report = world
        .reports("the new key", |report| {
            report["lastReload"]["trigger"] == "file_change" && report["generation"] == 2
        })
        .await;
    assert_eq!(algorithm().await, Algorithm::EdDSA);
    assert_eq!(report["secretFiles"], json!([file]));
    assert!(report["configuration"]["internal_token"]["key"].is_null());
    assert!(!report.to_string().contains(new.lines().nth(1).unwrap()));
}
