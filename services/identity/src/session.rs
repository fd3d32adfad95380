//! Who is signed in at the provider in this browser: the row and the cookie that points to it. Not here: the session that
//! a BFF keeps for itself.

use chrono::DateTime;
use ftgo_messaging::Database;
use http::HeaderMap;
use http::header::COOKIE;
use uuid::Uuid;

use crate::secret;

/// Cookies ignore ports, so that the BFFs on the same host see this one; its name is the provider's own.
pub(crate) const COOKIE_NAME: &str = "ftgo-identity-session";

/// How long a browser stays signed in, in seconds.
const LIFE: i64 = 12 * 3600;

/// One browser's sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrowserSession {
    /// The identifier that ID tokens carry; not the cookie's secret.
    pub(crate) sid: String,
    pub(crate) sub: String,
    /// When the person last chose who they are, in seconds since the epoch.
    pub(crate) auth_time: i64,
}

/// Why a session could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the sessions' storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("no secret for the session")]
    Randomness(#[from] secret::RandomnessError),
}

/// Starts a session for `sub` in place of the one that the request's cookie names. Returns it with the cookie's secret.
pub(crate) async fn start(
    database: &Database,
    headers: &HeaderMap,
    sub: &str,
    now: i64,
) -> Result<(BrowserSession, String), SessionError> {
    let secret = secret::generate()?;
    let session = BrowserSession {
        sid: Uuid::new_v4().to_string(),
        sub: sub.to_owned(),
        auth_time: now,
    };
    let mut tx = database.write().await?;
    sqlx::query("DELETE FROM browser_session WHERE expires_at <= ?")
        .bind(now)
        .execute(&mut *tx)
        .await?;
    if let Some(former) = cookie_secret(headers) {
        sqlx::query("DELETE FROM browser_session WHERE secret_hash = ?")
            .bind(secret::stored_form(former))
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "INSERT INTO browser_session (secret_hash, sid, sub, auth_time, expires_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(secret::stored_form(&secret))
    .bind(&session.sid)
    .bind(&session.sub)
    .bind(session.auth_time)
    .bind(now + LIFE)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((session, secret))
}

/// The session that the request's cookie names, unless it has ended.
pub(crate) async fn find(
    database: &Database,
    headers: &HeaderMap,
    now: i64,
) -> Result<Option<BrowserSession>, sqlx::Error> {
    let Some(secret) = cookie_secret(headers) else {
        return Ok(None);
    };
    let row = sqlx::query_as::<_, (String, String, i64)>(
        "SELECT sid, sub, auth_time FROM browser_session WHERE secret_hash = ? AND expires_at > ?",
    )
    .bind(secret::stored_form(secret))
    .bind(now)
    .fetch_optional(database.read())
    .await?;
    Ok(row.map(|(sid, sub, auth_time)| BrowserSession {
        sid,
        sub,
        auth_time,
    }))
}

/// A session that has ended, and who has to hear of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sid: String,
    pub(crate) sub: String,
    /// Those that it has signed in at; none when it had ended before.
    pub(crate) clients: Vec<String>,
}

/// Ends all sessions of `sub`, as [`end`] does.
pub(crate) async fn end_all(
    database: &Database,
    sub: &str,
    now: i64,
) -> Result<Vec<Ended>, sqlx::Error> {
    let sids: Vec<(String,)> = sqlx::query_as(
        "SELECT sid FROM browser_session WHERE sub = ?1
         UNION SELECT sid FROM refresh_token WHERE sub = ?1 AND revoked_at IS NULL",
    )
    .bind(sub)
    .fetch_all(database.read())
    .await?;
    let mut ended = Vec::with_capacity(sids.len());
    for (sid,) in sids {
        ended.push(end(database, &sid, sub, now).await?);
    }
    Ok(ended)
}

/// Ends the session `sid` of `sub` and what was granted under it, refresh tokens included.
pub(crate) async fn end(
    database: &Database,
    sid: &str,
    sub: &str,
    now: i64,
) -> Result<Ended, sqlx::Error> {
    let mut tx = database.write().await?;
    let clients: Vec<(String,)> =
        sqlx::query_as("DELETE FROM session_client WHERE sid = ? RETURNING client_id")
            .bind(sid)
            .fetch_all(&mut *tx)
            .await?;
    sqlx::query("DELETE FROM browser_session WHERE sid = ?")
        .bind(sid)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM authorization_code WHERE sid = ?")
        .bind(sid)
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE refresh_token SET revoked_at = ? WHERE sid = ? AND revoked_at IS NULL")
        .bind(now)
        .bind(sid)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Ended {
        sid: sid.to_owned(),
        sub: sub.to_owned(),
        clients: clients.into_iter().map(|(client,)| client).collect(),
    })
}

/// The `Set-Cookie` value that holds `secret`. `Secure` follows the issuer: over plain HTTP on loopback some browsers
/// would drop the cookie.
pub(crate) fn set_cookie(secret: &str, issuer: &str) -> String {
    let secure = secure_attribute(issuer);
    format!("{COOKIE_NAME}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LIFE}{secure}")
}

/// The `Set-Cookie` value that removes the cookie.
pub(crate) fn clear_cookie(issuer: &str) -> String {
    let secure = secure_attribute(issuer);
    let epoch = DateTime::UNIX_EPOCH.format("%a, %d %b %Y %H:%M:%S GMT");
    format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Expires={epoch}{secure}")
}

fn secure_attribute(issuer: &str) -> &'static str {
    if issuer.starts_with("https:") {
        "; Secure"
    } else {
        ""
    }
}

fn cookie_secret(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}
