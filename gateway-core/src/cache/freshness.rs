//! Whether an answer may be stored, for how long it is fresh, how old it is, and whether it may be used when it is stale
//! (RFC 9111, 3 and 4.2; RFC 5861). Worked out once, when the answer comes: a hit asks how much time has passed. The directives
//! themselves are `cache/directives.rs`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::directives::{AnswerControl, seconds};
use super::members;
use super::moment::Moment;
use crate::config::StaleWindows;

/// Statuses whose rules for caching are followed here, so that `must-understand` allows to store them. No 206: parts are
/// not put together. No failures: they come and go.
const UNDERSTOOD: [u16; 13] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414,
];
/// Of these, those that may be stored although they say nothing about it (RFC 9110, 15.1).
const STORABLE_BY_DEFAULT: [u16; 10] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414];

/// How an answer was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Whether it would be used for others than the one who asked.
    pub(super) shared: bool,
    /// Whether who asked showed credentials.
    pub(super) authorized: bool,
    pub(super) asked_at: Moment,
    pub(super) answered_at: Moment,
}

/// When an answer may be used, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    /// How old it was when it came, and when that was: since then it has grown older here.
    age: Duration,
    came: Moment,
    terms: Terms,
}

/// The same whatever the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) lifetime: Duration,
    /// Whether it may be used when it is stale, if nothing else speaks against it.
    pub(super) stale_is_forbidden: bool,
    pub(super) while_revalidate: Duration,
    pub(super) if_error: Duration,
}

impl Freshness {
    pub(super) fn of(
        headers: &HeaderMap,
        control: &AnswerControl,
        windows: StaleWindows,
        how: Circumstances,
    ) -> Self {
        let lifetime = lifetime(headers, control, how);
        // RFC 9111, 4.2.4: what forbids it counts for more than what allows it, in the answer or in our configuration.
        let stale_is_forbidden = control.must_revalidate
            || control.no_cache.is_whole()
            || how.shared && (control.proxy_revalidate || control.s_maxage.is_some());
        let window = |said: Option<u64>, default| said.map_or(default, Duration::from_secs);
        Self {
            age: initial_age(headers, how),
            came: how.answered_at,
            terms: Terms {
                lifetime,
                stale_is_forbidden,
                while_revalidate: window(control.stale_while_revalidate, windows.while_revalidate),
                if_error: window(control.stale_if_error, windows.if_error),
            },
        }
    }

    /// Of an answer that is so old by another clock.
    pub(super) fn aged(terms: Terms, age: Duration, now: Moment) -> Self {
        Self {
            age,
            came: now,
            terms,
        }
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    pub(super) fn age(&self, now: Moment) -> Duration {
        self.age.saturating_add(now.since(self.came))
    }

    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        self.age(now) < self.terms.lifetime
    }

    /// What is left of its lifetime.
    pub(super) fn left(&self, now: Moment) -> Duration {
        self.terms.lifetime.saturating_sub(self.age(now))
    }

    /// For how long it has been stale.
    pub(super) fn stale_for(&self, now: Moment) -> Duration {
        self.age(now).saturating_sub(self.terms.lifetime)
    }

    pub(super) fn has_lifetime(&self) -> bool {
        !self.terms.lifetime.is_zero()
    }

    /// RFC 9111, 5.2.1.2: for a client that says that it would take it.
    pub(super) fn may_be_stale_by(&self, accepted: Duration, now: Moment) -> bool {
        !self.terms.stale_is_forbidden && self.stale_for(now) <= accepted
    }

    /// RFC 5861, 3: while it is being asked for again.
    pub(super) fn may_stand_in_meanwhile(&self, now: Moment) -> bool {
        !self.terms.stale_is_forbidden && self.stale_for(now) < self.terms.while_revalidate
    }

    /// RFC 5861, 4: because the service fails; `asked` is what the request says.
    pub(super) fn may_stand_in_for_failure(&self, asked: Option<u64>, now: Moment) -> bool {
        let window = asked.map_or(self.terms.if_error, |asked| {
            self.terms.if_error.max(Duration::from_secs(asked))
        });
        !self.terms.stale_is_forbidden && self.stale_for(now) < window
    }
}

/// RFC 9111, 3, for an answer to a GET that did not ask not to be stored; and that it can be of use: fresh for a while, or
/// easy to make sure of.
pub(super) fn is_storable(
    status: StatusCode,
    headers: &HeaderMap,
    control: &AnswerControl,
    freshness: &Freshness,
    how: Circumstances,
) -> bool {
    let understood = UNDERSTOOD.contains(&status.as_u16());
    // 5.2.2.3: where both stand, `no-store` is for those who do not understand.
    let forbidden = control.no_store && !control.must_understand
        || how.shared && control.private.is_whole()
        || how.shared && how.authorized && !allows_authorized(control)
        || members(headers, &VARY).any(|name| name == "*");
    let explicit = control.public
        || control.max_age.is_some()
        || headers.contains_key(EXPIRES)
        || how.shared && control.s_maxage.is_some()
        || !how.shared && control.private.is_whole();
    let of_use = freshness.has_lifetime() || has_validator(headers);
    understood
        && !forbidden
        && (explicit || STORABLE_BY_DEFAULT.contains(&status.as_u16()))
        && of_use
}

pub(super) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// RFC 9111, 3.5.
fn allows_authorized(control: &AnswerControl) -> bool {
    control.public || control.must_revalidate || control.s_maxage.is_some()
}

/// RFC 9111, 4.2.1. Nothing is guessed (4.2.2): data has no age to guess from.
fn lifetime(headers: &HeaderMap, control: &AnswerControl, how: Circumstances) -> Duration {
    if control.no_cache.is_whole() {
        return Duration::ZERO;
    }
    let shared = control.s_maxage.filter(|_| how.shared);
    if let Some(seconds) = shared.or(control.max_age) {
        return Duration::from_secs(seconds);
    }
    // 5.3: a date that is not valid is in the past. Of several the earliest.
    let mut expires = headers.get_all(EXPIRES).iter().map(date).peekable();
    if expires.peek().is_none() {
        return Duration::ZERO;
    }
    let made = made_at(headers, how);
    expires
        .map(|at| at.and_then(|at| at.duration_since(made).ok()))
        .min()
        .flatten()
        .unwrap_or_default()
}

/// RFC 9111, 4.2.3.
fn initial_age(headers: &HeaderMap, how: Circumstances) -> Duration {
    // Dates are in whole seconds: an answer of this second is not old.
    let answered_at = whole_seconds(how.answered_at.wall);
    let apparent = answered_at
        .duration_since(made_at(headers, how))
        .unwrap_or_default();
    let said = headers
        .get(AGE)
        .and_then(|value| value.as_bytes().split(|byte| *byte == b',').next())
        .and_then(|first| seconds(first.trim_ascii()))
        .map_or(Duration::ZERO, Duration::from_secs);
    let delay = how.answered_at.since(how.asked_at);
    apparent.max(said + delay)
}

/// Its `Date`, or when it came (RFC 9110, 6.6.1).
fn made_at(headers: &HeaderMap, how: Circumstances) -> SystemTime {
    headers
        .get(DATE)
        .and_then(date)
        .unwrap_or_else(|| whole_seconds(how.answered_at.wall))
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

pub(super) fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// The fields that may not be used again without asking, or not for others.
pub(super) fn withheld(
    control: &AnswerControl,
    how: Circumstances,
) -> impl Iterator<Item = &HeaderName> {
    let private = if how.shared {
        control.private.fields()
    } else {
        &[]
    };
    control.no_cache.fields().iter().chain(private)
}
