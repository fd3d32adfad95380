//! A session: what is known of a person who has signed in, and the tokens that never leave the gateway. Where sessions are
//! kept is in `session/memory.rs` and `session/shared.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::seal::Seal;
use crate::auth::{Principal, TokenPrincipal, claim_attribute, claim_words, strip_partner};
pub(super) use crate::clock::unix_time;
use crate::encode::hex;

const ID_BYTES: usize = 32;
/// What the key is for that a session is sealed with where others keep it.
const PURPOSE: &[u8] = b"session record";

/// What the cookie says: 256 random bits. Nobody else knows it; sessions are kept under its digest.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SessionId([u8; ID_BYTES]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// Under which a session is kept: who reads a store cannot make a cookie of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionKey(pub(super) [u8; 32]);

impl SessionKey {
    /// By which streams that the session has opened know it.
    pub(super) fn token_id(&self) -> String {
        format!("session:{}", hex(&self.0))
    }
}

impl SessionId {
    pub(super) fn new() -> Result<Self, Unspecified> {
        let mut bytes = [0; ID_BYTES];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From a cookie's value; `None` for anything that is none of ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == ID_BYTES).then_some(Self(bytes))
    }

    pub(super) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn key(&self) -> SessionKey {
        SessionKey(Sha256::digest(self.0).into())
    }
}

/// What a session holds. All times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) issuer: String,
    pub(super) subject: String,
    /// The provider's own session, when it tells of it.
    pub(super) provider_session: Option<String>,
    /// Behind its issuer's prefix.
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) attributes: BTreeMap<String, String>,
    /// What the provider says of the person, for the person's own pages.
    pub(super) claims: BTreeMap<String, Value>,
    pub(super) access_token: Secret,
    pub(super) refresh_token: Option<Secret>,
    /// When the access token ends.
    pub(super) access_ends: u64,
    /// When the session ends, whatever happens in between.
    pub(super) ends: u64,
}

/// Claims of the protocol's own: they say nothing of a person.
const OF_THE_PROTOCOL: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "sid",
    "auth_time",
    "acr",
    "amr",
    "typ",
    "scope",
];

impl Record {
    /// Takes over what an ID token says of the person; what it does not say any more is not believed any more.
    pub(super) fn says(&mut self, mut claims: BTreeMap<String, Value>) {
        claims.retain(|name, _| !OF_THE_PROTOCOL.contains(&name.as_str()));
        self.roles = claim_words(claims.get("roles").cloned(), false).unwrap_or_default();
        let attributes = claims.iter().filter(|(name, _)| *name != "roles");
        self.attributes = attributes
            .filter_map(|(name, value)| Some((name.clone(), claim_attribute(value)?)))
            .collect();
        strip_partner(&mut self.attributes);
        self.claims = claims;
    }
}

/// A token of the provider's: it is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A session as a worker holds it. What it says does not change: a refresh makes another one of the same id.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) id: SessionId,
    pub(super) key: SessionKey,
    pub(super) record: Record,
    principal: Arc<TokenPrincipal>,
    /// When a request last came with it.
    pub(super) used: AtomicU64,
    /// No refresh is tried before: the provider did not answer.
    pub(super) not_before: AtomicU64,
    /// As it is in the store that replicas share.
    pub(super) sealed: Option<Bytes>,
}

impl Session {
    pub(super) fn new(id: SessionId, record: Record, now: u64) -> Self {
        let principal = Arc::new(TokenPrincipal {
            issuer: record.issuer.clone(),
            subject: record.subject.clone(),
            name: record.name.clone(),
            scopes: record.scopes.clone(),
            roles: record.roles.clone(),
            attributes: record.attributes.clone(),
            expires_at: record.access_ends.min(record.ends),
            // Streams that it has opened end with the session, and not only with the token.
            token_id: Some(id.key().token_id()),
        });
        Self {
            key: id.key(),
            id,
            record,
            principal,
            used: AtomicU64::new(now),
            not_before: AtomicU64::new(0),
            sealed: None,
        }
    }

    /// Who has signed in. What it may do ends with the access token, or with the refresh that replaces it.
    pub(crate) fn principal(&self) -> Principal {
        Principal::Token(Arc::clone(&self.principal))
    }

    pub(super) fn token(&self) -> &TokenPrincipal {
        &self.principal
    }

    pub(super) fn touch(&self, now: u64) {
        // Written only when it changes: workers share the line.
        if self.used.load(Ordering::Relaxed) < now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    /// Whether it has ended by `now`: for good, or for want of use.
    pub(super) fn is_over(&self, now: u64, idle: u64) -> bool {
        now >= self.record.ends || now >= self.used.load(Ordering::Relaxed).saturating_add(idle)
    }

    /// Whether its access token has to be replaced, when that is done so many seconds before its end.
    pub(super) fn is_due(&self, now: u64, before: u64) -> bool {
        // What cannot be replaced is good to its end.
        let before = self.record.refresh_token.as_ref().map_or(0, |_| before);
        // At the session's end there is nothing to be replaced.
        self.record.access_ends < self.record.ends
            && now.saturating_add(before) >= self.record.access_ends
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        now >= self.record.access_ends
    }

    /// This session with what a refresh has brought.
    pub(super) fn renewed(&self, record: Record) -> Self {
        Self::new(self.id.clone(), record, self.used.load(Ordering::Relaxed))
    }

    /// For a store of others, who can neither read nor change it: the key is made of the id, which is not kept there.
    pub(super) fn close(&mut self) -> Result<Bytes, Unspecified> {
        let text = serde_json::to_vec(&self.record).map_err(|_| Unspecified)?;
        let sealed: Bytes = Seal::new(&self.id.0, PURPOSE)?
            .close(&text, &self.key.0)?
            .into();
        self.sealed = Some(sealed.clone());
        Ok(sealed)
    }

    /// What was closed; `None` for anything else.
    pub(super) fn open(id: SessionId, sealed: Bytes, now: u64) -> Option<Self> {
        let text = Seal::new(&id.0, PURPOSE).ok()?.open(&sealed, &id.key().0)?;
        let record = serde_json::from_slice(&text).ok()?;
        Some(Self {
            sealed: Some(sealed),
            ..Self::new(id, record, now)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// Signed in at 1000: the access token ends at 1300, the session at 5000.
    pub(in crate::session) fn record(subject: &str, provider_session: &str) -> Record {
        Record {
            issuer: "https://login.example.com".to_owned(),
            subject: subject.to_owned(),
            provider_session: Some(provider_session.to_owned()),
            name: format!("x:{subject}"),
            scopes: vec!["widgets:read".to_owned()],
            roles: vec!["member".to_owned()],
            attributes: BTreeMap::new(),
            claims: BTreeMap::new(),
            access_token: Secret("access-secret".to_owned()),
            refresh_token: Some(Secret("refresh-secret".to_owned())),
            access_ends: 1300,
            ends: 5000,
        }
    }

    pub(in crate::session) fn session(subject: &str, provider_session: &str) -> Session {
        Session::new(
            SessionId::new().unwrap(),
            record(subject, provider_session),
            1000,
        )
    }

    #[test]
    fn an_id_token_says_who_a_person_is() {
        let mut record = record("ann", "s");
        record.says(
            serde_json::from_str(
                r#"{"iss":"x","sub":"ann","nonce":"n","sid":"s","roles":["member","admin"],"team":"red",
                    "sites":["a","b"],"level":3}"#,
            )
            .unwrap(),
        );
        assert_eq!(record.roles, ["member", "admin"]);
        let attributes: Vec<_> = record
            .attributes
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        assert_eq!(attributes, ["sites=a b", "team=red"]);
        let claims: Vec<_> = record.claims.keys().collect();
        assert_eq!(claims, ["level", "roles", "sites", "team"]);
        record.says(BTreeMap::new());
        assert!(record.roles.is_empty() && record.attributes.is_empty());
    }

    #[test]
    fn nobody_becomes_a_partner_by_signing_in() {
        let mut record = record("ann", "s");
        let claims = r#"{"partner":"acme","plan":"large","team":"red"}"#;
        record.says(serde_json::from_str(claims).unwrap());
        let attributes: Vec<_> = record.attributes.keys().collect();
        assert_eq!(attributes, ["team"]);
        let session = Session::new(SessionId::new().unwrap(), record, 1000);
        assert_eq!(session.principal().partner(), None);
        assert_eq!(session.principal().attribute("plan"), None);
    }

    #[test]
    fn an_id_is_its_text_and_nothing_else_is_one() {
        let id = SessionId::new().unwrap();
        assert_eq!(SessionId::parse(&id.to_text()), Some(id.clone()));
        for text in ["", "abc", &format!("{}A", id.to_text()), &"=".repeat(43)] {
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_session_ends_unused_and_at_its_end() {
        let session = session("ann", "s");
        assert!(!session.is_over(1599, 600));
        assert!(session.is_over(1600, 600));
        session.touch(1500);
        assert!(!session.is_over(2099, 600));
        session.touch(4900);
        assert!(!session.is_over(4999, 600));
        assert!(session.is_over(5000, 600));
    }

    #[test]
    fn a_token_is_due_before_its_end_unless_the_session_ends_with_it() {
        let session = session("ann", "s");
        assert!(!session.is_due(1289, 10));
        assert!(session.is_due(1290, 10));
        assert!(!session.is_expired(1299));
        assert!(session.is_expired(1300));
        let mut to_the_end = record("ann", "s");
        to_the_end.access_ends = to_the_end.ends;
        assert!(!session.renewed(to_the_end).is_due(4999, 10));
    }

    #[test]
    fn what_others_keep_they_cannot_read() {
        let mut session = session("ann", "s");
        let sealed = session.close().unwrap();
        for secret in ["ann", "access-secret", "refresh-secret"] {
            assert!(
                !sealed
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes())
            );
        }
        let opened = Session::open(session.id.clone(), sealed.clone(), 1000).unwrap();
        assert_eq!(opened.record, session.record);
        let other = SessionId::new().unwrap();
        assert!(Session::open(other, sealed, 1000).is_none());
        assert!(!format!("{session:?}").contains("secret"), "{session:?}");
    }
}
