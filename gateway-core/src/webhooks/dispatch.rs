//! Who delivers when: one task for each endpoint, which has a few messages under way at most. So an endpoint that is slow delays nobody
//! but itself. What is to be delivered is `records.rs`'s.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::records::{self, Due, Message, Queue};
use super::send::{Outcome, Sender};
use super::{Webhooks, millis, now};
use crate::config::WebhooksConfig;
use crate::problem::chain;
use crate::store::StoreError;

/// Messages that are under way to one endpoint.
const AT_ONCE: usize = 4;
/// Before the store is asked again after it has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what is over is forgotten.
const PRUNE: Duration = Duration::from_mins(5);

pub(super) struct Runtime {
    handle: Handle,
    sender: Sender,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Runtime {
    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// `longest`: what an attempt may take.
    pub(super) async fn ended(&self, longest: Duration) {
        if timeout(longest + PAUSE, self.tasks.wait()).await.is_err() {
            tracing::error!(
                tasks = self.tasks.len(),
                "deliveries of webhooks are cut: they are made again after the next start"
            );
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.handle);
    }
}

pub(super) fn start(webhooks: &Webhooks, handle: &Handle, stop: &CancellationToken) {
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
    let runtime = Runtime {
        handle: handle.clone(),
        sender,
        // Of its own: deliveries end before the rest does.
        stop: stop.child_token(),
        tasks: TaskTracker::new(),
    };
    if webhooks.inner.runtime.set(runtime).is_err() {
        return;
    }
    let Some(runtime) = webhooks.inner.runtime.get() else {
        return;
    };
    go_on_later(webhooks);
    runtime.spawn(until(runtime.stop.clone(), forget(webhooks.clone())));
}

/// Wakes all that something waits for, beside everything else.
pub(super) fn go_on_later(webhooks: &Webhooks) {
    if let Some(runtime) = webhooks.inner.runtime.get() {
        runtime.spawn(until(runtime.stop.clone(), go_on(webhooks.clone())));
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// With what waits: from the process before, or for partners that were none for a while.
async fn go_on(webhooks: Webhooks) {
    let endpoints = until_done(|| records::waiting(&webhooks.inner.store)).await;
    for endpoint in endpoints.unwrap_or_default() {
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

/// `None` when the store is closed: it is not opened again.
async fn until_done<T, F>(work: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match work().await {
            Ok(done) => return Some(done),
            Err(error) => {
                let closed = matches!(error, StoreError::Closed);
                let error = chain(&error);
                tracing::error!(error, "the store of webhooks failed");
                if closed {
                    return None;
                }
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
        if runtime.stop.is_cancelled() {
            return;
        }
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
        runtime.spawn(async move {
            if let Some(runtime) = webhooks.inner.runtime.get() {
                serve(&webhooks, runtime, &endpoint, &wake).await;
            }
            webhooks.queues().remove(&endpoint);
        });
    }
}

/// Until the endpoint is taken away, or nothing is to be begun any more.
async fn serve(webhooks: &Webhooks, runtime: &Runtime, endpoint: &str, wake: &Notify) {
    let store = &webhooks.inner.store;
    let mut under_way = FuturesUnordered::new();
    let mut numbers = HashSet::new();
    loop {
        // Enough that something is among it that is not under way.
        let queue = until_done(|| records::due(store, endpoint, now(), 2 * AT_ONCE)).await;
        let Some(queue) = queue else { break };
        let Some(Queue { partner, due, next }) = queue else {
            return;
        };
        // Who is no partner any more is told nothing; what waits goes on when they are one again (`bind`).
        let is_partner = webhooks.inner.partners.load().contains_key(&partner);
        let (due, next) = if is_partner {
            (due, next)
        } else {
            (None, None)
        };
        if runtime.stop.is_cancelled() {
            break;
        }
        if let Some(due) = due {
            let due = Arc::new(due);
            for message in &due.messages {
                if under_way.len() >= AT_ONCE {
                    break;
                }
                if numbers.insert(message.number) {
                    let due = Arc::clone(&due);
                    let message = message.clone();
                    under_way.push(deliver(webhooks, &runtime.sender, endpoint, due, message));
                }
            }
        }
        let wait = next.map(|at| Duration::from_millis((at - now()).max(1).unsigned_abs()));
        tokio::select! {
            () = runtime.stop.cancelled() => break,
            Some(number) = under_way.next() => {
                numbers.remove(&number);
            }
            () = wake.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
    // What has been sent may have been taken: until that is written down it would be sent again by the next process.
    while under_way.next().await.is_some() {}
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
        records::settle(store, endpoint, &message, outcome, wait, config)
    });
    if let Some(Some(why)) = settled.await {
        tracing::warn!(endpoint, why = why.as_str(), "a webhook is disabled");
    }
    message.number
}

/// Before the next attempt: doubled with every one, shortened by chance, so that those that failed together do not come back together.
pub(super) fn pause(config: &WebhooksConfig, attempts: u32, wish: Option<Duration>) -> Duration {
    let doubled = config.first_retry.saturating_mul(1 << attempts.min(24));
    let wait = doubled
        .min(config.max_retry)
        .mul_f64(0.5 + fastrand::f64() / 2.0);
    wait.max(wish.unwrap_or_default()).min(config.max_retry)
}
