//! What the control runtime does now and then while a gateway runs: forgetting what is over, looking at the certificate.
//! What is looked after decides itself what that means.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::metrics::Metrics;
use crate::problem::chain;
use crate::reload::Live;
use crate::server::Tls;

/// How often idle limiter keys and revocations that are over are forgotten, and uses of keys folded.
const UPKEEP: Duration = Duration::from_secs(5);

pub(super) async fn look_after(live: Arc<Live>) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        let shared = live.shared();
        shared.limiter.forget_idle();
        shared.key_uses.fold();
        shared.revocations.forget_ended();
        if let Some(sessions) = &shared.sessions {
            sessions.sweep();
        }
        shared.upstreams.sweep();
    }
}

/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// Takes a new certificate when its files change, or on SIGHUP.
pub(super) async fn watch_certificate(tls: Arc<Tls>, metrics: Metrics) {
    let mut ticks = tokio::time::interval(CERTIFICATE_LOOK);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be listened to");
        return;
    };
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
        };
        match tls.reload(asked) {
            Ok(true) => tracing::info!("the certificate has been read again"),
            Ok(false) => {}
            Err(fault) => {
                metrics.certificate_faults.increment(1);
                let error = chain(&fault);
                tracing::error!(key = fault.key(), error, "the old certificate stays in use");
            }
        }
    }
}

/// How long the start waits for what was counted before it.
const AT_START: Duration = Duration::from_secs(2);

/// Waits on the control runtime for something that requests should find done; when it fails they are served all the same.
pub(super) fn before_the_first_request<E: std::error::Error + Send + 'static>(
    control: &Runtime,
    work: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let (done, outcome) = std::sync::mpsc::sync_channel(1);
    control.spawn(async move {
        let outcome = work.await.map_err(|error| chain(&error));
        // Nobody waits any more when it took too long.
        let _ = done.send(outcome);
    });
    let late = |_| Err("it took too long".to_owned());
    if let Err(error) = outcome.recv_timeout(AT_START).unwrap_or_else(late) {
        tracing::error!(
            error,
            "what was counted of quotas before the start is not known yet"
        );
    }
}
