//! The tokens: what an access token (RFC 9068) and an ID token (OpenID Connect Core, 2) carry, and how the provider reads
//! back its own. Not here: the keys (`keys.rs`) and the opaque codes and refresh tokens (`grants.rs`).

use jsonwebtoken::Validation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::directory::{Role, Subject};
use crate::keys::{KeyError, KeySet, SigningAlgorithm};

/// RFC 9068, 2.1: keeps an ID token from being taken for an access token.
const ACCESS_TOKEN_TYPE: &str = "at+jwt";
const ID_TOKEN_TYPE: &str = "JWT";
const LOGOUT_TOKEN_TYPE: &str = "logout+jwt";

/// The event that a logout token is about.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long a logout token is good for, in seconds (Back-Channel Logout 1.0, 4: two minutes at most).
const LOGOUT_TOKEN_LIFE: i64 = 120;

/// How long an ID token is good for, in seconds: the client reads it once, right away.
const ID_TOKEN_LIFE: i64 = 300;

/// What an access token is asked to say.
pub(crate) struct AccessToken<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a Subject,
    pub(crate) client_id: &'a str,
    pub(crate) audience: &'a [String],
    /// Separated by single spaces.
    pub(crate) scope: &'a str,
    /// Seconds from `now`; negative for a token that has already expired.
    pub(crate) expires_in: i64,
    /// The browser session that it descends from.
    pub(crate) sid: Option<&'a str>,
}

#[derive(Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a [String],
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    client_id: &'a str,
    scope: &'a str,
    roles: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    restaurant_ids: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partner_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
}

impl AccessToken<'_> {
    /// The signed token. `now` is in seconds since the epoch.
    pub(crate) fn sign(
        &self,
        keys: &KeySet,
        algorithm: SigningAlgorithm,
        now: i64,
    ) -> Result<String, KeyError> {
        let exp = now.saturating_add(self.expires_in);
        // What has expired was issued before it expired.
        let iat = now.min(exp.saturating_sub(1));
        let claims = AccessClaims {
            iss: self.issuer,
            sub: self.subject.sub,
            aud: self.audience,
            exp,
            iat,
            nbf: iat,
            jti: Uuid::now_v7().to_string(),
            client_id: self.client_id,
            scope: self.scope,
            roles: [self.subject.role.name()],
            restaurant_ids: (self.subject.role == Role::Staff)
                .then_some(self.subject.restaurant_ids),
            partner_id: (self.subject.role == Role::Partner).then_some(self.subject.sub),
            sid: self.sid,
        };
        keys.sign(algorithm, ACCESS_TOKEN_TYPE, &claims)
    }
}

/// What an ID token is asked to say.
pub(crate) struct IdToken<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a Subject,
    pub(crate) client_id: &'a str,
    /// The granted scope decides which claims about the person are in it.
    pub(crate) scope: &'a str,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) auth_time: i64,
    pub(crate) sid: &'a str,
}

#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(flatten)]
    person: PersonClaims,
}

/// The claims about a person that a scope opens (OpenID Connect Core, 5.4). `roles` and `restaurant_ids` come with
/// `openid`, since a client needs them to know which screens to show.
#[derive(Serialize)]
pub(crate) struct PersonClaims {
    roles: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    restaurant_ids: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

impl PersonClaims {
    pub(crate) fn new(subject: &Subject, scope: &str) -> Self {
        let profile = has_scope(scope, "profile");
        let email = has_scope(scope, "email");
        PersonClaims {
            roles: [subject.role.name()],
            restaurant_ids: (subject.role == Role::Staff).then_some(subject.restaurant_ids),
            name: profile.then(|| subject.name()),
            given_name: profile.then_some(subject.given_name),
            family_name: profile.then_some(subject.family_name),
            email: email.then(|| subject.email()),
            email_verified: email.then_some(true),
        }
    }
}

/// What tells a client that a session has ended (Back-Channel Logout 1.0, 2.4).
pub(crate) struct LogoutToken<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) sid: &'a str,
}

#[derive(Serialize)]
struct LogoutClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    sid: &'a str,
    events: serde_json::Value,
}

impl LogoutToken<'_> {
    /// The signed token, which has a `jti` of its own. `now` is in seconds since the epoch.
    pub(crate) fn sign(
        &self,
        keys: &KeySet,
        algorithm: SigningAlgorithm,
        now: i64,
    ) -> Result<String, KeyError> {
        let claims = LogoutClaims {
            iss: self.issuer,
            sub: self.sub,
            aud: self.client_id,
            iat: now,
            exp: now + LOGOUT_TOKEN_LIFE,
            jti: Uuid::new_v4().to_string(),
            sid: self.sid,
            events: serde_json::json!({ LOGOUT_EVENT: {} }),
        };
        keys.sign(algorithm, LOGOUT_TOKEN_TYPE, &claims)
    }
}

impl IdToken<'_> {
    /// The signed token. `now` is in seconds since the epoch.
    pub(crate) fn sign(
        &self,
        keys: &KeySet,
        algorithm: SigningAlgorithm,
        now: i64,
    ) -> Result<String, KeyError> {
        let claims = IdClaims {
            iss: self.issuer,
            sub: self.subject.sub,
            aud: self.client_id,
            exp: now + ID_TOKEN_LIFE,
            iat: now,
            auth_time: self.auth_time,
            sid: self.sid,
            nonce: self.nonce,
            person: PersonClaims::new(self.subject, self.scope),
        };
        keys.sign(algorithm, ID_TOKEN_TYPE, &claims)
    }
}

/// What the provider reads from an access token of its own.
#[derive(Deserialize)]
pub(crate) struct VerifiedAccess {
    pub(crate) sub: String,
    #[serde(default)]
    pub(crate) scope: String,
}

/// What the provider reads from an ID token that a client shows as a hint.
#[derive(Deserialize)]
pub(crate) struct VerifiedHint {
    /// The client that it was issued to.
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
}

/// A token that is not one of ours, or no longer good. What exactly is wrong with it is nobody's business.
#[derive(Debug, thiserror::Error)]
#[error("the token is not valid")]
pub(crate) struct InvalidToken;

/// Reads an access token that this provider issued and that has not expired.
pub(crate) fn verify_access(
    keys: &KeySet,
    issuer: &str,
    token: &str,
) -> Result<VerifiedAccess, InvalidToken> {
    verify(keys, issuer, token, ACCESS_TOKEN_TYPE, Expiry::Enforced)
}

/// Reads an ID token that this provider issued; it may have expired (RP-Initiated Logout 1.0, 4).
pub(crate) fn verify_hint(
    keys: &KeySet,
    issuer: &str,
    token: &str,
) -> Result<VerifiedHint, InvalidToken> {
    verify(keys, issuer, token, ID_TOKEN_TYPE, Expiry::Ignored)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Enforced,
    Ignored,
}

fn verify<T: DeserializeOwned>(
    keys: &KeySet,
    issuer: &str,
    token: &str,
    typ: &str,
    expiry: Expiry,
) -> Result<T, InvalidToken> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidToken)?;
    if header.typ.as_deref() != Some(typ) {
        return Err(InvalidToken);
    }
    let (key, algorithm) = header
        .kid
        .as_deref()
        .and_then(|kid| keys.verification(kid))
        .ok_or(InvalidToken)?;
    // The algorithm is the key's, never the header's.
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "sub"]);
    validation.validate_aud = false;
    validation.validate_exp = expiry == Expiry::Enforced;
    validation.validate_nbf = expiry == Expiry::Enforced;
    validation.leeway = 0;
    jsonwebtoken::decode::<T>(token, key, &validation)
        .map(|data| data.claims)
        .map_err(|_| InvalidToken)
}

/// Whether a space-separated scope holds `name`.
pub(crate) fn has_scope(scope: &str, name: &str) -> bool {
    scope.split(' ').any(|granted| granted == name)
}
