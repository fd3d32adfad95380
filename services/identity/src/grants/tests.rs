//! Codes and refresh tokens over a real database, at times of the test's choosing. Not here: the token endpoint.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ftgo_messaging::Database;
use tempfile::TempDir;

use super::{
    Authorization, CODE_LIFE, CODE_MEMORY, CodeBinding, FAMILY_LIFE, GrantError, Granted,
    REFRESH_LIFE, issue_code, prune, redeem_code, refresh, revoke,
};
use crate::secret::code_challenge;

const NOW: i64 = 1_800_000_000;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "http://127.0.0.1:8080/bff/callback";

async fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("identity.db"), &[&crate::MIGRATIONS])
        .await
        .unwrap();
    (folder, database)
}

async fn code(database: &Database) -> String {
    let authorization = Authorization {
        client_id: "bff-web".to_owned(),
        sub: "consumer-1".to_owned(),
        scope: "openid orders:read".to_owned(),
        sid: "sid-1".to_owned(),
        auth_time: NOW - 5,
    };
    let binding = CodeBinding {
        redirect_uri: CALLBACK,
        code_challenge: &code_challenge(VERIFIER),
        nonce: Some("n-1"),
    };
    issue_code(database, &authorization, &binding, NOW)
        .await
        .unwrap()
}

async fn redeem(database: &Database, code: &str, now: i64) -> Result<Granted, GrantError> {
    redeem_code(database, "bff-web", code, CALLBACK, VERIFIER, now).await
}

fn refused<T: std::fmt::Debug>(result: Result<T, GrantError>) -> &'static str {
    match result.unwrap_err() {
        GrantError::Invalid(reason) => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_code_yields_what_was_agreed_to() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let granted = redeem(&database, &code, NOW + CODE_LIFE - 1).await.unwrap();
    assert_eq!(granted.authorization.sub, "consumer-1");
    assert_eq!(granted.authorization.scope, "openid orders:read");
    assert_eq!(granted.authorization.auth_time, NOW - 5);
    assert_eq!(granted.nonce.as_deref(), Some("n-1"));
}

#[tokio::test]
async fn a_code_lives_sixty_seconds() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    assert_eq!(
        refused(redeem(&database, &code, NOW + CODE_LIFE).await),
        "the code has expired"
    );
}

#[tokio::test]
async fn a_second_use_of_the_code_revokes_what_came_from_the_first() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let first = redeem(&database, &code, NOW + 1).await.unwrap();
    // noticed long after the code itself has expired
    assert_eq!(
        refused(redeem(&database, &code, NOW + 1000).await),
        "the code was used before"
    );
    let next = refresh(&database, "bff-web", &first.refresh_token, None, NOW + 1001).await;
    assert_eq!(refused(next), "the refresh token was revoked");
}

#[tokio::test]
async fn a_code_is_bound_to_client_address_and_verifier_and_spent_by_one_attempt() {
    let (_folder, database) = database().await;
    let stolen = code(&database).await;
    let other = redeem_code(&database, "mobile-app", &stolen, CALLBACK, VERIFIER, NOW).await;
    assert_eq!(refused(other), "the code is unknown");
    // another client's attempt does not spend it
    assert!(redeem(&database, &stolen, NOW).await.is_ok());

    let elsewhere = code(&database).await;
    let uri = "http://localhost:8080/bff/callback";
    let wrong = redeem_code(&database, "bff-web", &elsewhere, uri, VERIFIER, NOW).await;
    assert!(refused(wrong).starts_with("the redirect_uri"));

    let guessed = code(&database).await;
    let wrong = redeem_code(&database, "bff-web", &guessed, CALLBACK, "guess", NOW).await;
    assert!(refused(wrong).starts_with("the code_verifier"));
    assert_eq!(
        refused(redeem(&database, &guessed, NOW).await),
        "the code was used before"
    );
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_its_theft_ends_the_family() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let first = redeem(&database, &code, NOW).await.unwrap().refresh_token;
    let second = refresh(&database, "bff-web", &first, None, NOW + 10)
        .await
        .unwrap();
    assert_eq!(second.authorization.sid, "sid-1");
    assert_eq!(second.nonce, None);
    let third = refresh(&database, "bff-web", &second.refresh_token, None, NOW + 20)
        .await
        .unwrap();
    let stolen = refresh(&database, "bff-web", &first, None, NOW + 30).await;
    assert_eq!(refused(stolen), "the refresh token was used before");
    let after = refresh(&database, "bff-web", &third.refresh_token, None, NOW + 31).await;
    assert_eq!(refused(after), "the refresh token was revoked");
}

#[tokio::test]
async fn a_refresh_narrows_the_scope_but_never_widens_it() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let token = redeem(&database, &code, NOW).await.unwrap().refresh_token;
    let wider = refresh(
        &database,
        "bff-web",
        &token,
        Some("openid menus:write"),
        NOW,
    )
    .await;
    assert!(matches!(wider, Err(GrantError::Scope)));
    // the refused attempt did not spend it
    let narrow = refresh(&database, "bff-web", &token, Some("orders:read"), NOW)
        .await
        .unwrap();
    assert_eq!(narrow.authorization.scope, "orders:read");
    let full = refresh(&database, "bff-web", &narrow.refresh_token, None, NOW)
        .await
        .unwrap();
    assert_eq!(full.authorization.scope, "openid orders:read");
}

#[tokio::test]
async fn a_family_ends_when_idle_and_at_its_absolute_end() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let mut token = redeem(&database, &code, NOW).await.unwrap().refresh_token;
    let mut now = NOW;
    while now + REFRESH_LIFE - 1 < NOW + FAMILY_LIFE {
        now += REFRESH_LIFE - 1;
        token = refresh(&database, "bff-web", &token, None, now)
            .await
            .unwrap()
            .refresh_token;
    }
    let end = refresh(&database, "bff-web", &token, None, NOW + FAMILY_LIFE).await;
    assert_eq!(refused(end), "the refresh token is unknown");
}

#[tokio::test]
async fn revoking_needs_the_right_client() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    let token = redeem(&database, &code, NOW).await.unwrap().refresh_token;
    revoke(&database, "mobile-app", &token, NOW).await.unwrap();
    let token = refresh(&database, "bff-web", &token, None, NOW)
        .await
        .unwrap()
        .refresh_token;
    revoke(&database, "bff-web", &token, NOW).await.unwrap();
    let after = refresh(&database, "bff-web", &token, None, NOW).await;
    assert_eq!(refused(after), "the refresh token was revoked");
}

#[tokio::test]
async fn nothing_expired_is_kept() {
    let (_folder, database) = database().await;
    let code = code(&database).await;
    redeem(&database, &code, NOW).await.unwrap();
    let mut tx = database.write().await.unwrap();
    prune(&mut tx, NOW + CODE_LIFE + CODE_MEMORY).await.unwrap();
    prune(&mut tx, NOW + REFRESH_LIFE).await.unwrap();
    let left = sqlx::query_scalar::<_, i64>(
        "SELECT (SELECT count(*) FROM authorization_code) + (SELECT count(*) FROM refresh_token)",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(left, 0);
}
