//! Where it is kept what came of a key: in the process's store, or in Redis for all replicas together. What a key is, and
//! what a caller is told, is `idempotency.rs` and `idempotency/once.rs`.

mod shared;
mod sqlite;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Refusal;
use crate::store::{Store, StoreError};

pub use sqlite::TABLES;
pub(super) use sqlite::prune;

/// For how long an answer is given again.
pub(super) const KEPT: Duration = Duration::from_hours(24);

/// One attempt at something.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The derived key.
    pub(super) key: String,
    /// Of the payload: the same request has the same.
    pub(super) fingerprint: String,
    /// Who is at it.
    pub(super) owner: Owner,
    /// By then it is over, however it ends.
    pub(super) lease: Duration,
}

/// One attempt of one process. An attempt that outlasts its claim is another owner than the next one, also in the same
/// process.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    instance: Uuid,
    attempt: u64,
}

impl Owner {
    /// A new attempt of the process whose store this is.
    pub(super) fn new(store: &Store) -> Self {
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        Self {
            instance: store.instance(),
            attempt: ATTEMPTS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether `owner`, as it was written, is of the same process.
    fn is_beside(&self, owner: &str) -> bool {
        let instance = owner.split_once(':').map(|(instance, _)| instance);
        instance.and_then(|text| Uuid::parse_str(text).ok()) == Some(self.instance)
    }
}

/// As it is written.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.instance, self.attempt)
    }
}

/// What is known of a key; `O` is the outcome, or its text.
#[derive(Debug, PartialEq)]
pub(super) enum Known<O = Outcome> {
    /// Nothing, or nobody is at it any more: the claim holds, and the work is to be done.
    Claimed,
    /// It came with another payload.
    OtherPayload,
    /// Somebody is at it.
    InFlight,
    Done(O),
}

impl Known<String> {
    fn read(self) -> Result<Known, serde_json::Error> {
        Ok(match self {
            Self::Claimed => Known::Claimed,
            Self::OtherPayload => Known::OtherPayload,
            Self::InFlight => Known::InFlight,
            Self::Done(text) => Known::Done(serde_json::from_str(&text)?),
        })
    }
}

/// What is given again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Answer {
        status: u16,
        location: Option<String>,
        /// JSON, as it was sent.
        body: String,
    },
    Refusal {
        status: u16,
        slug: Option<String>,
        detail: Option<String>,
        errors: Vec<crate::error::FieldError>,
    },
}

impl From<&Refusal> for Outcome {
    fn from(refusal: &Refusal) -> Self {
        Self::Refusal {
            status: refusal.status.as_u16(),
            slug: refusal.slug.clone(),
            detail: refusal.detail.clone(),
            errors: refusal.errors.clone(),
        }
    }
}

/// A record that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the durable store failed")]
    Store(#[from] StoreError),
    #[error("Redis: {0}")]
    Redis(String),
    #[error("a record cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// Claims the key, unless it is known.
pub(super) async fn begin(store: &Store, claim: &Claim) -> Result<Known, RecordError> {
    let known = match store.redis() {
        Some(redis) => shared::begin(redis, claim).await?,
        None => sqlite::begin(store, claim).await?,
    };
    Ok(known.read()?)
}

/// Ends the claim: with an outcome that is given again, or without one, so that the next attempt may go on.
pub(super) async fn end(
    store: &Store,
    claim: &Claim,
    outcome: Option<&Outcome>,
) -> Result<(), RecordError> {
    let outcome = outcome.map(serde_json::to_string).transpose()?;
    match store.redis() {
        Some(redis) => shared::end(redis, claim, outcome).await,
        None => sqlite::end(store, claim, outcome).await,
    }
}
