//! Authorization codes and refresh tokens: single use, bound to their client, descended from one another in families. Not
//! here: the HTTP parameters that carry them (`http/token.rs`), and the access tokens, which nobody stores.

use ftgo_messaging::Database;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::secret;
use crate::token::has_scope;

/// How long a code is good for, in seconds (RFC 6749, 4.1.2 recommends ten minutes at most).
pub(crate) const CODE_LIFE: i64 = 60;
/// How long a used or expired code is remembered, in seconds, so that a second use is noticed and its family revoked.
const CODE_MEMORY: i64 = 3600;
/// How long a refresh token may lie unused, in seconds.
const REFRESH_LIFE: i64 = 12 * 3600;
/// How long a family of refresh tokens can go on, in seconds.
const FAMILY_LIFE: i64 = 7 * 24 * 3600;

/// What a person agreed to at the authorization endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) client_id: String,
    pub(crate) sub: String,
    /// Separated by single spaces.
    pub(crate) scope: String,
    pub(crate) sid: String,
    pub(crate) auth_time: i64,
}

/// What a code is bound to beside its [`Authorization`].
pub(crate) struct CodeBinding<'a> {
    pub(crate) redirect_uri: &'a str,
    /// Method S256.
    pub(crate) code_challenge: &'a str,
    pub(crate) nonce: Option<&'a str>,
}

/// What the token endpoint hands out for a code or a refresh token.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) authorization: Authorization,
    /// Only with a code: a refreshed ID token has none (OpenID Connect Core, 12.2).
    pub(crate) nonce: Option<String>,
    /// The next one; the presented one is spent.
    pub(crate) refresh_token: String,
}

/// Why a code or refresh token is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// `invalid_grant`, with a description that helps whoever writes a client.
    #[error("{0}")]
    Invalid(&'static str),
    /// `invalid_scope`: more was asked for than was granted (RFC 6749, 6).
    #[error("the scope goes beyond what was granted")]
    Scope,
    #[error("the grants' storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("no secret for the grant")]
    Randomness(#[from] secret::RandomnessError),
}

/// Remembers the authorization and returns the code that stands for it.
pub(crate) async fn issue_code(
    database: &Database,
    authorization: &Authorization,
    binding: &CodeBinding<'_>,
    now: i64,
) -> Result<String, GrantError> {
    let code = secret::generate()?;
    let mut tx = database.write().await?;
    prune(&mut tx, now).await?;
    sqlx::query(
        "INSERT INTO authorization_code (code_hash, family, client_id, redirect_uri, code_challenge, sub, scope, nonce,
             sid, auth_time, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(secret::stored_form(&code))
    .bind(Uuid::now_v7().to_string())
    .bind(&authorization.client_id)
    .bind(binding.redirect_uri)
    .bind(binding.code_challenge)
    .bind(&authorization.sub)
    .bind(&authorization.scope)
    .bind(binding.nonce)
    .bind(&authorization.sid)
    .bind(authorization.auth_time)
    .bind(now + CODE_LIFE)
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT OR IGNORE INTO session_client (sid, client_id) VALUES (?, ?)")
        .bind(&authorization.sid)
        .bind(&authorization.client_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(code)
}

#[derive(sqlx::FromRow)]
struct CodeRow {
    family: String,
    client_id: String,
    redirect_uri: String,
    code_challenge: String,
    sub: String,
    scope: String,
    nonce: Option<String>,
    sid: String,
    auth_time: i64,
    expires_at: i64,
    used_at: Option<i64>,
}

/// Spends a code. A code that its own client presents is spent even if the rest of the request is wrong, so that nobody
/// can try verifiers; a second use revokes everything that came from the first (RFC 6749, 4.1.2).
pub(crate) async fn redeem_code(
    database: &Database,
    client_id: &str,
    code: &str,
    redirect_uri: &str,
    verifier: &str,
    now: i64,
) -> Result<Granted, GrantError> {
    let mut tx = database.write().await?;
    prune(&mut tx, now).await?;
    let row = sqlx::query_as::<_, CodeRow>(
        "SELECT family, client_id, redirect_uri, code_challenge, sub, scope, nonce, sid, auth_time, expires_at, used_at
         FROM authorization_code WHERE code_hash = ?",
    )
    .bind(secret::stored_form(code))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row.filter(|row| row.client_id == client_id) else {
        return Err(GrantError::Invalid("the code is unknown"));
    };
    if row.used_at.is_some() {
        revoke_family(&mut tx, &row.family, now).await?;
        tx.commit().await?;
        return Err(GrantError::Invalid("the code was used before"));
    }
    sqlx::query("UPDATE authorization_code SET used_at = ? WHERE code_hash = ?")
        .bind(now)
        .bind(secret::stored_form(code))
        .execute(&mut *tx)
        .await?;
    let fault = if row.expires_at <= now {
        Some("the code has expired")
    } else if row.redirect_uri != redirect_uri {
        Some("the redirect_uri is not the one that the code was sent to")
    } else if !secret::equal(&row.code_challenge, &secret::code_challenge(verifier)) {
        Some("the code_verifier does not fit the code_challenge")
    } else {
        None
    };
    if let Some(fault) = fault {
        tx.commit().await?;
        return Err(GrantError::Invalid(fault));
    }
    let authorization = Authorization {
        client_id: row.client_id,
        sub: row.sub,
        scope: row.scope,
        sid: row.sid,
        auth_time: row.auth_time,
    };
    let family_end = now + FAMILY_LIFE;
    let refresh_token =
        insert_refresh(&mut tx, &row.family, &authorization, family_end, now).await?;
    tx.commit().await?;
    Ok(Granted {
        authorization,
        nonce: row.nonce,
        refresh_token,
    })
}

#[derive(sqlx::FromRow)]
struct RefreshRow {
    family: String,
    client_id: String,
    sub: String,
    scope: String,
    sid: String,
    auth_time: i64,
    family_end: i64,
    expires_at: i64,
    used_at: Option<i64>,
    revoked_at: Option<i64>,
}

/// Spends a refresh token and issues its successor. Presenting a spent one means that two parties hold it: the whole
/// family is revoked (RFC 9700, 4.14.2). `scope` narrows what the returned authorization says, not the successor.
pub(crate) async fn refresh(
    database: &Database,
    client_id: &str,
    token: &str,
    scope: Option<&str>,
    now: i64,
) -> Result<Granted, GrantError> {
    let mut tx = database.write().await?;
    prune(&mut tx, now).await?;
    let row = sqlx::query_as::<_, RefreshRow>(
        "SELECT family, client_id, sub, scope, sid, auth_time, family_end, expires_at, used_at, revoked_at
         FROM refresh_token WHERE token_hash = ?",
    )
    .bind(secret::stored_form(token))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row.filter(|row| row.client_id == client_id) else {
        return Err(GrantError::Invalid("the refresh token is unknown"));
    };
    if row.used_at.is_some() {
        revoke_family(&mut tx, &row.family, now).await?;
        tx.commit().await?;
        return Err(GrantError::Invalid("the refresh token was used before"));
    }
    if row.revoked_at.is_some() {
        return Err(GrantError::Invalid("the refresh token was revoked"));
    }
    if row.expires_at <= now {
        return Err(GrantError::Invalid("the refresh token has expired"));
    }
    if scope.is_some_and(|scope| !is_subset(scope, &row.scope)) {
        return Err(GrantError::Scope);
    }
    sqlx::query("UPDATE refresh_token SET used_at = ? WHERE token_hash = ?")
        .bind(now)
        .bind(secret::stored_form(token))
        .execute(&mut *tx)
        .await?;
    let mut authorization = Authorization {
        client_id: row.client_id,
        sub: row.sub,
        scope: row.scope,
        sid: row.sid,
        auth_time: row.auth_time,
    };
    let refresh_token =
        insert_refresh(&mut tx, &row.family, &authorization, row.family_end, now).await?;
    tx.commit().await?;
    if let Some(scope) = scope {
        scope.clone_into(&mut authorization.scope);
    }
    Ok(Granted {
        authorization,
        nonce: None,
        refresh_token,
    })
}

/// Revokes the family of a refresh token; a token that is unknown or another client's changes nothing (RFC 7009, 2.2).
pub(crate) async fn revoke(
    database: &Database,
    client_id: &str,
    token: &str,
    now: i64,
) -> Result<(), sqlx::Error> {
    let mut tx = database.write().await?;
    let family = sqlx::query_scalar::<_, String>(
        "SELECT family FROM refresh_token WHERE token_hash = ? AND client_id = ?",
    )
    .bind(secret::stored_form(token))
    .bind(client_id)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(family) = family {
        revoke_family(&mut tx, &family, now).await?;
    }
    tx.commit().await
}

/// Forgets what can no longer be used nor tell a theft. Spent refresh tokens are kept as long as their family can go on.
pub(crate) async fn prune(connection: &mut SqliteConnection, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM authorization_code WHERE expires_at <= ?")
        .bind(now - CODE_MEMORY)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM refresh_token WHERE family_end <= ?1 OR (used_at IS NULL AND expires_at <= ?1)")
        .bind(now)
        .execute(&mut *connection)
        .await?;
    // Of sessions that nobody could end any more.
    sqlx::query(
        "DELETE FROM session_client WHERE sid NOT IN (SELECT sid FROM browser_session)
             AND sid NOT IN (SELECT sid FROM refresh_token) AND sid NOT IN (SELECT sid FROM authorization_code)",
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn insert_refresh(
    connection: &mut SqliteConnection,
    family: &str,
    authorization: &Authorization,
    family_end: i64,
    now: i64,
) -> Result<String, GrantError> {
    let token = secret::generate()?;
    sqlx::query(
        "INSERT INTO refresh_token (token_hash, family, client_id, sub, scope, sid, auth_time, family_end, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(secret::stored_form(&token))
    .bind(family)
    .bind(&authorization.client_id)
    .bind(&authorization.sub)
    .bind(&authorization.scope)
    .bind(&authorization.sid)
    .bind(authorization.auth_time)
    .bind(family_end)
    .bind(family_end.min(now + REFRESH_LIFE))
    .execute(connection)
    .await?;
    Ok(token)
}

async fn revoke_family(
    connection: &mut SqliteConnection,
    family: &str,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE refresh_token SET revoked_at = ? WHERE family = ? AND revoked_at IS NULL")
        .bind(now)
        .bind(family)
        .execute(connection)
        .await?;
    Ok(())
}

fn is_subset(scope: &str, granted: &str) -> bool {
    scope.split(' ').all(|name| has_scope(granted, name))
}

#[cfg(test)]
mod tests;
