//! FTGO's identity provider for development: an OpenID provider with a handful of seeded people and partners, no password,
//! and short cuts for curl. Not for production, and not here: what anybody may do in FTGO, which each service decides.
//!
//! The way of a sign-in: `http/authorize.rs` checks the request and shows the people → the chosen one gets a
//! `session` and a code (`grants`) → `http/token.rs` takes the code with its PKCE verifier and hands out what
//! `token` makes with the `keys`. When a `session` ends, `backchannel` tells the clients that it has signed in at.

mod backchannel;
mod client;
mod directory;
mod grants;
mod http;
mod keys;
mod provider;
mod secret;
mod session;
mod token;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ftgo_chassis::{Environment, RunningService, Service, StartError};
use sqlx::migrate::Migrator;

pub use client::{Client, Grant};
pub use keys::SigningAlgorithm;

use crate::backchannel::Outbox;
use crate::keys::SigningKeys;
use crate::provider::Provider;

/// The service's name, also of its database file.
pub const NAME: &str = "identity";
/// Its port in the demo.
pub const PORT: u16 = 8100;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What differs from one installation to the next.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of every token, a URL without a path; `None` for the address that the service is bound to.
    pub issuer: Option<String>,
    /// Who may ask for tokens.
    pub clients: Vec<Client>,
    /// Certificates (PEM) that are believed when clients are told of logouts, besides those that the machine believes.
    pub trusted_certificates: String,
}

impl Default for Settings {
    /// The bound address and the clients of the demo.
    fn default() -> Self {
        Settings {
            issuer: None,
            clients: Client::seeded(),
            trusted_certificates: String::new(),
        }
    }
}

/// Starts the provider with the settings of the demo.
///
/// # Errors
/// When the address, the database or the signing keys are not to be had.
pub async fn start(environment: Environment) -> Result<RunningService, StartError> {
    start_with(environment, Settings::default()).await
}

/// Starts the provider with other clients or another issuer than the demo's.
///
/// # Errors
/// When the address, the database or the signing keys are not to be had.
pub async fn start_with(
    environment: Environment,
    settings: Settings,
) -> Result<RunningService, StartError> {
    let service = Service::bind(NAME, environment, &MIGRATIONS).await?;
    let database = service.database().clone();
    let issuer = settings.issuer.map_or_else(
        || issuer_at(service.address()),
        |issuer| issuer.trim_end_matches('/').to_owned(),
    );
    let keys = SigningKeys::open(database.clone(), provider::now())
        .await
        .map_err(StartError::setup)?;
    let (outbox, notices) = Outbox::new();
    let http =
        backchannel::http_client(&settings.trusted_certificates).map_err(StartError::setup)?;
    let provider = Arc::new(Provider {
        issuer,
        keys,
        clients: settings.clients,
        database,
        outbox,
    });
    let telling = backchannel::deliver(Arc::clone(&provider), http, notices);
    let stop = service.shutdown();
    Ok(service
        .background("back-channel logout", async move {
            stop.run_until_cancelled(telling).await;
        })
        .openapi(http::document())
        .routes(http::router(provider))
        .start())
}

/// A service that listens on every address is reached by its own machine under the loopback address.
fn issuer_at(address: SocketAddr) -> String {
    let ip = if address.ip().is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        address.ip()
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests;
