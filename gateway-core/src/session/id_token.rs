//! What an ID token and a logout token have to say to be believed (OpenID Connect Core 1.0, 3.1.3.7 and 12.2; Back-Channel
//! Logout 1.0, 2.6). Their signatures are checked in `auth/jwt/signed.rs`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::auth::SignedClaims;
use crate::config::IssuerConfig;

/// The event that a logout token is about.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Nobody has a longer `sub` or `sid` (OpenID Connect Core 1.0, 2).
const LONGEST_NAME: usize = 255;
/// A logout token that is older, in seconds, is one that somebody has kept.
const OLDEST_LOGOUT: u64 = 300;

/// What a token is measured by.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a IssuerConfig,
    pub(super) client_id: &'a str,
    /// Seconds since the epoch.
    pub(super) now: u64,
}

/// Who has signed in.
#[derive(Debug)]
pub(super) struct IdToken {
    pub(super) subject: String,
    pub(super) provider_session: Option<String>,
    pub(super) claims: BTreeMap<String, Value>,
}

/// Whose sessions end: one of the provider's, or all of a person.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logout {
    /// No two tokens of an issuer have the same.
    pub(super) token_id: String,
    /// Afterwards the token is refused for its age, in seconds since the epoch.
    pub(super) good_until: u64,
    pub(super) subject: Option<String>,
    pub(super) provider_session: Option<String>,
}

impl Expected<'_> {
    /// Checks the ID token that came with `access_token`; `nonce` when it answers a login, and not a refresh.
    pub(super) fn id_token(
        &self,
        signed: SignedClaims,
        nonce: Option<&str>,
        access_token: &str,
    ) -> Result<IdToken, &'static str> {
        // RFC 8725, 3.11: a token of another kind that the same keys have signed.
        let other = signed
            .token_type
            .as_deref()
            .is_some_and(|kind| kind != "jwt");
        if other {
            return Err("the ID token is of another type");
        }
        self.issuer_and_audience(&signed)?;
        let expires_at = signed.time("exp").ok_or("the ID token has no exp")?;
        if self.now >= expires_at.saturating_add(self.leeway()) {
            return Err("the ID token has expired");
        }
        let issued_at = signed.time("iat").ok_or("the ID token has no iat")?;
        if issued_at > self.now.saturating_add(self.leeway()) {
            return Err("the ID token is of the future");
        }
        if nonce.is_some_and(|nonce| signed.text("nonce") != Some(nonce)) {
            return Err("the ID token is not for this login");
        }
        if let Some(found) = signed.members.get("at_hash")
            && let Some(expected) = half_hash(signed.algorithm, access_token)
            && found.as_str() != Some(expected.as_str())
        {
            return Err("the ID token came with another access token");
        }
        let subject = name(&signed, "sub")?.ok_or("the ID token has no sub")?;
        let prefixes = &self.issuer.reserved_prefixes;
        if prefixes.iter().any(|prefix| subject.starts_with(prefix)) {
            return Err("a sub that would be another issuer's");
        }
        Ok(IdToken {
            subject,
            provider_session: name(&signed, "sid")?,
            claims: signed.members,
        })
    }

    pub(super) fn logout_token(&self, signed: &SignedClaims) -> Result<Logout, &'static str> {
        // Its own type is only recommended; the event tells it from others.
        let other = signed
            .token_type
            .as_deref()
            .is_some_and(|kind| kind != "logout+jwt" && kind != "jwt");
        if other {
            return Err("the logout token is of another type");
        }
        self.issuer_and_audience(signed)?;
        let issued_at = signed.time("iat").ok_or("the logout token has no iat")?;
        if issued_at > self.now.saturating_add(self.leeway()) {
            return Err("the logout token is of the future");
        }
        let oldest = OLDEST_LOGOUT + self.leeway();
        let expires_at = signed.time("exp").ok_or("the logout token has no exp")?;
        if self.now >= expires_at.saturating_add(self.leeway())
            || self.now > issued_at.saturating_add(oldest)
        {
            return Err("the logout token has expired");
        }
        let token_id = signed.text("jti").filter(|jti| !jti.is_empty());
        let token_id = token_id.ok_or("the logout token has no jti")?;
        let about = signed
            .members
            .get("events")
            .and_then(|events| events.get(LOGOUT));
        if !about.is_some_and(Value::is_object) {
            return Err("the token is not about a logout");
        }
        // So that nobody can use an ID token for it.
        if signed.members.contains_key("nonce") {
            return Err("the logout token has a nonce");
        }
        let by_age = issued_at.saturating_add(oldest).saturating_add(1);
        let logout = Logout {
            token_id: token_id.to_owned(),
            good_until: expires_at.saturating_add(self.leeway()).min(by_age),
            subject: name(signed, "sub")?,
            provider_session: name(signed, "sid")?,
        };
        if logout.subject.is_none() && logout.provider_session.is_none() {
            return Err("the logout token names nobody");
        }
        Ok(logout)
    }

    fn issuer_and_audience(&self, signed: &SignedClaims) -> Result<(), &'static str> {
        if signed.text("iss") != Some(self.issuer.issuer.as_str()) {
            return Err("the token is of another issuer");
        }
        let audiences = signed.texts("aud").ok_or("aud is not text")?;
        if !audiences.iter().any(|audience| audience == self.client_id) {
            return Err("the token is for another client");
        }
        let party = signed.members.get("azp");
        if audiences.len() > 1 && party.is_none() {
            return Err("the token is for several, and does not say who asked for it");
        }
        if party.is_some_and(|party| party.as_str() != Some(self.client_id)) {
            return Err("another client has asked for the token");
        }
        Ok(())
    }

    fn leeway(&self) -> u64 {
        self.issuer.leeway.as_secs()
    }
}

fn name(signed: &SignedClaims, claim: &str) -> Result<Option<String>, &'static str> {
    match signed.members.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= LONGEST_NAME => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err("sub or sid is no name"),
    }
}

/// The left half of the token's digest (OpenID Connect Core 1.0, 3.1.3.6). `None` for algorithms of which the
/// specification does not say which digest is meant.
fn half_hash(algorithm: Algorithm, token: &str) -> Option<String> {
    let digest = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => Sha256::digest(token).to_vec(),
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Sha384::digest(token).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 => Sha512::digest(token).to_vec(),
        _ => return None,
    };
    Some(URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn issuer() -> IssuerConfig {
        IssuerConfig {
            issuer: "https://login.example.com".to_owned(),
            subject_prefix: String::new(),
            reserved_prefixes: vec!["other:".to_owned()],
            jwks_uri: None,
            partner_claim: None,
            audiences: vec!["acme-web".to_owned()],
            algorithms: vec![Algorithm::RS256],
            token_types: vec!["at+jwt".to_owned()],
            leeway: Duration::from_secs(5),
            refresh: Duration::from_hours(1),
            cooldown: Duration::from_hours(1),
            max_stale: Duration::from_hours(1),
        }
    }

    /// `usual` with the members of `changes`; null takes one out. `typ` stands for the header's.
    fn signed(usual: Value, changes: &Value) -> SignedClaims {
        let mut members: BTreeMap<String, Value> = serde_json::from_value(usual).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        SignedClaims {
            token_type: members
                .remove("typ")
                .map(|kind| kind.as_str().unwrap().to_owned()),
            algorithm: Algorithm::RS256,
            members,
        }
    }

    #[test]
    fn an_id_token_is_for_this_client_this_login_and_now() {
        let check = |changes: Value| {
            let usual = json!({
                "typ": "jwt", "iss": "https://login.example.com", "aud": "web-client", "sub": "ann", "sid": "s-1",
                "exp": 1300, "iat": 1000, "nonce": "n-1", "name": "Ann",
            });
            let issuer = issuer();
            let expected = Expected {
                issuer: &issuer,
                client_id: "web-client",
                now: 1000,
            };
            match expected.id_token(signed(usual, &changes), Some("n-1"), "token") {
                Ok(token) => format!("{} {:?}", token.subject, token.provider_session),
                Err(reason) => reason.to_owned(),
            }
        };
        let good = r#"ann Some("s-1")"#;
        let hash = half_hash(Algorithm::RS256, "token").unwrap();
        for (changes, expected) in [
            (json!({}), good),
            (json!({"typ": null}), good),
            (json!({"aud": ["web-client"]}), good),
            (
                json!({"aud": ["web-client", "x"], "azp": "web-client"}),
                good,
            ),
            (json!({"exp": 996}), good),
            (json!({"iat": 1005}), good),
            (json!({"sid": null}), "ann None"),
            (json!({"at_hash": hash}), good),
            (json!({"typ": "at+jwt"}), "the ID token is of another type"),
            (
                json!({"typ": "logout+jwt"}),
                "the ID token is of another type",
            ),
            (
                json!({"iss": "https://login.example.com/"}),
                "the token is of another issuer",
            ),
            (json!({"iss": null}), "the token is of another issuer"),
            (json!({"aud": "other"}), "the token is for another client"),
            (json!({"aud": null}), "the token is for another client"),
            (json!({"aud": 1}), "aud is not text"),
            (
                json!({"aud": ["web-client", "x"]}),
                "the token is for several, and does not say who asked for it",
            ),
            (
                json!({"azp": "other"}),
                "another client has asked for the token",
            ),
            (json!({"azp": 1}), "another client has asked for the token"),
            (json!({"exp": 995}), "the ID token has expired"),
            (json!({"exp": null}), "the ID token has no exp"),
            (json!({"iat": 1006}), "the ID token is of the future"),
            (json!({"iat": null}), "the ID token has no iat"),
            (
                json!({"nonce": "n-2"}),
                "the ID token is not for this login",
            ),
            (json!({"nonce": null}), "the ID token is not for this login"),
            (
                json!({"at_hash": "x"}),
                "the ID token came with another access token",
            ),
            (
                json!({"at_hash": 1}),
                "the ID token came with another access token",
            ),
            (json!({"sub": null}), "the ID token has no sub"),
            (json!({"sub": ""}), "sub or sid is no name"),
            (json!({"sub": "a".repeat(256)}), "sub or sid is no name"),
            (json!({"sid": 1}), "sub or sid is no name"),
            (
                json!({"sub": "other:ann"}),
                "a sub that would be another issuer's",
            ),
        ] {
            assert_eq!(check(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn a_logout_token_says_that_it_is_one_and_whom_it_means() {
        let check = |changes: Value| {
            let usual = json!({
                "typ": "logout+jwt", "iss": "https://login.example.com", "aud": "web-client", "sub": "ann", "sid": "s-1",
                "iat": 1000, "exp": 1120, "jti": "j-1", "events": {LOGOUT: {}},
            });
            let issuer = issuer();
            let expected = Expected {
                issuer: &issuer,
                client_id: "web-client",
                now: 1000,
            };
            match expected.logout_token(&signed(usual, &changes)) {
                Ok(logout) => format!("{:?} {:?}", logout.subject, logout.provider_session),
                Err(reason) => reason.to_owned(),
            }
        };
        for (changes, expected) in [
            (json!({}), r#"Some("ann") Some("s-1")"#),
            (json!({"typ": null}), r#"Some("ann") Some("s-1")"#),
            (json!({"typ": "jwt"}), r#"Some("ann") Some("s-1")"#),
            (json!({"sid": null}), r#"Some("ann") None"#),
            (json!({"sub": null}), r#"None Some("s-1")"#),
            (
                json!({"sub": null, "sid": null}),
                "the logout token names nobody",
            ),
            (json!({"sid": 1}), "sub or sid is no name"),
            (
                json!({"typ": "at+jwt"}),
                "the logout token is of another type",
            ),
            (
                json!({"iss": "https://evil.example"}),
                "the token is of another issuer",
            ),
            (json!({"aud": ["other"]}), "the token is for another client"),
            (json!({"iat": null}), "the logout token has no iat"),
            (json!({"iat": 1006}), "the logout token is of the future"),
            (json!({"exp": null}), "the logout token has no exp"),
            (json!({"exp": 995}), "the logout token has expired"),
            (
                json!({"iat": 600, "exp": 9999}),
                "the logout token has expired",
            ),
            (json!({"jti": null}), "the logout token has no jti"),
            (json!({"jti": ""}), "the logout token has no jti"),
            (json!({"events": null}), "the token is not about a logout"),
            (json!({"events": {}}), "the token is not about a logout"),
            (
                json!({"events": {LOGOUT: null}}),
                "the token is not about a logout",
            ),
            (
                json!({"events": [LOGOUT]}),
                "the token is not about a logout",
            ),
            (json!({"nonce": "n"}), "the logout token has a nonce"),
        ] {
            assert_eq!(check(changes.clone()), expected, "{changes}");
        }
    }
}
