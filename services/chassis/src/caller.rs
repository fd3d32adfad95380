//! Who is calling a service: what a gateway says in the internal token, checked before any route of the service runs.
//! Which caller may do what is each service's own rule; who the gateway believes is the gateway's.

mod admission;
mod trust;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderName;
use http::request::Parts;

use crate::problem::ServiceError;

pub(crate) use admission::{Admission, admit};
pub use trust::{TrustedGateways, UnusableKey};

/// The header that carries the internal token; gRPC calls have it as metadata.
pub const X_INTERNAL_TOKEN: HeaderName = HeaderName::from_static("x-internal-token");

/// The attribute of a partner's credentials that names the consumer account they are bound to.
const CONSUMER: &str = "consumer";
/// The attribute that names the restaurants somebody works for, separated by spaces.
const RESTAURANT_IDS: &str = "restaurant_ids";

/// On whose behalf a request comes. Handlers take it as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody whom a trusted gateway has authenticated.
    Gateway(Arc<Principal>),
    /// Nobody in particular, on a route that the service has declared public.
    Anonymous,
    /// FTGO itself: a gateway on its own behalf, an operator's tool, or anybody where no gateway is trusted and the
    /// network alone decides who gets here.
    Internal,
}

/// What a gateway says of the one it has authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The gateway's name.
    pub gateway: String,
    pub subject: String,
    pub roles: HashSet<String>,
    pub scopes: HashSet<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Principal {
    /// The consumer for whom the principal acts: the account that a partner is bound to, else the principal itself.
    pub fn consumer_id(&self) -> &str {
        self.attributes
            .get(CONSUMER)
            .map_or(&self.subject, String::as_str)
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    pub fn works_for(&self, restaurant_id: &str) -> bool {
        self.attributes
            .get(RESTAURANT_IDS)
            .is_some_and(|ids| ids.split_whitespace().any(|id| id == restaurant_id))
    }
}

impl Caller {
    pub fn is_internal(&self) -> bool {
        *self == Caller::Internal
    }

    /// Whether what belongs to this consumer is the caller's to see and to change.
    pub fn is_consumer(&self, consumer_id: &str) -> bool {
        match self {
            Caller::Internal => true,
            Caller::Gateway(principal) => principal.consumer_id() == consumer_id,
            Caller::Anonymous => false,
        }
    }

    /// Whether the caller is this courier.
    pub fn is_courier(&self, courier_id: &str) -> bool {
        match self {
            Caller::Internal => true,
            Caller::Gateway(principal) => principal.subject == courier_id,
            Caller::Anonymous => false,
        }
    }

    /// Whether the caller works for this restaurant.
    pub fn works_for(&self, restaurant_id: &str) -> bool {
        match self {
            Caller::Internal => true,
            Caller::Gateway(principal) => principal.works_for(restaurant_id),
            Caller::Anonymous => false,
        }
    }

    /// # Errors
    /// 403 for everybody but FTGO itself.
    pub fn require_internal(&self) -> Result<(), ServiceError> {
        if self.is_internal() {
            Ok(())
        } else {
            Err(ServiceError::Forbidden)
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, ServiceError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        // Never "nobody has checked, so everything is allowed".
        caller.ok_or_else(|| ServiceError::internal("a route is served without the chassis"))
    }
}
