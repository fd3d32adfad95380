//! Tokens that are not believed any more before they expire: by their `jti`, or all of a subject. In this process only;
//! how the list is told of one is `admin.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::Deserialize;

use super::TokenPrincipal;

/// Entries that are kept at most; more are refused, for a list that forgets is worse than one that is full.
const MOST: usize = 10_000;
/// Seconds. Longer than any access token lives; who knows better says when the entry may be forgotten.
const DEFAULT_LIFE: u64 = 24 * 60 * 60;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawRevocation")]
pub(crate) struct Revocation {
    /// Exactly as in `iss`: the same subject of two issuers is two people.
    pub(crate) issuer: String,
    pub(crate) what: Revoked,
    /// When the entry may be forgotten, in seconds since the epoch; in a day when it does not say.
    pub(crate) until: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// One token.
    Jti(String),
    /// Every token of this subject, also one that is issued later.
    Sub(String),
}

/// As it is told: `{"issuer", "jti" or "sub", "until"?}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    issuer: String,
    jti: Option<String>,
    sub: Option<String>,
    until: Option<u64>,
}

impl TryFrom<RawRevocation> for Revocation {
    type Error = &'static str;

    fn try_from(raw: RawRevocation) -> Result<Self, Self::Error> {
        let what = match (raw.jti, raw.sub) {
            (Some(id), None) => Revoked::Jti(id),
            (None, Some(subject)) => Revoked::Sub(subject),
            (Some(_), Some(_)) | (None, None) => return Err("either `jti` or `sub` is required"),
        };
        Ok(Self {
            issuer: raw.issuer,
            what,
            until: raw.until,
        })
    }
}

/// There is no room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of revocations is full")]
pub(crate) struct Full;

/// The process's list. Reading it takes no lock: every request with a token does.
#[derive(Default)]
pub(crate) struct Revocations {
    by_issuer: ArcSwap<HashMap<String, Lists>>,
}

/// When each entry may be forgotten.
#[derive(Clone, Default)]
struct Lists {
    token_ids: HashMap<String, u64>,
    subjects: HashMap<String, u64>,
}

impl Lists {
    fn len(&self) -> usize {
        self.token_ids.len() + self.subjects.len()
    }
}

impl Revocations {
    /// Refuses what is named from the next request on, on every worker.
    pub(crate) fn add(&self, revocation: &Revocation) -> Result<(), Full> {
        let now = unix_time();
        let until = revocation.until.unwrap_or(now + DEFAULT_LIFE);
        let mut full = false;
        self.by_issuer.rcu(|current| {
            let mut next = HashMap::clone(current);
            forget(&mut next, now);
            full = next.values().map(Lists::len).sum::<usize>() >= MOST;
            if full {
                return Arc::clone(current);
            }
            let lists = next.entry(revocation.issuer.clone()).or_default();
            let (entries, name) = match &revocation.what {
                Revoked::Jti(id) => (&mut lists.token_ids, id),
                Revoked::Sub(subject) => (&mut lists.subjects, subject),
            };
            // Never shortened by a second one that says less.
            let entry = entries.entry(name.clone()).or_insert(until);
            *entry = until.max(*entry);
            Arc::new(next)
        });
        if full { Err(Full) } else { Ok(()) }
    }

    pub(crate) fn is_revoked(&self, token: &TokenPrincipal) -> bool {
        let by_issuer = self.by_issuer.load();
        if by_issuer.is_empty() {
            return false;
        }
        let Some(lists) = by_issuer.get(&token.issuer) else {
            return false;
        };
        let now = unix_time();
        let holds = |until: Option<&u64>| until.is_some_and(|until| now < *until);
        let token_id = token.token_id.as_ref();
        holds(lists.subjects.get(&token.subject))
            || holds(token_id.and_then(|id| lists.token_ids.get(id)))
    }

    /// How many entries there are; operators may know that, and not whom they name.
    pub(crate) fn len(&self) -> usize {
        self.by_issuer.load().values().map(Lists::len).sum()
    }
}

fn forget(by_issuer: &mut HashMap<String, Lists>, now: u64) {
    for lists in by_issuer.values_mut() {
        lists.token_ids.retain(|_, until| now < *until);
        lists.subjects.retain(|_, until| now < *until);
    }
    by_issuer.retain(|_, lists| lists.len() > 0);
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeMap;

    use super::{Revocation, Revocations, Revoked, unix_time};
    use crate::auth::TokenPrincipal;

    fn token(issuer: &str, subject: &str, id: &str) -> TokenPrincipal {
        TokenPrincipal {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            scopes: Vec::new(),
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            expires_at: u64::MAX,
            token_id: (!id.is_empty()).then(|| id.to_owned()),
        }
    }

    fn revocation(what: Revoked, until: Option<u64>) -> Revocation {
        Revocation {
            issuer: "a".to_owned(),
            what,
            until,
        }
    }

    #[test]
    fn a_token_or_all_of_a_subject_of_one_issuer() {
        let list = Revocations::default();
        assert!(!list.is_revoked(&token("a", "anna", "1")));
        let one = revocation(Revoked::Jti("1".to_owned()), None);
        list.add(&one).unwrap();
        assert!(list.is_revoked(&token("a", "anna", "1")));
        assert!(!list.is_revoked(&token("a", "anna", "2")));
        assert!(!list.is_revoked(&token("a", "anna", "")));
        assert!(!list.is_revoked(&token("b", "anna", "1")));

        let all = revocation(Revoked::Sub("bert".to_owned()), None);
        list.add(&all).unwrap();
        assert!(list.is_revoked(&token("a", "bert", "")));
        assert!(!list.is_revoked(&token("b", "bert", "")));
        // An id is no subject.
        assert!(!list.is_revoked(&token("a", "1", "bert")));
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn an_entry_is_forgotten_after_its_time_and_never_shortened() {
        let list = Revocations::default();
        let now = unix_time();
        let of = |until| revocation(Revoked::Jti("1".to_owned()), Some(until));
        list.add(&of(now - 1)).unwrap();
        assert!(!list.is_revoked(&token("a", "anna", "1")));
        list.add(&of(now + 60)).unwrap();
        list.add(&of(now + 1)).unwrap();
        assert!(list.is_revoked(&token("a", "anna", "1")));
        list.add(&revocation(Revoked::Jti("2".to_owned()), Some(now - 1)))
            .unwrap();
        list.add(&revocation(Revoked::Jti("3".to_owned()), None))
            .unwrap();
        assert_eq!(list.len(), 2, "what is over makes room");
    }

    #[test]
    fn it_is_told_in_json() {
        let read = |text| serde_json::from_str::<Revocation>(text);
        let told = read(r#"{"issuer":"a","jti":"1","until":7}"#).unwrap();
        assert_eq!(told, revocation(Revoked::Jti("1".to_owned()), Some(7)));
        let told = read(r#"{"issuer":"a","sub":"anna"}"#).unwrap();
        assert_eq!(told, revocation(Revoked::Sub("anna".to_owned()), None));
        for wrong in [
            r#"{"issuer":"a"}"#,
            r#"{"sub":"anna"}"#,
            r#"{"issuer":"a","jti":"1","sub":"anna"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
