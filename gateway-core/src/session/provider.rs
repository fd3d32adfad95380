//! The OpenID provider as a confidential client sees it: its metadata (OpenID Connect Discovery 1.0), codes and refresh
//! tokens for tokens (RFC 6749), and their end (RFC 7009). All of it runs on the control runtime. What tokens say is
//! checked in `session/id_token.rs`.

use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use http::{StatusCode, Uri};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::config::SessionConfig;
use crate::encode::query_value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(4);
const MAX_BYTES: usize = 256 * 1024;
/// Metadata is read again after this time; while that fails, what is known is used on.
const METADATA_LIFE: Duration = Duration::from_mins(10);

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
    metadata: Mutex<Option<(Instant, Arc<Metadata>)>>,
}

impl Provider {
    pub(super) fn new(config: &Arc<SessionConfig>) -> Self {
        Self {
            config: Arc::clone(config),
            client: OnceCell::new(),
            metadata: Mutex::new(None),
        }
    }

    /// What the provider says of itself. One asks at a time; the others wait for the answer.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        let mut known = self.metadata.lock().await;
        if let Some((read, metadata)) = &*known
            && read.elapsed() < METADATA_LIFE
        {
            return Ok(Arc::clone(metadata));
        }
        match (self.discover().await, &*known) {
            (Ok(metadata), _) => {
                let metadata = Arc::new(metadata);
                *known = Some((Instant::now(), Arc::clone(&metadata)));
                Ok(metadata)
            }
            (Err(_), Some((_, metadata))) => Ok(Arc::clone(metadata)),
            (Err(error), None) => Err(error),
        }
    }

    /// Tokens for a grant, whose parameters `form` has.
    pub(super) async fn tokens(&self, form: &[(&str, &str)]) -> Result<TokenAnswer, ProviderError> {
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
    pub(super) async fn revoke(&self, token: &str, kind: TokenKind) -> Result<(), ProviderError> {
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
