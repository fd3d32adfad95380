//! The demo's life: checks, services, past orders, keys, then the three BFFs as child processes, until a signal ends
//! all of it. Each step is a module below; building the binaries is the Makefile's.

mod banner;
mod bff;
mod certificate;
mod children;
mod files;
mod keys;
mod ports;
mod preflight;
mod progress;
mod seed;
mod stop;

use ftgo_chassis::traces::Collector;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::demo::bff::{Bff, Origins};
use crate::demo::certificate::Certificate;
use crate::demo::children::{ChildError, Children};
use crate::demo::files::Files;
use crate::demo::progress::Progress;
use crate::demo::stop::Stop;
use crate::gateway_key::{GatewayKey, GatewayKeyError};
use crate::logging;
use crate::service::Service;
use crate::system::{Ftgo, Options, Ports, SystemError};

pub use crate::demo::children::exec_bound_to_parent;
pub use crate::demo::ports::Offset;

/// From the signal to the end of the last process. The BFFs drain first; what they leave of it belongs to the services.
const END_BOUND: Duration = Duration::from_millis(9_500);
const DRAIN_BOUND: Duration = Duration::from_millis(7_500);

/// A signal to the whole process group reaches a BFF before it reaches us: its end is no fault then.
const SIGNAL_GRACE: Duration = Duration::from_millis(250);

/// Where the demo finds its parts.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Holds the binaries of the three BFFs.
    pub bin_dir: PathBuf,
    /// Holds `mobile.toml`, `web.toml`, `public.toml` and `demo.toml`.
    pub config_dir: PathBuf,
    /// Everything the demo writes: databases, logs, keys. Kept from one run to the next.
    pub data_dir: PathBuf,
    /// Who is told of the services' traces.
    pub collector: Option<Collector>,
    /// How far up all ports are.
    pub offset: Offset,
    /// Whether bff-web speaks TLS.
    pub tls: bool,
}

/// Why the demo does not run, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Preflight(#[from] preflight::PreflightError),
    #[error(transparent)]
    Files(#[from] files::FilesError),
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    #[error(transparent)]
    Services(#[from] SystemError),
    #[error(transparent)]
    Seed(#[from] seed::SeedError),
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    #[error(transparent)]
    Certificate(#[from] certificate::CertificateError),
    #[error(transparent)]
    GatewayKey(#[from] GatewayKeyError),
    #[error(transparent)]
    Child(#[from] ChildError),
}

impl DemoError {
    /// The end of the log that tells more, for errors that have one.
    pub fn log_tail(&self) -> Option<String> {
        match self {
            DemoError::Child(error) => error.log_tail(),
            _ => None,
        }
    }
}

/// Runs the demo until SIGINT or SIGTERM, and ends everything it started before it returns. A second Ctrl-C ends the
/// process at once.
///
/// # Errors
///
/// Something needed is missing, or a part ended by itself.
pub async fn run(options: &DemoOptions) -> Result<(), DemoError> {
    let progress = Progress::start("FTGO demo");
    let mut children = Children::default();
    let stop = Stop::listen(children.process_ids()).map_err(DemoError::Signals)?;
    let mut services = None;

    let life = Box::pin(live(options, &progress, &mut services, &mut children));
    let outcome = tokio::select! {
        biased;
        () = stop.requested() => Ok(()),
        Err(error) = life => match timeout(SIGNAL_GRACE, stop.requested()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(error),
        },
    };

    end(&progress, services, children).await;
    outcome
}

/// A life that does not end well does not end by itself.
enum Never {}

async fn live(
    options: &DemoOptions,
    progress: &Progress,
    services: &mut Option<Ftgo>,
    children: &mut Children,
) -> Result<Never, DemoError> {
    let origins = Origins::new(options.offset, options.tls);
    let needs = preflight::check(&options.bin_dir, &options.config_dir, origins)?;
    let files = Files::create(&options.data_dir)?;
    logging::to_file(&files.log("services"))?;
    progress.step("ports are free, binaries and configuration are there");

    let certificate = match options.tls {
        true => Some(Certificate::ensure(&files)?),
        false => None,
    };
    let gateway_key = GatewayKey::ensure(&files.gateway_key())?;
    let ftgo = services.insert(
        Ftgo::start(Options {
            ports: Ports::Demo {
                offset: options.offset.distance(),
            },
            web_origins: origins.browsers(),
            web_certificate: certificate.as_ref().map(|it| it.pem.clone()),
            faults: true,
            seed: true,
            // The demo's people may try services by hand: a call without a token is let in, one with a bad token is not.
            trust: Some(gateway_key.trust().lenient()),
            collector: options.collector.clone(),
            ..Options::new(files.databases())
        })
        .await?,
    );
    progress.step(&format!(
        "{} services listen on ports {} to {}",
        ftgo.addresses().len(),
        options.offset.port(Service::Identity.port()),
        options.offset.port(Service::OrderHistory.port()),
    ));

    let seeded = seed::past_orders(&files, &gateway_key, options.offset, progress).await?;
    let keys = keys::ensure(&files)?;
    let token = seed::token_of("consumer-1", &gateway_key, options.offset).await?;
    files::write_private(&files.token(), &token)?;

    for bff in Bff::ALL {
        children.spawn(&bff, &needs, &files, certificate.as_ref())?;
    }
    children.ready().await?;
    progress.step("bff-web, bff-mobile and bff-public are ready");

    banner::print(&banner::Facts {
        files: &files,
        seeded: &seeded,
        keys: &keys,
        token: &token,
        offset: options.offset,
        origins,
        certificate: certificate.as_ref(),
    });
    Err(children.first_to_end().await.into())
}

async fn end(progress: &Progress, services: Option<Ftgo>, mut children: Children) {
    if services.is_none() && children.is_empty() {
        return;
    }
    progress.blank();
    progress.step("ending");
    let asked = Instant::now();
    children.end(asked + DRAIN_BOUND).await;
    if let Some(services) = services
        && timeout_at(asked + END_BOUND, services.shutdown())
            .await
            .is_err()
    {
        tracing::warn!("a service did not stop in time; what it committed is kept");
    }
    progress.step("everything has ended; the data is kept");
}

/// `path` as it can be pasted into a shell from any folder.
fn pasteable(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if path.chars().all(plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}
