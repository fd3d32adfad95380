//! A JWT of an issuer whose signature is checked, and of which nothing else is: who asks knows what it is to say. Tokens
//! that authenticate requests are checked in `auth/jwt.rs`.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use serde_json::Value;

use super::claims::{self, Header};
use super::{invalid, strip_application};
use crate::auth::jwks::IssuerKeys;
use crate::deadline::Deadline;
use crate::error::Error;

/// ID tokens tell more than access tokens do.
const MAX_BYTES: usize = 16 * 1024;

/// What a token says that one of the issuer's keys has signed.
#[derive(Debug)]
pub(crate) struct SignedClaims {
    /// Without `application/`, in lower case.
    pub(crate) token_type: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) members: BTreeMap<String, Value>,
}

impl SignedClaims {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// Seconds since the epoch.
    pub(crate) fn time(&self, name: &str) -> Option<u64> {
        self.members.get(name).and_then(claims::numeric_date)
    }

    /// A text, or the texts of a list; `None` for anything else.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        claims::words(self.members.get(name).cloned(), false)
    }
}

impl IssuerKeys {
    /// The claims of `token`, when it is signed with a key of this issuer's, by an algorithm that it may use.
    ///
    /// # Errors
    /// `InvalidToken` for anything else, `KeysUnavailable` or `DeadlineExceeded` when it cannot be checked.
    pub(crate) async fn verified(
        &self,
        token: &str,
        deadline: Deadline,
    ) -> Result<SignedClaims, Error> {
        if token.len() > MAX_BYTES {
            return Err(invalid("too long"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or_else(|| invalid("not a JWT"))?;
        let (header, payload) = message
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or_else(|| invalid("not a JWT"))?;
        let header = Header::parse(header).map_err(invalid)?;
        if header.is_critical {
            return Err(invalid("critical extensions"));
        }
        let algorithm = header
            .algorithm
            .parse::<Algorithm>()
            .ok()
            .filter(|algorithm| self.config().algorithms.contains(algorithm))
            .ok_or_else(|| invalid("algorithm not allowed"))?;
        let found = self
            .find(header.key_id.as_deref(), algorithm, deadline)
            .await?;
        if !verify(signature, message.as_bytes(), &found.key, algorithm).unwrap_or(false) {
            return Err(invalid("wrong signature"));
        }
        Ok(SignedClaims {
            token_type: header
                .token_type
                .map(|found| strip_application(&found).to_ascii_lowercase()),
            algorithm,
            members: claims::members(payload).map_err(invalid)?,
        })
    }
}
