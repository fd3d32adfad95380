//! `Ftgo`: the services running together in this process over one transport, each of which can be stopped and
//! started again. What runs in front of them (the BFFs) is not here; it sees them over sockets only.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ftgo_chassis::traces::Collector;
use ftgo_chassis::{Environment, RunningService, StartError, TrustedGateways};
use ftgo_messaging::transport::InProcessTransport;
use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::service::Service;

/// How long `start_service` tries to get its old address back: on an ephemeral port somebody's outgoing connection
/// may hold it for a moment.
const REBIND_BOUND: Duration = Duration::from_secs(2);
const REBIND_INTERVAL: Duration = Duration::from_millis(20);

/// Which ports the services listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The fixed ports of the demo, 8100 to 8107, and so many further up.
    Demo { offset: u16 },
    /// Port 0: the operating system picks, [`Ftgo::address`] tells.
    Ephemeral,
}

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds one database file per service; made when missing.
    pub data_dir: PathBuf,
    pub host: IpAddr,
    pub ports: Ports,
    /// What identity calls itself in tokens, where others reach it under another name than its address.
    pub issuer: Option<String>,
    /// Where browsers reach bff-web, for identity to send them back to; none: the demo's usual ports.
    pub web_origins: Vec<String>,
    /// The certificate (PEM) that bff-web shows, where nobody would believe it without being told: identity does.
    pub web_certificate: Option<String>,
    /// Opens the fault switchboard of each service (`PUT /faults`).
    pub faults: bool,
    /// Writes the demo's consumers, restaurants and couriers where they are missing.
    pub seed: bool,
    /// Starts these alone. Messages for the others are kept in the outbox until they are started, too.
    pub only: Option<Vec<Service>>,
    /// The gateways that the services believe; without any, whoever reaches a service may call it. Identity is for
    /// everybody.
    pub trust: Option<TrustedGateways>,
    /// Who is told of traces. Nobody without it.
    pub collector: Option<Collector>,
}

impl Options {
    /// All services on ephemeral ports of the loopback address, without faults and seed.
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        Options {
            data_dir: data_dir.into(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Ports::Ephemeral,
            issuer: None,
            web_origins: Vec::new(),
            web_certificate: None,
            faults: false,
            seed: false,
            only: None,
            trust: None,
            collector: None,
        }
    }
}

/// Why a service does not run.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    #[error("{service} does not start")]
    Start {
        service: Service,
        source: StartError,
    },
    #[error("{service} is not part of this system (see --only)")]
    NotPartOfIt { service: Service },
}

/// A handle to the running system. Dropping it stops the services, too, but nobody waits for that.
pub struct Ftgo {
    slots: BTreeMap<Service, Slot>,
    options: Options,
    transport: Arc<InProcessTransport>,
}

/// One service's place. The address is fixed by its first start, so that a restart is found where it was.
struct Slot {
    address: OnceLock<SocketAddr>,
    running: Mutex<Option<RunningService>>,
}

impl Ftgo {
    /// Starts the services concurrently and returns when each of them listens.
    ///
    /// # Errors
    ///
    /// The first service that does not start; those that did are stopped again.
    pub async fn start(options: Options) -> Result<Ftgo, SystemError> {
        // Also those that are not started here are declared: a message counts as delivered only when all have it.
        let subscriptions: Vec<_> = Service::ALL
            .into_iter()
            .filter_map(Service::subscription)
            .collect();
        let slots = options
            .only
            .as_deref()
            .unwrap_or(&Service::ALL)
            .iter()
            .map(|&service| {
                let slot = Slot {
                    address: OnceLock::new(),
                    running: Mutex::new(None),
                };
                (service, slot)
            })
            .collect();
        let ftgo = Ftgo {
            slots,
            transport: InProcessTransport::new(&subscriptions),
            options,
        };

        let starts = ftgo
            .slots
            .keys()
            .map(|&service| ftgo.start_service(service));
        let failed = join_all(starts).await.into_iter().find_map(Result::err);
        match failed {
            None => Ok(ftgo),
            Some(error) => {
                ftgo.shutdown().await;
                Err(error)
            }
        }
    }

    /// The services that are part of this system, running or not, with their addresses.
    pub fn addresses(&self) -> BTreeMap<Service, SocketAddr> {
        self.slots
            .iter()
            .filter_map(|(&service, slot)| Some((service, *slot.address.get()?)))
            .collect()
    }

    /// Where `service` listens, or did before it was stopped. `None` when it is not part of this system.
    pub fn address(&self, service: Service) -> Option<SocketAddr> {
        self.slots.get(&service)?.address.get().copied()
    }

    /// # Errors
    ///
    /// [`SystemError::NotPartOfIt`].
    pub async fn is_running(&self, service: Service) -> Result<bool, SystemError> {
        Ok(self.slot(service)?.running.lock().await.is_some())
    }

    /// Stops one service; its peers' messages wait for it. Stopping a stopped one changes nothing.
    ///
    /// # Errors
    ///
    /// [`SystemError::NotPartOfIt`].
    pub async fn stop_service(&self, service: Service) -> Result<(), SystemError> {
        // The lock is held until the service is down: a start that comes meanwhile waits for the freed address.
        let mut running = self.slot(service)?.running.lock().await;
        if let Some(service) = running.take() {
            service.stop().await;
        }
        Ok(())
    }

    /// Starts one service again, at the address it had. Starting a running one changes nothing.
    ///
    /// # Errors
    ///
    /// The service's own reason, for instance an address in use.
    pub async fn start_service(&self, service: Service) -> Result<(), SystemError> {
        let slot = self.slot(service)?;
        let mut running = slot.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let first = self.first_address(service);
        let address = slot.address.get().copied().unwrap_or(first);
        let give_up = Instant::now() + REBIND_BOUND;
        let started = loop {
            let environment = self.environment(service, address);
            match service.start(environment, self.identity()).await {
                Err(error)
                    if slot.address.get().is_some()
                        && address_in_use(&error)
                        && Instant::now() < give_up =>
                {
                    sleep(REBIND_INTERVAL).await;
                }
                result => break result,
            }
        };
        let started = started.map_err(|source| SystemError::Start { service, source })?;
        let bound = started.address();
        slot.address.get_or_init(|| bound);
        *running = Some(started);
        Ok(())
    }

    /// Stops all services concurrently; open streams are ended. Takes at most as long as the slowest of them.
    pub async fn shutdown(&self) {
        let stops = self.slots.values().map(async |slot| {
            if let Some(service) = slot.running.lock().await.take() {
                service.stop().await;
            }
        });
        join_all(stops).await;
    }

    fn slot(&self, service: Service) -> Result<&Slot, SystemError> {
        self.slots
            .get(&service)
            .ok_or(SystemError::NotPartOfIt { service })
    }

    fn first_address(&self, service: Service) -> SocketAddr {
        let port = match self.options.ports {
            Ports::Demo { offset } => service.port() + offset,
            Ports::Ephemeral => 0,
        };
        SocketAddr::new(self.options.host, port)
    }

    fn identity(&self) -> ftgo_identity::Settings {
        let origins = self.options.web_origins.iter().map(String::as_str);
        let origins: Vec<&str> = origins.collect();
        ftgo_identity::Settings {
            issuer: self.options.issuer.clone(),
            clients: match origins.as_slice() {
                [] => ftgo_identity::Client::seeded(),
                origins => ftgo_identity::Client::seeded_for(origins),
            },
            trusted_certificates: self.options.web_certificate.clone().unwrap_or_default(),
        }
    }

    fn environment(&self, service: Service, address: SocketAddr) -> Environment {
        let trust = (service != Service::Identity).then_some(self.options.trust.as_ref());
        Environment {
            address,
            data_dir: self.options.data_dir.clone(),
            transport: Some(Arc::clone(&self.transport)),
            faults: self.options.faults,
            seed: self.options.seed,
            trust: trust.flatten().cloned(),
            collector: self.options.collector.clone(),
        }
    }
}

fn address_in_use(error: &StartError) -> bool {
    matches!(error, StartError::Address { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests;
