//! What every endpoint shares: the issuer, the keys, the clients and the storage. Not here: the endpoints (`http.rs`).

use chrono::Utc;
use ftgo_messaging::Database;

use crate::backchannel::Outbox;
use crate::client::Client;
use crate::keys::SigningKeys;

/// The OpenID provider behind the endpoints.
pub(crate) struct Provider {
    /// The `iss` of every token, without a trailing slash.
    pub(crate) issuer: String,
    pub(crate) keys: SigningKeys,
    pub(crate) clients: Vec<Client>,
    pub(crate) database: Database,
    /// Who is to be told of a logout.
    pub(crate) outbox: Outbox,
}

impl Provider {
    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }
}

/// Seconds since the epoch, the unit of every time in a token (RFC 7519, 2).
pub(crate) fn now() -> i64 {
    Utc::now().timestamp()
}
