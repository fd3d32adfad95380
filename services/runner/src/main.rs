//! The command `ftgo`: the services in one process, or the whole demo. It parses arguments, prints and picks the exit
//! code; the work is the library's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ftgo_chassis::traces::Collector;
use ftgo_messaging::crash;
use ftgo_runner::gateway_key::GatewayKey;
use ftgo_runner::service::Service;
use ftgo_runner::system::{Ftgo, Options, Ports};
use ftgo_runner::{control, demo, logging};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// FTGO's services for development, tests and demonstrations.
#[derive(Parser)]
#[command(name = "ftgo", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs services in this process until SIGINT or SIGTERM; prints one JSON line with their addresses when ready.
    Services(ServicesArgs),
    /// Runs the services, past orders and the three BFFs, until SIGINT or SIGTERM.
    Demo(DemoArgs),
    /// Becomes another program that ends with this one's parent.
    #[command(hide = true)]
    ExecBoundToParent(ExecArgs),
}

#[derive(Args)]
struct ServicesArgs {
    /// Starts these alone; messages for the others are kept.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    only: Option<Vec<Service>>,
    /// The folder of the database files.
    #[arg(long, value_name = "DIR", default_value = "./.ftgo")]
    data: PathBuf,
    #[arg(long, value_enum, default_value_t = PortsArg::Demo)]
    ports: PortsArg,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// What identity calls itself in tokens, where its clients do not reach it under its address.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Opens each service's fault switchboard.
    #[arg(long)]
    faults: bool,
    /// Writes the demo's consumers, restaurants and couriers where they are missing.
    #[arg(long)]
    seed: bool,
    /// The file of the gateways' signing key, made when it is missing. Calls then need a token that is signed with it;
    /// without, whoever reaches a service may call it.
    #[arg(long, value_name = "FILE")]
    gateway_key: Option<PathBuf>,
    /// The OpenTelemetry collector (OTLP over HTTP) that is told of traces; `/v1/traces` is added. None by default.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Kills this process when it gets to this point for the first time, e.g. kitchen.CreateTicket.before-commit.
    #[arg(long, value_name = "POINT")]
    crash_at: Option<String>,
    /// Serves the control endpoint, which stops and starts single services.
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PortsArg {
    Demo,
    Ephemeral,
}

#[derive(Args)]
struct DemoArgs {
    /// The folder of the BFFs' binaries.
    #[arg(long, value_name = "DIR")]
    bin_dir: PathBuf,
    /// The folder of the configuration files.
    #[arg(long, value_name = "DIR", default_value = "config")]
    config_dir: PathBuf,
    /// Where databases, logs and keys are kept.
    #[arg(long, value_name = "DIR", default_value = "./.demo")]
    data: PathBuf,
    /// The OpenTelemetry collector (OTLP over HTTP) that services tell of traces; the BFFs read the variable themselves.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// How far up all ports are, so that a second demo can run beside the first one.
    #[arg(long, value_name = "N", default_value = "0", value_parser = port_offset)]
    port_offset: demo::Offset,
    /// bff-web speaks TLS, with a certificate made for the demo: for browsers that keep no Secure cookie without.
    #[arg(long)]
    tls: bool,
}

fn port_offset(text: &str) -> Result<demo::Offset, String> {
    let distance = text.parse().ok();
    distance
        .and_then(demo::Offset::new)
        .ok_or_else(|| format!("has to be a number up to {}", demo::Offset::MOST))
}

#[derive(Args)]
struct ExecArgs {
    parent: u32,
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The line that programs read.
#[derive(Serialize)]
struct ReadyLine {
    services: BTreeMap<&'static str, SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Services(args) => block_on(services(args)),
        Command::Demo(args) => block_on(run_demo(args)),
        Command::ExecBoundToParent(args) => {
            let error = demo::exec_bound_to_parent(args.parent, &args.program, &args.arguments);
            Err(error).with_context(|| format!("{} can't be started", args.program.display()))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ftgo: {error:#}");
            if let Some(tail) = error.downcast_ref().and_then(demo::DemoError::log_tail) {
                eprintln!("{tail}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs `life` on this thread, which outlives everything that it starts.
fn block_on(life: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    gateway_core::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let outcome = runtime.block_on(life);
    // A service that did not stop in time is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn run_demo(args: DemoArgs) -> anyhow::Result<()> {
    demo::run(&demo::DemoOptions {
        bin_dir: args.bin_dir,
        config_dir: args.config_dir,
        data_dir: args.data,
        collector: collector(args.otlp_endpoint),
        offset: args.port_offset,
        tls: args.tls,
    })
    .await?;
    Ok(())
}

/// An empty variable is as good as none.
fn collector(endpoint: Option<String>) -> Option<Collector> {
    endpoint
        .filter(|endpoint| !endpoint.is_empty())
        .map(|endpoint| Collector::at(&endpoint))
}

async fn services(args: ServicesArgs) -> anyhow::Result<()> {
    logging::to_stderr()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if let Some(point) = &args.crash_at {
        crash::arm(point)?;
    }

    let gateway_key = args.gateway_key.as_deref().map(GatewayKey::ensure);
    let ftgo = Ftgo::start(Options {
        data_dir: args.data,
        host: args.host,
        ports: match args.ports {
            PortsArg::Demo => Ports::Demo { offset: 0 },
            PortsArg::Ephemeral => Ports::Ephemeral,
        },
        issuer: args.issuer,
        web_origins: Vec::new(),
        web_certificate: None,
        faults: args.faults,
        seed: args.seed,
        only: args.only,
        trust: gateway_key.transpose()?.map(|key| key.trust()),
        collector: collector(args.otlp_endpoint),
    })
    .await?;
    let ftgo = Arc::new(ftgo);

    let ended = CancellationToken::new();
    let control = match args.control {
        Some(address) => Some(control::serve(Arc::clone(&ftgo), address, ended.clone()).await?),
        None => None,
    };
    let addresses = ftgo.addresses().into_iter();
    let ready = serde_json::to_string(&ReadyLine {
        services: addresses
            .map(|(service, address)| (service.name(), address))
            .collect(),
        control,
    })?;
    // Nobody has to read it.
    let _ = writeln!(std::io::stdout(), "{ready}");

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    ended.cancel();
    ftgo.shutdown().await;
    Ok(())
}
