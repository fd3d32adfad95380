//! Sessions of browsers (RFC 10017: the gateway as a backend for frontend): a person signs in at an OpenID provider, the
//! tokens stay here, and the browser gets a cookie that means nothing to anybody else. What is asked of a request with the
//! cookie (CSRF) is `edge/csrf.rs`'s; what a person may do is asked of the principal, as ever.
//!
//! A sign-in goes `login` → the provider → `callback`; every request after it comes to `Sessions::find`, which renews the
//! provider's tokens in passing; the end is `logout`, the provider's word (back-channel), a refresh that is refused, or time.

mod cookie;
mod id_token;
mod login;
mod logout;
mod memory;
mod parameters;
mod provider;
mod record;
mod refresh;
mod return_url;
mod routes;
mod seal;
mod shared;
mod used_tokens;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::auth::{Full, KeySets, Revocations};
use crate::config::{Config, CsrfConfig, SessionConfig, covers};
use crate::deadline::Deadline;
use crate::edge::Credential;
use crate::error::{Error, GatewayError};
use crate::metrics::{Metrics, SessionMetrics};
pub(crate) use cookie::pairs as cookies;
use memory::Memory;
use provider::{Provider, TokenKind};
pub(crate) use record::Session;
use record::{SessionId, SessionKey, unix_time};
use refresh::Renewal;
use shared::SharedSessions;
use used_tokens::UsedTokens;

/// A request that came with a session before that ended has opened by then what it opens. In seconds.
const OPENING: u64 = 60;

/// Where the routes of sessions are.
pub(crate) const BASE: &str = "/bff";
/// Where the provider sends browsers back to.
pub(crate) const CALLBACK: &str = "/bff/callback";

/// Whether `path` is one of the routes of sessions.
pub(crate) fn is_own(path: &str) -> bool {
    covers(BASE, path)
}

/// The sessions of a process, as the configuration at work sees them. Cloning is cheap.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
    /// Of the configuration at work.
    keys: Arc<KeySets>,
    revocations: Arc<Revocations>,
}

/// What lives as long as the process.
struct Inner {
    config: Arc<SessionConfig>,
    /// By what a request is judged.
    csrf: CsrfConfig,
    memory: Memory,
    /// Where replicas keep them together, when the configuration names a place.
    shared: Option<Arc<SharedSessions>>,
    provider: Arc<Provider>,
    /// Refreshes under way, by the session that waits for one.
    flights: Mutex<HashMap<SessionKey, watch::Receiver<Option<Renewal>>>>,
    /// Logout tokens that were used; where replicas share sessions, they share these, too.
    used_logouts: Mutex<UsedTokens>,
    /// Where what is asked of the provider runs: it goes on when who has asked has gone.
    control: OnceLock<Handle>,
    metrics: SessionMetrics,
}

/// Whether sessions can be read and written, for `/ready`.
pub(crate) struct SessionReadiness {
    pub(crate) up: bool,
    pub(crate) detail: String,
}

impl Sessions {
    /// Those that `config` asks for. Nothing is dialled before `start`. `app` begins all keys in a store that replicas share.
    pub(crate) fn of(
        config: &Config,
        app: &str,
        keys: &Arc<KeySets>,
        revocations: &Arc<Revocations>,
        metrics: &Metrics,
    ) -> Option<Self> {
        let session = config.session.as_ref()?;
        let idle = session.idle.as_secs();
        let shared = config
            .redis
            .as_ref()
            .map(|redis| SharedSessions::new(redis, app, idle, metrics.session_store_up()));
        Some(Self {
            inner: Arc::new(Inner {
                memory: Memory::new(session.max_sessions, idle),
                provider: Provider::new(session),
                config: Arc::clone(session),
                csrf: config.csrf.clone(),
                shared,
                flights: Mutex::default(),
                used_logouts: Mutex::default(),
                control: OnceLock::new(),
                metrics: metrics.sessions(),
            }),
            keys: Arc::clone(keys),
            revocations: Arc::clone(revocations),
        })
    }

    /// The same sessions under another configuration of issuers.
    pub(crate) fn after(previous: Option<&Self>, keys: &Arc<KeySets>) -> Option<Self> {
        Some(Self {
            keys: Arc::clone(keys),
            ..previous?.clone()
        })
    }

    /// What is done for them beside requests runs on `control`, until `stop`.
    pub(crate) fn start(&self, control: &Handle, stop: &CancellationToken) {
        // The second start of a process changes nothing.
        let _ = self.inner.control.set(control.clone());
        if let Some(shared) = &self.inner.shared {
            shared.start(control, stop.clone(), self.clone());
        }
    }

    /// Forgets what is over.
    pub(crate) fn sweep(&self) {
        let metrics = &self.inner.metrics;
        let over = self.inner.memory.sweep(unix_time());
        // A copy that has ended says nothing about the session.
        if self.inner.shared.is_none() {
            metrics.ended_by_time.increment(over as u64);
        }
        metrics.live.set(self.inner.memory.len() as f64);
    }

    pub(crate) fn readiness(&self) -> Option<SessionReadiness> {
        let (up, detail) = self.inner.shared.as_ref()?.readiness();
        Some(SessionReadiness { up, detail })
    }

    fn config(&self) -> &SessionConfig {
        &self.inner.config
    }

    /// The session whose cookie a request has, with tokens that are good. None without a cookie that is worth something:
    /// browsers send it whether it is or not.
    ///
    /// # Errors
    /// `SessionsUnavailable` when the store cannot be asked, `IdentityProviderUnavailable` when the tokens have ended and
    /// the provider does not answer, `DeadlineExceeded`.
    pub(crate) async fn find(
        &self,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, Error> {
        let Some(session) = self.known(headers).await? else {
            return Ok(None);
        };
        let (now, before) = (unix_time(), self.config().refresh_before.as_secs());
        let session = if !session.is_due(now, before) {
            Some(session)
        } else if session.is_expired(now) {
            Box::pin(self.renew(session, deadline)).await?
        } else {
            // Its token is good for a while: nobody waits for the next one.
            drop(self.flight(&session));
            Some(session)
        };
        match session {
            Some(session) if self.revocations.is_revoked(session.token()) => {
                self.remove(&session.key).await?;
                self.inner.metrics.ended_by_operator.increment(1);
                Ok(None)
            }
            session => Ok(session),
        }
    }

    /// The session whose cookie a request has, whatever its tokens are worth.
    async fn known(&self, headers: &HeaderMap) -> Result<Option<Arc<Session>>, Error> {
        if Credential::of(headers, &self.inner.csrf) != Credential::Cookie {
            return Ok(None);
        }
        let cookie = cookie::find(headers, &self.config().cookie);
        match cookie.and_then(SessionId::parse) {
            Some(id) => self.look_up(&id).await,
            None => Ok(None),
        }
    }

    async fn look_up(&self, id: &SessionId) -> Result<Option<Arc<Session>>, Error> {
        let (key, now) = (id.key(), unix_time());
        let memory = &self.inner.memory;
        let Some(shared) = &self.inner.shared else {
            return Ok(memory.find(&key, now));
        };
        let Ok(found) = shared.read(&key).await else {
            // What this replica knows is good for as long as its token: so long the provider would stand by it, too.
            return match memory.find(&key, now) {
                Some(known) if !known.is_expired(now) => Ok(Some(known)),
                _ => Err(GatewayError::SessionsUnavailable.into()),
            };
        };
        let Some(sealed) = found else {
            self.forget(&key);
            return Ok(None);
        };
        let known = memory.find(&key, now);
        if let Some(known) = known.filter(|known| known.sealed.as_ref() == Some(&sealed)) {
            return Ok(Some(known));
        }
        let opened = Session::open(id.clone(), sealed, now)
            .filter(|session| !session.is_over(now, self.config().idle.as_secs()))
            .map(Arc::new);
        if let Some(session) = &opened {
            memory.insert(Arc::clone(session), now);
        }
        Ok(opened)
    }

    /// A session with good tokens in place of `session`, whose tokens have ended; one renewal is under way at a time.
    async fn renew(
        &self,
        session: Arc<Session>,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, Error> {
        let renewal = match self.flight(&session) {
            Some(mut flight) => {
                let landed = flight.wait_for(Option::is_some);
                // Not in time, or, when the gateway ends, without a word.
                let landed = timeout_at(deadline.at(), landed).await;
                let landed = landed.ok().and_then(Result::ok);
                landed.and_then(|outcome| outcome.clone())
            }
            None => None,
        };
        match renewal {
            Some(Renewal::Renewed(session)) => Ok(Some(session)),
            Some(Renewal::Ended) => Ok(None),
            Some(Renewal::Unavailable) | None => {
                Err(GatewayError::IdentityProviderUnavailable.into())
            }
        }
    }

    /// Keeps a new session.
    async fn insert(&self, mut session: Session) -> Result<Arc<Session>, Error> {
        let now = unix_time();
        if let Some(shared) = &self.inner.shared {
            let sealed = session.close().map_err(no_randomness)?;
            shared
                .create(&session.key, &session.record, &sealed, now)
                .await
                .map_err(|_away| GatewayError::SessionsUnavailable)?;
        }
        let session = Arc::new(session);
        let gone = self.inner.memory.insert(Arc::clone(&session), now);
        if self.inner.shared.is_none() {
            self.inner.metrics.evicted.increment(gone as u64);
        }
        Ok(session)
    }

    /// Ends the session under `key`, everywhere.
    async fn remove(&self, key: &SessionKey) -> Result<(), Error> {
        if let Some(shared) = &self.inner.shared {
            shared
                .remove(key)
                .await
                .map_err(|_away| GatewayError::SessionsUnavailable)?;
        }
        self.ended_here_too(key);
        Ok(())
    }

    /// Nobody says that there was such a session: whatever one that is known here has opened ends.
    fn forget(&self, key: &SessionKey) {
        if let Some(session) = self.inner.memory.remove(key) {
            self.end_streams(&session);
        }
    }

    /// There was such a session, and it has ended: whatever it has opened ends, also when it is not known here any more, or not
    /// yet.
    fn ended_here_too(&self, key: &SessionKey) {
        match self.inner.memory.remove(key) {
            Some(session) => self.end_streams(&session),
            None => warn_if_full(
                self.revocations
                    .end_id(key.token_id(), unix_time() + OPENING),
            ),
        }
    }

    fn end_streams(&self, session: &Session) {
        warn_if_full(self.revocations.end(session.token()));
    }

    /// Tells the provider, beside everything else, that a session's tokens are not needed any more.
    fn revoke_later(&self, session: Arc<Session>) {
        let sessions = self.clone();
        self.spawn(async move {
            sessions.revoke(&session).await;
        });
    }

    async fn revoke(&self, session: &Session) {
        let record = &session.record;
        // With a refresh token the access tokens that were had for it end, too (RFC 7009, 2.1).
        let (token, kind) = match &record.refresh_token {
            Some(token) => (token, TokenKind::Refresh),
            None => (&record.access_token, TokenKind::Access),
        };
        if let Err(error) = self.inner.provider.revoke(&token.0, kind).await {
            let error = crate::problem::chain(&error);
            tracing::warn!(
                error,
                "tokens of a session that has ended could not be revoked"
            );
        }
    }

    /// Runs on the control runtime, to its end. Not at all before `start`, or when the gateway ends.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(control) = self.inner.control.get() {
            control.spawn(work);
        }
    }

    /// What `work` comes to, which runs on the control runtime for as long as somebody waits for it.
    async fn on_control<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let control = self
            .inner
            .control
            .get()
            .ok_or(GatewayError::IdentityProviderUnavailable)?;
        timeout_at(deadline.at(), AbortOnDropHandle::new(control.spawn(work)))
            .await
            .map_err(|_elapsed| GatewayError::DeadlineExceeded)?
            .map_err(|_ended| GatewayError::IdentityProviderUnavailable.into())
    }
}

fn warn_if_full(ended: Result<(), Full>) {
    if ended.is_err() {
        tracing::warn!("too many sessions have ended: what one has opened ends with its token");
    }
}

fn no_randomness(_: aws_lc_rs::error::Unspecified) -> Error {
    GatewayError::Bug("the system gives no random numbers".to_owned()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
