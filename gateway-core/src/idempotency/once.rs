//! Doing something once for each key, and giving its answer again. What a key is, is `idempotency.rs`; where it is kept what
//! came of it, `idempotency/records.rs`.
//!
//! The work gets the derived key and has to be safe to repeat with it: the service deduplicates by it in the transaction that
//! does the work. So a claim whose owner is gone is simply gone on with, and when no record can be kept the work is done all
//! the same.

use std::marker::PhantomData;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::records::{self, Claim, Known, Outcome, Owner, RecordError};
use super::{IDEMPOTENT_REPLAYED, IdempotencyKey, Payload};
use crate::RequestContext;
use crate::accepted::Accepted;
use crate::error::{ClientError, Error, GatewayError, Refusal};
use crate::openapi::{Describe, Operation};
use crate::problem::{Problem, chain};
use crate::store::Store;

/// How much longer than the request's own time a claim holds: the answer has to be written, too.
const MARGIN: Duration = Duration::from_secs(1);
/// A record that takes longer is done without.
const RECORD_TIMEOUT: Duration = Duration::from_millis(500);

/// Does things once for each key. One worker's; what it remembers is the process's, or all replicas'.
#[derive(Clone, Debug)]
pub struct Idempotency {
    store: Store,
    /// What runs to its end also when its client has gone.
    commands: TaskTracker,
}

/// The answer to a command: `T` as JSON. It is what the first attempt was answered, also for those that repeat it.
#[must_use]
#[derive(Debug)]
pub struct OnceAnswer<T> {
    outcome: Outcome,
    replayed: bool,
    shape: PhantomData<fn() -> T>,
}

impl<T: Serialize> OnceAnswer<T> {
    /// # Errors
    /// A bug: `body` cannot be written as JSON.
    pub fn new(status: StatusCode, location: Option<String>, body: &T) -> Result<Self, Error> {
        let body = serde_json::to_string(body)
            .map_err(|error| GatewayError::Bug(format!("answer: {error}")))?;
        let status = status.as_u16();
        Ok(Self::known(
            Outcome::Answer {
                status,
                location,
                body,
            },
            false,
        ))
    }

    /// Whether the service has said that it only repeats an answer.
    pub fn replayed(self, replayed: bool) -> Self {
        Self { replayed, ..self }
    }
}

impl<T> OnceAnswer<T> {
    fn known(outcome: Outcome, replayed: bool) -> Self {
        Self {
            outcome,
            replayed,
            shape: PhantomData,
        }
    }
}

impl Idempotency {
    pub(crate) fn new(store: &Store, commands: &TaskTracker) -> Self {
        Self {
            store: store.clone(),
            commands: commands.clone(),
        }
    }

    /// Does `work` unless `key` is known in `scope` (the caller, the method, the path). It runs to its end also when the
    /// client goes away. Its answer, and a service's refusal, is given again for 24 hours; any other failure is not: the next
    /// attempt goes on with the same derived key.
    ///
    /// # Errors
    /// 422 when the key came with another `payload`, 409 while somebody is at it, and what `work` fails with.
    pub async fn once<T, W, F>(
        &self,
        context: &RequestContext,
        key: &IdempotencyKey,
        scope: &[&str],
        payload: &Payload,
        work: W,
    ) -> Result<OnceAnswer<T>, Error>
    where
        T: 'static,
        W: FnOnce(HeaderValue) -> F + Send + 'static,
        F: Future<Output = Result<OnceAnswer<T>, Error>> + Send + 'static,
    {
        let derived = key.scoped_to(scope);
        let claim = Claim {
            key: derived.to_str().unwrap_or_default().to_owned(),
            fingerprint: payload.fingerprint(),
            owner: Owner::new(&self.store),
            lease: context.deadline().remaining() + MARGIN,
        };
        let store = self.store.clone();
        // All of it: a claim without its work would keep the key for nothing.
        let running = self
            .commands
            .spawn(async move { run(&store, &claim, derived, work).await });
        match running.await {
            Ok(outcome) => outcome,
            Err(ended) => Err(GatewayError::Bug(format!("a command ended: {ended}")).into()),
        }
    }
}

async fn run<T, W, F>(
    store: &Store,
    claim: &Claim,
    derived: HeaderValue,
    work: W,
) -> Result<OnceAnswer<T>, Error>
where
    W: FnOnce(HeaderValue) -> F,
    F: Future<Output = Result<OnceAnswer<T>, Error>>,
{
    match in_time(records::begin(store, claim)).await {
        Some(Known::OtherPayload) => return Err(ClientError::IdempotencyKeyReused.into()),
        Some(Known::InFlight) => return Err(ClientError::IdempotencyKeyInUse.into()),
        Some(Known::Done(outcome)) => return Ok(OnceAnswer::known(outcome, true)),
        Some(Known::Claimed) | None => {}
    }
    let result = work(derived).await;
    let outcome = match &result {
        Ok(answer) => Some(answer.outcome.clone()),
        Err(Error::Client(ClientError::Refused(refusal))) if refusal.is_final() => {
            Some(Outcome::from(refusal))
        }
        Err(_) => None,
    };
    // What comes of it is in the log: the service knows the key, too.
    let _ = in_time(records::end(store, claim, outcome.as_ref())).await;
    result
}

async fn in_time<T>(record: impl Future<Output = Result<T, RecordError>>) -> Option<T> {
    let error = match timeout(RECORD_TIMEOUT, record).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => chain(&error),
        Err(_elapsed) => "it took too long".to_owned(),
    };
    tracing::error!(
        error,
        "an idempotency key cannot be recorded; the service's own deduplication holds"
    );
    None
}

impl<T> IntoResponse for OnceAnswer<T> {
    fn into_response(self) -> Response {
        let replayed = HeaderValue::from_static("true");
        let (status, location, body) = match self.outcome {
            Outcome::Answer {
                status,
                location,
                body,
            } => (status, location, body),
            Outcome::Refusal {
                status,
                slug,
                detail,
                errors,
            } => {
                let refusal = Refusal {
                    status: StatusCode::from_u16(status).unwrap_or(StatusCode::CONFLICT),
                    slug,
                    detail,
                    errors,
                };
                let problem = Problem::from(&Error::from(ClientError::Refused(refusal)));
                let problem = if self.replayed {
                    problem.header(IDEMPOTENT_REPLAYED, replayed)
                } else {
                    problem
                };
                let mut response = problem.status.into_response();
                response.extensions_mut().insert(problem);
                return response;
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::ACCEPTED.as_u16() {
            // Sooner there is nothing to see.
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(Ok(location)) = location.map(HeaderValue::try_from) {
            headers.insert(LOCATION, location);
        }
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, replayed);
        }
        response
    }
}

impl<T: JsonSchema> Describe for OnceAnswer<T> {
    fn describe(operation: &mut Operation<'_>) {
        <Accepted<T> as Describe>::describe(operation);
    }
}

#[cfg(test)]
mod tests;
