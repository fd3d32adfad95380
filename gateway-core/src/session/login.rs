//! Signing in (OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9700): to the provider with a state, a nonce and a challenge, and
//! back with a code. What a login needs at its end is in a sealed cookie of its own meanwhile, so that several can be under
//! way in several tabs, and nobody can fill a memory with logins that are never finished.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cookie;
use super::id_token::Expected;
use super::parameters::Parameters;
use super::provider::{Metadata, ProviderError, TokenAnswer, oauth_code};
use super::record::{Record, Secret, Session, SessionId, unix_time};
use super::return_url::ReturnUrl;
use super::seal::Seal;
use super::{BASE, Sessions, no_randomness};
use crate::deadline::Deadline;
use crate::encode::query_value;
use crate::error::{ClientError, Error, GatewayError};
use crate::problem::chain;

/// How long somebody may take to sign in.
const LOGIN_LIFE: Duration = Duration::from_mins(10);
/// What the key is for that logins under way are sealed with.
const PURPOSE: &[u8] = b"login under way";
/// Logins of one browser that are under way: the cookies of more would not fit into a request's head.
const MOST_LOGINS: usize = 8;

/// What a login needs at its end.
#[derive(Serialize, Deserialize)]
struct Login {
    nonce: String,
    /// PKCE's (RFC 7636).
    verifier: String,
    return_url: String,
    /// Seconds since the epoch.
    began: u64,
}

impl Sessions {
    /// Sends the browser to the provider; afterwards it goes to `returnUrl`.
    pub(super) async fn login(
        &self,
        headers: &HeaderMap,
        query: &str,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let parameters =
            Parameters::parse(query).map_err(|fault| Error::bad_request(fault.to_string()))?;
        let return_url = match parameters.get("returnUrl") {
            None => ReturnUrl::default(),
            Some(text) => ReturnUrl::parse(text, BASE).ok_or_else(|| {
                Error::bad_request("returnUrl: has to be a path on this site, such as /widgets")
            })?,
        };
        let metadata = self.metadata(deadline).await?;
        let state = random_text(16)?;
        let login = Login {
            nonce: random_text(16)?,
            verifier: random_text(32)?,
            return_url: return_url.as_str().to_owned(),
            began: unix_time(),
        };
        let config = self.config();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&login.verifier));
        let scope = config.scopes.join(" ");
        let own = [
            ("response_type", "code"),
            ("client_id", &config.client_id),
            ("redirect_uri", &config.redirect_uri),
            ("scope", &scope),
            ("state", &state),
            ("nonce", &login.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let more = config
            .parameters
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()));
        let url = with_query(
            &metadata.authorization_endpoint,
            own.into_iter().chain(more),
        );

        let mut response = redirect(&url)?;
        let sealed = serde_json::to_vec(&login).map_err(|_| bug("a login cannot be written"))?;
        let sealed = self
            .login_seal()?
            .close(&sealed, state.as_bytes())
            .map_err(no_randomness)?;
        let value = URL_SAFE_NO_PAD.encode(sealed);
        set_cookie(
            &mut response,
            cookie::set(&self.login_cookie(&state), &value, Some(LOGIN_LIFE)),
        )?;
        for name in self.logins_to_forget(headers) {
            set_cookie(&mut response, cookie::clear(&name))?;
        }
        self.inner.metrics.logins_begun.increment(1);
        Ok(response)
    }

    /// Where the provider sends the browser back to: makes a session, and sends it on to where it wanted to go.
    pub(super) async fn callback(
        &self,
        headers: &HeaderMap,
        query: &str,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let finished = self.finish(headers, query, deadline).await;
        if finished.is_err() {
            self.inner.metrics.logins_failed.increment(1);
        }
        finished
    }

    async fn finish(
        &self,
        headers: &HeaderMap,
        query: &str,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let parameters = Parameters::parse(query).map_err(|_| failed("the answer's query"))?;
        let state = parameters
            .get("state")
            .filter(|state| state.bytes().all(is_base64url))
            .ok_or_else(|| failed("the answer has no state of ours"))?;
        let name = self.login_cookie(state);
        // Only the browser that has begun this login has its cookie.
        let login = cookie::find(headers, &name)
            .and_then(|value| self.open_login(state, value))
            .ok_or_else(|| failed("no such login is under way in this browser"))?;
        let metadata = self.metadata(deadline).await?;
        self.is_from_provider(&parameters, &metadata)?;
        let return_url = ReturnUrl::parse(&login.return_url, BASE)
            .ok_or_else(|| bug("a return URL that was not checked"))?;
        let mut response = redirect(return_url.as_str())?;
        // A code is good for one exchange, and so is the login.
        set_cookie(&mut response, cookie::clear(&name))?;
        match (parameters.get("error"), parameters.get("code")) {
            // Whoever does not want to sign in goes on without.
            (Some("access_denied"), _) => {
                self.inner.metrics.logins_failed.increment(1);
                return Ok(response);
            }
            (Some(code), _) => {
                tracing::warn!(code = oauth_code(code), "the provider refused a login");
                return Err(failed("the provider refused it"));
            }
            (None, None) => return Err(failed("the answer has no code")),
            (None, Some(code)) => {
                let session = self.exchange(code, login, deadline).await?;
                let former = self.known(headers).await.ok().flatten();
                let session = self.insert(session).await?;
                if let Some(former) = former {
                    // A new id for whoever signs in; the one of before is of no use any more.
                    self.remove(&former.key).await?;
                    self.revoke_later(former);
                }
                let value = session.id.to_text();
                set_cookie(
                    &mut response,
                    cookie::set(&self.config().cookie, &value, None),
                )?;
                self.inner.metrics.logins.increment(1);
            }
        }
        Ok(response)
    }

    /// RFC 9207, 2.4: an answer of another provider must not be taken for this one's.
    fn is_from_provider(&self, answer: &Parameters, metadata: &Metadata) -> Result<(), Error> {
        match answer.get("iss") {
            Some(issuer) if issuer == self.config().issuer => Ok(()),
            Some(_) => Err(failed("the answer is of another provider")),
            None if metadata.authorization_response_iss_parameter_supported => {
                Err(failed("the answer does not say which provider it is of"))
            }
            None => Ok(()),
        }
    }

    /// The session for a code, not kept yet.
    async fn exchange(
        &self,
        code: &str,
        login: Login,
        deadline: Deadline,
    ) -> Result<Session, Error> {
        let sessions = self.clone();
        let (code, verifier) = (code.to_owned(), login.verifier);
        let answer = self.on_control(deadline, async move {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", sessions.config().redirect_uri.as_str()),
                ("code_verifier", verifier.as_str()),
            ];
            sessions.inner.provider.tokens(&form).await
        });
        let answer = answer.await?.map_err(|error| unusable(&error))?;
        let record = self.record(answer, &login.nonce, deadline).await?;
        let id = SessionId::new().map_err(no_randomness)?;
        Ok(Session::new(id, record, unix_time()))
    }

    async fn record(
        &self,
        answer: TokenAnswer,
        nonce: &str,
        deadline: Deadline,
    ) -> Result<Record, Error> {
        let config = self.config();
        let keys = self
            .keys
            .issuer(&config.issuer)
            .ok_or(GatewayError::KeysUnavailable)?;
        let id_token = answer
            .id_token
            .ok_or_else(|| failed("there is no ID token"))?;
        let signed = match keys.verified(&id_token, deadline).await {
            Ok(signed) => signed,
            Err(Error::Client(ClientError::InvalidToken(reason))) => return Err(failed(reason)),
            Err(error) => return Err(error),
        };
        let now = unix_time();
        let expected = Expected {
            issuer: keys.config(),
            client_id: &config.client_id,
            now,
        };
        let token = expected
            .id_token(signed, Some(nonce), &answer.access_token)
            .map_err(failed)?;
        let ends = now.saturating_add(config.lifetime.as_secs());
        let scopes = match &answer.scope {
            Some(scope) => scope.split_ascii_whitespace().map(str::to_owned).collect(),
            None => config.scopes.clone(),
        };
        let mut record = Record {
            issuer: config.issuer.clone(),
            name: format!("{}{}", keys.config().subject_prefix, token.subject),
            subject: token.subject,
            provider_session: token.provider_session,
            scopes,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            claims: BTreeMap::new(),
            access_token: Secret(answer.access_token),
            refresh_token: answer.refresh_token.map(Secret),
            access_ends: answer
                .expires_in
                .map_or(ends, |life| now.saturating_add(life)),
            ends,
        };
        record.says(token.claims);
        Ok(record)
    }

    /// What the provider says of itself.
    pub(super) async fn metadata(&self, deadline: Deadline) -> Result<Arc<Metadata>, Error> {
        let sessions = self.clone();
        let asked = self.on_control(
            deadline,
            async move { sessions.inner.provider.metadata().await },
        );
        asked.await?.map_err(|error| unusable(&error))
    }

    /// The name of the cookie that keeps the login with this state.
    fn login_cookie(&self, state: &str) -> String {
        format!("{}-login-{state}", self.config().cookie)
    }

    fn login_seal(&self) -> Result<Seal, Error> {
        // All replicas have the secret, also after a restart: a login can end at another one than it began at.
        let secret = self.config().client_secret.text();
        Seal::new(secret.as_bytes(), PURPOSE).map_err(no_randomness)
    }

    fn open_login(&self, state: &str, value: &str) -> Option<Login> {
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let text = self.login_seal().ok()?.open(&sealed, state.as_bytes())?;
        let login: Login = serde_json::from_slice(&text).ok()?;
        (unix_time() < login.began.saturating_add(LOGIN_LIFE.as_secs())).then_some(login)
    }

    /// Cookies of logins that nobody will finish: all that are not among the youngest.
    fn logins_to_forget(&self, headers: &HeaderMap) -> Vec<String> {
        let prefix = self.login_cookie("");
        let mut logins: Vec<(u64, &str)> = cookie::pairs(headers)
            .filter_map(|(name, value)| {
                let name = std::str::from_utf8(name).ok()?;
                let value = std::str::from_utf8(value?).ok()?;
                let state = name.strip_prefix(&prefix)?;
                let began = self.open_login(state, value).map_or(0, |login| login.began);
                Some((began, name))
            })
            .collect();
        logins.sort_unstable_by_key(|(began, _)| std::cmp::Reverse(*began));
        // One more is being begun.
        let old = logins.into_iter().skip(MOST_LOGINS - 1);
        old.map(|(_, name)| name.to_owned()).collect()
    }
}

fn unusable(error: &ProviderError) -> Error {
    let text = chain(error);
    match error {
        ProviderError::Refused { .. } => {
            tracing::warn!(error = text, "a login was refused");
            failed("the provider did not take the code")
        }
        _ => {
            tracing::warn!(error = text, "the provider cannot be used");
            GatewayError::IdentityProviderUnavailable.into()
        }
    }
}

/// `endpoint`, which may have a query of its own, with more parameters.
pub(super) fn with_query<'a>(
    endpoint: &str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut url = endpoint.to_owned();
    let mut mark = if endpoint.contains('?') { '&' } else { '?' };
    for (name, value) in parameters {
        url.push(mark);
        url.push_str(name);
        url.push('=');
        url.push_str(&query_value(value).to_string());
        mark = '&';
    }
    url
}

/// By `GET`, whatever the request was; nobody keeps it.
fn redirect(url: &str) -> Result<Response, Error> {
    let location = HeaderValue::try_from(url).map_err(|_| bug("a URL is no header"))?;
    let no_store = HeaderValue::from_static("no-store");
    let headers = [(LOCATION, location), (CACHE_CONTROL, no_store)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

pub(super) fn set_cookie(
    response: &mut Response,
    cookie: Option<HeaderValue>,
) -> Result<(), Error> {
    let cookie = cookie.ok_or_else(|| bug("a cookie is no header"))?;
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(())
}

fn random_text(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).map_err(no_randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The reason is for the log; to the person it makes no difference.
fn failed(reason: &'static str) -> Error {
    ClientError::SignInFailed(reason).into()
}

fn bug(what: &str) -> Error {
    GatewayError::Bug(what.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn parameters_are_added_to_what_an_endpoint_has() {
        let more = [("a", "b c&d"), ("e", "https://x.example/?y")];
        assert_eq!(
            with_query("https://login.example.com/a", more.into_iter()),
            "https://login.example.com/a?a=b%20c%26d&e=https%3A%2F%2Fx.example%2F%3Fy"
        );
        assert_eq!(
            with_query("https://login.example.com/a?x=1", more[..1].iter().copied()),
            "https://login.example.com/a?x=1&a=b%20c%26d"
        );
    }
}
