//! Fetching an issuer's key set: OpenID Connect discovery, then the set, both bounded in time and size.
//! When to fetch is decided in `auth/jwks.rs`.

use std::error::Error;
use std::time::Duration;

use http::Uri;
use reqwest::redirect::Policy;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::key::KeyList;
use crate::config::IssuerConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{url} cannot be reached")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answered more than {MAX_BYTES} bytes")]
    TooLarge { url: String },
    #[error("{url} did not answer the expected JSON")]
    Json {
        url: String,
        source: serde_json::Error,
    },
    #[error("discovery is for another issuer: {found}")]
    OtherIssuer { found: String },
    #[error("the key set would come over plain HTTP: {url}")]
    Downgrade { url: String },
    #[error("{url} has no usable key")]
    NoKeys { url: String },
}

impl FetchError {
    /// What went wrong, with its causes.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// A key set, and what tells it from another.
pub(super) struct FetchedKeys {
    pub(super) keys: KeyList,
    pub(super) digest: [u8; 32],
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The HTTP client of the control plane. Requests to upstream services never go through it.
pub(super) struct Fetcher {
    client: reqwest::Client,
}

impl Fetcher {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // An issuer that moved is a matter for the configuration, as is a proxy.
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client })
    }

    pub(super) async fn fetch(&self, config: &IssuerConfig) -> Result<FetchedKeys, FetchError> {
        let url = match &config.jwks_uri {
            Some(uri) => uri.to_string(),
            None => self.discover(&config.issuer).await?,
        };
        let json = self.get(&url).await?;
        let keys = KeyList::parse(&json).map_err(|source| FetchError::Json {
            url: url.clone(),
            source,
        })?;
        if keys.len() == 0 {
            return Err(FetchError::NoKeys { url });
        }
        Ok(FetchedKeys {
            keys,
            digest: Sha256::digest(&json).into(),
        })
    }

    /// OpenID Connect Discovery 1.0, section 4: the document has to name the very issuer that was asked.
    async fn discover(&self, issuer: &str) -> Result<String, FetchError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let json = self.get(&url).await?;
        let found: Discovery =
            serde_json::from_slice(&json).map_err(|source| FetchError::Json { url, source })?;
        if found.issuer != issuer {
            return Err(FetchError::OtherIssuer {
                found: found.issuer,
            });
        }
        let secure = |url: &str| {
            url.parse::<Uri>()
                .is_ok_and(|url| url.scheme_str() == Some("https"))
        };
        if secure(issuer) && !secure(&found.jwks_uri) {
            return Err(FetchError::Downgrade {
                url: found.jwks_uri,
            });
        }
        Ok(found.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        // The URL stands in our own message.
        let unreachable = |error: reqwest::Error| FetchError::Unreachable {
            url: url.to_owned(),
            source: error.without_url(),
        };
        let mut response = self
            .client
            .get(url)
            .header(http::header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(unreachable)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status {
                url: url.to_owned(),
                status: response.status().as_u16(),
            });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge {
                    url: url.to_owned(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
