//! One request's way through the response cache: what is stored and fresh answers it, something stale may, a fetch under way
//! may be waited for, and else the service is asked (RFC 9111, 4; RFC 5861). What is asked how is `cache/fetch.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use tokio::time::timeout_at;

use super::directives::RequestControl;
use super::epochs::Slot;
use super::fetch::{Fetch, Reply};
use super::fills::{Failure, Landed, Seat, UnderWay};
use super::moment::Moment;
use super::status::{Collapsed, Forwarded, Outcome, StaleUse};
use super::stored::{Asked, Key, Stored, Variants, unconditional};
use super::tags::Validity;
use super::{Forward, Joined, Question, Store, conditional};
use crate::error::{Error, GatewayError};
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// How often a request waits for another one's fetch before it goes on by itself.
const WAITS: u8 = 2;

/// A GET or HEAD that the cache may answer.
pub(super) struct Lookup<'a, W> {
    pub(super) store: &'a Arc<Store>,
    pub(super) question: &'a Question<'a>,
    pub(super) way: &'a Arc<W>,
    pub(super) key: Key,
    pub(super) parts: &'a Parts,
    pub(super) control: RequestControl,
    /// Whether it has waited for another one's fetch, and could not use what came of it.
    waits: u8,
}

/// What is stored, for a request.
enum Found {
    Fresh(Arc<Stored>),
    /// It may have to be made sure of.
    Old(Old),
    Nothing(Forwarded),
}

#[derive(Clone)]
struct Old {
    stored: Arc<Stored>,
    why: Forwarded,
    /// Whether every change would have been heard of.
    certain: bool,
}

impl<'a, W: Forward> Lookup<'a, W> {
    pub(super) fn new(
        store: &'a Arc<Store>,
        question: &'a Question<'a>,
        way: &'a Arc<W>,
        key: Key,
        parts: &'a Parts,
    ) -> Self {
        Self {
            store,
            question,
            way,
            key,
            parts,
            control: RequestControl::of(&parts.headers),
            waits: 0,
        }
    }

    pub(super) async fn serve(mut self) -> Result<Response<Body>, Error> {
        loop {
            let now = (self.store.now)();
            let known = self.store.entries.get(&self.key);
            let (old, why) = match self.find(known.as_ref(), now) {
                Found::Fresh(stored) => {
                    let ttl = stored.freshness().left(now);
                    return Ok(self.answer(&stored, now, Outcome::Hit { ttl }));
                }
                Found::Old(old) => {
                    if let Some(why) = self.is_good_enough(&old, now) {
                        if why == StaleUse::WhileRevalidate {
                            self.refresh(known.as_ref(), &old);
                        }
                        let by = old.stored.freshness().stale_for(now);
                        return Ok(self.answer(&old.stored, now, Outcome::Stale { by, why }));
                    }
                    let why = old.why;
                    (Some(old), why)
                }
                Found::Nothing(why) => (None, why),
            };
            if self.control.only_if_cached {
                return Err(GatewayError::NotCached.into());
            }
            // Something that may stand in when the service fails.
            let spare = old
                .clone()
                .filter(|old| self.may_stand_in(old, now))
                .map(|old| old.stored);
            if self.parts.method == Method::HEAD {
                return self.pass_on(why, spare).await;
            }
            let asked = Ask {
                why,
                known: old.map(|old| old.stored).filter(|old| old.has_validator()),
                spare,
            };
            if let Some(done) = self.ask(known.as_ref(), asked, now).await {
                return done;
            }
        }
    }

    fn find(&self, known: Option<&Variants>, now: Moment) -> Found {
        let Some(known) = known else {
            return Found::Nothing(Forwarded::UriMiss);
        };
        let Some(stored) = known.select(&self.parts.headers) else {
            return Found::Nothing(Forwarded::VaryMiss);
        };
        let tags = self.question.depends_on.tags.iter().copied();
        let certain = match self.store.validity(stored, tags) {
            // What a change has made invalid is as if it were not there.
            Validity::Purged => return Found::Nothing(Forwarded::UriMiss),
            Validity::Current => true,
            Validity::Uncertain => false,
        };
        let old = |why| {
            Found::Old(Old {
                stored: Arc::clone(stored),
                why,
                certain,
            })
        };
        if !certain || !stored.freshness().is_fresh(now) {
            old(Forwarded::Stale)
        } else if !stored.satisfies(&self.control, now) {
            old(Forwarded::Request)
        } else {
            Found::Fresh(Arc::clone(stored))
        }
    }

    fn is_there_by_now(&self, now: Moment) -> bool {
        let known = self.store.entries.get(&self.key);
        matches!(self.find(known.as_ref(), now), Found::Fresh(_))
    }

    /// Whether something stale answers the request without anybody being asked first.
    fn is_good_enough(&self, old: &Old, now: Moment) -> Option<StaleUse> {
        let freshness = old.stored.freshness();
        // Who wants it fresh for a while does not want it stale.
        let takes_it = old.certain
            && old.why == Forwarded::Stale
            && self.control.min_fresh.is_none()
            && old.stored.satisfies(&self.control, now);
        if !takes_it {
            None
        } else if freshness.may_stand_in_meanwhile(now) {
            Some(StaleUse::WhileRevalidate)
        } else {
            let accepted = Duration::from_secs(self.control.max_stale?);
            freshness
                .may_be_stale_by(accepted, now)
                .then_some(StaleUse::MaxStale)
        }
    }

    /// Whether something stale answers the request when the service fails. It may have changed unheard; that is what
    /// being stale means.
    fn may_stand_in(&self, old: &Old, now: Moment) -> bool {
        old.why == Forwarded::Stale
            && old.stored.satisfies(&self.control, now)
            && old
                .stored
                .freshness()
                .may_stand_in_for_failure(self.control.stale_if_error, now)
    }

    /// Asks for what is stored again while it is still used; once at a time.
    fn refresh(&self, known: Option<&Variants>, old: &Old) {
        let (place, on) = (self.place(), &self.question.depends_on);
        let fills = &self.store.fills;
        let telling = telling(known);
        let vacancy = fills.sit_down(&self.key, &self.parts.headers, &telling, |since| {
            self.store.is_current(since, place, on)
        });
        if let Err(vacancy) = vacancy {
            let known = Some(Arc::clone(&old.stored)).filter(|old| old.has_validator());
            let mut asked = self.asked(place);
            // The client's own condition is about what it has.
            unconditional(&mut asked.headers);
            let (under_way, _seat) = vacancy.begin(self.key.clone(), asked);
            let now = (self.store.now)();
            let fetch = self.fetch(known, true, now);
            fetch.start_unattended(under_way);
        }
    }

    /// Waits for a fetch under way, or begins one. `None` when what came of waiting is of no use: look again.
    async fn ask(
        &mut self,
        known: Option<&Variants>,
        ask: Ask,
        now: Moment,
    ) -> Option<Result<Response<Body>, Error>> {
        let (place, on) = (self.place(), &self.question.depends_on);
        let fills = &self.store.fills;
        // Who wants it made sure of does not want what was asked for before.
        let joins = self.waits < WAITS
            && ask.why != Forwarded::Request
            && !self.control.no_store
            && !self.control.no_cache
            && self.control.max_age != Some(0)
            && !fills.is_alone(&self.key, self.question.authorized, now);
        // The answer to a client's own condition may be for that client alone.
        let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| self.parts.headers.contains_key(name));
        let leads = joins && (ask.known.is_some() || !conditional);
        if joins {
            let telling = telling(known);
            let seat = match fills.sit_down(&self.key, &self.parts.headers, &telling, |since| {
                self.store.is_current(since, place, on)
            }) {
                Ok(seat) => Ok(seat),
                // A fetch that has ended since we looked has left its answer.
                Err(_) if self.is_there_by_now(now) => return None,
                Err(vacancy) if leads => {
                    let asked = self.asked(place);
                    Err(Some(vacancy.begin(self.key.clone(), asked)))
                }
                Err(_) => Err(None),
            };
            match seat {
                Ok(seat) => return self.wait(seat, &ask).await,
                Err(Some((under_way, seat))) => {
                    return Some(self.lead(under_way, seat, ask).await);
                }
                Err(None) => {}
            }
        }
        let asked = self.asked(place);
        let (under_way, seat) = fills.begin_alone(self.key.clone(), asked);
        Some(self.lead(under_way, seat, ask).await)
    }

    /// Waits for another one's fetch.
    async fn wait(&mut self, mut seat: Seat, ask: &Ask) -> Option<Result<Response<Body>, Error>> {
        let until = self.question.until(ask.spare.is_some());
        let landed = timeout_at(until, seat.outcome()).await;
        drop(seat);
        let now = (self.store.now)();
        let collapsed = Collapsed::Yes;
        let forwarded = ask.why;
        match landed {
            Err(_elapsed) => {
                let error = UpstreamError::new(self.question.upstream, UpstreamErrorKind::Timeout);
                Some(self.failed(error.into(), ask, now))
            }
            Ok(Landed::Found(stored)) if self.fits(&stored, now) => {
                let ttl = stored.freshness().left(now);
                Some(Ok(self.answer(&stored, now, Outcome::SecondLevel { ttl })))
            }
            Ok(Landed::Stored(stored)) if self.fits(&stored, now) => {
                let outcome = Outcome::Fetched {
                    forwarded,
                    status: None,
                    stored: false,
                    collapsed,
                };
                let mut response = self.answer(&stored, now, outcome);
                response.extensions_mut().insert(Joined);
                Some(Ok(response))
            }
            Ok(Landed::Alone) => {
                self.waits = WAITS;
                None
            }
            Ok(Landed::Stored(_) | Landed::Found(_) | Landed::Lost) => {
                self.waits += 1;
                None
            }
            Ok(Landed::Failed(Failure::NoAnswer { ran_out: true, .. })) => {
                self.waits += 1;
                None
            }
            Ok(Landed::Failed(Failure::NoAnswer { error, .. })) => {
                Some(self.failed(UpstreamError::shared(&error).into(), ask, now))
            }
            Ok(Landed::Failed(Failure::Status {
                status,
                retry_after,
            })) => Some(Ok(self.refused(status, ask, now, || {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = status;
                if let Some(value) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, value);
                }
                (response, collapsed)
            }))),
        }
    }

    /// Whether an answer that somebody else was given is one to this request, too.
    fn fits(&self, stored: &Stored, now: Moment) -> bool {
        stored.is_selected_by(&self.parts.headers)
            && stored.freshness().is_fresh(now)
            && stored.satisfies(&self.control, now)
    }

    /// Asks the service, unless another replica has done so.
    async fn lead(
        &self,
        under_way: UnderWay,
        seat: Seat,
        ask: Ask,
    ) -> Result<Response<Body>, Error> {
        let began = (self.store.now)();
        let fetch = self.fetch(ask.known.clone(), ask.spare.is_some(), began);
        let reply = fetch.start(under_way, seat).reply().await;
        let now = (self.store.now)();
        let (forwarded, collapsed) = (ask.why, self.collapsed());
        match reply {
            Some(Ok(Reply::Found { answer })) => {
                let ttl = answer.freshness().left(now);
                Ok(self.answer(&answer, now, Outcome::SecondLevel { ttl }))
            }
            Some(Ok(Reply::Confirmed { answer, stored })) => {
                let outcome = Outcome::Fetched {
                    forwarded,
                    status: Some(StatusCode::NOT_MODIFIED),
                    stored,
                    collapsed,
                };
                Ok(self.answer(&answer, now, outcome))
            }
            Some(Ok(Reply::Passed { response, stored })) => {
                let status = response.status();
                if UpstreamError::is_failure(status) {
                    return Ok(self.refused(status, &ask, now, || (response, collapsed)));
                }
                let mut response = response;
                let outcome = Outcome::Fetched {
                    forwarded,
                    status: ask.known.is_some().then_some(status),
                    stored,
                    collapsed,
                };
                outcome.mark(&mut response, &self.store.metrics);
                Ok(response)
            }
            Some(Err(error)) => self.failed(error, &ask, now),
            None => {
                let error = UpstreamError::new(self.question.upstream, UpstreamErrorKind::Reset);
                self.failed(error.into(), &ask, now)
            }
        }
    }

    /// A HEAD that is not answered from what is stored: its answer is not stored.
    async fn pass_on(
        &self,
        why: Forwarded,
        spare: Option<Arc<Stored>>,
    ) -> Result<Response<Body>, Error> {
        let ask = Ask {
            why,
            known: None,
            spare,
        };
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.version_mut() = self.parts.version;
        request.headers_mut().clone_from(&self.parts.headers);
        let response = self.way.forward(request, ask.spare.is_some()).await;
        let now = (self.store.now)();
        match response {
            Err(error) => self.failed(error, &ask, now),
            Ok(response) if UpstreamError::is_failure(response.status()) => {
                let status = response.status();
                Ok(self.refused(status, &ask, now, || (response, Collapsed::No)))
            }
            Ok(mut response) => {
                let outcome = Outcome::Fetched {
                    forwarded: why,
                    status: None,
                    stored: false,
                    collapsed: Collapsed::No,
                };
                outcome.mark(&mut response, &self.store.metrics);
                Ok(response)
            }
        }
    }

    /// There was no answer: something stale in its place, or the failure.
    fn failed(&self, error: Error, ask: &Ask, now: Moment) -> Result<Response<Body>, Error> {
        let of_service = matches!(&error, Error::Upstream(error) if error.is_failure_of_service());
        match &ask.spare {
            Some(stored) if of_service => Ok(self.stand_in(stored, ask.why, None, now)),
            _ => Err(error),
        }
    }

    /// The service says that it failed: something stale in the place of its answer, or that.
    fn refused(
        &self,
        status: StatusCode,
        ask: &Ask,
        now: Moment,
        answer: impl FnOnce() -> (Response<Body>, Collapsed),
    ) -> Response<Body> {
        if let Some(stored) = &ask.spare {
            return self.stand_in(stored, ask.why, Some(status), now);
        }
        let (mut response, collapsed) = answer();
        let outcome = Outcome::Fetched {
            forwarded: ask.why,
            status: Some(status),
            stored: false,
            collapsed,
        };
        outcome.mark(&mut response, &self.store.metrics);
        response
    }

    fn stand_in(
        &self,
        stored: &Stored,
        forwarded: Forwarded,
        status: Option<StatusCode>,
        now: Moment,
    ) -> Response<Body> {
        let outcome = Outcome::StoodIn {
            forwarded,
            status,
            by: stored.freshness().stale_for(now),
        };
        self.answer(stored, now, outcome)
    }

    fn answer(&self, stored: &Stored, now: Moment, outcome: Outcome) -> Response<Body> {
        let Parts {
            method, headers, ..
        } = self.parts;
        let mut response = conditional::respond(stored, method, headers, now);
        outcome.mark(&mut response, &self.store.metrics);
        response
    }

    fn collapsed(&self) -> Collapsed {
        if self.waits > 0 {
            Collapsed::InVain
        } else {
            Collapsed::No
        }
    }

    fn fetch(&self, known: Option<Arc<Stored>>, spare: bool, now: Moment) -> Fetch<W> {
        let authorized = self.question.authorized;
        // What was not for others a moment ago is not worth the way.
        let second = self.store.tags.second_level();
        let shared = second.is_some_and(|second| second.takes(&self.key))
            && !self.control.no_store
            && !self.store.fills.is_alone(&self.key, authorized, now);
        Fetch {
            store: Arc::clone(self.store),
            way: Arc::clone(self.way),
            uri: self.parts.uri.clone(),
            version: self.parts.version,
            known,
            until: self.question.until(spare),
            spare,
            shared: shared.then_some(self.control),
        }
    }

    fn asked(&self, place: Slot) -> Asked {
        Asked {
            rule: self.question.rule,
            headers: self.parts.headers.clone(),
            since: self.store.since(),
            place,
            tags: Arc::clone(&self.question.depends_on.tags),
            shared: self.key.is_shared(),
            authorized: self.question.authorized,
            no_store: self.control.no_store,
            at: (self.store.now)(),
        }
    }

    fn place(&self) -> Slot {
        self.store
            .tags
            .place(self.key.upstream(), self.key.target())
    }
}

/// What the service is asked, and for what reason.
struct Ask {
    why: Forwarded,
    /// What it is asked to confirm.
    known: Option<Arc<Stored>>,
    /// What answers when it fails.
    spare: Option<Arc<Stored>>,
}

/// The request fields that answers for a key are known to vary by.
fn telling(known: Option<&Variants>) -> Vec<HeaderName> {
    known.map_or_else(Vec::new, |known| known.selecting().cloned().collect())
}
