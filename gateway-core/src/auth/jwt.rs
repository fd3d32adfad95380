//! From a request's credentials to a `Principal`: where they may stand, and everything that a token has to fulfil.
//! Which keys an issuer has is `auth/jwks.rs`; what the principal may do is `auth/policy.rs`.

mod claims;
mod credentials;
mod signed;
#[cfg(test)]
mod tests;
mod verified;

use std::sync::Arc;

use http::HeaderMap;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::verify;
use sha2::{Digest, Sha256};

use super::api_key::{ApiKeys, KeyUses};
use super::jwks::KeySets;
use super::revocation::Revocations;
use super::{Principal, TokenPrincipal, bind_partner};
use crate::clock::unix_time;
use crate::config::{ApiKeysConfig, IssuerConfig, Partners};
use crate::deadline::Deadline;
use crate::error::{ClientError, Error};
use crate::metrics::TokenMetrics;
use claims::{Claims, Header};
pub(crate) use claims::{attribute as claim_attribute, words as claim_words};
use credentials::Credentials;
pub(crate) use signed::SignedClaims;
use verified::{Verified, VerifiedTokens};

/// No issuer needs more; what is longer is refused before any work is done for it.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// One worker's authenticator. The keys are shared, what was verified with them is not.
pub struct Authenticator {
    keys: Arc<KeySets>,
    api_keys: Option<ApiKeys>,
    verified: VerifiedTokens,
    revocations: Arc<Revocations>,
    partners: Partners,
    counters: Option<TokenMetrics>,
}

impl Authenticator {
    /// Believes the issuers of `keys`, and no API key.
    #[must_use]
    pub fn new(keys: Arc<KeySets>) -> Self {
        Self {
            keys,
            api_keys: None,
            verified: VerifiedTokens::default(),
            revocations: Arc::default(),
            partners: Partners::default(),
            counters: None,
        }
    }

    /// With the process's list of what is not believed any more.
    #[must_use]
    pub(crate) fn revocations(self, revocations: Arc<Revocations>) -> Self {
        Self {
            revocations,
            ..self
        }
    }

    /// With API keys; their uses are noted in the process's record.
    #[must_use]
    pub(crate) fn api_keys(self, config: Option<&ApiKeysConfig>, uses: &KeyUses) -> Self {
        Self {
            api_keys: config.map(|config| ApiKeys::new(config, uses)),
            ..self
        }
    }

    /// Tokens with the claim that their issuer's configuration names are a partner's.
    #[must_use]
    pub(crate) fn partners(self, partners: Partners) -> Self {
        Self { partners, ..self }
    }

    /// Counting how often a token was known already.
    #[must_use]
    pub(crate) fn counted(self, counters: TokenMetrics) -> Self {
        Self {
            counters: Some(counters),
            ..self
        }
    }

    /// Says who sent a request with these headers: `Anonymous` only when it has no credentials at all, for credentials
    /// that are wrong are never ignored.
    ///
    /// # Errors
    /// `BadRequest` for more credentials than one, `Unauthenticated` for a scheme that is not known, `InvalidToken` for
    /// a token or key that is not accepted, `KeysUnavailable` or `DeadlineExceeded` when it cannot be checked.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Result<Principal, Error> {
        let token = match Credentials::find(headers)? {
            Credentials::None => return Ok(Principal::Anonymous),
            Credentials::ApiKey(key) => return self.api_key(key),
            Credentials::Bearer(token) => token,
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid("too long"));
        }
        if self
            .api_keys
            .as_ref()
            .is_some_and(|keys| keys.looks_like_key(token))
        {
            return self.api_key(token);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let now = unix_time();
        let known = self.verified.find(&digest, now);
        if let Some(counters) = &self.counters {
            let outcome = if known.is_some() {
                &counters.hit
            } else {
                &counters.miss
            };
            outcome.increment(1);
        }
        if let Some(known) = known {
            let principal = self.unless_revoked(known);
            if principal.is_err() {
                self.verified.forget(&digest);
            }
            return principal;
        }
        // Boxed: hardly a request waits for it.
        let verified = Box::pin(self.verify(token, now, deadline)).await?;
        let principal = self.unless_revoked(Arc::clone(&verified.principal))?;
        self.verified.remember(digest, verified);
        Ok(principal)
    }

    /// Asked for each request, so that what this worker has verified before is refused, too.
    fn unless_revoked(&self, token: Arc<TokenPrincipal>) -> Result<Principal, Error> {
        if self.revocations.is_revoked(&token) {
            return Err(invalid("revoked"));
        }
        Ok(Principal::Token(token))
    }

    fn api_key(&self, key: &str) -> Result<Principal, Error> {
        match &self.api_keys {
            Some(keys) => keys.find(key).map(Principal::ApiKey).map_err(invalid),
            None => Err(invalid("API keys are not accepted here")),
        }
    }

    async fn verify(&self, token: &str, now: u64, deadline: Deadline) -> Result<Verified, Error> {
        let (message, signature) = token.rsplit_once('.').ok_or_else(|| invalid("not a JWT"))?;
        let (header, payload) = message
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or_else(|| invalid("not a JWT"))?;
        let header = Header::parse(header).map_err(invalid)?;
        // Unverified until the signature is; only the issuer's name is used before.
        let claims = Claims::parse(payload).map_err(invalid)?;

        let issuer = self
            .keys
            .issuer(&claims.issuer)
            .ok_or_else(|| invalid("unknown issuer"))?;
        let algorithm = check_header(&header, issuer.config()).map_err(invalid)?;
        let found = issuer
            .find(header.key_id.as_deref(), algorithm, deadline)
            .await?;
        if !verify(signature, message.as_bytes(), &found.key, algorithm).unwrap_or(false) {
            return Err(invalid("wrong signature"));
        }
        check_claims(&claims, issuer.config(), now).map_err(invalid)?;
        Ok(Verified {
            principal: Arc::new(principal(claims, issuer.config(), &self.partners)),
            issuer: Arc::clone(issuer),
            version: found.version,
        })
    }
}

fn check_header(header: &Header, config: &IssuerConfig) -> Result<Algorithm, &'static str> {
    // RFC 7515, 4.1.11: extensions that have to be understood; we understand none.
    if header.is_critical {
        return Err("critical extensions");
    }
    let algorithm = header
        .algorithm
        .parse::<Algorithm>()
        .ok()
        .filter(|algorithm| config.algorithms.contains(algorithm))
        .ok_or("algorithm not allowed")?;
    if !config.token_types.is_empty() {
        let found = header.token_type.as_deref().ok_or("no typ")?;
        let found = strip_application(found);
        let accepted = config
            .token_types
            .iter()
            .any(|accepted| strip_application(accepted).eq_ignore_ascii_case(found));
        if !accepted {
            return Err("wrong typ");
        }
    }
    Ok(algorithm)
}

/// Media types in `typ` may leave out `application/` (RFC 7515, 4.1.9).
fn strip_application(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => &media_type[PREFIX.len()..],
        _ => media_type,
    }
}

fn check_claims(claims: &Claims, config: &IssuerConfig, now: u64) -> Result<(), &'static str> {
    let leeway = config.leeway.as_secs();
    // RFC 7519, 4.1.4: on or after `exp` a token must not be accepted.
    if now >= claims.expires_at.saturating_add(leeway) {
        return Err("expired");
    }
    if claims
        .not_before
        .is_some_and(|not_before| now.saturating_add(leeway) < not_before)
    {
        return Err("not valid yet");
    }
    let meant_for_us = claims
        .audiences
        .iter()
        .any(|audience| config.audiences.contains(audience));
    if !meant_for_us {
        return Err("wrong audience");
    }
    if claims.subject.is_empty() {
        return Err("empty sub");
    }
    let prefixes = &config.reserved_prefixes;
    if prefixes.iter().any(|p| claims.subject.starts_with(p)) {
        return Err("a sub that would be another issuer's");
    }
    Ok(())
}

fn principal(mut claims: Claims, config: &IssuerConfig, partners: &Partners) -> TokenPrincipal {
    let claim = config.partner_claim.as_ref();
    let partner = claim.and_then(|claim| claims.attributes.get(claim).cloned());
    let id = partner.as_deref().unwrap_or_default();
    TokenPrincipal {
        // To services a partner is the same whatever it comes with.
        name: if bind_partner(partners, id, &mut claims.attributes) {
            id.to_owned()
        } else {
            format!("{}{}", config.subject_prefix, claims.subject)
        },
        issuer: claims.issuer,
        subject: claims.subject,
        scopes: claims.scopes,
        roles: claims.roles,
        attributes: claims.attributes,
        expires_at: claims.expires_at,
        token_id: claims.token_id,
    }
}

/// The reason is for the log: a client only learns `invalid_token` (RFC 6750, 3.1).
fn invalid(reason: &'static str) -> Error {
    ClientError::InvalidToken(reason).into()
}
