//! The endpoints of one upstream: where each is, how it is doing, and which one the next attempt goes to. Shared by all
//! workers, but for the connections, of which each worker has its own (`pool.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri, uri};

use super::clock::Millis;
use super::ejection::Ejection;
use super::health::Health;
use super::load::Load;
use super::pool::Pool;
use crate::config::UpstreamConfig;

/// One place that an upstream is served from.
pub(super) struct Endpoint {
    pub(super) place: Place,
    /// Its address as text, for the record of calls.
    pub(super) name: Arc<str>,
    pub(super) load: Load,
    pub(super) ejection: Ejection,
    pub(super) health: Health,
    pub(super) pool: Pool,
}

/// Where an endpoint is, and by what name it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As in the configuration: what the service is told that it is called.
    pub(super) authority: Authority,
    pub(super) host: HeaderValue,
    pub(super) dial: Dial,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    Socket(SocketAddr),
    /// Looked up for each connection.
    Name(String, u16),
}

impl std::fmt::Display for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Place {
    /// What an address in the configuration means. It has been checked: it has a scheme and a host.
    pub(super) fn of(address: &Uri) -> Option<Self> {
        let authority = address.authority()?.clone();
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host();
        let dial = match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => Dial::Socket(SocketAddr::new(ip, port)),
            Err(_) => Dial::Name(host.to_owned(), port),
        };
        Some(Self {
            host: HeaderValue::from_str(authority.as_str()).ok()?,
            authority,
            dial,
        })
    }

    /// The absolute URI of a path here.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // Scheme, authority and path are all there: such parts always make a URI.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// The same service at another address.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self {
            dial: Dial::Socket(address),
            ..self.clone()
        }
    }
}

impl Endpoint {
    pub(super) fn new(place: Place, pool: Pool, config: &UpstreamConfig, now: Millis) -> Self {
        Self {
            pool,
            load: Load::new(now),
            ejection: Ejection::new(&config.ejection),
            health: Health::default(),
            name: Arc::from(place.dial.to_string()),
            place,
        }
    }

    fn is_eligible(&self, now: Millis) -> bool {
        self.health.is_up() && !self.ejection.is_out(now)
    }
}

/// All endpoints as they are known at the moment.
#[derive(Default)]
pub(super) struct Endpoints {
    all: Vec<Arc<Endpoint>>,
}

/// Below this share of healthy endpoints health is not believed any more: with the few that are left overrun, the rest
/// could only follow (Envoy's panic threshold).
const PANIC: f64 = 0.5;

impl Endpoints {
    pub(super) fn new(all: Vec<Arc<Endpoint>>) -> Self {
        Self { all }
    }

    pub(super) fn all(&self) -> &[Arc<Endpoint>] {
        &self.all
    }

    /// The less loaded of two taken at random (*power of two choices*), of those that are healthy; another than `avoid`
    /// if there is one. The choice is nearly even: behind one that is left out the next is seen more often.
    pub(super) fn pick(
        &self,
        now: Millis,
        avoid: Option<&Arc<Endpoint>>,
    ) -> Option<&Arc<Endpoint>> {
        if let [only] = self.all.as_slice() {
            return Some(only);
        }
        let panics = self.panics(now);
        let fits = |endpoint: &Arc<Endpoint>| {
            (panics || endpoint.is_eligible(now))
                && avoid.is_none_or(|avoid| !Arc::ptr_eq(endpoint, avoid))
        };
        let Some(first) = self.random(fits) else {
            // The only one that is healthy is the one that was to be avoided.
            return self
                .random(|endpoint| endpoint.is_eligible(now))
                .or_else(|| self.random(|_| true));
        };
        let second = self.random(|endpoint| fits(endpoint) && !Arc::ptr_eq(endpoint, first));
        match second {
            Some(second) if second.load.score(now) < first.load.score(now) => Some(second),
            Some(_) | None => Some(first),
        }
    }

    /// Whether so few are healthy that all have to serve.
    pub(super) fn panics(&self, now: Millis) -> bool {
        let healthy = self.all.iter().filter(|e| e.is_eligible(now)).count();
        (healthy as f64) < PANIC * self.all.len() as f64
    }

    /// The first that fits, from anywhere on.
    fn random(&self, fits: impl Fn(&Arc<Endpoint>) -> bool) -> Option<&Arc<Endpoint>> {
        let (before, after) = self.all.split_at(match self.all.len() {
            0 => 0,
            len => fastrand::usize(..len),
        });
        after.iter().chain(before).find(|endpoint| fits(endpoint))
    }

    /// Leaves `endpoint` out for a while, unless too many are left out already. Never all: one alone is never left out.
    pub(super) fn eject(
        &self,
        endpoint: &Endpoint,
        max_share: f64,
        now: Millis,
    ) -> Option<Duration> {
        let out = self
            .all
            .iter()
            .filter(|endpoint| endpoint.ejection.is_out(now))
            .count();
        let allowed = (max_share * self.all.len() as f64).floor().max(1.0);
        let others = self.all.len() > 1 && out + 1 < self.all.len();
        if !others || (out + 1) as f64 > allowed {
            return None;
        }
        endpoint.ejection.leave_out(now)
    }
}

#[cfg(test)]
mod tests;
