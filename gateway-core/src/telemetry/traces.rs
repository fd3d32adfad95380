//! Export of traces (OTLP over HTTP): finished requests wait in a bounded queue for a thread of their own, which makes
//! spans of them and sends these in batches. What a span says is `telemetry/spans.rs`; which traces are recorded was
//! decided when a request came in (`trace.rs`).
//!
//! No request waits for any of it. When the queue is full or the collector away, spans are dropped and counted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::spans::Spans;
use crate::config::TracingConfig;
use crate::finished::FinishedRequest;
use crate::metrics::TraceMetrics;
use crate::problem::chain;

/// The most spans in one message to the collector.
const BATCH: usize = 512;

/// How many waiting requests wake the thread before its time.
const MANY: usize = 128;

/// The longest that a request waits for others to be sent with it.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where finished requests of recorded traces go. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Traces {
    queue: Arc<Queue>,
}

struct Queue {
    config: TracingConfig,
    /// What spans come from, unless the configuration says otherwise.
    name: &'static str,
    metrics: TraceMetrics,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<Arc<FinishedRequest>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is nobody yet who exports.
    Idle,
    Running,
    /// What is waiting is sent, nothing more is taken.
    Closing,
    Ended,
}

/// The thread that exports cannot be started, or its HTTP client not be made.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported")]
pub(crate) struct TracesFault(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Traces {
    /// Nothing is exported before [`spawn`](Self::spawn).
    pub(crate) fn new(config: &TracingConfig, name: &'static str, metrics: TraceMetrics) -> Self {
        Self {
            queue: Arc::new(Queue {
                config: config.clone(),
                name,
                metrics,
                state: Mutex::new(State {
                    waiting: Vec::new(),
                    phase: Phase::Idle,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Starts the thread that exports, when the configuration names a collector.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn spawn(&self) -> Result<(), TracesFault> {
        let Some(endpoint) = &self.queue.config.endpoint else {
            return Ok(());
        };
        let fault = |error: Box<dyn std::error::Error + Send + Sync>| TracesFault(error);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint.as_str())
            .with_timeout(self.queue.config.timeout)
            .build()
            .map_err(|error| fault(error.into()))?;
        let service = self.queue.config.service.clone();
        exporter.set_resource(
            &Resource::builder()
                .with_service_name(service.unwrap_or_else(|| self.queue.name.to_owned()))
                .build(),
        );
        self.queue.lock().phase = Phase::Running;
        let queue = Arc::clone(&self.queue);
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || queue.export(&exporter))
            .map_err(|error| fault(error.into()))?;
        Ok(())
    }

    /// Takes a finished request of a recorded trace; drops it when there is no room.
    pub(crate) fn offer(&self, request: Arc<FinishedRequest>) {
        let mut state = self.queue.lock();
        if state.phase != Phase::Running || state.waiting.len() >= self.queue.config.queue {
            drop(state);
            self.queue.metrics.queue_full.increment(spans_of(&request));
            return;
        }
        state.waiting.push(request);
        let many = state.waiting.len() == MANY.min(self.queue.config.queue);
        drop(state);
        if many {
            self.queue.changed.notify_all();
        }
    }

    /// Nothing more will come. What waits is sent yet, by and by.
    pub(crate) fn close(&self) {
        let mut state = self.queue.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Closing;
            drop(state);
            self.queue.changed.notify_all();
        }
    }

    /// The same, and waits until it is sent, for so long at most. It blocks.
    pub(crate) fn finish(&self, patience: Duration) {
        self.close();
        let state = self.queue.lock();
        let closing = |state: &mut State| state.phase == Phase::Closing;
        let (state, _) = self
            .queue
            .changed
            .wait_timeout_while(state, patience, closing)
            .unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Closing {
            tracing::warn!("the last traces could not be sent in time");
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A list of requests is whole whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: until the queue is closed and empty.
    fn export(&self, exporter: &SpanExporter) {
        let spans = Spans::new();
        let mut collector = Collector::new(self, exporter);
        loop {
            let (requests, closing) = self.next();
            let mut batch = Vec::new();
            for request in requests {
                spans.add(&request, &mut batch);
                if batch.len() >= BATCH {
                    collector.send(std::mem::take(&mut batch), closing);
                }
            }
            if !batch.is_empty() {
                collector.send(batch, closing);
            }
            if closing {
                self.lock().phase = Phase::Ended;
                self.changed.notify_all();
                return;
            }
        }
    }

    /// What has come together, after a while or when it is much.
    fn next(&self) -> (Vec<Arc<FinishedRequest>>, bool) {
        let few = |state: &mut State| state.phase == Phase::Running && state.waiting.len() < MANY;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.lock(), INTERVAL, few)
            .unwrap_or_else(PoisonError::into_inner);
        (
            std::mem::take(&mut state.waiting),
            state.phase != Phase::Running,
        )
    }
}

/// The collector as we know it: one line in the log when it goes away and one when it is back.
struct Collector<'a> {
    queue: &'a Queue,
    exporter: &'a SpanExporter,
    away: bool,
}

impl<'a> Collector<'a> {
    fn new(queue: &'a Queue, exporter: &'a SpanExporter) -> Self {
        Self {
            queue,
            exporter,
            away: false,
        }
    }

    fn send(&mut self, batch: Vec<SpanData>, closing: bool) {
        let metrics = &self.queue.metrics;
        let number = batch.len() as u64;
        // Nobody is waited for any more who has not come back for the last ones.
        if closing && self.away {
            metrics.failed.increment(number);
            return;
        }
        // The client blocks this thread until it has an answer, so that the future never waits.
        let result = self.exporter.export(batch).now_or_never();
        match result {
            Some(Ok(())) => {
                metrics.exported.increment(number);
                if std::mem::take(&mut self.away) {
                    tracing::info!("the collector of traces is back");
                }
            }
            Some(Err(error)) => {
                metrics.failed.increment(number);
                if !std::mem::replace(&mut self.away, true) {
                    let error = chain(&error);
                    tracing::warn!(error, "traces cannot be exported; their spans are dropped");
                }
            }
            None => {
                metrics.failed.increment(number);
                if !std::mem::replace(&mut self.away, true) {
                    tracing::error!("the exporter of traces did not finish; spans are dropped");
                }
            }
        }
    }
}

/// How many spans a request is.
fn spans_of(request: &FinishedRequest) -> u64 {
    (1 + request.waterfall.parts.len() + request.waterfall.calls.len()) as u64
}
