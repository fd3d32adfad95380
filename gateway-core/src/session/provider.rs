//! The OpenID provider as a confidential client sees it: its metadata (OpenID Connect Discovery 1.0), codes and refresh
//! tokens for tokens (RFC 6749), and their end (RFC 7009). All of it runs on the control runtime. What tokens say is
//! checked in `session/id_token.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::ACCEPT;
use http::{StatusCode, Uri};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use super::lock;
use crate::config::SessionConfig;
use crate::encode::query_value;
use crate::problem::chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(4);
const MAX_BYTES: usize = 256 * 1024;
/// Metadata is read again after this time; while that fails, what is known is used on.
const METADATA_LIFE: Duration = Duration::from_mins(10);
/// When it could not be read, it is not asked for again before: while something older is known, and while nothing is.
const STALE_PAUSE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(3);

/// Why the provider could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    #[error("{url} cannot be reached")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} answered more than {MAX_BYTES} bytes")]
    TooLarge { url: String },
    /// What there was instead may be secret.
    #[error("{url} did not answer the expected JSON")]
    NotJson { url: String },
    #[error("discovery is for another issuer: {found}")]
    OtherIssuer { found: String },
    #[error("the provider's own address is https, and this one is not: {url}")]
    Downgrade { url: String },
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
    /// What the client asked for is refused, by its code (RFC 6749, 5.2).
    #[error("refused: {code}")]
    Refused { code: String },
    #[error("the access token is no bearer token")]
    TokenType,
    #[error("its metadata cannot be read")]
    Metadata(#[source] Arc<ProviderError>),
    #[error("the gateway is ending")]
    Ending,
}

impl ProviderError {
    /// Whether the grant is of no use any more: it has expired, was revoked, or was used by somebody else.
    pub(super) fn ends_the_grant(&self) -> bool {
        matches!(self, Self::Refused { code } if code == "invalid_grant")
    }
}

/// What is needed of the provider's metadata.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    pub(super) end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 9207, 3.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// A successful answer of the token endpoint (RFC 6749, 5.1).
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    token_type: String,
    pub(super) expires_in: Option<u64>,
    /// As it was asked for, when absent.
    pub(super) scope: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) id_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// The kind of a token that is to end (RFC 7009, 2.1).
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenKind {
    Access,
    Refresh,
}

pub(super) struct Provider {
    config: Arc<SessionConfig>,
    client: OnceCell<reqwest::Client>,
    known: Mutex<Known>,
}

/// What the provider has said of itself.
#[derive(Default)]
struct Known {
    metadata: Option<Arc<Metadata>>,
    /// How it could not be read, the last time.
    failure: Option<Arc<ProviderError>>,
    /// It is not asked for before.
    again: Option<Instant>,
    /// While it is asked for. Its sender goes when that is over.
    asking: Option<watch::Receiver<()>>,
}

impl Provider {
    pub(super) fn new(config: &Arc<SessionConfig>) -> Arc<Self> {
        Arc::new(Self {
            config: Arc::clone(config),
            client: OnceCell::new(),
            known: Mutex::default(),
        })
    }

    /// What the provider says of itself. It is asked for by one task at a time, which ends whoever waits; only when nothing
    /// is known does anybody wait for it.
    pub(super) async fn metadata(self: &Arc<Self>) -> Result<Arc<Metadata>, ProviderError> {
        let mut asking = match self.known() {
            Ok(known) => return known,
            Err(asking) => asking,
        };
        // An error says that it is over.
        while asking.changed().await.is_ok() {}
        lock(&self.known).answer()
    }

    /// What is known now, and otherwise who is asking for it.
    fn known(
        self: &Arc<Self>,
    ) -> Result<Result<Arc<Metadata>, ProviderError>, watch::Receiver<()>> {
        let mut known = lock(&self.known);
        let is_due = known.again.is_none_or(|again| again <= Instant::now());
        if known.asking.is_none() && is_due {
            let (over, asking) = watch::channel(());
            known.asking = Some(asking);
            let provider = Arc::clone(self);
            tokio::spawn(async move {
                provider.ask().await;
                drop(over);
            });
        }
        match &known.asking {
            Some(asking) if known.metadata.is_none() => Err(asking.clone()),
            _ => Ok(known.answer()),
        }
    }

    /// Asks for the metadata, and notes what comes of it.
    async fn ask(&self) {
        let found = self.discover().await;
        let mut known = lock(&self.known);
        known.asking = None;
        let pause = match found {
            Ok(metadata) => {
                known.metadata = Some(Arc::new(metadata));
                known.failure = None;
                METADATA_LIFE
            }
            Err(error) => {
                let text = chain(&error);
                tracing::warn!(error = text, "the provider's metadata cannot be read");
                known.failure = Some(Arc::new(error));
                if known.metadata.is_some() {
                    STALE_PAUSE
                } else {
                    PAUSE
                }
            }
        };
        known.again = Some(Instant::now() + pause);
    }

    /// Tokens for a grant, whose parameters `form` has.
    pub(super) async fn tokens(
        self: &Arc<Self>,
        form: &[(&str, &str)],
    ) -> Result<TokenAnswer, ProviderError> {
        let metadata = self.metadata().await?;
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let answer: TokenAnswer = self.post(&metadata.token_endpoint, methods, form).await?;
        // RFC 6749, 7.1: a client must not use a token whose type it does not understand.
        if answer.token_type.eq_ignore_ascii_case("bearer") {
            Ok(answer)
        } else {
            Err(ProviderError::TokenType)
        }
    }

    /// Ends `token` and what belongs to it. A provider that has no endpoint for it lets tokens expire.
    pub(super) async fn revoke(
        self: &Arc<Self>,
        token: &str,
        kind: TokenKind,
    ) -> Result<(), ProviderError> {
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.revocation_endpoint else {
            return Ok(());
        };
        let methods = metadata
            .revocation_endpoint_auth_methods_supported
            .as_deref();
        let hint = match kind {
            TokenKind::Access => "access_token",
            TokenKind::Refresh => "refresh_token",
        };
        let form = [("token", token), ("token_type_hint", hint)];
        let response = self.send(endpoint, methods, &form).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(ProviderError::Status {
            url: endpoint.clone(),
            status,
        })
    }

    async fn discover(&self) -> Result<Metadata, ProviderError> {
        let issuer = &self.config.issuer;
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let request = self.client().await?.get(&url);
        let response = request
            .header(ACCEPT, "application/json")
            .send()
            .await
            .map_err(|source| unreachable_at(&url, source))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(ProviderError::Status { url, status });
        }
        let metadata: Metadata = json(&url, response).await?;
        if metadata.issuer != *issuer {
            return Err(ProviderError::OtherIssuer {
                found: metadata.issuer,
            });
        }
        // Secrets and codes go there.
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            metadata.revocation_endpoint.as_ref(),
        ];
        let downgrade = endpoints
            .into_iter()
            .flatten()
            .find(|url| is_secure(issuer) && !is_secure(url));
        match downgrade {
            Some(url) => Err(ProviderError::Downgrade { url: url.clone() }),
            None => Ok(metadata),
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        methods: Option<&[String]>,
        form: &[(&str, &str)],
    ) -> Result<T, ProviderError> {
        let response = self.send(url, methods, form).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return json(url, response).await;
        }
        if status.is_client_error()
            && let Ok(refusal) = json::<Refusal>(url, response).await
        {
            return Err(ProviderError::Refused {
                code: oauth_code(&refusal.error),
            });
        }
        Err(ProviderError::Status {
            url: url.to_owned(),
            status,
        })
    }

    /// Sends `form` as the client that we are (RFC 6749, 2.3.1).
    async fn send(
        &self,
        url: &str,
        methods: Option<&[String]>,
        form: &[(&str, &str)],
    ) -> Result<reqwest::Response, ProviderError> {
        let (id, secret) = (&self.config.client_id, self.config.client_secret.text());
        let request = self
            .client()
            .await?
            .post(url)
            .header(ACCEPT, "application/json");
        // Basic is what every provider has that does not say otherwise.
        let in_body = methods.is_some_and(|methods| {
            let has = |name: &str| methods.iter().any(|method| method == name);
            !has("client_secret_basic") && has("client_secret_post")
        });
        let request = if in_body {
            let mut form = form.to_vec();
            form.extend([("client_id", id.as_str()), ("client_secret", secret)]);
            request.form(&form)
        } else {
            let encoded = |text: &str| query_value(text).to_string();
            request
                .basic_auth(encoded(id), Some(encoded(secret)))
                .form(form)
        };
        request
            .send()
            .await
            .map_err(|source| unreachable_at(url, source))
    }

    async fn client(&self) -> Result<&reqwest::Client, ProviderError> {
        self.client
            .get_or_try_init(async || {
                reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .timeout(TIMEOUT)
                    .redirect(Policy::none())
                    .no_proxy()
                    .build()
                    .map_err(ProviderError::Client)
            })
            .await
    }
}

impl Known {
    /// Without asking anybody.
    fn answer(&self) -> Result<Arc<Metadata>, ProviderError> {
        match (&self.metadata, &self.failure) {
            (Some(metadata), _) => Ok(Arc::clone(metadata)),
            (None, Some(failure)) => Err(ProviderError::Metadata(Arc::clone(failure))),
            (None, None) => Err(ProviderError::Ending),
        }
    }
}

/// The code of an OAuth error as it may be logged: somebody else's words, of which only what can be a code is repeated.
pub(super) fn oauth_code(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_lowercase() || *c == '_')
        .take(64)
        .collect()
}

fn is_secure(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|url| url.scheme_str() == Some("https"))
}

fn unreachable_at(url: &str, source: reqwest::Error) -> ProviderError {
    ProviderError::Unreachable {
        url: url.to_owned(),
        // The URL stands in our own message.
        source: source.without_url(),
    }
}

async fn json<T: DeserializeOwned>(
    url: &str,
    mut response: reqwest::Response,
) -> Result<T, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|source| unreachable_at(url, source))?
    {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(ProviderError::TooLarge {
                url: url.to_owned(),
            });
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| ProviderError::NotJson {
        url: url.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeMap;
    use std::future::pending;
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    use axum::Router;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::net::TcpListener;
    use tokio::time::{advance, pause, resume, sleep, timeout};

    use super::*;
    use crate::config::ClientSecret;

    const GOOD: u8 = 0;
    const FAILS: u8 = 1;
    const HANGS: u8 = 2;

    #[derive(Default)]
    struct Server {
        mode: AtomicU8,
        asked: AtomicUsize,
    }

    impl Server {
        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        /// The metadata is asked for in a task of its own.
        async fn is_asked(&self, times: usize) {
            for _ in 0..500 {
                if self.asked() >= times {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
            panic!("asked {} times, and not {times}", self.asked());
        }
    }

    async fn provider(mode: u8) -> (Arc<Provider>, Arc<Server>) {
        crate::telemetry::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Server::default());
        server.mode.store(mode, Ordering::SeqCst);
        let (state, own) = (Arc::clone(&server), issuer.clone());
        let answer = get(move || {
            let (state, own) = (Arc::clone(&state), own.clone());
            async move {
                state.asked.fetch_add(1, Ordering::SeqCst);
                match state.mode.load(Ordering::SeqCst) {
                    GOOD => {
                        let metadata = serde_json::json!({
                            "issuer": own,
                            "authorization_endpoint": format!("{own}/a"),
                            "token_endpoint": format!("{own}/t"),
                        });
                        axum::Json(metadata).into_response()
                    }
                    FAILS => StatusCode::BAD_GATEWAY.into_response(),
                    _ => pending().await,
                }
            }
        });
        let router = Router::new().route("/.well-known/openid-configuration", answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = SessionConfig {
            issuer,
            client_id: "web-client".to_owned(),
            client_secret: ClientSecret::of("secret"),
            redirect_uri: String::new(),
            after_logout: String::new(),
            scopes: Vec::new(),
            parameters: BTreeMap::new(),
            cookie: "__Host-s".to_owned(),
            idle: Duration::from_mins(1),
            lifetime: Duration::from_mins(1),
            refresh_before: Duration::ZERO,
            max_sessions: 1,
        };
        (Provider::new(&Arc::new(config)), server)
    }

    async fn later(time: Duration) {
        pause();
        advance(time).await;
        resume();
    }

    #[tokio::test]
    async fn nobody_waits_for_metadata_that_is_known() {
        let (provider, server) = provider(GOOD).await;
        provider.metadata().await.unwrap();
        provider.metadata().await.unwrap();
        assert_eq!(server.asked(), 1);

        // It is old, and the provider hangs: one asks, and all go on with what is known.
        server.mode.store(HANGS, Ordering::SeqCst);
        later(METADATA_LIFE).await;
        for _ in 0..20 {
            let known = timeout(Duration::from_secs(2), provider.metadata()).await;
            known.unwrap().unwrap();
        }
        server.is_asked(2).await;
        // It has failed: for a while nobody asks.
        later(TIMEOUT).await;
        for _ in 0..500 {
            if lock(&provider.known).asking.is_none() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        server.mode.store(GOOD, Ordering::SeqCst);
        provider.metadata().await.unwrap();
        assert!(lock(&provider.known).asking.is_none());
        assert_eq!(server.asked(), 2);
        later(STALE_PAUSE).await;
        provider.metadata().await.unwrap();
        server.is_asked(3).await;
    }

    #[tokio::test]
    async fn what_failed_for_one_has_failed_for_all_for_a_moment() {
        let (provider, server) = provider(FAILS).await;
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.metadata().await })
            })
            .collect();
        for ask in asks {
            let error = ask.await.unwrap().unwrap_err();
            assert!(matches!(error, ProviderError::Metadata(_)), "{error:?}");
        }
        server.mode.store(GOOD, Ordering::SeqCst);
        provider.metadata().await.unwrap_err();
        assert_eq!(server.asked(), 1);
        later(PAUSE).await;
        provider.metadata().await.unwrap();
        assert_eq!(server.asked(), 2);
    }
}
