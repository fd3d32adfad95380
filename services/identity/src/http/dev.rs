//! Short cuts for people who try things and for tests: any seeded subject's token for the asking, and key rotation. Not
//! here: anything that a real provider would offer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ftgo_chassis::{Query, ServiceError};
use http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};

use super::token::{TokenAnswer, audience};
use crate::directory::{self, Role};
use crate::keys::SigningAlgorithm;
use crate::provider::{Provider, now};
use crate::session;
use crate::token::AccessToken;

/// Seconds.
const DEFAULT_LIFE: i64 = 3600;
/// A year, in seconds, both ways.
const LONGEST_LIFE: i64 = 365 * 24 * 3600;

/// The `client_id` of a person's token that no client asked for.
const DEV_CLIENT: &str = "dev";

#[derive(Deserialize)]
pub(super) struct TokenQuery {
    sub: String,
    /// Separated by commas or spaces.
    aud: Option<String>,
    /// Separated by spaces; taken as it is, so that a token can have too few or too many scopes.
    scope: Option<String>,
    /// Seconds; negative for a token that has already expired.
    expires_in: Option<i64>,
    alg: Option<String>,
}

/// `GET /dev/token`: a token for one of the seeded subjects, without any proof.
pub(super) async fn token(
    State(provider): State<Arc<Provider>>,
    Query(query): Query<TokenQuery>,
) -> Result<TokenAnswer, ServiceError> {
    let subject = directory::find(&query.sub)
        .ok_or_else(|| ServiceError::BadRequest("sub: nobody of that name is known".to_owned()))?;
    let audience = match &query.aud {
        None => audience(subject),
        Some(names) => names
            .split([',', ' '])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    if audience.is_empty() {
        return Err(ServiceError::BadRequest(
            "aud: no audience is named".to_owned(),
        ));
    }
    let scope = match query.scope {
        None => subject.role.scopes().join(" "),
        Some(scope) if is_scope(&scope) => scope,
        Some(_) => {
            return Err(ServiceError::BadRequest(
                "scope: names separated by single spaces are expected".to_owned(),
            ));
        }
    };
    let expires_in = query.expires_in.unwrap_or(DEFAULT_LIFE);
    if !(-LONGEST_LIFE..=LONGEST_LIFE).contains(&expires_in) {
        return Err(ServiceError::BadRequest(format!(
            "expires_in: between -{LONGEST_LIFE} and {LONGEST_LIFE} seconds"
        )));
    }
    let algorithm = match &query.alg {
        None => SigningAlgorithm::Rs256,
        Some(name) => name
            .parse()
            .map_err(|error| ServiceError::BadRequest(format!("alg: {error}")))?,
    };
    let access_token = AccessToken {
        issuer: &provider.issuer,
        subject,
        client_id: if subject.role == Role::Partner {
            subject.sub
        } else {
            DEV_CLIENT
        },
        audience: &audience,
        scope: &scope,
        expires_in,
        sid: None,
    }
    .sign(&provider.keys.current(), algorithm, now())
    .map_err(ServiceError::internal)?;
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in,
        scope,
        refresh_token: None,
        id_token: None,
    })
}

/// RFC 6749, 3.3; the empty scope is allowed here.
fn is_scope(scope: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    scope.is_empty() || scope.split(' ').all(is_name)
}

#[derive(Deserialize)]
pub(super) struct RotationQuery {
    /// True: the former keys disappear at once, as after a leak.
    #[serde(default)]
    withdraw: bool,
}

#[derive(Serialize)]
struct Rotation {
    /// The keys that sign from now on.
    current: Vec<CurrentKey>,
    /// How many keys are published.
    published: usize,
}

#[derive(Serialize)]
struct CurrentKey {
    alg: &'static str,
    kid: String,
}

/// `POST /dev/keys/rotate`: a new key of each kind.
pub(super) async fn rotate(
    State(provider): State<Arc<Provider>>,
    Query(query): Query<RotationQuery>,
) -> Result<Response, ServiceError> {
    let keys = provider
        .keys
        .rotate(query.withdraw, now())
        .await
        .map_err(ServiceError::internal)?;
    let rotation = Rotation {
        current: SigningAlgorithm::ALL
            .into_iter()
            .filter_map(|algorithm| {
                Some(CurrentKey {
                    alg: algorithm.name(),
                    kid: keys.current(algorithm)?.to_owned(),
                })
            })
            .collect(),
        published: keys.published().keys.len(),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(rotation)).into_response())
}

#[derive(Deserialize)]
pub(super) struct EndQuery {
    sub: String,
}

#[derive(Serialize)]
struct EndedSessions {
    /// How many there were.
    ended: usize,
}

/// `POST /dev/sessions/end`: as an operator does it. Clients are told of each.
pub(super) async fn end_sessions(
    State(provider): State<Arc<Provider>>,
    Query(query): Query<EndQuery>,
) -> Result<Response, ServiceError> {
    let ended = session::end_all(&provider.database, &query.sub, now())
        .await
        .map_err(ServiceError::internal)?;
    let count = ended.len();
    for one in ended {
        tracing::info!(sid = one.sid, "an operator has ended a session");
        provider.outbox.tell(one);
    }
    Ok((
        [(CACHE_CONTROL, "no-store")],
        Json(EndedSessions { ended: count }),
    )
        .into_response())
}
