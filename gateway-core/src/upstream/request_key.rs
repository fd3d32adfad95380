//! What makes two calls the same: everything that is sent, and who they are for. What is done with calls that are the
//! same is decided in `upstream/coalesce.rs` and `cache/parts.rs`.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use http::{HeaderMap, Method};

use crate::auth::Principal;

/// What a text costs besides its bytes, roughly.
const PER_TEXT: usize = 64;

/// A call as it goes out. Equal keys are calls that a service cannot tell from one another, but for when they come, the
/// time that they have left, and the ids by which they are found in logs and traces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestKey {
    upstream: &'static str,
    method: Method,
    path: String,
    /// Name, value, name, value, each behind its length. Calls of the same code set them in the same order.
    headers: Box<[u8]>,
    /// A message of gRPC; empty for HTTP, where reads have none.
    body: Box<[u8]>,
    identity: Identity,
    /// Of all the others, made once: a key is looked up many times.
    hash: u64,
}

/// Everything by which a service could tell callers apart. The whole principal, not only what the internal token says
/// today: a call is shared too seldom rather than once too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Principal(Principal),
    /// The negative control of the tests for sharing: what a key must never be.
    #[cfg(test)]
    Forgotten,
}

impl Identity {
    /// Whether the service is not told of anybody.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self, Self::Principal(Principal::Anonymous))
    }

    /// In bytes. Whatever else has the same principal, a key may be the last to keep it.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Principal(principal) => principal.texts().map(|text| text.len() + PER_TEXT).sum(),
            #[cfg(test)]
            Self::Forgotten => 0,
        }
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // Equal principals have equal subjects; different ones may, and are then told apart by `Eq`.
            Self::Principal(principal) => principal.subject().hash(state),
            #[cfg(test)]
            Self::Forgotten => {}
        }
    }
}

impl Hash for RequestKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Keyed at random, since callers choose what is hashed.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl RequestKey {
    /// The key of a call on behalf of `principal`. `headers` are those of the call itself.
    pub(crate) fn new(
        upstream: &'static str,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        principal: &Principal,
    ) -> Self {
        let headers = bytes_of(headers);
        let identity = Identity::Principal(principal.clone());
        Self {
            hash: HASHER.hash_one((upstream, path, &headers, body, &identity)),
            upstream,
            method: method.clone(),
            path: path.to_owned(),
            headers,
            body: body.into(),
            identity,
        }
    }

    /// This key without the caller: only to show that tests notice.
    #[cfg(test)]
    pub(crate) fn without_identity(self) -> Self {
        let identity = Identity::Forgotten;
        Self {
            hash: HASHER.hash_one((
                self.upstream,
                &self.path,
                &self.headers,
                &self.body,
                &identity,
            )),
            identity,
            ..self
        }
    }

    pub(crate) fn weight(&self) -> usize {
        self.path.len() + self.headers.len() + self.body.len() + self.identity.weight()
    }
}

fn bytes_of(headers: &HeaderMap) -> Box<[u8]> {
    let length = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 16)
        .sum();
    let mut bytes = Vec::with_capacity(length);
    for (name, value) in headers {
        for text in [name.as_str().as_bytes(), value.as_bytes()] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text);
        }
    }
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use http::{HeaderMap, HeaderValue, Method};

    use super::RequestKey;
    use crate::auth::{ApiKeyPrincipal, Principal, TokenPrincipal};

    fn key(path: &str, headers: &[(&'static str, &'static str)], owner: &str) -> RequestKey {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let principal = Principal::ApiKey(Arc::new(ApiKeyPrincipal {
            key_id: "k".to_owned(),
            owner: owner.to_owned(),
            scopes: Vec::new(),
            attributes: BTreeMap::new(),
        }));
        RequestKey::new("widgets", &Method::GET, path, &map, b"", &principal)
    }

    #[test]
    fn messages_tell_calls_apart() {
        let key = |message: &[u8]| {
            let (headers, nobody) = (HeaderMap::new(), Principal::Anonymous);
            RequestKey::new(
                "widgets",
                &Method::POST,
                "/w.W/Get",
                &headers,
                message,
                &nobody,
            )
        };
        assert_eq!(key(b"1"), key(b"1"));
        assert_ne!(key(b"1"), key(b"2"));
    }

    #[test]
    fn a_key_weighs_what_is_known_of_the_caller() {
        let long = || "x".repeat(1000);
        let token = TokenPrincipal {
            issuer: long(),
            subject: long(),
            name: long(),
            scopes: vec![long(), long()],
            roles: vec![long()],
            attributes: BTreeMap::from([(long(), long())]),
            expires_at: 0,
            token_id: Some(long()),
        };
        let weight = |principal| {
            let headers = HeaderMap::new();
            RequestKey::new("widgets", &Method::GET, "/w", &headers, b"", &principal).weight()
        };
        let nobody = weight(Principal::Anonymous);
        assert!(weight(Principal::Token(Arc::new(token))) >= nobody + 9000);
        assert!(key("/w", &[], &long()).weight() >= nobody + 1000);
    }

    #[test]
    fn everything_that_is_sent_tells_calls_apart() {
        let one = || key("/widgets/1", &[("a", "b"), ("c", "d")], "ann");
        assert_eq!(one(), one());
        assert_ne!(one(), key("/widgets/2", &[("a", "b"), ("c", "d")], "ann"));
        assert_ne!(one(), key("/widgets/1", &[("a", "b"), ("c", "e")], "ann"));
        assert_ne!(one(), key("/widgets/1", &[("a", "b")], "ann"));
        assert_ne!(one(), key("/widgets/1", &[("a", "bc"), ("c", "d")], "ann"));
        assert_ne!(one(), key("/widgets/1", &[("a", "b"), ("c", "d")], "bob"));
        assert_eq!(
            one().without_identity(),
            key("/widgets/1", &[("a", "b"), ("c", "d")], "bob").without_identity()
        );
    }
}
