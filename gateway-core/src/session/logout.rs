//! The ends that somebody asks for: the person (RP-Initiated Logout 1.0, RFC 7009) and the provider (Back-Channel
//! Logout 1.0). A session that is not used, or whose tokens are refused, ends elsewhere.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::id_token::{Expected, Logout};
use super::login::{set_cookie, with_query};
use super::parameters::Parameters;
use super::record::{Session, unix_time};
use super::used_tokens::digest;
use super::{Sessions, cookie, lock};
use crate::deadline::Deadline;
use crate::edge::Credential;
use crate::error::{ClientError, Error, GatewayError};

/// How long a person who signs out waits for the provider's address.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a page does next, when the person wants to sign out of the provider, too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedOut {
    /// Where to send the browser; null when the provider has no such address.
    logout_url: Option<String>,
}

impl Sessions {
    /// Ends the session of a request, here and, by its tokens, at the provider. Without one there is nothing to do, and it
    /// is done.
    pub(super) async fn logout(
        &self,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        if let Some(session) = self.known(headers).await? {
            self.remove(&session.key).await?;
            self.inner.metrics.ended_by_person.increment(1);
            // The session is over already; the provider may be slow.
            self.revoke_later(session);
        }
        // Without the provider there is no address, and nothing that a person could do about it.
        let metadata = self.metadata(deadline.shortened_to(PATIENCE)).await.ok();
        let endpoint = metadata.and_then(|metadata| metadata.end_session_endpoint.clone());
        let config = self.config();
        // No `id_token_hint`: it is a token, and tokens stay here. The provider asks the person instead.
        let parameters = [
            ("client_id", config.client_id.as_str()),
            ("post_logout_redirect_uri", config.after_logout.as_str()),
        ];
        let logout_url = endpoint.map(|url| with_query(&url, parameters.into_iter()));
        let mut response = Json(SignedOut { logout_url }).into_response();
        no_store(&mut response);
        // A page elsewhere can send the browser here without the cookie, which is then nobody's to take away.
        if Credential::of(headers, &self.inner.csrf) == Credential::Cookie {
            set_cookie(&mut response, cookie::clear(&config.cookie))?;
        }
        Ok(response)
    }

    /// The provider says that sessions have ended; its signed token is the proof.
    pub(super) async fn backchannel(
        &self,
        form: &str,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let parameters = Parameters::parse(form).map_err(|_| refused("not a form"))?;
        let token = parameters
            .get("logout_token")
            .ok_or_else(|| refused("no logout_token"))?;
        let keys = self
            .keys
            .issuer(&self.config().issuer)
            .ok_or(GatewayError::KeysUnavailable)?;
        let signed = match keys.verified(token, deadline).await {
            Ok(signed) => signed,
            Err(Error::Client(ClientError::InvalidToken(reason))) => return Err(refused(reason)),
            Err(error) => return Err(error),
        };
        let expected = Expected {
            issuer: keys.config(),
            client_id: &self.config().client_id,
            now: unix_time(),
        };
        let logout = expected.logout_token(&signed).map_err(refused)?;
        if self.is_used(&logout).await? {
            return Err(refused("the logout token was used before"));
        }
        let ended = self.end_all(&logout).await?;
        // Not before: when it could not be done, the provider may say it again.
        self.note_used(&logout).await?;
        self.inner.metrics.ended_by_provider.increment(ended as u64);
        tracing::info!(sessions = ended, "the provider has ended sessions");
        let mut response = StatusCode::OK.into_response();
        no_store(&mut response);
        Ok(response)
    }

    /// Whether somebody has kept the token (OpenID Connect Back-Channel Logout 1.0, 2.6, step 8).
    async fn is_used(&self, logout: &Logout) -> Result<bool, Error> {
        let id = digest(&self.config().issuer, &logout.token_id);
        match &self.inner.shared {
            Some(shared) => shared
                .is_used(&id)
                .await
                .map_err(|_away| GatewayError::SessionsUnavailable.into()),
            None => Ok(lock(&self.inner.used_logouts).contains(&id, unix_time())),
        }
    }

    async fn note_used(&self, logout: &Logout) -> Result<(), Error> {
        let id = digest(&self.config().issuer, &logout.token_id);
        let now = unix_time();
        match &self.inner.shared {
            Some(shared) => shared
                .note_used(&id, logout.good_until.saturating_sub(now))
                .await
                .map_err(|_away| GatewayError::SessionsUnavailable.into()),
            None => {
                lock(&self.inner.used_logouts).insert(id, logout.good_until, now);
                Ok(())
            }
        }
    }

    /// What the token names in both ways has to fit in both.
    async fn end_all(&self, logout: &Logout) -> Result<usize, Error> {
        let issuer = &self.config().issuer;
        let meant = |session: &Session| {
            let record = &session.record;
            record.issuer == *issuer
                && match (&logout.provider_session, &logout.subject) {
                    (Some(sid), subject) => {
                        record.provider_session.as_ref() == Some(sid)
                            && subject.as_ref().is_none_or(|sub| *sub == record.subject)
                    }
                    (None, Some(subject)) => record.subject == *subject,
                    (None, None) => false,
                }
        };
        let mut shared_by_all = None;
        if let Some(shared) = &self.inner.shared {
            let sid = logout.provider_session.as_deref().map(|sid| ("sid", sid));
            let subject = logout.subject.as_deref().map(|sub| ("sub", sub));
            let about: Vec<_> = sid.into_iter().chain(subject).collect();
            let removed = shared.remove_all(issuer, &about).await;
            shared_by_all = Some(removed.map_err(|_away| GatewayError::SessionsUnavailable)?);
        }
        let known = self.inner.memory.remove_all(meant);
        let mut ended = known.len();
        for session in known {
            self.end_streams(&session);
            self.revoke_later(session);
        }
        if let Some(keys) = shared_by_all {
            ended = keys.len();
            keys.iter().for_each(|key| self.ended_here_too(key));
        }
        Ok(ended)
    }
}

fn no_store(response: &mut Response) {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, value);
}

/// Back-Channel Logout 1.0, 2.8: 400. The reason is for the log.
fn refused(reason: &'static str) -> Error {
    ClientError::LogoutTokenRefused(reason).into()
}
