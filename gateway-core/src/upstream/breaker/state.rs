//! The breaker's state machine, pure: from a state and what happened to the next state. How it is shared between threads
//! is `breaker.rs`.

use std::time::Duration;

use super::super::clock::Millis;
use super::Verdict;

/// Each time that it half-opens has an epoch of its own, so that a late answer to an earlier call is not taken for a probe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed {
        epoch: u16,
    },
    Open {
        /// How often it has opened in a row, less one.
        streak: u8,
        epoch: u16,
        until: Millis,
    },
    HalfOpen {
        streak: u8,
        epoch: u16,
        /// Probes that have not come back.
        outstanding: u8,
        succeeded: u8,
    },
}

/// What an admitted call brings back with its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a ticket that is not settled keeps a probe's place"]
pub(in crate::upstream) struct Ticket {
    epoch: u16,
    probe: bool,
}

impl Ticket {
    /// For an upstream without a breaker.
    pub(in crate::upstream) const NONE: Self = Self {
        epoch: 0,
        probe: false,
    };

    /// Whether it was given out since the breaker closed, for an ordinary call.
    pub(super) fn is_of(self, epoch: u16) -> bool {
        !self.probe && self.epoch == epoch
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Admission {
    Granted(Ticket),
    /// Not before this time has passed. Zero when it hangs on probes that are under way.
    Refused(Duration),
}

/// A ticket that comes back.
pub(super) struct Settlement<'a> {
    pub(super) ticket: Ticket,
    pub(super) verdict: Verdict,
    pub(super) now: Millis,
    pub(super) probes: u8,
    /// How long to stay open, by the streak.
    pub(super) wait: &'a dyn Fn(u8) -> Duration,
}

/// Enough for any back-off.
const MAX_STREAK: u8 = 31;

impl State {
    pub(super) const START: Self = Self::Closed { epoch: 0 };

    /// In the open state the first call after the wait becomes the first probe; there are never more than `probes`.
    pub(super) fn admit(self, now: Millis, probes: u8) -> (Self, Admission) {
        match self {
            Self::Closed { epoch } => (
                self,
                Admission::Granted(Ticket {
                    epoch,
                    probe: false,
                }),
            ),
            Self::Open { until, .. } if now < until => (self, Admission::Refused(until.since(now))),
            Self::Open { streak, epoch, .. } => {
                let epoch = epoch.wrapping_add(1);
                let after = Self::HalfOpen {
                    streak,
                    epoch,
                    outstanding: 1,
                    succeeded: 0,
                };
                (after, Admission::Granted(Ticket { epoch, probe: true }))
            }
            Self::HalfOpen {
                streak,
                epoch,
                outstanding,
                succeeded,
            } => {
                if outstanding + succeeded >= probes {
                    return (self, Admission::Refused(Duration::ZERO));
                }
                let after = Self::HalfOpen {
                    streak,
                    epoch,
                    outstanding: outstanding + 1,
                    succeeded,
                };
                (after, Admission::Granted(Ticket { epoch, probe: true }))
            }
        }
    }

    /// A failure of an ordinary call comes here only when the window is full of them.
    pub(super) fn settle(self, settlement: &Settlement<'_>) -> Self {
        let Settlement {
            ticket,
            verdict,
            now,
            probes,
            wait,
        } = *settlement;
        match self {
            Self::Closed { epoch }
                if matches!(verdict, Verdict::Failure | Verdict::BrokeOff)
                    && ticket.is_of(epoch) =>
            {
                Self::Open {
                    streak: 0,
                    epoch,
                    until: now.after(wait(0)),
                }
            }
            Self::HalfOpen {
                streak,
                epoch,
                outstanding,
                succeeded,
            } if ticket.probe && ticket.epoch == epoch => match verdict {
                Verdict::Failure | Verdict::BrokeOff => {
                    let streak = (streak + 1).min(MAX_STREAK);
                    Self::Open {
                        streak,
                        epoch,
                        until: now.after(wait(streak)),
                    }
                }
                Verdict::Success if succeeded + 1 >= probes => Self::Closed { epoch },
                Verdict::Success => Self::HalfOpen {
                    streak,
                    epoch,
                    outstanding: outstanding.saturating_sub(1),
                    succeeded: succeeded + 1,
                },
                Verdict::Neutral => Self::HalfOpen {
                    streak,
                    epoch,
                    outstanding: outstanding.saturating_sub(1),
                    succeeded,
                },
            },
            // Calls of an earlier time say nothing about this one.
            Self::Closed { .. } | Self::Open { .. } | Self::HalfOpen { .. } => self,
        }
    }

    /// Two bits of kind, six of streak, sixteen of epoch; the rest is the time, or two counts of eight bits.
    pub(super) fn pack(self) -> u64 {
        let word = |kind: u64, streak: u8, epoch: u16, rest: u64| {
            kind << 62 | u64::from(streak & 0x3f) << 56 | u64::from(epoch) << 40 | rest
        };
        match self {
            Self::Closed { epoch } => word(0, 0, epoch, 0),
            Self::Open {
                streak,
                epoch,
                until,
            } => word(1, streak, epoch, until.0 & TIME),
            Self::HalfOpen {
                streak,
                epoch,
                outstanding,
                succeeded,
            } => word(
                2,
                streak,
                epoch,
                u64::from(outstanding) << 8 | u64::from(succeeded),
            ),
        }
    }

    pub(super) fn unpack(word: u64) -> Self {
        let streak = (word >> 56) as u8 & 0x3f;
        let epoch = (word >> 40) as u16;
        match word >> 62 {
            0 => Self::Closed { epoch },
            1 => Self::Open {
                streak,
                epoch,
                until: Millis(word & TIME),
            },
            _ => Self::HalfOpen {
                streak,
                epoch,
                outstanding: (word >> 8) as u8,
                succeeded: word as u8,
            },
        }
    }
}

/// Forty bits of milliseconds are 34 years.
const TIME: u64 = (1 << 40) - 1;
