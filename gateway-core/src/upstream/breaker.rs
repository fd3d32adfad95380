//! The circuit breaker of one upstream, shared by all workers: when too many calls fail, none is made for a while, then
//! a few probes decide. What counts as a failure is decided in `flight.rs`.

mod state;
mod window;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Millis;
use crate::config::BreakerConfig;
pub(super) use state::{Admission, Ticket};
use state::{Settlement, State};
pub(super) use window::Window;

/// One word of state and a window of counters: a call that finds it closed costs a load, and an addition at its end.
pub(super) struct Breaker {
    config: BreakerConfig,
    state: AtomicU64,
    window: Window,
}

/// How a call that was let through came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// What was counted as a success at its head has failed before its end.
    BrokeOff,
    /// It was given up before its time was over: that says nothing about the service.
    Neutral,
}

/// What an operator wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Opened { wait: Duration },
    HalfOpened,
    Closed,
}

/// The breaker as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Open { rest: Duration },
    HalfOpen,
}

impl Breaker {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        Self {
            config: config.clone(),
            state: AtomicU64::new(State::START.pack()),
            window: Window::new(config.window),
        }
    }

    /// Whether a call may be made at `now`.
    pub(super) fn admit(&self, now: Millis) -> (Admission, Option<Transition>) {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            let before = State::unpack(word);
            let (after, admission) = before.admit(now, self.config.probes);
            if after == before {
                return (admission, None);
            }
            match self.state.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    let opened = matches!(before, State::Open { .. });
                    return (admission, opened.then_some(Transition::HalfOpened));
                }
                Err(changed) => word = changed,
            }
        }
    }

    /// Every ticket has to come back here, also that of a call that was cancelled.
    pub(super) fn settle(
        &self,
        ticket: Ticket,
        verdict: Verdict,
        now: Millis,
    ) -> Option<Transition> {
        let mut word = self.state.load(Ordering::Acquire);
        if let State::Closed { epoch } = State::unpack(word) {
            match verdict {
                _ if !ticket.is_of(epoch) => return None,
                Verdict::Neutral => return None,
                Verdict::Success => {
                    self.window.record(now, false);
                    return None;
                }
                Verdict::Failure | Verdict::BrokeOff => {
                    if verdict == Verdict::Failure {
                        self.window.record(now, true);
                    } else {
                        self.window.broke_off(now);
                    }
                    let totals = self.window.totals(now);
                    if !totals.reaches(self.config.min_calls, self.config.failure_rate) {
                        return None;
                    }
                }
            }
        }
        let wait = |streak: u8| self.wait(streak);
        loop {
            let before = State::unpack(word);
            let settlement = Settlement {
                ticket,
                verdict,
                now,
                probes: self.config.probes,
                wait: &wait,
            };
            let after = before.settle(&settlement);
            if after == before {
                return None;
            }
            if matches!(after, State::Closed { .. }) {
                // What was counted before it opened says nothing about the service as it is now. Nothing is counted until it is
                // closed.
                self.window.clear();
            }
            match self.state.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    return match (before, after) {
                        (_, State::Open { until, .. }) => Some(Transition::Opened {
                            wait: until.since(now),
                        }),
                        (_, State::Closed { .. }) => Some(Transition::Closed),
                        (_, State::HalfOpen { .. }) => None,
                    };
                }
                Err(changed) => word = changed,
            }
        }
    }

    pub(super) fn phase(&self, now: Millis) -> Phase {
        match State::unpack(self.state.load(Ordering::Acquire)) {
            State::Closed { .. } => Phase::Closed,
            State::Open { until, .. } => Phase::Open {
                rest: until.since(now),
            },
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    /// Calls and failures within the window.
    pub(super) fn totals(&self, now: Millis) -> window::Totals {
        self.window.totals(now)
    }

    /// How long to stay open the `streak`-th time in a row: doubled each time, and a little different in each process, so
    /// that replicas do not probe all at once.
    fn wait(&self, streak: u8) -> Duration {
        let doubled = self
            .config
            .open
            .saturating_mul(1_u32.checked_shl(u32::from(streak)).unwrap_or(u32::MAX))
            .min(self.config.max_open);
        doubled + doubled.mul_f64(fastrand::f64() * 0.1)
    }
}
