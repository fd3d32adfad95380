//! Key sets against a real issuer that fails, hangs and rotates.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use jsonwebtoken::Algorithm;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{IssuerKeys, KeySets};
use crate::auth::test_issuer::{Behaviour, EC, RSA, TestIssuer, until};
use crate::config::IssuerConfig;
use crate::deadline::Deadline;
use crate::error::{ClientError, Error, GatewayError};

struct Fixture {
    keys: Arc<KeySets>,
    _stop: DropGuard,
}

impl Fixture {
    fn start(config: IssuerConfig) -> Self {
        let keys = KeySets::new(&[config]);
        let stop = CancellationToken::new();
        keys.spawn_refresh(&Handle::current(), &stop);
        Self {
            keys,
            _stop: stop.drop_guard(),
        }
    }

    fn issuer(&self) -> &Arc<IssuerKeys> {
        &self.keys.issuers[0].keys
    }

    fn usable(&self) -> bool {
        self.keys.readiness()[0].usable
    }

    fn detail(&self) -> String {
        self.keys.readiness()[0].detail.clone().unwrap()
    }

    async fn ready(&self) {
        until("keys are there", || self.usable()).await;
    }

    async fn find(&self, kid: &str) -> Result<u64, String> {
        let deadline = Deadline::after(Duration::from_secs(5));
        find(self.issuer(), kid, deadline).await
    }
}

async fn find(issuer: &IssuerKeys, kid: &str, deadline: Deadline) -> Result<u64, String> {
    match issuer.find(Some(kid), Algorithm::RS256, deadline).await {
        Ok(found) => Ok(found.version),
        Err(Error::Client(ClientError::InvalidToken(reason))) => Err(reason.to_owned()),
        Err(Error::Gateway(GatewayError::KeysUnavailable)) => Err("unavailable".to_owned()),
        Err(Error::Gateway(GatewayError::DeadlineExceeded)) => Err("deadline".to_owned()),
        Err(other) => Err(other.to_string()),
    }
}

#[tokio::test]
async fn keys_come_when_the_issuer_does() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    issuer.behave(Behaviour::Status(StatusCode::BAD_GATEWAY));
    let fixture = Fixture::start(issuer.config());
    until("a fetch was tried again", || issuer.fetches() >= 2).await;
    assert!(!fixture.usable());
    until("the reason is told", || {
        fixture.detail().contains("answered 502")
    })
    .await;
    assert_eq!(fixture.find("one").await, Err("unavailable".to_owned()));

    issuer.publish(&[RSA.jwk("one")]);
    fixture.ready().await;
    assert_eq!(fixture.find("one").await, Ok(0));
    assert!(
        fixture.detail().starts_with("1 keys, "),
        "{}",
        fixture.detail()
    );
}

#[tokio::test]
async fn an_issuer_that_nobody_listens_for_is_just_not_ready() {
    let mut config = TestIssuer::start(&[]).await.config();
    // Port 1 is nobody's.
    config.jwks_uri = Some("http://127.0.0.1:1/jwks".parse().unwrap());
    let fixture = Fixture::start(config);
    until("the reason is told", || {
        fixture.detail().contains("cannot be reached")
    })
    .await;
    assert!(!fixture.usable());
}

#[tokio::test]
async fn a_set_without_usable_keys_or_of_another_issuer_is_refused() {
    let issuer = TestIssuer::start(&[]).await;
    let fixture = Fixture::start(issuer.config());
    until("the reason is told", || {
        fixture.detail().contains("has no usable key")
    })
    .await;
    issuer.publish(&[RSA.jwk("one")]);
    issuer.call_itself("https://somebody.example.com");
    until("the reason is told", || {
        fixture
            .detail()
            .contains("discovery is for another issuer: https://somebody.example.com")
    })
    .await;
    assert!(!fixture.usable());
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_by_all_who_wait() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(issuer.config());
    fixture.ready().await;
    assert_eq!(issuer.fetches(), 1);

    issuer.publish(&[RSA.jwk("one"), RSA.jwk("two")]);
    let found = join_all((0..50).map(|_| fixture.find("two"))).await;
    assert!(found.iter().all(|found| *found == Ok(1)), "{found:?}");
    assert_eq!(issuer.fetches(), 2);

    // Anybody can invent a name: no second fetch before the cooldown is over.
    issuer.publish(&[RSA.jwk("three")]);
    for kid in ["three", "four", "five"] {
        assert_eq!(fixture.find(kid).await, Err("unknown key".to_owned()));
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn after_the_cooldown_an_unknown_key_is_asked_for_again() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(IssuerConfig {
        cooldown: Duration::from_millis(50),
        ..issuer.config()
    });
    fixture.ready().await;
    assert_eq!(fixture.find("two").await, Err("unknown key".to_owned()));
    issuer.publish(&[RSA.jwk("one"), RSA.jwk("two")]);
    let mut found = fixture.find("two").await;
    let deadline = Deadline::after(Duration::from_secs(10));
    while found.is_err() && !deadline.has_passed() {
        found = fixture.find("two").await;
    }
    assert_eq!(found, Ok(1));
}

#[tokio::test]
async fn who_waits_for_a_key_waits_no_longer_than_the_deadline() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(issuer.config());
    fixture.ready().await;
    issuer.behave(Behaviour::Hangs);
    let deadline = Deadline::after(Duration::from_millis(50));
    assert_eq!(
        find(fixture.issuer(), "two", deadline).await,
        Err("deadline".to_owned())
    );
    // Those whose key is there do not notice.
    assert_eq!(fixture.find("one").await, Ok(0));
}

#[tokio::test]
async fn keys_are_renewed_in_the_background() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(IssuerConfig {
        refresh: Duration::from_millis(20),
        ..issuer.config()
    });
    fixture.ready().await;
    until("they are fetched again", || issuer.fetches() >= 3).await;
    assert_eq!(fixture.issuer().version(), Some(0));
    issuer.publish(&[EC.jwk("two")]);
    until("the new set is in use", || {
        fixture.issuer().version() == Some(1)
    })
    .await;
    assert_eq!(fixture.find("one").await, Err("unknown key".to_owned()));
}

#[tokio::test]
async fn keys_are_believed_while_the_issuer_is_away_but_not_for_ever() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(IssuerConfig {
        refresh: Duration::from_millis(20),
        max_stale: Duration::from_millis(1500),
        ..issuer.config()
    });
    fixture.ready().await;
    issuer.behave(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
    until("a renewal has failed", || {
        fixture.detail().contains("answered 500")
    })
    .await;
    assert_eq!(fixture.find("one").await, Ok(0));
    until("they are too old", || !fixture.usable()).await;
    assert_eq!(fixture.find("one").await, Err("unavailable".to_owned()));

    issuer.publish(&[RSA.jwk("one")]);
    fixture.ready().await;
    assert_eq!(fixture.find("one").await, Ok(0));
}

#[tokio::test]
async fn another_configuration_keeps_the_keys_of_an_unchanged_issuer() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(issuer.config());
    fixture.ready().await;
    let stop = CancellationToken::new();
    let next = KeySets::after(&fixture.keys, &[issuer.config()]);
    next.spawn_refresh(&Handle::current(), &stop);
    let kept = next.issuer(&issuer.url).unwrap();
    assert!(Arc::ptr_eq(kept, fixture.issuer()));
    assert_eq!(issuer.fetches(), 1);

    // The configuration before goes: what the two have in common is still renewed.
    drop(fixture.keys);
    assert!(!next.issuers[0].unused.is_cancelled());
    let unused = next.issuers[0].unused.clone();
    drop(next);
    assert!(unused.is_cancelled());
}

#[tokio::test]
async fn other_rules_for_an_issuer_leave_no_moment_without_keys() {
    let issuer = TestIssuer::start(&[RSA.jwk("one")]).await;
    let fixture = Fixture::start(issuer.config());
    fixture.ready().await;
    issuer.behave(Behaviour::Hangs);
    let next = KeySets::after(
        &fixture.keys,
        &[IssuerConfig {
            audiences: vec!["another".to_owned()],
            ..issuer.config()
        }],
    );
    next.spawn_refresh(&Handle::current(), &CancellationToken::new());
    next.settled().await;
    let deadline = Deadline::after(Duration::from_secs(5));
    let issuer = next.issuer(&issuer.url).unwrap();
    assert_eq!(find(issuer, "one", deadline).await, Ok(0));
    assert_eq!(issuer.config().audiences, ["another"]);
}

#[tokio::test]
async fn a_new_issuer_is_settled_with_keys_or_with_a_failure() {
    let good = TestIssuer::start(&[RSA.jwk("one")]).await;
    let bad = TestIssuer::start(&[]).await;
    bad.behave(Behaviour::Status(StatusCode::BAD_GATEWAY));
    let keys = KeySets::after(&KeySets::new(&[]), &[good.config(), bad.config()]);
    let stop = CancellationToken::new();
    keys.spawn_refresh(&Handle::current(), &stop);
    keys.settled().await;
    let usable: Vec<bool> = keys
        .readiness()
        .iter()
        .map(|issuer| issuer.usable)
        .collect();
    assert_eq!(usable, [true, false]);
    stop.cancel();
}
