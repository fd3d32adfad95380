//! Who delivers when: one task for each endpoint, which has a few messages under way at most. So an endpoint that is slow delays nobody
//! but itself. What is to be delivered is `records.rs`'s.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::records::{self, Due, Message, Queue};
use super::send::{Outcome, Sender};
use super::{Webhooks, millis, now};
use crate::problem::chain;

/// Messages that are under way to one endpoint.
const AT_ONCE: usize = 4;
/// Before the store is asked again after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what is over is forgotten.
const PRUNE: Duration = Duration::from_mins(5);

pub(super) struct Runtime {
    handle: Handle,
    sender: Sender,
}

pub(super) fn start(webhooks: &Webhooks, handle: &Handle) {
    let sender = match Sender::new(&webhooks.inner.config) {
        Ok(sender) => sender,
        Err(error) => {
            let error = chain(&error);
            tracing::error!(
                error,
                "webhooks are not delivered: the client cannot be made"
            );
            return;
        }
    };
    let handle = handle.clone();
    let runtime = Runtime { handle, sender };
    if webhooks.inner.runtime.set(runtime).is_err() {
        return;
    }
    let Some(runtime) = webhooks.inner.runtime.get() else {
        return;
    };
    runtime.handle.spawn(go_on(webhooks.clone()));
    runtime.handle.spawn(forget(webhooks.clone()));
}

/// With what was left when the process before ended.
async fn go_on(webhooks: Webhooks) {
    let endpoints = until_done(|| records::waiting(&webhooks.inner.store)).await;
    for endpoint in endpoints {
        webhooks.wake(&endpoint);
    }
}

async fn forget(webhooks: Webhooks) {
    let mut ticks = tokio::time::interval(PRUNE);
    loop {
        ticks.tick().await;
        let horizon = now().saturating_sub(millis(webhooks.inner.config.kept));
        if let Err(error) = records::prune(&webhooks.inner.store, horizon).await {
            let error = chain(&error);
            tracing::warn!(error, "old deliveries of webhooks are not forgotten");
        }
    }
}

async fn until_done<T, F>(work: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, crate::store::StoreError>>,
{
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the store of webhooks failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Webhooks {
    /// There may be something new for the endpoint.
    pub(super) fn wake(&self, endpoint: &str) {
        let Some(runtime) = self.inner.runtime.get() else {
            return;
        };
        let mut queues = self.queues();
        if let Some(wake) = queues.get(endpoint) {
            wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        queues.insert(endpoint.to_owned(), Arc::clone(&wake));
        drop(queues);
        let webhooks = self.clone();
        let endpoint = endpoint.to_owned();
        runtime.handle.spawn(async move {
            if let Some(runtime) = webhooks.inner.runtime.get() {
                serve(&webhooks, &runtime.sender, &endpoint, &wake).await;
            }
            webhooks.queues().remove(&endpoint);
        });
    }
}

/// Until the endpoint is taken away.
async fn serve(webhooks: &Webhooks, sender: &Sender, endpoint: &str, wake: &Notify) {
    let store = &webhooks.inner.store;
    let mut under_way = FuturesUnordered::new();
    let mut numbers = HashSet::new();
    loop {
        // Enough that something is among it that is not under way.
        let queue = until_done(|| records::due(store, endpoint, now(), 2 * AT_ONCE)).await;
        let Some(Queue { due, next }) = queue else {
            return;
        };
        if let Some(due) = due {
            let due = Arc::new(due);
            for message in &due.messages {
                if under_way.len() >= AT_ONCE {
                    break;
                }
                if numbers.insert(message.number) {
                    let due = Arc::clone(&due);
                    let message = message.clone();
                    under_way.push(deliver(webhooks, sender, endpoint, due, message));
                }
            }
        }
        let wait = next.map(|at| Duration::from_millis((at - now()).max(1).unsigned_abs()));
        tokio::select! {
            Some(number) = under_way.next() => {
                numbers.remove(&number);
            }
            () = wake.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

/// One attempt with its end written down; the message's number.
async fn deliver(
    webhooks: &Webhooks,
    sender: &Sender,
    endpoint: &str,
    due: Arc<Due>,
    message: Message,
) -> i64 {
    let began = now();
    let outcome = sender.attempt(&due, &message, began / 1000).await;
    let config = &webhooks.inner.config;
    let wait = match &outcome {
        Outcome::Failed { retry_after, .. } => pause(config, message.attempts, *retry_after),
        Outcome::Delivered(_) | Outcome::Gone => Duration::ZERO,
    };
    let store = &webhooks.inner.store;
    let settled = until_done(|| {
        let outcome = outcome.clone();
        records::settle(store, endpoint, message.number, outcome, wait, config)
    });
    if let Some(why) = settled.await {
        tracing::warn!(endpoint, why = why.as_str(), "a webhook is disabled");
    }
    message.number
}

/// Before the next attempt: doubled with every one, shortened by chance, so that those that failed together do not come back together.
fn pause(
    config: &crate::config::WebhooksConfig,
    attempts: u32,
    wish: Option<Duration>,
) -> Duration {
    let doubled = config.first_retry.saturating_mul(1 << attempts.min(24));
    let wait = doubled
        .min(config.max_retry)
        .mul_f64(0.5 + fastrand::f64() / 2.0);
    wait.max(wish.unwrap_or_default()).min(config.max_retry)
}
