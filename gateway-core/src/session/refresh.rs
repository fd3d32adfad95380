//! Renewing a session's tokens: once for all requests that need it, in this process and in other replicas, and to its end
//! whoever waits. What becomes of a request meanwhile is decided in `session.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::id_token::Expected;
use super::provider::{ProviderError, TokenAnswer};
use super::record::{Record, Secret, Session, SessionKey, unix_time};
use super::shared::{Changed, Lease};
use super::{Sessions, lock};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::problem::chain;

/// A provider that did not answer is left alone for so many seconds, for each session.
const PAUSE: u64 = 3;
/// How often it is looked whether another replica is ready.
const LOOK: Duration = Duration::from_millis(25);
/// The longest that another replica is waited for; longer than its lease.
const PATIENCE: Duration = Duration::from_secs(20);
/// For an issuer's keys, when they have to be fetched for a new ID token.
const KEYS: Duration = Duration::from_secs(3);

/// How often it is tried to keep new tokens, and the pause in between.
const WRITES: usize = 20;
const WRITE_AGAIN: Duration = Duration::from_millis(250);

/// How a renewal came out.
#[derive(Clone)]
pub(super) enum Renewal {
    Renewed(Arc<Session>),
    /// There is no such session any more.
    Ended,
    /// The provider, or the store, could not be asked.
    Unavailable,
}

/// A renewal under way: it is known to others until it has landed.
struct Flight {
    sessions: Sessions,
    key: SessionKey,
    landed: watch::Sender<Option<Renewal>>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.sessions.inner.flights).remove(&self.key);
    }
}

/// Why tokens could not be renewed.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("the provider did not give new tokens")]
    Provider(#[from] ProviderError),
    #[error("the new ID token cannot be checked")]
    Unchecked(#[source] Error),
    #[error("the new ID token is not accepted: {0}")]
    IdToken(&'static str),
}

impl Sessions {
    /// The renewal of `session` that is under way, or a new one; none while its provider is left alone.
    pub(super) fn flight(
        &self,
        session: &Arc<Session>,
    ) -> Option<watch::Receiver<Option<Renewal>>> {
        let mut flights = lock(&self.inner.flights);
        if let Some(flight) = flights.get(&session.key) {
            return Some(flight.clone());
        }
        if unix_time() < session.not_before.load(Ordering::Relaxed) {
            return None;
        }
        let (landed, waiting) = watch::channel(None);
        flights.insert(session.key, waiting.clone());
        drop(flights);
        let flight = Flight {
            sessions: self.clone(),
            key: session.key,
            landed,
        };
        let session = Arc::clone(session);
        self.spawn(async move {
            let renewal = flight.sessions.refresh(&session).await;
            if matches!(renewal, Renewal::Unavailable) {
                let until = unix_time() + PAUSE;
                session.not_before.store(until, Ordering::Relaxed);
            }
            flight.landed.send_replace(Some(renewal));
        });
        Some(waiting)
    }

    /// Renews `session`, unless somebody else has done it since it was read.
    async fn refresh(&self, session: &Session) -> Renewal {
        let mut lease = None;
        if let Some(shared) = &self.inner.shared {
            let give_up = Instant::now() + PATIENCE;
            loop {
                match shared.lease(&session.key).await {
                    Ok(Some(taken)) => {
                        lease = Some(taken);
                        break;
                    }
                    Ok(None) if Instant::now() < give_up => sleep(LOOK).await,
                    Ok(None) | Err(_) => return Renewal::Unavailable,
                }
                if let Some(renewal) = self.as_it_is(session).await {
                    return renewal;
                }
            }
        }
        let renewal = match self.as_it_is(session).await {
            Some(renewal) => renewal,
            None => self.while_leased(session, lease.as_ref()).await,
        };
        self.give_back(lease).await;
        renewal
    }

    /// New tokens, however long they take: nobody else asks for some meanwhile.
    async fn while_leased(&self, session: &Session, lease: Option<&Lease>) -> Renewal {
        let renewing = self.with_new_tokens(session);
        let (Some(shared), Some(lease)) = (&self.inner.shared, lease) else {
            return renewing.await;
        };
        tokio::select! {
            renewal = renewing => renewal,
            never = shared.keep(lease) => match never {},
        }
    }

    async fn give_back(&self, lease: Option<Lease>) {
        if let (Some(shared), Some(lease)) = (&self.inner.shared, lease) {
            shared.give_back(lease).await;
        }
    }

    /// How it is now, unless it has to be renewed.
    async fn as_it_is(&self, session: &Session) -> Option<Renewal> {
        let before = self.config().refresh_before.as_secs();
        match self.look_up(&session.id).await {
            Ok(Some(known)) if known.is_due(unix_time(), before) => None,
            Ok(Some(known)) => Some(Renewal::Renewed(known)),
            Ok(None) => Some(Renewal::Ended),
            Err(_unavailable) => Some(Renewal::Unavailable),
        }
    }

    /// Asks the provider. The tokens of `session` are those that are kept: nobody else renews it.
    async fn with_new_tokens(&self, session: &Session) -> Renewal {
        // Another replica may have renewed it before: what is kept counts.
        let current = match self.look_up(&session.id).await {
            Ok(Some(current)) => current,
            Ok(None) => return Renewal::Ended,
            Err(_unavailable) => return Renewal::Unavailable,
        };
        let metrics = &self.inner.metrics;
        let Some(token) = &current.record.refresh_token else {
            metrics.ended_by_time.increment(1);
            return self.ended(&current).await;
        };
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.0.as_str()),
        ];
        let renewed = match self.inner.provider.tokens(&form).await {
            Ok(answer) => self.renewed(&current.record, answer).await,
            Err(error) => Err(error.into()),
        };
        match renewed {
            Ok(record) => {
                metrics.refreshed.increment(1);
                self.replace(&current, current.renewed(record)).await
            }
            Err(error) => {
                let ends = match &error {
                    RefreshError::Provider(error) => error.ends_the_grant(),
                    RefreshError::Unchecked(_) => false,
                    RefreshError::IdToken(_) => true,
                };
                if ends {
                    metrics.refresh_refused.increment(1);
                    return self.ended(&current).await;
                }
                metrics.refresh_failed.increment(1);
                let error = chain(&error);
                tracing::warn!(error, "a session's tokens could not be renewed");
                Renewal::Unavailable
            }
        }
    }

    /// The record with what the provider has answered.
    async fn renewed(&self, before: &Record, answer: TokenAnswer) -> Result<Record, RefreshError> {
        let now = unix_time();
        let mut record = before.clone();
        if let Some(id_token) = &answer.id_token {
            let keys = self.keys.issuer(&self.config().issuer);
            let keys = keys.ok_or(RefreshError::IdToken("its issuer is not configured"))?;
            let signed = match keys.verified(id_token, Deadline::after(KEYS)).await {
                Ok(signed) => signed,
                Err(Error::Client(_)) => return Err(RefreshError::IdToken("its signature")),
                Err(error) => return Err(RefreshError::Unchecked(error)),
            };
            let expected = Expected {
                issuer: keys.config(),
                client_id: &self.config().client_id,
                now,
            };
            let token = expected
                .id_token(signed, None, &answer.access_token)
                .map_err(RefreshError::IdToken)?;
            // OpenID Connect Core 1.0, 12.2.
            if token.subject != before.subject {
                return Err(RefreshError::IdToken("it is of somebody else"));
            }
            record.says(token.claims);
        }
        record.access_ends = answer
            .expires_in
            .map_or(record.ends, |life| now.saturating_add(life));
        record.access_token = Secret(answer.access_token);
        if let Some(token) = answer.refresh_token {
            record.refresh_token = Some(Secret(token));
        }
        if let Some(scope) = &answer.scope {
            record.scopes = scope.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(record)
    }

    /// Keeps what was renewed, unless the session has ended meanwhile: then its tokens are not needed.
    async fn replace(&self, before: &Session, mut session: Session) -> Renewal {
        let Some(shared) = &self.inner.shared else {
            let session = Arc::new(session);
            if self.inner.memory.replace(Arc::clone(&session)) {
                return Renewal::Renewed(session);
            }
            self.revoke(&session).await;
            return Renewal::Ended;
        };
        let Ok(sealed) = session.close() else {
            return Renewal::Unavailable;
        };
        let session = Arc::new(session);
        let before = before.sealed.as_deref().unwrap_or_default();
        // What is kept there has been spent: a moment without the store must not end the session.
        for _ in 0..WRITES {
            match shared.replace(&session.key, before, &sealed).await {
                Ok(Changed::Done) => {
                    self.inner.memory.insert(Arc::clone(&session), unix_time());
                    return Renewal::Renewed(session);
                }
                Ok(Changed::Gone) => {
                    self.ended_here_too(&session.key);
                    self.revoke(&session).await;
                    return Renewal::Ended;
                }
                // By another replica, or by the write before, whose answer was lost.
                Ok(Changed::Newer) => return self.as_kept(&session).await,
                Err(_away) => sleep(WRITE_AGAIN).await,
            }
        }
        Renewal::Unavailable
    }

    /// As another replica has renewed it.
    async fn as_kept(&self, session: &Session) -> Renewal {
        match self.look_up(&session.id).await {
            Ok(Some(kept)) => Renewal::Renewed(kept),
            Ok(None) => Renewal::Ended,
            Err(_unavailable) => Renewal::Unavailable,
        }
    }

    /// Ends what was refused, and nothing that came after it.
    async fn ended(&self, session: &Session) -> Renewal {
        // If the store cannot be told, the next refresh of it will be refused again.
        if let (Some(shared), Some(sealed)) = (&self.inner.shared, &session.sealed)
            && let Ok(Changed::Newer) = shared.remove_as(&session.key, sealed).await
        {
            return self.as_kept(session).await;
        }
        self.ended_here_too(&session.key);
        Renewal::Ended
    }
}
