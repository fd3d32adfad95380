//! Which gateways are believed, by their public keys, and what a token has to be. Whether a request needs one is decided
//! in `caller/admission.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::{Caller, Principal};

/// The `typ` of an internal token: no other JWT passes for one.
const TOKEN_TYPE: &str = "internal+jwt";
/// Seconds. No gateway makes tokens that live longer; one that does was not made by a gateway.
const LONGEST_LIFE: u64 = 5 * 60;

/// The gateways that a service believes. Cloning it costs one counter.
#[derive(Clone)]
pub struct TrustedGateways {
    keys: Arc<Vec<TrustedKey>>,
    strict: bool,
}

#[derive(Clone)]
struct TrustedKey {
    key_id: String,
    issuers: Vec<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key in PEM, of P-256 or Ed25519")]
pub struct UnusableKey;

/// Why a token is not believed; for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    #[error("the internal token is none")]
    NotAToken,
    #[error("the internal token's key is not known")]
    UnknownKey,
    #[error("the internal token's signature is wrong")]
    Signature,
    #[error("the internal token comes from another gateway than its key")]
    Issuer,
    #[error("the internal token is meant for another service")]
    Audience,
    #[error("the internal token has expired")]
    Expired,
    #[error("the internal token lives too long")]
    LivesTooLong,
    #[error("the claims are not those of an internal token")]
    Claims,
}

/// A token that was checked, until it expires.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    pub(super) caller: Caller,
    /// Seconds since the epoch.
    pub(super) expires_at: u64,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    kind: Kind,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    exp: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Token,
    ApiKey,
    Gateway,
}

impl TrustedGateways {
    /// Trusts the gateways called `issuers`, which sign with the private half of this key (SubjectPublicKeyInfo in PEM,
    /// P-256 or Ed25519) and call it `key_id`. Calls without a token are refused.
    ///
    /// # Errors
    /// A text that is no such key.
    pub fn new(key_id: &str, public_pem: &str, issuers: &[&str]) -> Result<Self, UnusableKey> {
        let none = TrustedGateways {
            keys: Arc::default(),
            strict: true,
        };
        none.and(key_id, public_pem, issuers)
    }

    /// Trusts one key more: another gateway's, or the next one of the same, so that keys can be changed.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn and(
        self,
        key_id: &str,
        public_pem: &str,
        issuers: &[&str],
    ) -> Result<Self, UnusableKey> {
        let pem = public_pem.trim().as_bytes();
        let (algorithm, key) = match (DecodingKey::from_ec_pem(pem), DecodingKey::from_ed_pem(pem))
        {
            (Ok(key), _) => (Algorithm::ES256, key),
            (Err(_), Ok(key)) => (Algorithm::EdDSA, key),
            (Err(_), Err(_)) => return Err(UnusableKey),
        };
        let mut keys = Vec::clone(&self.keys);
        keys.push(TrustedKey {
            key_id: key_id.to_owned(),
            issuers: issuers.iter().map(|&issuer| issuer.to_owned()).collect(),
            algorithm,
            key,
        });
        Ok(TrustedGateways {
            keys: Arc::new(keys),
            ..self
        })
    }

    /// Lets calls without a token in as internal ones, while gateways are being taught to send them. A token that is
    /// there still has to be good.
    #[must_use]
    pub fn lenient(self) -> Self {
        TrustedGateways {
            strict: false,
            ..self
        }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Checks a token that is meant for the service `audience`.
    pub(super) fn check(&self, token: &str, audience: &str) -> Result<Trusted, Distrust> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Distrust::NotAToken)?;
        if header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(Distrust::NotAToken);
        }
        let trusted = self
            .keys
            .iter()
            .find(|key| header.kid.as_ref() == Some(&key.key_id))
            .ok_or(Distrust::UnknownKey)?;
        // The key decides the algorithm, never the token.
        let mut validation = Validation::new(trusted.algorithm);
        validation.set_audience(&[audience]);
        validation.set_issuer(&trusted.issuers);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // What gateways send has half of its life left: no clock needs to be forgiven.
        validation.leeway = 0;
        let claims: Claims = jsonwebtoken::decode(token, &trusted.key, &validation)
            .map_err(|error| distrust(error.kind()))?
            .claims;
        if claims.exp > unix_time() + LONGEST_LIFE {
            return Err(Distrust::LivesTooLong);
        }
        if claims.sub.is_empty() {
            return Err(Distrust::Claims);
        }
        Ok(Trusted {
            expires_at: claims.exp,
            caller: match claims.kind {
                Kind::Gateway => Caller::Internal,
                Kind::Token | Kind::ApiKey => Caller::Gateway(Arc::new(Principal {
                    gateway: claims.iss,
                    subject: claims.sub,
                    roles: claims.roles.into_iter().collect(),
                    scopes: claims.scope.split_whitespace().map(str::to_owned).collect(),
                    attributes: claims.attributes,
                })),
            },
        })
    }
}

impl fmt::Debug for TrustedGateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.iter().map(|key| (&key.key_id, &key.issuers));
        f.debug_struct("TrustedGateways")
            .field("keys", &keys.collect::<Vec<_>>())
            .field("strict", &self.strict)
            .finish()
    }
}

fn distrust(error: &jsonwebtoken::errors::ErrorKind) -> Distrust {
    use jsonwebtoken::errors::ErrorKind;
    match error {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Distrust::Signature,
        ErrorKind::InvalidIssuer => Distrust::Issuer,
        ErrorKind::InvalidAudience => Distrust::Audience,
        ErrorKind::ExpiredSignature => Distrust::Expired,
        _ => Distrust::Claims,
    }
}

pub(super) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
