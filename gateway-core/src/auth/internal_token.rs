//! The internal token: who is calling, said to one service in a short-lived JWT that only this gateway can sign. Services
//! never see the client's own credentials. What a service makes of the token is the service's business.
//!
//! Claims: `iss` (the gateway's name), `aud` (the upstream's name), `sub` (the caller's name, which no caller of another
//! issuer has: see `issuers.subject_prefix`), `kind` (`token`, `api_key`, or `gateway` for the
//! gateway itself), `roles` (a list), `scope` (words), `attributes` (a table of texts: those that the configuration
//! names), `iat` and `exp`. Header: `typ` is `internal+jwt`, `alg` ES256 or EdDSA, as the key is.

mod cache;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderName;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

pub(crate) use cache::InternalTokens;

use super::Principal;
use crate::config::InternalTokenConfig;

/// The header that carries it, to HTTP services as to gRPC ones.
pub const X_INTERNAL_TOKEN: HeaderName = HeaderName::from_static("x-internal-token");

/// The `typ` of the token: no other JWT passes for one, whatever key has signed it (RFC 8725, 3.11).
const TOKEN_TYPE: &str = "internal+jwt";

/// A private key to sign with; the key decides the algorithm. It is never printed.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// A text that is no usable key. It says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a private key for ES256 or EdDSA; it has to be PKCS #8 in PEM, of P-256 or Ed25519")]
pub struct UnusableKey;

/// A token that could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("an internal token cannot be signed")]
pub struct SigningError(#[from] jsonwebtoken::errors::Error);

impl SigningKey {
    /// Reads a PKCS #8 private key: EC P-256 (ES256) or Ed25519 (EdDSA).
    ///
    /// # Errors
    /// Any other text, and any other kind of key.
    pub fn from_pem(pem: &str) -> Result<Self, UnusableKey> {
        let pem = pem.trim().as_bytes();
        let key = match (EncodingKey::from_ec_pem(pem), EncodingKey::from_ed_pem(pem)) {
            (Ok(key), _) => Self {
                algorithm: Algorithm::ES256,
                key,
            },
            (Err(_), Ok(key)) => Self {
                algorithm: Algorithm::EdDSA,
                key,
            },
            (Err(_), Err(_)) => return Err(UnusableKey),
        };
        // The PEM does not tell the curve: a key of another one fails here, not at the first request.
        match jsonwebtoken::crypto::sign(b"probe", &key.key, key.algorithm) {
            Ok(_) => Ok(key),
            Err(_) => Err(UnusableKey),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Signs internal tokens. One for all workers; what it signed is kept by each worker.
pub struct InternalTokenSigner {
    issuer: String,
    key: SigningKey,
    header: Header,
    lifetime: Duration,
    attributes: Vec<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
    iat: u64,
    exp: u64,
}

impl InternalTokenSigner {
    /// A signer for the gateway called `issuer`.
    #[must_use]
    pub fn new(issuer: &str, config: &InternalTokenConfig) -> Self {
        let mut header = Header::new(config.key.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(config.key_id.clone());
        Self {
            issuer: issuer.to_owned(),
            key: config.key.clone(),
            header,
            lifetime: config.lifetime,
            attributes: config.attributes.clone(),
        }
    }

    /// Those attributes of a caller that a token tells of.
    pub(crate) fn attributes(&self) -> &[String] {
        &self.attributes
    }

    /// A token that tells the service `audience` who is calling; `None` for a caller who is nobody in particular.
    ///
    /// # Errors
    /// When signing fails, which a key that was read before does not let happen.
    pub fn for_principal(
        &self,
        principal: &Principal,
        audience: &str,
    ) -> Result<Option<String>, SigningError> {
        let Some(subject) = principal.subject() else {
            return Ok(None);
        };
        let attributes = self
            .attributes
            .iter()
            .filter_map(|name| Some((name.as_str(), principal.attribute(name)?)))
            .collect();
        self.sign(Claims {
            iss: &self.issuer,
            aud: audience,
            sub: subject,
            kind: principal.kind(),
            roles: principal.roles(),
            scope: principal.scopes().join(" "),
            attributes,
            iat: 0,
            exp: 0,
        })
        .map(Some)
    }

    /// A token by which the gateway speaks for itself, on nobody's behalf: for its own upkeep and for operators' tools,
    /// never for a request of a client.
    ///
    /// # Errors
    /// As [`for_principal`](Self::for_principal).
    pub fn for_itself(&self, audience: &str) -> Result<String, SigningError> {
        self.sign(Claims {
            iss: &self.issuer,
            aud: audience,
            sub: &self.issuer,
            kind: "gateway",
            roles: &[],
            scope: String::new(),
            attributes: BTreeMap::new(),
            iat: 0,
            exp: 0,
        })
    }

    fn sign(&self, mut claims: Claims<'_>) -> Result<String, SigningError> {
        claims.iat = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        claims.exp = claims.iat + self.lifetime.as_secs();
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key.key)?)
    }
}
