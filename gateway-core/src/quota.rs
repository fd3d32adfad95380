//! Daily quotas of partners: counted in memory for each request, written down by the control runtime every second. How
//! fast a partner may ask within a day is `edge/rate_limit.rs`; where counts are kept is `quota/ledger.rs`.
//!
//! A day is one of UTC. No request waits for a store. What that costs: a process that is killed forgets what it has
//! counted since the last writing, so at most a second's worth of requests of each partner, its burst and its rate; and
//! replicas that share their counts (Redis) learn within about a second what the others have counted, also when they have
//! nothing to write down, so that together they can let through as much too many. When the place for counts is away,
//! counting goes on in memory and is caught up with.

mod ledger;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, PlanConfig};
use crate::error::{Error, GatewayError};
use crate::openapi::{Describe, Operation};
use crate::reload::Live;
pub(crate) use ledger::Ledger;
pub use ledger::TABLES;
use ledger::{Amount, LedgerError};

pub(crate) const DAY: u64 = 24 * 3600;
/// How often counts are written down.
const FLUSH: Duration = Duration::from_secs(1);
/// Of so many partners it is asked at once what other replicas have counted; where there are more, they take turns.
const HEARD_OF: usize = 1000;

/// What a partner has used of its plan, its present request included. An extractor for routes with the limit `plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanUsage {
    /// The plan's name.
    pub plan: Arc<str>,
    pub allows: Arc<PlanConfig>,
    /// Of `allows.daily`.
    pub used: u64,
    /// When the day ends.
    pub resets_at: SystemTime,
    /// Until then, rounded up.
    pub resets_in: Duration,
}

impl PlanUsage {
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.allows.daily.saturating_sub(self.used)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PlanUsage {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let usage = parts.extensions.get::<Self>().cloned();
        let missing = || GatewayError::Bug("a route without the limit `plan` has no usage".into());
        usage.ok_or_else(|| missing().into())
    }
}

impl Describe for PlanUsage {
    fn describe(_: &mut Operation<'_>) {}
}

/// All partners' counts, for one configuration. Those of partners that stay go on in the next one.
pub(crate) struct Quotas {
    counters: HashMap<String, Arc<Counter>>,
    ledger: Arc<Ledger>,
}

impl Quotas {
    /// Of the partners in `config`; what `previous` has counted goes on.
    pub(crate) fn after(previous: Option<&Self>, config: &Config, ledger: &Arc<Ledger>) -> Self {
        let known = |id: &str| previous.and_then(|previous| previous.counters.get(id));
        let counters = config
            .partners
            .keys()
            .map(|id| (id.clone(), known(id).map(Arc::clone).unwrap_or_default()))
            .collect();
        Self {
            counters,
            ledger: Arc::clone(ledger),
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Counts `cost` for the partner `id`, unless that would be more than `daily`: then nothing is counted. What has been
    /// used of the day afterwards; `None` for nobody that is known.
    pub(crate) fn take(
        &self,
        id: &str,
        daily: u64,
        cost: u64,
        now: SystemTime,
    ) -> Option<Result<u64, u64>> {
        let counter = self.counters.get(id)?;
        Some(counter.take(daily, cost, day_of(now)))
    }

    /// Takes over what was counted today before this process started.
    pub(crate) async fn load(&self, now: SystemTime) -> Result<(), LedgerError> {
        let day = day_of(now);
        for (id, used) in self.ledger.used_on(day).await? {
            if let Some(counter) = self.counters.get(&id) {
                counter.begin(day, used);
            }
        }
        Ok(())
    }

    /// Writes down what was counted since the last time.
    pub(crate) async fn flush(&self) -> Result<(), LedgerError> {
        let _one_at_a_time = self.ledger.flushing.lock().await;
        self.write_down().await
    }

    /// Writes down what was counted since the last time, and learns what other replicas have counted today.
    async fn exchange(&self, now: SystemTime) -> Result<(), LedgerError> {
        let mut turn = self.ledger.flushing.lock().await;
        self.write_down().await?;
        let day = day_of(now);
        let mut asked: Vec<(&String, &Counter)> = Vec::new();
        if self.ledger.is_shared() {
            let these = self.counters.iter().skip(*turn).take(HEARD_OF);
            asked.extend(these.map(|(id, counter)| (id, &**counter)));
            // A new configuration may have fewer.
            let next = *turn + asked.len();
            *turn = if next < self.counters.len() { next } else { 0 };
        }
        if asked.is_empty() {
            return Ok(());
        }
        let ids = asked.iter().map(|(id, _)| (*id).clone()).collect();
        let totals = self.ledger.used_by(ids, day).await?;
        for ((_, counter), total) in asked.into_iter().zip(totals) {
            counter.heard(day, total);
        }
        Ok(())
    }

    /// While `flushing` is held.
    async fn write_down(&self) -> Result<(), LedgerError> {
        let mut amounts = Vec::new();
        for (id, counter) in &self.counters {
            for (day, count) in counter.begin_sending() {
                amounts.push(Amount {
                    partner: id.clone(),
                    day,
                    count,
                });
            }
        }
        if amounts.is_empty() {
            return Ok(());
        }
        let outcome = self.ledger.add(amounts.clone()).await;
        for (index, amount) in amounts.iter().enumerate() {
            let Some(counter) = self.counters.get(&amount.partner) else {
                continue;
            };
            match &outcome {
                Ok(totals) => counter.sent(amount, totals.get(index).copied()),
                Err(_) => counter.not_sent(amount),
            }
        }
        outcome.map(drop)
    }
}

/// Writes down counts every second until `stop`.
pub(crate) async fn keep(live: Arc<Live>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(FLUSH);
    let mut is_well = true;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let quotas = Arc::clone(&live.shared().quotas);
        match quotas.exchange(SystemTime::now()).await {
            Ok(()) if is_well => {}
            Ok(()) => {
                is_well = true;
                tracing::info!("counts of quotas are written down again");
            }
            Err(error) if is_well => {
                is_well = false;
                let error = crate::problem::chain(&error);
                tracing::error!(
                    error,
                    "counts of quotas cannot be written down; counting goes on in memory"
                );
            }
            Err(_) => {}
        }
    }
}

/// One partner's count of one day.
#[derive(Default)]
struct Counter {
    // Held for a few instructions, and shared only by requests of the same partner.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    day: u64,
    /// What the ledger has said last.
    written: u64,
    /// What is being written.
    sending: u64,
    unsent: u64,
    /// Of days that are over, and still to be written.
    late: Vec<(u64, u64)>,
}

impl State {
    fn used(&self) -> u64 {
        self.written + self.sending + self.unsent
    }

    /// A new day begins with nothing.
    fn turn_to(&mut self, day: u64) {
        if day > self.day {
            if self.unsent > 0 {
                self.late.push((self.day, self.unsent));
            }
            self.day = day;
            self.written = 0;
            self.sending = 0;
            self.unsent = 0;
        }
    }
}

impl Counter {
    fn take(&self, daily: u64, cost: u64, day: u64) -> Result<u64, u64> {
        let mut state = self.lock();
        state.turn_to(day);
        let used = state.used();
        if used.saturating_add(cost) > daily {
            return Err(used);
        }
        state.unsent += cost;
        Ok(used + cost)
    }

    fn begin(&self, day: u64, written: u64) {
        let mut state = self.lock();
        state.turn_to(day);
        state.written = written;
    }

    /// What all replicas have written. Never less than what is known: a store that has forgotten it does not give it back.
    fn heard(&self, day: u64, total: u64) {
        let mut state = self.lock();
        state.turn_to(day);
        // The next day may have begun meanwhile.
        if state.day == day {
            state.written = state.written.max(total);
        }
    }

    /// Days and counts that are to be written.
    fn begin_sending(&self) -> Vec<(u64, u64)> {
        let mut state = self.lock();
        let mut counts = std::mem::take(&mut state.late);
        if state.unsent > 0 {
            state.sending = std::mem::take(&mut state.unsent);
            counts.push((state.day, state.sending));
        }
        counts
    }

    fn sent(&self, amount: &Amount, total: Option<u64>) {
        let mut state = self.lock();
        if state.day == amount.day {
            state.sending = 0;
            state.written = total.unwrap_or(state.written + amount.count);
        }
    }

    fn not_sent(&self, amount: &Amount) {
        let mut state = self.lock();
        if state.day == amount.day {
            state.sending = 0;
            state.unsent += amount.count;
        } else {
            state.late.push((amount.day, amount.count));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Days since the epoch, in UTC.
fn day_of(now: SystemTime) -> u64 {
    since_epoch(now).as_secs() / DAY
}

/// When the day of `now` ends.
pub(crate) fn end_of_day(now: SystemTime) -> (SystemTime, Duration) {
    let end = Duration::from_secs((day_of(now) + 1) * DAY);
    (UNIX_EPOCH + end, end - since_epoch(now))
}

fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
