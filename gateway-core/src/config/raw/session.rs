//! The table `[session]` as it is written. It is checked in `config/validate/session.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Text;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawSession {
    pub(in crate::config) issuer: Option<String>,
    pub(in crate::config) client_id: Option<String>,
    /// A secret, which `Debug` leaves out, and what operators are shown, too.
    #[serde(skip_serializing)]
    pub(in crate::config) client_secret: String,
    pub(in crate::config) public_url: Option<String>,
    pub(in crate::config) scopes: Vec<String>,
    pub(in crate::config) parameters: BTreeMap<String, String>,
    pub(in crate::config) cookie: String,
    pub(in crate::config) idle: Text<Duration>,
    pub(in crate::config) lifetime: Text<Duration>,
    pub(in crate::config) refresh_before: Text<Duration>,
    pub(in crate::config) max_sessions: usize,
}

impl Default for RawSession {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret: String::new(),
            public_url: None,
            scopes: vec!["openid".to_owned()],
            parameters: BTreeMap::new(),
            cookie: "__Host-session".to_owned(),
            idle: Text(Duration::from_mins(30)),
            lifetime: Text(Duration::from_hours(12)),
            refresh_before: Text(Duration::from_secs(10)),
            max_sessions: 100_000,
        }
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
