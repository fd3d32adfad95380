//! How a read gets its answer: from what is stored, from a call under way, from a call of its own, and, when the service
//! fails, from what is stored and stale. What is stored is `cache/parts.rs`, calls under way are `upstream/coalesce.rs`.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::call::{Call, Reader};
use super::coalesce::{Flights, Landed, Outcome, Seat};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::request_key::RequestKey;
use crate::cache::{Epoch, Part, Parts, Slot, Standing, Tags};
use crate::context::RequestContext;
use crate::metrics::{Metrics, ReadMetrics};
use crate::waterfall::CallSource;

/// What the reads of a process share. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Reads {
    pub(crate) tags: Arc<Tags>,
    parts: Arc<Parts>,
    flights: Arc<Flights>,
    metrics: Arc<ReadMetrics>,
    /// Whether keys are made without the caller: the negative control of the test that nobody gets what is another's.
    #[cfg(test)]
    forgetful: Arc<std::sync::atomic::AtomicBool>,
}

impl Reads {
    /// `max_bytes` is for stored parts; 0 = none are stored.
    pub(crate) fn new(max_bytes: u64, tags: &Arc<Tags>, metrics: &Metrics) -> Self {
        Self {
            tags: Arc::clone(tags),
            parts: Arc::new(Parts::new(max_bytes, tags)),
            flights: Flights::new(tags),
            metrics: Arc::new(metrics.reads()),
            #[cfg(test)]
            forgetful: Arc::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn forget_identity(&self) {
        self.forgetful
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Who reads after a command's answer sees what it did: neither what is stored with one of its tags, nor a call under
    /// way at the same upstream will do for them. `commands` are of [`commands_to`](Self::commands_to): one for each upstream
    /// whose callers see what it did.
    pub(crate) async fn command_ended(
        &self,
        commands: impl IntoIterator<Item = Slot>,
        tags: &[Slot],
    ) {
        for slot in tags {
            self.tags.purge_slot(*slot);
        }
        self.metrics.purged_by_command.increment(tags.len() as u64);
        for slot in commands {
            self.tags.end_calls(slot);
        }
        // So does who reads through another replica, unless the wait for Redis is over.
        self.tags.told().await;
    }

    /// Stands for all commands to an upstream. No tag of an application begins like this.
    pub(crate) fn commands_to(&self, upstream: &str) -> Slot {
        self.tags.slot(&["\0commands ", upstream].concat())
    }

    /// What an operator says has changed.
    /// Whether no replica finds it any more.
    pub(crate) async fn purge(&self, tags: &[String]) -> bool {
        for tag in tags {
            self.tags.purge(tag);
        }
        self.metrics.purged_by_operator.increment(tags.len() as u64);
        self.tags.told().await
    }
}

/// Where a call waits for its answer.
enum Place<T> {
    /// At a call like it, which was under way; it may be needed yet.
    Joined(Seat, Box<Call>),
    /// At its own; what the answer was read as comes beside it.
    Begun(Seat, oneshot::Receiver<T>),
}

impl Call {
    /// Reads what the call asks for.
    pub(super) async fn read<T: Send + 'static>(
        mut self: Box<Self>,
        read: Reader<T>,
    ) -> Result<T, UpstreamError> {
        let key = self.key();
        let Some(lifetime) = self.lifetime else {
            self.context.note_lifetime(Duration::ZERO);
            return self.ask(Arc::new(key), read).await;
        };
        let (reads, stack) = (self.reads.clone(), self.stack.clone());
        let stored = reads.parts.get(&key);
        if let Some(part) = &stored {
            match reads.parts.standing(part, lifetime, &self.tags) {
                Standing::Fresh(left) => {
                    reads.metrics.from_store.increment(1);
                    self.context.note_lifetime(left);
                    let (target, now) = (self.target, Instant::now());
                    let source = CallSource::Cache;
                    self.context
                        .record_shared(stack.name(), target, source, now, "ok");
                    return read(&stack, &part.response);
                }
                Standing::Stale(_) if self.context.can_be_stale() => {
                    self.context = self.context.with_something_to_spare();
                }
                Standing::Stale(_) | Standing::Gone => {}
            }
        }
        let context = self.context.clone();
        let key = Arc::new(key);
        let tags = self.tags.clone();
        let standing = |part: &Part| reads.parts.standing(part, lifetime, &tags);
        let error = match self.ask(Arc::clone(&key), read).await {
            Ok(answer) => {
                // What is the caller's own has none, whatever is stored of it.
                let left = if context.is_for_everybody() {
                    let stored = reads.parts.get(&key);
                    stored.map_or(Duration::ZERO, |part| standing(&part).left())
                } else {
                    Duration::ZERO
                };
                context.note_lifetime(left);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let Some(part) = stored else {
            return Err(error);
        };
        if !error.is_failure_of_service() {
            // The service itself says that this is no longer so.
            reads.parts.forget(&key);
            return Err(error);
        }
        match standing(&part) {
            // Only where the client is told how old it is.
            Standing::Stale(age) if context.note_stale(age, error.reason()) => {
                reads.metrics.stale.increment(1);
                read(&stack, &part.response)
            }
            Standing::Stale(_) | Standing::Fresh(_) | Standing::Gone => Err(error),
        }
    }

    fn key(&self) -> RequestKey {
        let key = RequestKey::new(
            self.stack.name(),
            &self.method,
            &self.path,
            &self.headers,
            self.body.as_ref().map_or(&[], |body| body),
            self.context.principal_for_upstreams(),
        );
        #[cfg(test)]
        if self
            .reads
            .forgetful
            .load(std::sync::atomic::Ordering::Relaxed)
        {
            return key.without_identity();
        }
        key
    }

    /// Asks the service, together with whoever asks the same at this time.
    async fn ask<T: Send + 'static>(
        self: Box<Self>,
        key: Arc<RequestKey>,
        read: Reader<T>,
    ) -> Result<T, UpstreamError> {
        let (reads, context, stack) =
            (self.reads.clone(), self.context.clone(), self.stack.clone());
        let mut tags = self.tags.clone();
        tags.push(self.commands);
        let began = Instant::now();
        let given_up = || stack.error(UpstreamErrorKind::Timeout);
        let mut call = self;
        loop {
            let landed = match call.take_a_seat(&key, &tags, read) {
                Place::Begun(seat, decoded) => {
                    return match wait(seat, &context).await.ok_or_else(given_up)? {
                        Landed::Done(Ok(response)) => {
                            // Sent before the outcome was; reading the answer once more would do as well.
                            decoded.await.or_else(|_| read(&stack, &response))
                        }
                        Landed::Done(Err(error)) | Landed::RanOut(error) => {
                            Err(UpstreamError::shared(&error))
                        }
                        Landed::Lost => Err(stack.error(UpstreamErrorKind::Reset)),
                    };
                }
                Place::Joined(seat, again) => {
                    call = again;
                    wait(seat, &context).await.ok_or_else(given_up)?
                }
            };
            let outcome = match landed {
                // The other's time was shorter than ours, or its worker has ended. A time that is set for every attempt is
                // ours, too: nobody repeats for each caller what has just hung.
                Landed::RanOut(_) | Landed::Lost => continue,
                Landed::Done(outcome) => outcome,
            };
            reads.metrics.coalesced.increment(1);
            let result = match outcome {
                Ok(response) => read(&stack, &response),
                Err(error) => Err(UpstreamError::shared(&error)),
            };
            let reason = result.as_ref().map_or_else(UpstreamError::reason, |_| "ok");
            let (target, source) = (call.target, CallSource::Coalesced);
            context.record_shared(stack.name(), target, source, began, reason);
            return result;
        }
    }

    /// A place at the call under way that will do, or at this one, which is then begun.
    fn take_a_seat<T: Send + 'static>(
        self: Box<Self>,
        key: &Arc<RequestKey>,
        tags: &[Slot],
        read: Reader<T>,
    ) -> Place<T> {
        let flights = Arc::clone(&self.reads.flights);
        match flights.sit_down(key, tags) {
            Ok(seat) => Place::Joined(seat, self),
            Err(vacancy) => {
                let (sender, decoded) = oneshot::channel();
                let until = self.context.deadline().at();
                let fill = self.fill(Arc::clone(key), vacancy.epoch, read, sender);
                Place::Begun(vacancy.begin(until, fill), decoded)
            }
        }
    }

    /// The call itself. An answer that can be read, and may be used again, is stored.
    async fn fill<T>(
        mut self: Box<Self>,
        key: Arc<RequestKey>,
        epoch: Epoch,
        read: Reader<T>,
        decoded: oneshot::Sender<T>,
    ) -> Outcome {
        let asked_at = Instant::now();
        let reads = self.reads.clone();
        let tags = std::mem::take(&mut self.tags).into_boxed_slice();
        let lifetime = self.lifetime;
        reads.metrics.from_upstream.increment(1);
        let (response, answer) = self.attempt(read).await.map_err(Arc::new)?;
        // Who asked may have gone.
        let _ = decoded.send(answer);
        let response = Arc::new(response);
        if let Some(lifetime) = lifetime {
            let part = Part::new(Arc::clone(&response), asked_at, epoch, tags, lifetime);
            reads.parts.put(&key, part);
        }
        Ok(response)
    }
}

/// Waits as long as the request has time; `None` when it has no more.
async fn wait(mut seat: Seat, context: &RequestContext) -> Option<Landed> {
    timeout_at(context.deadline().at(), seat.outcome())
        .await
        .ok()
}
