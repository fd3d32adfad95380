//! Clients that are told of the end of a session: with which token, how often, and when not. Not here: who signs out, and how
//! (`sign_out.rs`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::code_flow::{code, redeem};
use super::{Identity, environment, http_client};
use crate::{Client, Settings};

/// What a client answers first; afterwards 200. And what it was sent.
#[derive(Default)]
struct Told {
    answers: Mutex<Vec<StatusCode>>,
    tokens: Mutex<Vec<String>>,
}

impl Told {
    fn count(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }

    async fn times(&self, times: usize) -> Vec<String> {
        for _ in 0..1000 {
            let tokens = self.tokens.lock().unwrap().clone();
            if tokens.len() >= times {
                return tokens;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("told {} times, and not {times}", self.count());
    }
}

async fn hear(State(told): State<Arc<Told>>, form: String) -> StatusCode {
    let token = form.strip_prefix("logout_token=").unwrap();
    told.tokens.lock().unwrap().push(token.to_owned());
    let mut answers = told.answers.lock().unwrap();
    if answers.is_empty() {
        StatusCode::OK
    } else {
        answers.remove(0)
    }
}

/// bff-web's client, whose logouts the test hears of.
async fn start(answers: Vec<StatusCode>) -> (Identity, Arc<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/told", listener.local_addr().unwrap());
    let told = Arc::new(Told {
        answers: Mutex::new(answers),
        ..Told::default()
    });
    let router = Router::new()
        .route("/told", post(hear))
        .with_state(Arc::clone(&told));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut clients = Client::seeded();
    for client in &mut clients {
        client.backchannel_logout_uri = (client.id == "bff-web").then(|| uri.clone());
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        clients,
        ..Settings::default()
    };
    let client = http_client();
    let service = crate::start_with(environment(folder.path()), settings).await;
    let identity = Identity {
        service: service.unwrap(),
        client,
        folder,
    };
    (identity, told)
}

async fn end(identity: &Identity, sub: &str) -> Value {
    let url = format!("/dev/sessions/end?sub={sub}");
    let response = identity.post(&url, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_client_is_told_again_until_it_has_heard() {
    let (identity, told) = start(vec![
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::BAD_GATEWAY,
    ])
    .await;
    let tokens = redeem(&identity, &code(&identity, "consumer-1", &[]).await).await;
    let id_token = tokens["id_token"].as_str().unwrap();
    let id = identity.verify(id_token, "JWT").await;
    let url = format!("/end-session?id_token_hint={id_token}");
    assert_eq!(identity.get(&url).await.status(), StatusCode::OK);

    let heard = told.times(3).await;
    let mut used = Vec::new();
    for token in &heard {
        let claims = identity.verify(token, "logout+jwt").await;
        assert_eq!(claims["aud"], "bff-web");
        assert_eq!(claims["sub"], "consumer-1");
        assert_eq!(claims["sid"], id["sid"]);
        let event = "http://schemas.openid.net/event/backchannel-logout";
        assert_eq!(claims["events"], json!({event: {}}));
        assert_eq!(claims.get("nonce"), None);
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((1..=120).contains(&life), "{claims}");
        used.push(claims["jti"].as_str().unwrap().to_owned());
    }
    // Each attempt has a token of its own.
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), 3);
    // It has heard; and what has ended does not end again.
    assert_eq!(identity.get(&url).await.status(), StatusCode::OK);
    assert_eq!(end(&identity, "consumer-1").await["ended"], 0);
    tokens_of_another_person_are_the_next(&identity, &told, 3).await;
}

#[tokio::test]
async fn what_a_client_refuses_is_not_said_again() {
    let (identity, told) = start(vec![StatusCode::BAD_REQUEST]).await;
    redeem(&identity, &code(&identity, "consumer-1", &[]).await).await;
    assert_eq!(end(&identity, "consumer-1").await["ended"], 1);
    told.times(1).await;
    tokens_of_another_person_are_the_next(&identity, &told, 1).await;
}

/// Nothing else was sent meanwhile: `before` tokens, and then this one.
async fn tokens_of_another_person_are_the_next(identity: &Identity, told: &Told, before: usize) {
    redeem(identity, &code(identity, "consumer-2", &[]).await).await;
    assert_eq!(end(identity, "consumer-2").await["ended"], 1);
    let heard = told.times(before + 1).await;
    assert_eq!(heard.len(), before + 1);
    let claims = identity.verify(&heard[before], "logout+jwt").await;
    assert_eq!(claims["sub"], "consumer-2");
}

#[tokio::test]
async fn an_operator_ends_every_session_of_a_person_and_of_nobody_else() {
    let (identity, told) = start(Vec::new()).await;
    let mut refresh = Vec::new();
    for sub in ["consumer-1", "consumer-1", "consumer-2"] {
        let tokens = redeem(&identity, &code(&identity, sub, &[]).await).await;
        refresh.push(tokens["refresh_token"].as_str().unwrap().to_owned());
    }
    assert_eq!(end(&identity, "consumer-1").await["ended"], 2);
    for token in told.times(2).await {
        let claims = identity.verify(&token, "logout+jwt").await;
        assert_eq!(claims["sub"], "consumer-1");
    }
    let mut statuses = Vec::new();
    for token in &refresh {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str()),
        ];
        let response = super::code_flow::exchange(&identity, &form).await;
        statuses.push(response.status().as_u16());
    }
    assert_eq!(statuses, [400, 400, 200]);
    assert_eq!(told.count(), 2);
}
