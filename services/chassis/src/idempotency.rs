//! `Idempotency-Key`: a request that is repeated gets the first answer, and is done once. It works inside the caller's
//! transaction, so that the answer is remembered exactly when the work is committed.

#[cfg(test)]
mod tests;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use ftgo_messaging::Database;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use crate::json::Json;
use crate::problem::ServiceError;

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const LONGEST_KEY: usize = 255;
/// How long an answer is remembered, in milliseconds: a day.
const KEPT: i64 = 24 * 3600 * 1000;

/// The `Idempotency-Key` of a request, if any; 400 when it is empty, too long (255) or not printable ASCII. The quotes
/// of the structured-field form are optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(Option<String>);

/// What [`begin`] found.
#[derive(Debug)]
pub enum Attempt {
    /// Do the work, then [`Slot::store`] the answer in the same transaction.
    First(Slot),
    /// The work is done already: give this answer.
    Repeated(StoredResponse),
}

/// The place for the answer to a first attempt.
#[derive(Debug)]
#[must_use = "an answer that is not stored will not be repeated"]
pub struct Slot {
    operation: String,
    key: Option<String>,
    fingerprint: String,
}

/// An answer in the parts that are remembered. As a response it is JSON, with `Location` if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    status: StatusCode,
    location: Option<String>,
    body: Value,
    repeated: bool,
}

/// Looks up whether `operation` (as `POST /orders`, with ids if it has any) was done under this key before. The same
/// request means the same JSON after parsing, whatever its spaces.
///
/// # Errors
/// `IdempotencyKeyReused` (422) when the key came with another request.
pub async fn begin(
    tx: &mut SqliteConnection,
    operation: &str,
    key: &IdempotencyKey,
    request: &impl Serialize,
) -> Result<Attempt, ServiceError> {
    let Some(key) = &key.0 else {
        return Ok(Attempt::First(Slot {
            operation: operation.to_owned(),
            key: None,
            fingerprint: String::new(),
        }));
    };
    let fingerprint = format!("{:x}", Sha256::digest(serde_json::to_vec(request)?));
    let known: Option<(String, u16, Option<String>, String)> = sqlx::query_as(
        "SELECT fingerprint, status, location, body FROM idempotency WHERE operation = ? AND key = ?",
    )
    .bind(operation)
    .bind(key)
    .fetch_optional(tx)
    .await?;
    match known {
        None => Ok(Attempt::First(Slot {
            operation: operation.to_owned(),
            key: Some(key.clone()),
            fingerprint,
        })),
        Some((before, ..)) if before != fingerprint => Err(ServiceError::IdempotencyKeyReused),
        Some((_, status, location, body)) => Ok(Attempt::Repeated(StoredResponse {
            status: StatusCode::from_u16(status).map_err(ServiceError::internal)?,
            location,
            body: serde_json::from_str(&body)?,
            repeated: true,
        })),
    }
}

/// Deletes answers that are older than a day.
pub(crate) async fn prune(database: &Database) -> Result<(), sqlx::Error> {
    let horizon = chrono::Utc::now().timestamp_millis() - KEPT;
    let mut tx = database.write().await?;
    sqlx::query("DELETE FROM idempotency WHERE stored_at < ?")
        .bind(horizon)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

impl Slot {
    /// Remembers the answer when the transaction commits. Without a key nothing is remembered.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn store(
        self,
        tx: &mut SqliteConnection,
        response: &StoredResponse,
    ) -> Result<(), ServiceError> {
        let Some(key) = self.key else {
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO idempotency (operation, key, fingerprint, status, location, body, stored_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.operation)
        .bind(key)
        .bind(self.fingerprint)
        .bind(response.status.as_u16())
        .bind(&response.location)
        .bind(response.body.to_string())
        .bind(chrono::Utc::now().timestamp_millis())
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl StoredResponse {
    /// # Errors
    /// `Internal` when the body has no JSON form.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<StoredResponse, ServiceError> {
        Ok(StoredResponse {
            status,
            location: None,
            body: serde_json::to_value(body)?,
            repeated: false,
        })
    }

    #[must_use]
    pub fn location(mut self, path: impl Into<String>) -> StoredResponse {
        self.location = Some(path.into());
        self
    }
}

impl IntoResponse for StoredResponse {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            response.headers_mut().insert(LOCATION, location);
        }
        if self.repeated {
            let yes = HeaderValue::from_static("true");
            response.headers_mut().insert(REPLAYED, yes);
        }
        response
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ServiceError;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> Result<IdempotencyKey, ServiceError> {
        let malformed = || {
            ServiceError::BadRequest(format!(
                "an Idempotency-Key is 1 to {LONGEST_KEY} printable ASCII characters, given once"
            ))
        };
        let mut lines = parts.headers.get_all(HEADER).iter();
        let Some(line) = lines.next() else {
            return Ok(IdempotencyKey(None));
        };
        let key = line.to_str().map_err(|_| malformed())?.trim();
        let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        let key = quoted.unwrap_or(key);
        if key.is_empty() || key.len() > LONGEST_KEY || lines.next().is_some() {
            return Err(malformed());
        }
        Ok(IdempotencyKey(Some(key.to_owned())))
    }
}
