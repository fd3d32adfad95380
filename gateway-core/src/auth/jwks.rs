//! The issuers' public keys: fetched and renewed on the control runtime, one task an issuer, read by all workers without
//! waiting. What is signed with them is checked in `auth/jwt.rs`.

mod fetch;
mod key;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::IssuerConfig;
use crate::deadline::Deadline;
use crate::error::{ClientError, Error, GatewayError};
use fetch::{FetchedKeys, Fetcher};
use key::{KeyList, Selection};

/// The first wait after a fetch that failed; it doubles from there.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest wait while there is no usable key set at all, and while there is one.
const MAX_RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(5);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// The key sets of all configured issuers, shared by the process.
#[derive(Debug)]
pub struct KeySets {
    issuers: Vec<Arc<Renewed>>,
}

/// One issuer's keys, which are renewed until the last configuration that names the issuer has gone.
#[derive(Debug)]
struct Renewed {
    keys: Arc<IssuerKeys>,
    started: AtomicBool,
    unused: CancellationToken,
}

impl Renewed {
    fn new(keys: IssuerKeys) -> Arc<Self> {
        Arc::new(Self {
            keys: Arc::new(keys),
            started: AtomicBool::new(false),
            unused: CancellationToken::new(),
        })
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        self.unused.cancel();
    }
}

/// Whether tokens of an issuer can be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerReadiness {
    pub issuer: String,
    pub usable: bool,
    /// How old the keys are, or why there are none.
    pub detail: Option<String>,
    /// How many keys there are, and how long ago they were fetched.
    pub keys: usize,
    pub age: Option<Duration>,
    /// Fetches since the start that gave keys, and those that failed.
    pub fetched: u64,
    pub failed: u64,
}

impl KeySets {
    /// Nothing is fetched before `spawn_refresh`.
    #[must_use]
    pub fn new(issuers: &[IssuerConfig]) -> Arc<Self> {
        let issuers = issuers
            .iter()
            .map(|config| Renewed::new(IssuerKeys::new(config.clone())))
            .collect();
        Arc::new(Self { issuers })
    }

    /// The key sets of another configuration. What `previous` has of an unchanged issuer goes on as it is; when only the
    /// rules for its tokens have changed, its keys are believed until the next fetch.
    pub(crate) fn after(previous: &Self, issuers: &[IssuerConfig]) -> Arc<Self> {
        let issuers = issuers
            .iter()
            .map(|config| {
                let same_source = previous.issuers.iter().find(|known| {
                    let known = known.keys.config();
                    known.issuer == config.issuer && known.jwks_uri == config.jwks_uri
                });
                match same_source {
                    Some(known) if known.keys.config() == config => Arc::clone(known),
                    Some(known) => {
                        let keys = IssuerKeys::new(config.clone());
                        keys.snapshot.store(known.keys.snapshot.load_full());
                        Renewed::new(keys)
                    }
                    None => Renewed::new(IssuerKeys::new(config.clone())),
                }
            })
            .collect();
        Arc::new(Self { issuers })
    }

    /// Starts one task on `control` for each issuer that has none yet: fetches until it works, then renews in the
    /// background until `stop`.
    pub fn spawn_refresh(&self, control: &Handle, stop: &CancellationToken) {
        crate::telemetry::install_crypto();
        for renewed in &self.issuers {
            if renewed.started.swap(true, Ordering::Relaxed) {
                continue;
            }
            let keys = Arc::clone(&renewed.keys);
            let unused = renewed.unused.clone();
            let stop = stop.clone();
            control.spawn(async move {
                tokio::select! {
                    () = keys.refresh() => {}
                    () = stop.cancelled() => {}
                    () = unused.cancelled() => {}
                }
                keys.stopped();
            });
        }
    }

    /// Waits until every issuer has keys, or a first fetch has failed.
    pub(crate) async fn settled(&self) {
        for renewed in &self.issuers {
            let keys = &renewed.keys;
            let mut ended = keys.ended.subscribe();
            while keys.usable().is_none() && keys.state().last_error.is_none() {
                if ended.changed().await.is_err() {
                    break;
                }
            }
        }
    }

    /// The keys of the issuer that a token names.
    pub(crate) fn issuer(&self, issuer: &str) -> Option<&Arc<IssuerKeys>> {
        self.issuers
            .iter()
            .map(|renewed| &renewed.keys)
            .find(|keys| keys.config.issuer == issuer)
    }

    #[must_use]
    pub fn readiness(&self) -> Vec<IssuerReadiness> {
        self.issuers
            .iter()
            .map(|renewed| renewed.keys.readiness())
            .collect()
    }
}

/// One issuer's keys.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    config: IssuerConfig,
    snapshot: ArcSwapOption<Snapshot>,
    refresh: Mutex<RefreshState>,
    /// Wakes the refresh task before its time.
    wanted: Notify,
    /// Changes whenever a fetch has ended, however it ended.
    ended: watch::Sender<()>,
}

#[derive(Debug)]
struct Snapshot {
    keys: Arc<KeyList>,
    /// Differs for every other list of keys: what was verified with an older one is verified again.
    version: u64,
    digest: [u8; 32],
    fetched: Instant,
}

/// A snapshot that is not too old, held without counting references.
struct Usable(arc_swap::Guard<Option<Arc<Snapshot>>>);

impl Usable {
    fn snapshot(&self) -> Option<&Snapshot> {
        self.0.as_deref()
    }
}

#[derive(Debug, Default)]
struct RefreshState {
    /// A fetch is under way, or has been asked for.
    fetching: bool,
    stopped: bool,
    /// When an unknown `kid` last made us ask.
    last_asked: Option<Instant>,
    last_error: Option<String>,
    fetched: u64,
    failed: u64,
}

impl IssuerKeys {
    fn new(config: IssuerConfig) -> Self {
        Self {
            config,
            snapshot: ArcSwapOption::empty(),
            refresh: Mutex::new(RefreshState::default()),
            wanted: Notify::new(),
            ended: watch::Sender::new(()),
        }
    }

    pub(crate) fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// The key for a token with this header. An unknown `kid` is asked for once, within the caller's deadline.
    ///
    /// # Errors
    /// `InvalidToken` when there is no such key, `KeysUnavailable` when there is no usable key set at all,
    /// `DeadlineExceeded` when asking took too long.
    pub(crate) async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        deadline: Deadline,
    ) -> Result<FoundKey, Error> {
        let found = self.select(kid, algorithm)?;
        if let Some(found) = found {
            return Ok(found);
        }
        let Some(mut ended) = self.ask() else {
            return Err(ClientError::InvalidToken("unknown key").into());
        };
        timeout_at(deadline.at(), ended.changed())
            .await
            .map_err(|_elapsed| GatewayError::DeadlineExceeded)?
            // The sender is this very struct's.
            .map_err(|_closed| GatewayError::KeysUnavailable)?;
        self.select(kid, algorithm)?
            .ok_or_else(|| ClientError::InvalidToken("unknown key").into())
    }

    fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Option<FoundKey>, Error> {
        let usable = self.usable();
        let snapshot = usable
            .as_ref()
            .and_then(Usable::snapshot)
            .ok_or(GatewayError::KeysUnavailable)?;
        match snapshot.keys.select(kid, algorithm) {
            Selection::Key(key) => Ok(Some(FoundKey {
                key,
                version: snapshot.version,
            })),
            Selection::Refused(reason) => Err(ClientError::InvalidToken(reason).into()),
            Selection::Unknown => Ok(None),
        }
    }

    /// The version of the usable key set; what was verified with another one does not count any more.
    pub(crate) fn version(&self) -> Option<u64> {
        Some(self.usable()?.snapshot()?.version)
    }

    fn usable(&self) -> Option<Usable> {
        let guard = self.snapshot.load();
        let fresh = guard
            .as_ref()
            .is_some_and(|snapshot| snapshot.fetched.elapsed() <= self.config.max_stale);
        fresh.then_some(Usable(guard))
    }

    /// Asks the refresh task for a fetch, unless the last one that an unknown `kid` caused was just now: anybody can
    /// invent a `kid`.
    fn ask(&self) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if state.stopped {
            return None;
        }
        if !state.fetching {
            let cooling = state
                .last_asked
                .is_some_and(|asked| asked.elapsed() < self.config.cooldown);
            if cooling {
                return None;
            }
            state.last_asked = Some(Instant::now());
            state.fetching = true;
            self.wanted.notify_one();
        }
        Some(self.ended.subscribe())
    }

    /// The refresh task: the only one that fetches, so that there is never more than one fetch.
    async fn refresh(&self) {
        let fetcher = match Fetcher::new() {
            Ok(fetcher) => fetcher,
            Err(error) => {
                tracing::error!(issuer = self.config.issuer, %error, "no HTTP client for key sets");
                self.state().last_error = Some(error.to_string());
                return;
            }
        };
        let mut retry = FIRST_RETRY;
        loop {
            self.state().fetching = true;
            let fetched = fetcher.fetch(&self.config).await;
            let wait = match fetched {
                Ok(fetched) => {
                    self.accept(fetched);
                    retry = FIRST_RETRY;
                    self.config.refresh
                }
                Err(error) => {
                    let error = error.chain();
                    tracing::warn!(
                        issuer = self.config.issuer,
                        error,
                        "keys could not be fetched"
                    );
                    let mut state = self.state();
                    state.last_error = Some(error);
                    state.failed += 1;
                    drop(state);
                    let wait = retry;
                    let most = if self.usable().is_some() {
                        MAX_RETRY.min(self.config.refresh)
                    } else {
                        MAX_RETRY_WITHOUT_KEYS
                    };
                    retry = (retry * 2).min(most);
                    wait.min(most)
                }
            };
            self.ended();
            tokio::select! {
                () = sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn accept(&self, fetched: FetchedKeys) {
        let before = self.snapshot.load();
        let unchanged = before
            .as_ref()
            .filter(|snapshot| snapshot.digest == fetched.digest);
        let snapshot = match unchanged {
            Some(known) => Snapshot {
                keys: Arc::clone(&known.keys),
                version: known.version,
                digest: known.digest,
                fetched: Instant::now(),
            },
            None => {
                tracing::info!(
                    issuer = self.config.issuer,
                    keys = fetched.keys.len(),
                    "new key set"
                );
                Snapshot {
                    keys: Arc::new(fetched.keys),
                    version: before.as_ref().map_or(0, |snapshot| snapshot.version + 1),
                    digest: fetched.digest,
                    fetched: Instant::now(),
                }
            }
        };
        self.snapshot.store(Some(Arc::new(snapshot)));
        let mut state = self.state();
        state.last_error = None;
        state.fetched += 1;
    }

    fn ended(&self) {
        let mut state = self.state();
        state.fetching = false;
        self.ended.send_replace(());
    }

    fn stopped(&self) {
        self.state().stopped = true;
        self.ended();
    }

    fn state(&self) -> MutexGuard<'_, RefreshState> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readiness(&self) -> IssuerReadiness {
        let snapshot = self.snapshot.load();
        let state = self.state();
        let last_error = state.last_error.clone();
        let (fetched, failed) = (state.fetched, state.failed);
        drop(state);
        let mut detail = match snapshot.as_ref() {
            Some(snapshot) => format!(
                "{} keys, {} s old",
                snapshot.keys.len(),
                snapshot.fetched.elapsed().as_secs()
            ),
            None => "no keys yet".to_owned(),
        };
        if let Some(error) = last_error {
            detail.push_str("; ");
            detail.push_str(&error);
        }
        IssuerReadiness {
            issuer: self.config.issuer.clone(),
            usable: self.usable().is_some(),
            detail: Some(detail),
            keys: snapshot.as_ref().map_or(0, |snapshot| snapshot.keys.len()),
            age: snapshot.as_ref().map(|snapshot| snapshot.fetched.elapsed()),
            fetched,
            failed,
        }
    }
}

/// A key, and the version of the key set that it was found in.
#[derive(Clone, Debug)]
pub(crate) struct FoundKey {
    pub(crate) key: Arc<DecodingKey>,
    pub(crate) version: u64,
}
