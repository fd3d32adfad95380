//! Getting an answer for the cache, in a task of its own: it ends when the answer is there and stored, or handed to the one
//! who asked, or when nobody waits for it any more. The one who asked gets the answer while it comes; those who wait beside
//! get it once it is complete. Who asks, and what becomes of a failure, is `cache/lookup.rs`.

mod passing;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::directives::RequestControl;
use super::fills::{Failure, Landed, Seat, UnderWay, Whom};
use super::memory::Share;
use super::moment::Moment;
use super::second::{Generation, Name, Ticket};
use super::stored::{Storable, Stored, unconditional};
use super::{Forward, SetsCookie, Store};
use crate::error::Error;
use crate::upstream::UpstreamError;
use passing::{Passing, Piece, leave};

/// For how long those who wait beside wait for the rest of an answer whose head is there. Then they go on by themselves: they
/// would see nothing of it while it drips.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the body of an answer that nobody waits for may take.
const UNATTENDED: Duration = Duration::from_secs(10);

/// A GET that is on its way to the service.
pub(super) struct Fetch<W> {
    pub(super) store: Arc<Store>,
    pub(super) way: Arc<W>,
    pub(super) uri: Uri,
    pub(super) version: Version,
    /// What is stored, and asked only whether it still holds.
    pub(super) known: Option<Arc<Stored>>,
    /// Until when the one who asked waits.
    pub(super) until: Instant,
    /// Whether something is there to answer with when the service fails.
    pub(super) spare: bool,
    /// What another replica's answer has to be like; `None` when replicas do not share what comes of this.
    pub(super) shared: Option<RequestControl>,
}

/// What the one who asked gets.
pub(super) enum Reply {
    /// The service's answer.
    Passed {
        response: Response<Body>,
        /// Whether it is kept once it is complete.
        stored: bool,
    },
    /// What was stored still holds.
    Confirmed {
        answer: Arc<Stored>,
        /// Whether that is kept.
        stored: bool,
    },
    /// Another replica had it.
    Found { answer: Arc<Stored> },
}

/// The same on its way there.
enum Sent {
    Ready(Reply),
    /// The head of an answer, whose body comes in pieces.
    Coming(Response<Passing>),
}

type Lead = oneshot::Sender<Result<Sent, Error>>;

impl<W: Forward> Fetch<W> {
    /// Begins it for somebody, who keeps the seat for as long as the answer is wanted.
    pub(super) fn start(self, under_way: UnderWay, seat: Seat) -> Started {
        let (lead, reply) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = self.run(&under_way, Some(lead)) => {}
                () = under_way.deserted() => {}
            }
        });
        Started { reply, seat }
    }

    /// Begins it for nobody: what is stored was good enough for the moment.
    pub(super) fn start_unattended(self, under_way: UnderWay) {
        tokio::spawn(async move { self.run(&under_way, None).await });
    }

    async fn run(self, under_way: &UnderWay, lead: Option<Lead>) {
        let ticket = match self.look(under_way).await {
            Some((_, Some(answer))) => return self.found(under_way, answer, lead),
            Some((ticket, None)) => Some(ticket),
            None => None,
        };
        let response = match self.ask(under_way).await {
            Ok(response) => response,
            Err(error) => return self.failed(under_way, error, lead),
        };
        let status = response.status();
        if UpstreamError::is_failure(status) {
            under_way.land(Landed::Failed(Failure::Status {
                status,
                retry_after: response.headers().get(RETRY_AFTER).cloned(),
            }));
            return pass(lead, response);
        }
        if let Some(known) = self
            .known
            .as_ref()
            .filter(|_| status == StatusCode::NOT_MODIFIED)
        {
            return self.confirmed(under_way, known, &response, ticket, lead);
        }
        let now = (self.store.now)();
        let asked = &under_way.fill.asked;
        let candidate = Stored::new(asked, status, response.headers().clone(), now);
        let max = self.store.max_entry_bytes;
        let length = content_length(response.headers());
        let fits = length.is_none_or(|length| length <= max);
        // The answer to a condition of the client's says nothing of the next one's, and takes nothing's place.
        if status == StatusCode::NOT_MODIFIED {
            under_way.land(Landed::Lost);
            return pass(lead, response);
        }
        let storable = if fits && !sets_cookie(&response) {
            candidate.storable()
        } else {
            Storable::No
        };
        if storable != Storable::Yes {
            self.not_stored(under_way, storable, now, ticket.as_ref());
            return pass(lead, response);
        }
        let collecting = Collecting {
            store: &self.store,
            under_way,
            candidate,
            ticket,
            pieces: Vec::new(),
            collected: 0,
            share: self.store.collecting.share(),
            length,
            max,
        };
        match lead {
            Some(lead) => collecting.run(response, lead).await,
            None => collecting.run_unattended(response.into_body()).await,
        }
    }

    /// What the other replicas have of it, and what its answer could be kept with for them.
    async fn look(&self, under_way: &UnderWay) -> Option<(Ticket, Option<Arc<Stored>>)> {
        let second = self.store.tags.second_level()?;
        let control = self.shared.as_ref()?;
        let asked = &under_way.fill.asked;
        let name = Name::new(&self.uri, &under_way.key);
        let on = Generation::of(asked.place, &asked.tags);
        let looked = second.look(name, &on, &asked.headers, |entry, age| {
            let now = (self.store.now)();
            let stored = Stored::of_replica(asked, entry, age, now);
            let fits = stored.is_selected_by(&asked.headers)
                && stored.freshness().is_fresh(now)
                && stored.satisfies(control, now);
            fits.then(|| Arc::new(stored))
        });
        looked.await
    }

    /// It is as good as the service's own answer, from now on here, too.
    fn found(&self, under_way: &UnderWay, answer: Arc<Stored>, lead: Option<Lead>) {
        self.store.put(&under_way.key, &answer, None);
        let now = (self.store.now)();
        land_fresh(
            &self.store,
            under_way,
            now,
            Landed::Found(Arc::clone(&answer)),
        );
        if let Some(lead) = lead {
            let _ = lead.send(Ok(Sent::Ready(Reply::Found { answer })));
        }
    }

    /// The service's word, whether what is stored still holds, or in full.
    async fn ask(&self, under_way: &UnderWay) -> Result<Response<Body>, Error> {
        let response = self.forward(under_way, self.known.as_deref()).await?;
        match &self.known {
            // It speaks of another answer than the one that it was asked about.
            Some(known)
                if response.status() == StatusCode::NOT_MODIFIED
                    && !known.is_meant_by(response.headers()) =>
            {
                self.forward(under_way, None).await
            }
            _ => Ok(response),
        }
    }

    async fn forward(
        &self,
        under_way: &UnderWay,
        known: Option<&Stored>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        request
            .headers_mut()
            .clone_from(&under_way.fill.asked.headers);
        match (known, &self.known) {
            (Some(known), _) => known.make_conditional(request.headers_mut()),
            (None, Some(_)) => unconditional(request.headers_mut()),
            (None, None) => {}
        }
        self.way.forward(request, self.spare).await
    }

    fn failed(&self, under_way: &UnderWay, error: Error, lead: Option<Lead>) {
        let error = match error {
            Error::Upstream(error) if under_way.is_shared() => {
                let error = Arc::new(error);
                let ran_out = error.is_out_of_time(self.until);
                let failure = Failure::NoAnswer {
                    error: Arc::clone(&error),
                    ran_out,
                };
                under_way.land(Landed::Failed(failure));
                UpstreamError::shared(&error).into()
            }
            error => {
                under_way.land(Landed::Lost);
                error
            }
        };
        if let Some(lead) = lead {
            // Who asked may have gone.
            let _ = lead.send(Err(error));
        }
    }

    fn confirmed(
        &self,
        under_way: &UnderWay,
        known: &Stored,
        response: &Response<Body>,
        ticket: Option<Ticket>,
        lead: Option<Lead>,
    ) {
        let now = (self.store.now)();
        let asked = &under_way.fill.asked;
        let answer = Arc::new(known.freshened(asked, response.headers(), now));
        let storable = answer.storable();
        let stored = storable == Storable::Yes && !sets_cookie(response);
        if stored {
            self.store.put(&under_way.key, &answer, ticket);
            land_stored(&self.store, under_way, &answer, now);
        } else if storable == Storable::Yes {
            // With fields for one client: the others still have what is stored to ask with.
            land_alone(&self.store, under_way, now);
        } else {
            self.not_stored(under_way, storable, now, ticket.as_ref());
        }
        if let Some(lead) = lead {
            let _ = lead.send(Ok(Sent::Ready(Reply::Confirmed { answer, stored })));
        }
    }

    /// What becomes of those who wait, and of what is stored, when the answer is not. What lies with who asked concerns
    /// neither: for the next one it may be otherwise.
    fn not_stored(
        &self,
        under_way: &UnderWay,
        why: Storable,
        now: Moment,
        ticket: Option<&Ticket>,
    ) {
        let asked = &under_way.fill.asked;
        match why {
            Storable::Unwanted => under_way.land(Landed::Lost),
            Storable::NotWithCredentials => {
                let fills = &self.store.fills;
                fills.set_alone(&under_way.key, Whom::Authorized, now, true);
                under_way.land(Landed::Lost);
            }
            Storable::Yes | Storable::No => {
                land_alone(&self.store, under_way, now);
                // What is stored must not outlive the answer that took its place.
                if !asked.no_store {
                    let store = &self.store;
                    store.remove(&under_way.key, &asked.headers, &asked.since, ticket);
                }
            }
        }
    }
}

/// Those who wait beside get what is stored now, if it is fresh.
fn land_stored(store: &Store, under_way: &UnderWay, stored: &Arc<Stored>, now: Moment) {
    if !stored.freshness().is_fresh(now) {
        return land_alone(store, under_way, now);
    }
    land_fresh(store, under_way, now, Landed::Stored(Arc::clone(stored)));
}

/// The same with something that is.
fn land_fresh(store: &Store, under_way: &UnderWay, now: Moment, landed: Landed) {
    // What is for others although somebody showed credentials is all the more so without.
    let whom = if under_way.fill.asked.authorized {
        Whom::Everybody
    } else {
        Whom::Anonymous
    };
    store.fills.set_alone(&under_way.key, whom, now, false);
    under_way.land(landed);
}

/// Those who wait beside go on by themselves, and for a while so does everybody.
fn land_alone(store: &Store, under_way: &UnderWay, now: Moment) {
    let fills = &store.fills;
    fills.set_alone(&under_way.key, Whom::Everybody, now, true);
    under_way.land(Landed::Alone);
}

/// Hands over an answer that is not stored.
fn pass(lead: Option<Lead>, response: Response<Body>) {
    if let Some(lead) = lead {
        let stored = false;
        let _ = lead.send(Ok(Sent::Ready(Reply::Passed { response, stored })));
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A cookie is for the one who got it, and so is what comes with it. The proxy takes cookies away before.
fn sets_cookie(response: &Response<Body>) -> bool {
    response.headers().contains_key(SET_COOKIE)
        || response.extensions().get::<SetsCookie>().is_some()
}

/// A fetch as the one who began it sees it.
pub(super) struct Started {
    reply: oneshot::Receiver<Result<Sent, Error>>,
    seat: Seat,
}

impl Started {
    /// Waits for the head of the answer; `None` when the task was ended from outside.
    pub(super) async fn reply(self) -> Option<Result<Reply, Error>> {
        let Self { reply, seat } = self;
        Some(reply.await.ok()?.map(|sent| match sent {
            Sent::Ready(reply) => reply,
            Sent::Coming(response) => Reply::Passed {
                response: response.map(|passing| {
                    // The fetch goes on for as long as somebody wants the body.
                    Body::new(Passing {
                        seat: Some(seat),
                        ..passing
                    })
                }),
                stored: true,
            },
        }))
    }
}

/// An answer whose body is being collected.
struct Collecting<'a> {
    store: &'a Arc<Store>,
    under_way: &'a UnderWay,
    candidate: Stored,
    ticket: Option<Ticket>,
    pieces: Vec<Bytes>,
    collected: usize,
    /// Its share of what is being collected.
    share: Arc<Share>,
    /// As declared by `Content-Length`.
    length: Option<usize>,
    /// The largest body that is stored.
    max: usize,
}

/// What a frame means to a body that is being collected.
enum Step {
    More(Bytes),
    /// It is not to be stored any more: it is too large, or has trailers, without which it is not the same.
    GivenUp(Frame<Bytes>),
    /// It is not to be stored because so many others are being collected.
    NoRoom(Frame<Bytes>),
    /// It is complete, with this as its last piece.
    Complete(Option<Bytes>),
    Broken(axum::Error),
}

impl Collecting<'_> {
    /// For the one who asked, and those who wait beside.
    async fn run(mut self, response: Response<Body>, lead: Lead) {
        let (parts, mut body) = response.into_parts();
        let left = body.size_hint().exact();
        // Most answers are there with their head.
        let first = if body.is_end_stream() {
            Some(Step::Complete(None))
        } else {
            body.frame()
                .now_or_never()
                .map(|frame| self.step(frame, &body))
        };
        let first = match first {
            Some(Step::Complete(last)) => {
                let whole = self.complete(last);
                let response = Response::from_parts(parts, Body::from(whole));
                let stored = true;
                let _ = lead.send(Ok(Sent::Ready(Reply::Passed { response, stored })));
                return;
            }
            first => first,
        };
        let (sender, pieces) = mpsc::unbounded_channel();
        let passing = Passing {
            pieces,
            left,
            rest: None,
            ended: false,
            share: Some(Arc::clone(&self.share)),
            seat: None,
        };
        let _ = lead.send(Ok(Sent::Coming(Response::from_parts(parts, passing))));
        let mut next = first;
        let mut patience = pin!(sleep(PATIENCE));
        let mut impatient = false;
        loop {
            let step = match next.take() {
                Some(step) => step,
                None => tokio::select! {
                    biased;
                    frame = body.frame() => self.step(frame, &body),
                    () = &mut patience, if !impatient => {
                        impatient = true;
                        self.alone();
                        continue;
                    }
                },
            };
            // That nobody takes it any more is noticed by `deserted`: others may wait beside.
            match step {
                Step::More(data) => {
                    let _ = sender.send(Piece::Frame(Frame::data(data)));
                }
                Step::Complete(last) => {
                    let last_piece = last.clone();
                    // Before the last piece is handed over: nobody may ask for the end of what was declared.
                    self.complete(last);
                    if let Some(data) = last_piece {
                        let _ = sender.send(Piece::Frame(Frame::data(data)));
                    }
                    let _ = sender.send(Piece::End);
                    return;
                }
                Step::GivenUp(frame) => {
                    self.alone();
                    return leave(&sender, frame, body);
                }
                Step::NoRoom(frame) => {
                    self.under_way.land(Landed::Alone);
                    return leave(&sender, frame, body);
                }
                Step::Broken(error) => {
                    self.under_way.land(Landed::Lost);
                    let _ = sender.send(Piece::Broken(error));
                    return;
                }
            }
        }
    }

    /// For nobody but the store, and those who came to wait.
    async fn run_unattended(mut self, mut body: Body) {
        let collected = timeout(UNATTENDED, async {
            if body.is_end_stream() {
                return Some(Step::Complete(None));
            }
            loop {
                let frame = body.frame().await;
                match self.step(frame, &body) {
                    Step::More(_) => {}
                    step => return Some(step),
                }
            }
        });
        match collected.await {
            Ok(Some(Step::Complete(last))) => {
                self.complete(last);
            }
            Ok(Some(Step::GivenUp(_))) => self.alone(),
            Ok(Some(Step::NoRoom(_))) => self.under_way.land(Landed::Alone),
            _ => self.under_way.land(Landed::Lost),
        }
    }

    fn step(&mut self, frame: Option<Result<Frame<Bytes>, axum::Error>>, body: &Body) -> Step {
        let frame = match frame {
            None if self.length.is_none_or(|length| length == self.collected) => {
                return Step::Complete(None);
            }
            None => return Step::Broken(axum::Error::new(CutShort)),
            Some(Err(error)) => return Step::Broken(error),
            Some(Ok(frame)) => frame,
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Step::GivenUp(trailers),
        };
        if self.collected + data.len() > self.max {
            return Step::GivenUp(Frame::data(data));
        }
        if !self.share.take(data.len()) {
            return Step::NoRoom(Frame::data(data));
        }
        self.collected += data.len();
        let complete = match self.length {
            Some(length) => length == self.collected,
            None => body.is_end_stream(),
        };
        if complete {
            return Step::Complete(Some(data));
        }
        self.pieces.push(data.clone());
        Step::More(data)
    }

    /// Stores it; gives the whole body.
    fn complete(&mut self, last: Option<Bytes>) -> Bytes {
        self.pieces.extend(last);
        // A copy, also of a single piece: that may be part of a larger buffer, which would be kept with it.
        let mut whole = Vec::with_capacity(self.collected);
        for piece in &self.pieces {
            whole.extend_from_slice(piece);
        }
        let whole = Bytes::from(whole);
        let now = (self.store.now)();
        let stored = Arc::new(self.candidate.clone().with_body(whole.clone()));
        let ticket = self.ticket.take();
        self.store.put(&self.under_way.key, &stored, ticket);
        land_stored(self.store, self.under_way, &stored, now);
        whole
    }

    /// Those who wait beside go on by themselves.
    fn alone(&self) {
        land_alone(self.store, self.under_way, (self.store.now)());
    }
}

/// An answer was shorter than it said.
#[derive(Debug, thiserror::Error)]
#[error("the answer is shorter than it said")]
struct CutShort;
