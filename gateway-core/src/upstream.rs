//! Calling services: the client side of the gateway, from the typed call down to the pooled connection.
//! Which service is called, with what path and for what, is a BFF's knowledge (`clients/`), or a passthrough route's.
//!
//! `call`, `grpc` and the proxy say what is wanted; `stack` is the column that every call goes down; the files below it are
//! its layers. What all workers share of an upstream is `shared`, what each has of its own are connections.

mod call;
mod coalesce;
mod error;
mod grpc;

mod stack;

mod answer;
mod attempt;
mod flight;
mod outgoing;

mod adaptive;
mod breaker;
mod budget;
mod clock;
mod discovery;
mod ejection;
mod endpoints;
mod health;
mod limit;
mod load;
mod pool;
mod reads;
mod request_key;
mod retry;
mod shared;
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use answer::{Answer, BrokenBody, forget, read_away};
pub(crate) use attempt::Attempt;
pub use call::{Answered, Call, UpstreamClient, UpstreamResponse};
pub(crate) use call::{is_json, refusal};
pub use error::{UpstreamError, UpstreamErrorKind};
pub use grpc::{GrpcCall, GrpcMethod, GrpcUpstream};
pub(crate) use outgoing::Outgoing;
pub(crate) use reads::Reads;
pub(crate) use request_key::{Identity, RequestKey};
pub(crate) use shared::SharedUpstreams;
pub(crate) use stack::{CallKind, Judged, Stack};
pub(crate) use status::{EndpointStatus, UpstreamStatus};

use tokio_util::task::TaskTracker;

use crate::auth::internal_token::InternalTokenSigner;
use crate::config::{UpstreamProtocol, WebhooksConfig};
use crate::events::Events;
use crate::graphql::{Documents, Settings};
use crate::idempotency::Idempotency;
use crate::session::Sessions;
use crate::store::Store;
use crate::webhooks::Webhooks;

/// The upstreams as one worker sees them.
#[derive(Clone)]
pub struct Upstreams {
    stacks: Arc<BTreeMap<&'static str, Stack>>,
    reads: Reads,
    events: Events,
    store: Store,
    webhooks: Webhooks,
    sessions: Option<Sessions>,
    documents: Documents,
    commands: TaskTracker,
}

/// A BFF asked for an upstream that the configuration does not have, or has with another protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the code calls upstream `{name}` with {protocol:?}, and the configuration has no such upstream"
)]
pub struct UnknownUpstream {
    pub name: &'static str,
    pub protocol: UpstreamProtocol,
}

impl Upstreams {
    /// Those of the worker with the number `worker`. `commands` counts what is under way: what was sent to change something
    /// runs to its end, also when its client has gone. With a `signer`, services are told who is calling. `reads` is
    /// what all workers share.
    pub(crate) fn new(
        shared: &SharedUpstreams,
        worker: usize,
        commands: &TaskTracker,
        signer: Option<&Arc<InternalTokenSigner>>,
        reads: &Reads,
        events: &Events,
        store: &Store,
    ) -> Self {
        let stacks = shared
            .iter()
            .map(|upstream| {
                let stack = Stack::new(upstream, worker, commands.clone(), signer);
                (upstream.name, stack)
            })
            .collect();
        Self {
            stacks: Arc::new(stacks),
            reads: reads.clone(),
            events: events.clone(),
            store: store.clone(),
            webhooks: Webhooks::new(store, &WebhooksConfig::default(), None),
            sessions: None,
            documents: Documents::new(&Settings::default()),
            commands: commands.clone(),
        }
    }

    /// With the sessions of browsers.
    #[must_use]
    pub(crate) fn with_sessions(self, sessions: Option<&Sessions>) -> Self {
        Self {
            sessions: sessions.cloned(),
            ..self
        }
    }

    /// The sessions of browsers, when the configuration has them.
    #[must_use]
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// With the documents that the whole process knows.
    #[must_use]
    pub(crate) fn with_documents(mut self, documents: &Documents) -> Self {
        self.documents = documents.clone();
        self
    }

    /// What changes at the upstreams, as far as their feed of events tells.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// What outlives the process. It is open for apps that have tables in it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// With the process's webhooks.
    #[must_use]
    pub(crate) fn with_webhooks(self, webhooks: &Webhooks) -> Self {
        Self {
            webhooks: webhooks.clone(),
            ..self
        }
    }

    /// What is told to partners' servers. Apps that use it have [`webhooks::TABLES`](crate::webhooks::TABLES) in their store.
    #[must_use]
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// The GraphQL documents that are known, for a BFF with a schema.
    #[must_use]
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// For commands that are done once for each idempotency key. Apps that use it have
    /// [`idempotency::TABLES`](crate::idempotency::TABLES) in their store.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency::new(&self.store, &self.commands)
    }

    /// Keeps connections ready, for as long as somebody polls.
    pub(crate) async fn warm_up(&self) {
        for stack in self.stacks.values() {
            stack.warm_up().await;
        }
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn stack(&self, name: &str) -> Option<&Stack> {
        self.stacks.get(name)
    }

    /// The client for the JSON service `name`.
    ///
    /// # Errors
    /// When the configuration has no such upstream: reported with all other configuration faults.
    pub fn client(&self, name: &'static str) -> Result<UpstreamClient, UnknownUpstream> {
        self.stacks
            .get(name)
            .filter(|stack| stack.protocol() != UpstreamProtocol::Grpc)
            .cloned()
            .map(|stack| UpstreamClient::new(stack, self.reads.clone()))
            .ok_or(UnknownUpstream {
                name,
                protocol: UpstreamProtocol::Http1,
            })
    }

    /// The client for the gRPC service `name`.
    ///
    /// # Errors
    /// When the configuration has no such upstream: reported with all other configuration faults.
    pub fn grpc(&self, name: &'static str) -> Result<GrpcUpstream, UnknownUpstream> {
        let protocol = UpstreamProtocol::Grpc;
        self.stacks
            .get(name)
            .filter(|stack| stack.protocol() == protocol)
            .cloned()
            .map(|stack| GrpcUpstream::new(UpstreamClient::new(stack, self.reads.clone())))
            .ok_or(UnknownUpstream { name, protocol })
    }
}
