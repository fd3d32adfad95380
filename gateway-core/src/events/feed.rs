//! The one connection to the feed: made, listened to, missed and made again, on the control runtime. What is done with an
//! event is `events.rs`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, StatusCode};
use reqwest::redirect::Policy;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::sse::{Frame, Parser, TooLarge};
use super::{ChangeEvent, Events};
use crate::auth::internal_token::{InternalTokenSigner, SigningError, X_INTERNAL_TOKEN};
use crate::config::{Config, EventsConfig};
use crate::metrics::FeedMetrics;
use crate::problem::chain;
use crate::store::StoreError;
use crate::upstream::UpstreamError;
use crate::webhooks::{Noted, Webhooks};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest event.
const MAX_EVENT: usize = 1 << 20;
/// Between two attempts: from the shortest, doubled with every failure, to the longest; each shortened by chance, so that
/// replicas do not all come at once.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a changed configuration is looked for.
const LOOK: Duration = Duration::from_secs(1);

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The names of what is no change: a sign of life, and the word that what lies between the id that was asked for and the
/// id of this message cannot be told any more.
const HEARTBEAT: &str = "heartbeat";
const RESET: &str = "reset";
/// A place that is in no log: the feed answers with the one that it has reached ([`RESET`]).
const NOWHERE: &str = "none";

/// A gateway's subscription.
pub(crate) struct Feed {
    events: Events,
    tags_of: fn(&ChangeEvent) -> Option<Vec<String>>,
    /// Where changes are written down before they count as heard.
    journal: Option<Webhooks>,
    metrics: FeedMetrics,
    state: Mutex<State>,
    /// Made once: it reads the system's certificates.
    client: OnceCell<reqwest::Client>,
}

#[derive(Clone, Debug)]
enum State {
    /// Since when changes are heard of.
    Listening(Instant),
    /// Since when they are not, and why.
    Lost(Instant, String),
}

/// Whether changes are heard of, for `/ready`.
pub(crate) struct FeedReadiness {
    pub(crate) up: bool,
    pub(crate) detail: String,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("the feed cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the feed answered {0}")]
    Status(StatusCode),
    #[error("the feed is no event stream")]
    NoStream,
    #[error("the feed did not answer in time")]
    NoAnswer,
    #[error("the feed broke off")]
    Broken(#[source] reqwest::Error),
    #[error("the feed ended")]
    Ended,
    #[error("the feed has been silent for {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("the feed cannot be read")]
    Unreadable(#[from] TooLarge),
    #[error("there is no token to show to the feed")]
    Token(#[from] SigningError),
    #[error("the client for the feed cannot be made")]
    Client(#[source] reqwest::Error),
    #[error("what was heard cannot be written down")]
    Journal(#[from] StoreError),
    #[error("the configuration of the feed has changed")]
    Reconfigured,
}

/// An event that should say what has changed, and does not.
#[derive(Debug, thiserror::Error)]
#[error("a {0} without what it is about")]
struct Unclear(String);

/// Where the feed is and what it takes to listen, as one configuration says it.
pub(crate) struct Source {
    url: String,
    heartbeat: Duration,
    upstream: String,
    signer: Option<Arc<InternalTokenSigner>>,
    /// Counts the configurations.
    number: u64,
}

impl Source {
    /// `None` when the configuration has no feed.
    pub(crate) fn new(
        config: &Config,
        signer: Option<&Arc<InternalTokenSigner>>,
        number: u64,
    ) -> Option<Self> {
        let EventsConfig {
            upstream,
            path,
            heartbeat,
            ..
        } = config.events.as_ref()?;
        let address = &config.upstreams.get(upstream)?.address;
        let base = address.to_string();
        Some(Self {
            url: format!("{}{path}", base.trim_end_matches('/')),
            heartbeat: *heartbeat,
            upstream: upstream.clone(),
            signer: signer.cloned(),
            number,
        })
    }

    fn is_as(&self, other: &Self) -> bool {
        self.url == other.url && self.heartbeat == other.heartbeat
    }
}

/// What goes on from one connection to the next.
#[derive(Default)]
struct Progress {
    /// Where to go on; `None` = with what happens from now on.
    last_id: Option<String>,
    /// Whether this connection has said anything.
    heard: bool,
}

impl Feed {
    pub(crate) fn new(
        events: Events,
        tags_of: fn(&ChangeEvent) -> Option<Vec<String>>,
        journal: Option<Webhooks>,
        metrics: FeedMetrics,
    ) -> Arc<Self> {
        metrics.up.set(0.0);
        Arc::new(Self {
            events,
            tags_of,
            journal,
            metrics,
            state: Mutex::new(State::Lost(Instant::now(), "not connected yet".to_owned())),
            client: OnceCell::new(),
        })
    }

    pub(crate) fn readiness(&self) -> FeedReadiness {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Listening(since) => FeedReadiness {
                up: true,
                detail: format!("listening for {} s", since.elapsed().as_secs()),
            },
            State::Lost(since, why) => FeedReadiness {
                up: false,
                detail: format!(
                    "lost for {} s ({why}): stored parts are good for their lifetime only",
                    since.elapsed().as_secs()
                ),
            },
        }
    }

    /// Listens until `stop`. `source` gives the configuration that is at work.
    pub(crate) async fn run(
        self: Arc<Self>,
        source: impl Fn() -> Option<Source>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen_for_ever(source) => {}
        }
    }

    async fn listen_for_ever(&self, source: impl Fn() -> Option<Source>) {
        let mut progress = Progress {
            last_id: self.written_down().await,
            heard: false,
        };
        let mut pause = PAUSE;
        loop {
            let Some(current) = source() else {
                // A reload has taken the feed away; another may bring it back.
                self.lost("the configuration has no feed");
                tokio::time::sleep(LOOK).await;
                continue;
            };
            progress.heard = false;
            let loss = self.listen(&current, &source, &mut progress).await;
            match &loss {
                Loss::Status(status)
                    if status.is_client_error() && !UpstreamError::is_failure(*status) =>
                {
                    self.refused(*status, &mut progress);
                }
                // Ids are those of another log.
                Loss::Reconfigured if self.journal.is_none() => progress.last_id = None,
                _ => {}
            }
            self.lost(&chain(&loss));
            if progress.heard || matches!(loss, Loss::Reconfigured) {
                pause = PAUSE;
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, until it is lost.
    async fn listen(
        &self,
        source: &Source,
        current: impl Fn() -> Option<Source>,
        progress: &mut Progress,
    ) -> Loss {
        let silence = source.heartbeat * 2;
        let mut response = match self.connect(source, progress.last_id.as_deref()).await {
            Ok(response) => response,
            Err(loss) => return loss,
        };
        self.connected(progress.last_id.is_some());
        let mut parser = Parser::new(MAX_EVENT);
        let mut frames = Vec::new();
        let mut give_up = Instant::now() + silence;
        let mut number = source.number;
        let mut look = Instant::now() + LOOK;
        loop {
            // Also while the feed has much to tell.
            if Instant::now() >= look {
                match current() {
                    Some(now) if now.number == number => {}
                    Some(now) if now.is_as(source) => number = now.number,
                    Some(_) | None => return Loss::Reconfigured,
                }
                look = Instant::now() + LOOK;
            }
            let chunk = tokio::select! {
                chunk = response.chunk() => Some(chunk),
                () = tokio::time::sleep_until(look.min(give_up)) => None,
            };
            match chunk {
                Some(Ok(Some(piece))) => {
                    // Whatever it says, it lives.
                    give_up = Instant::now() + silence;
                    progress.heard = true;
                    if let Err(too_large) = parser.feed(&piece, &mut frames) {
                        return too_large.into();
                    }
                    let mut reached = progress.last_id.clone();
                    let mut noted = Vec::new();
                    for frame in frames.drain(..) {
                        if frame.last_id.is_some() {
                            reached = frame.last_id.clone().filter(|id| !id.is_empty());
                        }
                        noted.extend(self.take(frame));
                    }
                    if let Some(journal) = &self.journal
                        && (reached != progress.last_id || !noted.is_empty())
                        && let Err(error) = journal.take(noted, reached.clone()).await
                    {
                        // It is heard again, from where it was written down.
                        return error.into();
                    }
                    progress.last_id = reached;
                }
                Some(Ok(None)) => return Loss::Ended,
                Some(Err(error)) => return Loss::Broken(error),
                None if Instant::now() >= give_up => return Loss::Silent(silence),
                None => {}
            }
        }
    }

    /// What is to be written down of it.
    fn take(&self, frame: Frame) -> Option<Noted> {
        match frame.name.as_str() {
            HEARTBEAT => None,
            RESET => {
                tracing::warn!(
                    "the event feed cannot tell what happened in between: all is expired"
                );
                self.metrics.losses.increment(1);
                self.events.missed();
                self.events.stands_at(position_of(&frame));
                None
            }
            _ => {
                let position = position_of(&frame);
                self.change(frame.data, position)
            }
        }
    }

    fn change(&self, envelope: Bytes, position: Option<u64>) -> Option<Noted> {
        self.metrics.events.increment(1);
        let event = match ChangeEvent::parse(envelope) {
            Ok(event) => event,
            Err(error) => {
                self.not_understood(&error);
                return None;
            }
        };
        let journal = self.journal.as_ref();
        let noted = journal.and_then(|journal| journal.note(&event));
        match (self.tags_of)(&event) {
            Some(tags) => {
                self.metrics.purged.increment(tags.len() as u64);
                self.events.changed(event.at(position), &tags);
            }
            None => self.not_understood(&Unclear(event.kind)),
        }
        noted
    }

    /// Where to go on: where everything is written down, also after a restart.
    async fn written_down(&self) -> Option<String> {
        let journal = self.journal.as_ref()?;
        loop {
            match journal.position().await {
                // So changes that come while this process is away are not missed, even if none has come before.
                Ok(position) => return Some(position.unwrap_or_else(|| NOWHERE.to_owned())),
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(error, "the place in the event feed cannot be looked up");
                    tokio::time::sleep(LONGEST_PAUSE).await;
                }
            }
        }
    }

    /// The feed does not go on where it was asked to.
    fn refused(&self, status: StatusCode, progress: &mut Progress) {
        if self.journal.is_none() {
            // From now on, then: whatever is stored is expired by that.
            progress.last_id = None;
            return;
        }
        // Too many requests, a proxy without a route, a permission that is missing: the place is as good as before. To give
        // it up is to tell nobody what has happened since.
        if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::GONE) {
            return;
        }
        let place = progress.last_id.take();
        let status = status.as_u16();
        tracing::error!(
            place,
            status,
            "the event feed refuses to go on there: changes since then are told to nobody"
        );
        // A feed that refuses that, too, has no places: then from now on.
        progress.last_id = place
            .is_some_and(|place| place != NOWHERE)
            .then(|| NOWHERE.to_owned());
    }

    /// Something has changed, and nobody can say what.
    fn not_understood(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(error, "an event is not understood: all is expired");
        self.metrics.losses.increment(1);
        self.events.missed();
    }

    fn connected(&self, resumed: bool) {
        if !resumed {
            // Nobody tells what happened before, and this may be another log.
            self.events.stands_at(None);
            self.events.missed();
        }
        self.metrics.up.set(1.0);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State::Listening(Instant::now());
        tracing::info!(resumed, "listening to the event feed");
    }

    fn lost(&self, why: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &*state {
            State::Listening(_) => {
                tracing::warn!(why, "the event feed is lost: everything tagged is expired");
                self.metrics.losses.increment(1);
                self.metrics.up.set(0.0);
                // Before anybody can see the state. What followers are not told now they are told when the feed goes on, or else
                // that they have missed it.
                self.events.interrupted();
                Instant::now()
            }
            State::Lost(since, known) => {
                if known != why {
                    tracing::warn!(why, "the event feed is still lost");
                }
                *since
            }
        };
        *state = State::Lost(since, why.to_owned());
    }

    async fn connect(
        &self,
        source: &Source,
        last_id: Option<&str>,
    ) -> Result<reqwest::Response, Loss> {
        let client = self
            .client
            .get_or_try_init(async || {
                reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    // One connection, which is used as long as it lasts.
                    .pool_max_idle_per_host(0)
                    .redirect(Policy::none())
                    .no_proxy()
                    .build()
            })
            .await
            .map_err(Loss::Client)?;
        let mut request = client.get(&source.url).header(ACCEPT, "text/event-stream");
        if let Some(signer) = &source.signer {
            request = request.header(X_INTERNAL_TOKEN, signer.for_itself(&source.upstream)?);
        }
        if let Some(id) = last_id {
            request = request.header(&LAST_EVENT_ID, id);
        }
        let response = timeout(source.heartbeat, request.send())
            .await
            .map_err(|_elapsed| Loss::NoAnswer)?
            .map_err(Loss::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Loss::Status(response.status()));
        }
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if is_stream {
            Ok(response)
        } else {
            Err(Loss::NoStream)
        }
    }
}

/// Where an event stands in the log; those that are in none have no id.
fn position_of(frame: &Frame) -> Option<u64> {
    let id = frame.last_id.as_ref().filter(|_| frame.has_id)?;
    id.parse().ok()
}
