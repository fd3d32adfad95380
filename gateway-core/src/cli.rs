//! A BFF as a process: its arguments, its signals, its exit codes. What it serves is in `gateway.rs`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Config, EXIT_CONFIG};
use crate::gateway::{App, Gateway, Inherited, StartError};
use crate::problem::chain;
use crate::telemetry;

#[derive(Parser)]
#[command(
    version,
    about = "A backend for one kind of client, built on gateway-core"
)]
struct Arguments {
    /// A configuration file; several are merged, later ones over earlier ones.
    #[arg(
        long = "config",
        value_name = "FILE",
        required_unless_present = "config_schema"
    )]
    config: Vec<PathBuf>,
    /// Check the configuration, report every fault, and end: 0 when it is good, 64 when not.
    #[arg(long)]
    check_config: bool,
    /// Print the JSON Schema of configuration files, for editors, and end.
    #[arg(long)]
    config_schema: bool,
}

/// Runs `app` until SIGTERM or SIGINT; SIGHUP reads the configuration again. Exit codes: 0 after a drain, 64 for a bad configuration, 1 for anything else.
#[must_use]
pub fn main(app: App) -> ExitCode {
    // First of all: it reads and clears the environment, which only a process of one thread may do.
    let inherited = inherited();
    telemetry::install_crypto();
    let arguments = Arguments::parse();
    if arguments.config_schema {
        print!("{}", config::schema());
        return ExitCode::SUCCESS;
    }
    let config = match config::from_files(&arguments.config) {
        Ok(config) => config,
        Err(faults) => return bad_config(&faults),
    };
    if arguments.check_config {
        return check(app, config);
    }
    let _log = match telemetry::start_log(&config.log.filter) {
        Ok(guard) => guard,
        Err(error) => return bad_config(&format!("log.filter: {error}")),
    };
    match inherited.and_then(|inherited| run(app, config, inherited)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(faults)) => bad_config(&faults),
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, "the gateway did not start");
            eprintln!("{}: {error}", app.name);
            ExitCode::FAILURE
        }
    }
}

/// The sockets that systemd, or whoever does as it does, has passed on by `LISTEN_FDS` and `LISTEN_PID`: the public
/// listener, and the operators' if there is a second one.
fn inherited() -> Result<Inherited, StartError> {
    let mut passed = ListenFd::from_env();
    let mut take = |index| {
        passed
            .take_tcp_listener(index)
            .map_err(StartError::Inherited)
    };
    Ok(Inherited {
        public: take(0)?,
        admin: take(1)?,
    })
}

fn check(app: App, config: Config) -> ExitCode {
    match Gateway::new(app, config) {
        Ok(gateway) => {
            println!(
                "{}: the configuration is good: {} routes",
                app.name,
                gateway.routes().len()
            );
            ExitCode::SUCCESS
        }
        Err(StartError::Config(faults)) => bad_config(&faults),
        Err(error) => bad_config(&chain(&error)),
    }
}

fn bad_config(faults: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(EXIT_CONFIG)
}

fn run(app: App, config: Config, inherited: Inherited) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Thread)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Thread)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Thread)?;
        let gateway = Gateway::new(app, config)?.run_on(inherited)?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => gateway.reload(),
            }
        }
        tokio::select! {
            () = gateway.drain() => {}
            // Whoever asks twice does not want to wait.
            _ = interrupt.recv() => tracing::warn!("interrupted again: ending at once"),
        }
        Ok(())
    });
    // Dropping the runtime would wait for the thread that joins the server's, also when nobody wants to wait any more.
    runtime.shutdown_background();
    ended
}
