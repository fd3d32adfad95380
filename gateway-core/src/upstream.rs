//! Calling services: the client side of the gateway, from the typed call down to the pooled connection.
//! Which service is called, with what path and for what, is a BFF's knowledge (`clients/`), or a passthrough route's.

mod call;
mod coalesce;
mod error;
mod grpc;
mod pool;
mod reads;
mod request_key;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use call::{Call, UpstreamClient, UpstreamResponse};
pub(crate) use call::{is_json, refusal};
pub use error::{UpstreamError, UpstreamErrorKind};
pub use grpc::{GrpcChannel, GrpcUpstream};
pub(crate) use pool::{Attempt, CallKind, Pool};
pub(crate) use reads::Reads;
pub(crate) use request_key::RequestKey;

use tokio_util::task::TaskTracker;

use crate::auth::internal_token::InternalTokenSigner;
use crate::config::{UpstreamConfig, UpstreamProtocol};
use crate::events::Events;
use crate::metrics::Metrics;

/// The upstreams as one worker sees them: each with a connection pool of that worker's own.
#[derive(Clone)]
pub struct Upstreams {
    pools: Arc<BTreeMap<&'static str, Pool>>,
    reads: Reads,
    events: Events,
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
    /// `commands` counts what is under way: what was sent to change something runs to its end, also when its client has
    /// gone. With a `signer`, services are told who is calling. `reads` is what all workers share.
    pub(crate) fn new(
        config: &BTreeMap<String, UpstreamConfig>,
        metrics: &Metrics,
        commands: &TaskTracker,
        signer: Option<&Arc<InternalTokenSigner>>,
        reads: &Reads,
        events: &Events,
    ) -> Self {
        let pools = config
            .iter()
            .map(|(name, upstream)| {
                let name = crate::intern::intern(name);
                let pool = Pool::new(name, upstream, metrics, commands.clone(), signer);
                (name, pool)
            })
            .collect();
        Self {
            pools: Arc::new(pools),
            reads: reads.clone(),
            events: events.clone(),
        }
    }

    /// What changes at the upstreams, as far as their feed of events tells.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    pub(crate) fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.get(name)
    }

    /// The client for the JSON service `name`.
    ///
    /// # Errors
    /// When the configuration has no such upstream: reported with all other configuration faults.
    pub fn client(&self, name: &'static str) -> Result<UpstreamClient, UnknownUpstream> {
        self.with_protocol(name, UpstreamProtocol::Http1)
            .map(|pool| UpstreamClient::new(pool, self.reads.clone()))
    }

    /// The client for the gRPC service `name`.
    ///
    /// # Errors
    /// When the configuration has no such upstream: reported with all other configuration faults.
    pub fn grpc(&self, name: &'static str) -> Result<GrpcUpstream, UnknownUpstream> {
        self.with_protocol(name, UpstreamProtocol::Grpc)
            .map(GrpcUpstream::new)
    }

    fn with_protocol(
        &self,
        name: &'static str,
        protocol: UpstreamProtocol,
    ) -> Result<Pool, UnknownUpstream> {
        self.pools
            .get(name)
            .filter(|pool| pool.protocol() == protocol)
            .cloned()
            .ok_or(UnknownUpstream { name, protocol })
    }
}
