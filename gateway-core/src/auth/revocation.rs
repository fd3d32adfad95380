//! Tokens that are not believed any more before they expire: by their `jti`, or all of a subject. Every request looks into
//! this process's list alone; how replicas tell one another is `revocation/shared.rs`, how the list is told of one `admin.rs`.

mod shared;
mod watch;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use tokio::sync::watch::{Receiver, Sender};

use super::TokenPrincipal;
use crate::clock::unix_time;

pub(crate) use shared::SharedRevocations;
pub(crate) use watch::RevocationWatch;

/// Entries that are taken from operators at most; more are refused, for a list that forgets is worse than one that is full.
const MOST: usize = 10_000;
/// Entries that are kept at most, those included that other replicas have taken.
const MOST_OF_ALL: usize = 10 * MOST;
/// Seconds. Longer than any access token lives; who knows better says when the entry may be forgotten.
const DEFAULT_LIFE: u64 = 24 * 60 * 60;
/// The end of the year 9999, in seconds since the epoch: no entry holds longer.
const LATEST: u64 = 253_402_300_799;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRevocation", into = "RawRevocation")]
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
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

impl From<Revocation> for RawRevocation {
    fn from(revocation: Revocation) -> Self {
        let (jti, sub) = match revocation.what {
            Revoked::Jti(id) => (Some(id), None),
            Revoked::Sub(subject) => (None, Some(subject)),
        };
        Self {
            issuer: revocation.issuer,
            jti,
            sub,
            until: revocation.until,
        }
    }
}

impl Revocation {
    /// When the entry may be forgotten, told at `now`.
    fn until(&self, now: u64) -> u64 {
        self.until.unwrap_or(now + DEFAULT_LIFE).min(LATEST)
    }

    /// Whether it would refuse nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        let now = unix_time();
        self.until(now) <= now
    }

    /// The same, with its end spelled out: in an hour from now it still means the same.
    #[must_use]
    pub(crate) fn dated(self) -> Self {
        Self {
            until: Some(self.until(unix_time())),
            ..self
        }
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
    /// Tokens that are not presented any more, by their ids, until they end: for streams that were opened with them.
    ended: Mutex<HashMap<String, u64>>,
    /// Changes with every entry that is new.
    told: Sender<()>,
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

    fn until(&self, what: &Revoked) -> Option<u64> {
        match what {
            Revoked::Jti(id) => self.token_ids.get(id),
            Revoked::Sub(subject) => self.subjects.get(subject),
        }
        .copied()
    }

    /// Never shortens an entry that holds longer.
    fn add(&mut self, what: &Revoked, until: u64) {
        let (entries, name) = match what {
            Revoked::Jti(id) => (&mut self.token_ids, id),
            Revoked::Sub(subject) => (&mut self.subjects, subject),
        };
        let entry = entries.entry(name.clone()).or_insert(until);
        *entry = until.max(*entry);
    }
}

impl Revocations {
    /// Refuses what is named from the next request on, on every worker.
    pub(crate) fn add(&self, revocation: &Revocation) -> Result<(), Full> {
        self.add_all(std::slice::from_ref(revocation), MOST)
    }

    /// Refuses what other replicas were told to refuse.
    pub(crate) fn learn(&self, revocations: &[Revocation]) -> Result<(), Full> {
        self.add_all(revocations, MOST_OF_ALL)
    }

    /// As many as there is room for.
    fn add_all(&self, revocations: &[Revocation], most: usize) -> Result<(), Full> {
        let now = unix_time();
        let new: Vec<&Revocation> = revocations
            .iter()
            .filter(|revocation| !self.holds(revocation, now))
            .collect();
        // What everybody knows already is told again and again.
        if new.is_empty() {
            return Ok(());
        }
        let mut full = false;
        self.by_issuer.rcu(|current| {
            let mut next = HashMap::clone(current);
            forget(&mut next, now);
            let mut room = most.saturating_sub(count(&next));
            full = false;
            for revocation in &new {
                let lists = next.entry(revocation.issuer.clone()).or_default();
                if lists.until(&revocation.what).is_none() {
                    let Some(left) = room.checked_sub(1) else {
                        full = true;
                        continue;
                    };
                    room = left;
                }
                lists.add(&revocation.what, revocation.until(now));
            }
            next
        });
        self.told.send_replace(());
        if full { Err(Full) } else { Ok(()) }
    }

    /// Nobody presents this token any more, as its session has ended: what it has opened ends.
    pub(crate) fn end(&self, token: &TokenPrincipal) -> Result<(), Full> {
        match &token.token_id {
            Some(id) => self.end_id(id.clone(), token.expires_at),
            None => Ok(()),
        }
    }

    /// The same of a token that is known by its id alone. What opens with it after `until`, in seconds since the epoch, is not
    /// looked at.
    pub(crate) fn end_id(&self, id: String, until: u64) -> Result<(), Full> {
        let now = unix_time();
        if until <= now {
            return Ok(());
        }
        {
            let mut ended = self.ended();
            if ended.len() >= MOST_OF_ALL {
                ended.retain(|_, until| now < *until);
            }
            if ended.len() >= MOST_OF_ALL {
                return Err(Full);
            }
            ended.insert(id, until);
        }
        self.told.send_replace(());
        Ok(())
    }

    /// Whether what was opened with `token` has to end before it.
    fn has_ended(&self, token: &TokenPrincipal) -> bool {
        let by_session = |id| self.ended().contains_key(id);
        self.is_revoked(token) || token.token_id.as_ref().is_some_and(by_session)
    }

    fn ended(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when something is refused that was not before: for what has been let in already.
    fn told(&self) -> Receiver<()> {
        self.told.subscribe()
    }

    /// Whether `revocation` would change nothing.
    fn holds(&self, revocation: &Revocation, now: u64) -> bool {
        let until = revocation.until(now);
        let known = self.by_issuer.load();
        let known = known
            .get(&revocation.issuer)
            .and_then(|lists| lists.until(&revocation.what));
        until <= now || known.is_some_and(|known| known >= until)
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

    /// Everything that holds now, each with its end.
    fn all(&self) -> Vec<Revocation> {
        let now = unix_time();
        let by_issuer = self.by_issuer.load();
        by_issuer
            .iter()
            .flat_map(|(issuer, lists)| {
                let ids = lists.token_ids.iter();
                let ids = ids.map(|(id, until)| (Revoked::Jti(id.clone()), *until));
                let subjects = lists.subjects.iter();
                let subjects =
                    subjects.map(|(subject, until)| (Revoked::Sub(subject.clone()), *until));
                ids.chain(subjects).map(|(what, until)| Revocation {
                    issuer: issuer.clone(),
                    what,
                    until: Some(until),
                })
            })
            .filter(|revocation| revocation.until.is_none_or(|until| until > now))
            .collect()
    }

    /// Drops what is over. Called by the control runtime, now and then.
    pub(crate) fn forget_ended(&self) {
        let now = unix_time();
        self.ended().retain(|_, until| now < *until);
        let ended = |lists: &Lists| {
            let mut untils = lists.token_ids.values().chain(lists.subjects.values());
            untils.any(|until| *until <= now)
        };
        if self.by_issuer.load().values().any(ended) {
            self.by_issuer.rcu(|current| {
                let mut next = HashMap::clone(current);
                forget(&mut next, now);
                next
            });
        }
    }

    /// How many entries there are; operators may know that, and not whom they name.
    pub(crate) fn len(&self) -> usize {
        count(&self.by_issuer.load())
    }
}

fn count(by_issuer: &HashMap<String, Lists>) -> usize {
    by_issuer.values().map(Lists::len).sum()
}

fn forget(by_issuer: &mut HashMap<String, Lists>, now: u64) {
    for lists in by_issuer.values_mut() {
        lists.token_ids.retain(|_, until| now < *until);
        lists.subjects.retain(|_, until| now < *until);
    }
    by_issuer.retain(|_, lists| lists.len() > 0);
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeMap;

    use super::{Full, LATEST, MOST, Revocation, Revocations, Revoked};
    use crate::auth::TokenPrincipal;
    use crate::clock::unix_time;

    pub(super) fn token(issuer: &str, subject: &str, id: &str) -> TokenPrincipal {
        TokenPrincipal {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            name: subject.to_owned(),
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

    #[test]
    fn a_full_list_refuses_and_still_learns_from_other_replicas() {
        let list = Revocations::default();
        let number = |number: usize| revocation(Revoked::Jti(number.to_string()), None);
        let many: Vec<_> = (0..MOST).map(number).collect();
        list.learn(&many).unwrap();
        assert_eq!(list.add(&number(MOST)), Err(Full));
        // What is on it already needs no room.
        let longer = revocation(Revoked::Jti("1".to_owned()), Some(unix_time() + 1_000_000));
        list.add(&longer).unwrap();
        list.learn(&[number(MOST), number(MOST + 1)]).unwrap();
        assert_eq!(list.len(), MOST + 2);
        let too_many: Vec<_> = (0..11 * MOST).map(number).collect();
        assert_eq!(list.learn(&too_many), Err(Full));
        assert_eq!(list.len(), 10 * MOST);
    }

    #[test]
    fn what_ends_is_dropped_and_what_holds_can_be_told_on() {
        let list = Revocations::default();
        let now = unix_time();
        let soon = revocation(Revoked::Jti("1".to_owned()), Some(now + 60));
        let never = revocation(Revoked::Sub("anna".to_owned()), Some(u64::MAX)).dated();
        assert_eq!(never.until, Some(LATEST));
        list.learn(&[soon.clone(), never.clone()]).unwrap();
        let all = list.all();
        assert_eq!(all.len(), 2);
        assert!(all.contains(&soon) && all.contains(&never), "{all:?}");
        list.forget_ended();
        assert_eq!(list.len(), 2);
        let told = serde_json::to_string(&soon).unwrap();
        assert_eq!(
            told,
            format!(r#"{{"issuer":"a","jti":"1","until":{}}}"#, now + 60)
        );
    }
}
