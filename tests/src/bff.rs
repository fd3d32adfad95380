//! The BFFs as tests start them: the shipped configuration, with addresses of this test's own laid over it. How they are
//! started as processes is `process.rs`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use ftgo_runner::gateway_key::GatewayKey;
use ftgo_runner::service::Service;
use gateway_core::auth::api_key::{self, NewApiKey};
use gateway_core::config::{self, Config};
use gateway_core::{App, Gateway, Inherited, RunningGateway};

const DEMO: &str = include_str!("../../config/demo.toml");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bff {
    Mobile,
    Web,
    Public,
}

impl Bff {
    pub const ALL: [Self; 3] = [Self::Mobile, Self::Web, Self::Public];

    pub fn app(self) -> App {
        match self {
            Self::Mobile => bff_mobile::app(),
            Self::Web => bff_web::app(),
            Self::Public => bff_public::app(),
        }
    }

    /// The configuration file as it is shipped.
    pub fn shipped(self) -> &'static str {
        match self {
            Self::Mobile => include_str!("../../config/mobile.toml"),
            Self::Web => include_str!("../../config/web.toml"),
            Self::Public => include_str!("../../config/public.toml"),
        }
    }

    /// The name of the binary.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Mobile => "bff-mobile",
            Self::Web => "bff-web",
            Self::Public => "bff-public",
        }
    }

    fn audience(self) -> &'static str {
        match self {
            Self::Mobile => "ftgo-mobile",
            Self::Web => "ftgo-web",
            Self::Public => "ftgo-public",
        }
    }
}

/// The API key of the partner that tests use; bound to consumer-3.
pub fn partner_key() -> &'static NewApiKey {
    static KEY: LazyLock<NewApiKey> = LazyLock::new(any_key);
    &KEY
}

/// The key by which the BFFs under test tell the services who is calling.
pub fn gateway_key() -> &'static GatewayKey {
    static KEY: LazyLock<GatewayKey> =
        LazyLock::new(|| GatewayKey::generate().expect("the system gives random bytes"));
    &KEY
}

/// As the demo binds them.
const PARTNERS: &str = r#"
[partners.partner-1]
plan = "scale"
attributes = { consumer = "consumer-3", restaurant_ids = "restaurant-1 restaurant-2" }
[partners.partner-2]
plan = "starter"
attributes = { consumer = "consumer-4", restaurant_ids = "restaurant-3" }
"#;

/// A well-formed key that no gateway knows.
pub fn any_key() -> NewApiKey {
    api_key::generate("ftgo", api_key::Environment::Test).expect("the system gives random bytes")
}

/// What a test lays over the shipped file: ports that are free, where the services are, and the key that they trust. No
/// parts of composed answers are stored: most tests ask what comes of a service as it is now. No file is written.
pub fn overlay(bff: Bff, services: &BTreeMap<Service, SocketAddr>) -> Result<String> {
    let issuer = services
        .get(&Service::Identity)
        .context("identity is not running")?;
    let mut text = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nworkers = 2\nlame_duck = \"0ms\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [[issuers]]\nissuer = \"http://{issuer}\"\naudiences = [\"{}\"]\n\
         algorithms = [\"RS256\", \"ES256\"]\ntoken_types = [\"at+jwt\"]\n\
         partner_claim = \"partner_id\"\n\
         [cache]\nparts_max_bytes = \"0B\"\n\
         [store]\npath = \"\"\n",
        bff.audience()
    );
    let shipped = config::from_text(&[bff.shipped(), DEMO])?;
    for (service, address) in services {
        if shipped.upstreams.contains_key(service.name()) {
            write!(
                text,
                "[upstreams.{}]\naddress = \"http://{address}\"\n",
                service.name()
            )?;
        }
    }
    write!(
        text,
        "[internal_token]\nkey = '''\n{}'''\n",
        gateway_key().private_pem()
    )?;
    if bff == Bff::Public {
        let key = partner_key();
        write!(
            text,
            "[[api_keys.keys]]\nid = \"k_test\"\nowner = \"partner-1\"\nhash = \"sha256:{}\"\n\
             scopes = [\"orders:read\", \"orders:write\", \"restaurants:read\", \"menus:write\", \"webhooks:write\"]\n{PARTNERS}",
            key.hash_hex
        )?;
    }
    Ok(text)
}

/// The shipped configuration with the overlay, and with `more` over that.
pub fn configuration(
    bff: Bff,
    services: &BTreeMap<Service, SocketAddr>,
    more: &str,
) -> Result<Config> {
    Ok(config::from_text(&[
        bff.shipped(),
        DEMO,
        &overlay(bff, services)?,
        more,
    ])?)
}

/// bff-web where `origin` says, with its client at identity, which knows of that origin.
pub fn start_web(
    services: &BTreeMap<Service, SocketAddr>,
    listener: TcpListener,
    origin: &str,
    more: &str,
) -> Result<RunningGateway> {
    let session = format!("[session]\nclient_secret = \"demo\"\npublic_url = \"{origin}\"\n");
    let config = config::from_text(&[
        Bff::Web.shipped(),
        DEMO,
        &overlay(Bff::Web, services)?,
        &session,
        more,
    ])?;
    let inherited = Inherited {
        public: Some(listener),
        admin: None,
    };
    Ok(Gateway::new(Bff::Web.app(), config)?.run_on(inherited)?)
}

pub fn start(
    bff: Bff,
    services: &BTreeMap<Service, SocketAddr>,
    more: &str,
) -> Result<RunningGateway> {
    Ok(Gateway::start(
        bff.app(),
        configuration(bff, services, more)?,
    )?)
}
