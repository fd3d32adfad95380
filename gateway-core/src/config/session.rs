//! What the configuration says of browsers' sessions. What is done with it is in `session.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Signing in at an OpenID provider, and the sessions that come of it.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The provider: one of the issuers whose tokens are believed.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: ClientSecret,
    /// Where the provider sends browsers back to, as it is registered there.
    pub redirect_uri: String,
    /// Where it sends them after they have signed out of it.
    pub after_logout: String,
    /// What is asked for, `openid` included.
    pub scopes: Vec<String>,
    /// More parameters for the provider's authorization endpoint.
    pub parameters: BTreeMap<String, String>,
    /// The name of the cookie, with the prefix `__Host-`.
    pub cookie: String,
    /// A session that is not used for so long ends.
    pub idle: Duration,
    /// A session ends after so long, however it is used.
    pub lifetime: Duration,
    /// How long before its end an access token is replaced.
    pub refresh_before: Duration,
    /// In this process's memory.
    pub max_sessions: usize,
}

/// What the gateway proves to the provider who it is with; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(pub(super) String);

impl ClientSecret {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}
