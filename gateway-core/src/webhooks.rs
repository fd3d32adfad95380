//! Webhooks: changes are told to partners' servers by signed requests, at least once, also over a crash. This file is what an app's
//! handlers and its feed of events use; which change is told to whom, and in what words, is the app's to say ([`Announcement`]).
//!
//! A change is written down for every endpoint that it concerns, in one transaction with the place in the feed that has been reached
//! (`records.rs`); so none is lost, and one that is heard again is known. From there every endpoint is served by a queue of its own
//! (`dispatch.rs`), over a client that connects to addresses which were checked (`address.rs`), with signatures as
//! <https://www.standardwebhooks.com> has them (`signature.rs`).

mod address;
mod dispatch;
mod records;
mod send;
mod signature;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::api_key::NoRandomness;
use crate::config::{PartnerConfig, Partners, WebhooksConfig};
use crate::encode::hex;
use crate::error::{ClientError, Error, FieldError, GatewayError, Refusal};
use crate::events::ChangeEvent;
use crate::store::{Store, StoreError};
pub use address::AddressFault;
pub use records::{Delivery, DeliveryState, Endpoint, TABLES};

/// What an app tells its partners of a change.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// What has happened, in the partners' vocabulary: `widget.painted`.
    pub kind: &'static str,
    /// What it has happened to: the unit in which order is kept.
    pub subject: String,
    /// Whom it concerns. `None` = those whom earlier changes of the subject concerned.
    pub audience: Option<Audience>,
    /// When: RFC 3339.
    pub at: String,
    pub data: Value,
}

/// The partners that have a certain attribute in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    pub attribute: &'static str,
    pub value: String,
}

/// What an app says of a change; `None` when partners are not told of it.
pub type Announce = fn(&ChangeEvent) -> Option<Announcement>;

/// An endpoint that is to be.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    pub url: String,
    /// The kinds of which it is told; all when empty.
    pub kinds: Vec<String>,
    /// One subject's changes one after another: the next one when the one before was delivered or given up.
    pub ordered: bool,
}

/// Why something cannot be done with an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("the address cannot be used")]
    Address(#[from] AddressFault),
    #[error("there are as many endpoints as one partner may have")]
    TooMany,
    #[error("no such endpoint or delivery")]
    Unknown,
    #[error("the endpoint is disabled")]
    Disabled,
    #[error("messages are signed with the former secret for {} s more", .0.as_secs())]
    Overlap(Duration),
    #[error("it cannot be kept")]
    Store(#[from] StoreError),
    #[error("no secret can be made")]
    Randomness(#[from] NoRandomness),
}

/// The webhooks of a process. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    config: WebhooksConfig,
    announce: Option<Announce>,
    partners: ArcSwap<BTreeMap<String, PartnerConfig>>,
    /// Where deliveries are made, once the gateway runs.
    runtime: OnceLock<dispatch::Runtime>,
    /// By endpoint: wakes the task that serves it.
    queues: Mutex<HashMap<String, Arc<Notify>>>,
}

/// A change, ready to be written down.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    message: String,
    kind: &'static str,
    subject: String,
    audience: Option<Audience>,
    body: String,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// The body of every message.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: &'a Value,
}

impl Webhooks {
    pub(crate) fn new(store: &Store, config: &WebhooksConfig, announce: Option<Announce>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: store.clone(),
                config: config.clone(),
                announce,
                partners: ArcSwap::default(),
                runtime: OnceLock::new(),
                queues: Mutex::default(),
            }),
        }
    }

    /// From now on these are the partners, and what they are bound to: nobody else is told anything.
    pub(crate) fn bind(&self, partners: &Partners) {
        self.inner.partners.store(Arc::clone(partners));
        dispatch::go_on_later(self);
    }

    /// Starts to deliver on `runtime` until `stop`, and goes on with what was left.
    pub(crate) fn start(&self, runtime: &Handle, stop: &CancellationToken) {
        dispatch::start(self, runtime, stop);
    }

    /// From now on no attempt is begun, and what changes is written down for the next process.
    pub(crate) fn stop(&self) {
        if let Some(runtime) = self.inner.runtime.get() {
            runtime.stop();
        }
    }

    /// Waits, after [`stop`](Self::stop), until the attempts under way have ended and their ends are written down: only then may the
    /// store be closed.
    pub(crate) async fn ended(&self) {
        if let Some(runtime) = self.inner.runtime.get() {
            runtime.ended(self.inner.config.timeout).await;
        }
    }

    /// Adds an endpoint of `partner`, and gives its secret: the only time that it can be read.
    ///
    /// # Errors
    /// An address that cannot be used, also after its name was resolved; as many endpoints as are allowed; a store that fails.
    pub async fn create(
        &self,
        partner: &str,
        new: NewEndpoint,
    ) -> Result<(Endpoint, String), WebhookError> {
        let loopback = self.inner.config.allow_loopback;
        let url = address::check(&new.url, loopback)?;
        address::resolve(&url, loopback).await?;
        let secret = signature::generate()?;
        let endpoint = Endpoint {
            id: format!("wh_{}", Uuid::now_v7().simple()),
            url: url.into(),
            kinds: new.kinds,
            ordered: new.ordered,
            disabled: None,
            created_at: now(),
        };
        let most = self.inner.config.max_endpoints;
        let store = &self.inner.store;
        if records::create(store, partner, &endpoint, &secret, most).await? {
            Ok((endpoint, secret))
        } else {
            Err(WebhookError::TooMany)
        }
    }

    /// The endpoints of `partner`, oldest first.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn list(&self, partner: &str) -> Result<Vec<Endpoint>, WebhookError> {
        Ok(records::list(&self.inner.store, partner).await?)
    }

    /// # Errors
    /// When `partner` has no such endpoint; a store that fails.
    pub async fn endpoint(&self, partner: &str, id: &str) -> Result<Endpoint, WebhookError> {
        let mut endpoints = self.list(partner).await?.into_iter();
        let found = endpoints.find(|endpoint| endpoint.id == id);
        found.ok_or(WebhookError::Unknown)
    }

    /// Takes an endpoint away, with its deliveries.
    ///
    /// # Errors
    /// When `partner` has no such endpoint; a store that fails.
    pub async fn delete(&self, partner: &str, id: &str) -> Result<(), WebhookError> {
        found(records::delete(&self.inner.store, partner, id).await?)?;
        self.wake(id);
        Ok(())
    }

    /// Gives the endpoint another secret, and says until when messages are signed with the former one, too.
    ///
    /// # Errors
    /// When `partner` has no such endpoint; while messages are still signed with the secret before ([`WebhookError::Overlap`]), which
    /// would end too early; a store that fails.
    pub async fn rotate(
        &self,
        partner: &str,
        id: &str,
    ) -> Result<(String, SystemTime), WebhookError> {
        let secret = signature::generate()?;
        let now = now();
        let until = now.saturating_add(millis(self.inner.config.overlap));
        records::rotate(&self.inner.store, partner, id, &secret, now, until).await?;
        Ok((secret, moment(until)))
    }

    /// Lets an endpoint that was disabled have messages again, from now on.
    ///
    /// # Errors
    /// When `partner` has no such endpoint; a store that fails.
    pub async fn enable(&self, partner: &str, id: &str) -> Result<(), WebhookError> {
        found(records::enable(&self.inner.store, partner, id).await?)?;
        self.wake(id);
        Ok(())
    }

    /// Sends a message of this kind that is about nothing; its id.
    ///
    /// # Errors
    /// When `partner` has no such endpoint, or it is disabled; a store that fails.
    pub async fn test(
        &self,
        partner: &str,
        id: &str,
        kind: &'static str,
        at: &str,
    ) -> Result<String, WebhookError> {
        let data = json!({});
        let noted = Noted {
            message: format!("msg_{}", Uuid::now_v7().simple()),
            kind,
            subject: id.to_owned(),
            audience: None,
            body: body(kind, at, &data),
        };
        let message = noted.message.clone();
        records::add(&self.inner.store, partner, id, noted, now()).await?;
        self.wake(id);
        Ok(message)
    }

    /// What was and is to be delivered to an endpoint, newest first: up to `limit` before the number `before`.
    ///
    /// # Errors
    /// When `partner` has no such endpoint; a store that fails.
    pub async fn deliveries(
        &self,
        partner: &str,
        id: &str,
        state: Option<DeliveryState>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Delivery>, WebhookError> {
        self.endpoint(partner, id).await?;
        Ok(records::deliveries(&self.inner.store, id, state, before, limit).await?)
    }

    /// Delivers a message again, under the id that it has.
    ///
    /// # Errors
    /// When `partner` has no such endpoint, or it has no such message, or is disabled; a store that fails.
    pub async fn replay(&self, partner: &str, id: &str, message: &str) -> Result<(), WebhookError> {
        records::replay(&self.inner.store, partner, id, message, now()).await?;
        self.wake(id);
        Ok(())
    }

    /// What the app says of a change, ready to be written down.
    pub(crate) fn note(&self, event: &ChangeEvent) -> Option<Noted> {
        let announcement = (self.inner.announce?)(event)?;
        // The same change has the same id whenever it is heard.
        let mut digest = Sha256::new();
        digest.update(&event.source);
        digest.update([0]);
        digest.update(&event.id);
        Some(Noted {
            message: format!("msg_{}", hex(&digest.finalize()[..16])),
            kind: announcement.kind,
            body: body(announcement.kind, &announcement.at, &announcement.data),
            subject: announcement.subject,
            audience: announcement.audience,
        })
    }

    /// Where the feed is to be gone on with.
    pub(crate) async fn position(&self) -> Result<Option<String>, StoreError> {
        records::position(&self.inner.store).await
    }

    /// Writes down changes for the endpoints that they concern, and that the feed is taken in up to `position`.
    pub(crate) async fn take(
        &self,
        noted: Vec<Noted>,
        position: Option<String>,
    ) -> Result<(), StoreError> {
        let partners = self.inner.partners.load_full();
        let store = &self.inner.store;
        for endpoint in records::take(store, noted, position, partners, now()).await? {
            self.wake(&endpoint);
        }
        Ok(())
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        let queues = &self.inner.queues;
        queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(is_there: bool) -> Result<(), WebhookError> {
    if is_there {
        Ok(())
    } else {
        Err(WebhookError::Unknown)
    }
}

fn body(kind: &str, at: &str, data: &Value) -> String {
    let body = Body {
        r#type: kind,
        timestamp: at,
        data,
    };
    // Texts and a JSON value: this cannot fail.
    serde_json::to_string(&body).unwrap_or_default()
}

/// Milliseconds since the epoch: what is written down is read after a restart.
fn now() -> i64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn moment(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

impl From<WebhookError> for Error {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Address(fault) => ClientError::Unprocessable(vec![FieldError {
                pointer: "/url".to_owned(),
                detail: match fault {
                    AddressFault::NoUrl | AddressFault::Unresolved => fault.to_string(),
                    AddressFault::NotHttps
                    | AddressFault::Credentials
                    | AddressFault::NotPublic => {
                        format!("is an address that is not allowed: it {fault}")
                    }
                },
            }])
            .into(),
            WebhookError::TooMany => {
                conflict("There are as many webhooks as one partner may have.".to_owned())
            }
            WebhookError::Disabled => conflict(
                "The webhook is disabled: nothing is sent there. It can be enabled.".to_owned(),
            ),
            WebhookError::Overlap(left) => conflict(format!(
                "Messages are signed with the former secret, too, for {} s more; then there can be another one.",
                // Rounded up: who comes back then is not too early.
                left.as_millis().div_ceil(1000)
            )),
            WebhookError::Unknown => Error::not_found(),
            WebhookError::Store(error) => {
                let error = crate::problem::chain(&error);
                tracing::error!(error, "webhooks cannot be looked up or kept");
                GatewayError::Overloaded.into()
            }
            WebhookError::Randomness(error) => GatewayError::Bug(error.to_string()).into(),
        }
    }
}

fn conflict(detail: String) -> Error {
    ClientError::Refused(Refusal {
        status: StatusCode::CONFLICT,
        slug: None,
        detail: Some(detail),
        errors: Vec::new(),
    })
    .into()
}

#[cfg(test)]
mod tests;
