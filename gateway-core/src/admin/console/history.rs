//! The last five minutes of a gateway's figures, for rates, quantiles and small charts. It is as large as the
//! configuration: one track for each route, upstream and
//! policy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::gateway::Shared;
use crate::metrics::{Buckets, Counts, RuntimeNow, Totals};
use crate::reload::Live;

/// How long one bar of a chart is.
pub(super) const TICK: Duration = Duration::from_secs(5);
/// Bars of a chart: five minutes.
pub(super) const TICKS: usize = 60;
/// Rates are those of the last minute.
const RATE_TICKS: usize = 12;
/// How many ticks lie between two snapshots of buckets; they are larger than counts.
const SNAPSHOT_TICKS: usize = 12;

/// The last minutes of one route, upstream or policy.
#[derive(Clone, Debug)]
pub(super) struct Track {
    now: Totals,
    ticks: VecDeque<Counts>,
    snapshots: VecDeque<Buckets>,
    since_snapshot: usize,
}

impl Track {
    fn new(first: Totals) -> Self {
        Self {
            snapshots: VecDeque::from([first.durations]),
            now: first,
            ticks: VecDeque::with_capacity(TICKS),
            since_snapshot: 0,
        }
    }

    fn push(&mut self, now: Totals) {
        if self.ticks.len() == TICKS {
            self.ticks.pop_front();
        }
        self.ticks.push_back(now.counts.since(&self.now.counts));
        self.now = now;
        self.since_snapshot += 1;
        if self.since_snapshot == SNAPSHOT_TICKS {
            self.since_snapshot = 0;
            if self.snapshots.len() > TICKS / SNAPSHOT_TICKS {
                self.snapshots.pop_front();
            }
            self.snapshots.push_back(now.durations);
        }
    }

    /// A second, over the last minute or what there is of it.
    pub(super) fn rates(&self) -> Rates {
        let ticks = self.ticks.len().min(RATE_TICKS);
        let seconds = TICK.as_secs_f64() * ticks.max(1) as f64;
        let last = self.ticks.iter().rev().take(ticks);
        let sum = last.fold(Counts::default(), |sum, tick| sum.plus(tick));
        Rates {
            all: sum.all as f64 / seconds,
            failed: sum.failed as f64 / seconds,
            refused: sum.refused as f64 / seconds,
        }
    }

    /// Durations of the last five to six minutes.
    pub(super) fn durations(&self) -> Buckets {
        match self.snapshots.front() {
            Some(oldest) => self.now.durations.since(oldest),
            None => self.now.durations,
        }
    }

    /// The oldest first; as many as there have been, at most [`TICKS`].
    pub(super) fn ticks(&self) -> impl ExactSizeIterator<Item = Counts> {
        self.ticks.iter().copied()
    }
}

/// A second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) all: f64,
    pub(super) failed: f64,
    pub(super) refused: f64,
}

impl Rates {
    /// The share that failed, from 0 to 1.
    pub(super) fn failing(&self) -> f64 {
        if self.all > 0.0 {
            self.failed / self.all
        } else {
            0.0
        }
    }
}

/// The tracks of a process.
#[derive(Debug, Default)]
pub(in crate::admin) struct History {
    tracks: Mutex<Tracks>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    /// Everything that was answered, also without a route.
    pub(super) all: Option<Track>,
    pub(super) routes: BTreeMap<&'static str, Track>,
    pub(super) upstreams: BTreeMap<&'static str, Track>,
    pub(super) policies: BTreeMap<&'static str, Track>,
    pub(super) threads: Vec<Thread>,
    looked: Option<Instant>,
}

/// A runtime's thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) runtime: RuntimeNow,
    /// The share of the last tick that it was not waiting, from 0 to 1.
    pub(super) busy: f64,
}

impl History {
    /// Looks at the figures every [`TICK`], for ever.
    pub(in crate::admin) async fn keep(self: Arc<Self>, live: Arc<Live>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&live.shared());
        }
    }

    fn look(&self, shared: &Shared) {
        let mut tracks = self.lock();
        let unmatched = shared.metrics.unmatched.totals();
        let routes: Vec<_> = shared
            .table
            .routes()
            .map(|route| (route.name, route.metrics.totals()))
            .collect();
        let all = routes.iter().fold(unmatched, |sum, (_, one)| sum.plus(one));
        advance(&mut tracks.routes, routes);
        match &mut tracks.all {
            Some(track) => track.push(all),
            none => *none = Some(Track::new(all)),
        }
        let upstreams = shared.config.upstreams.keys().map(|name| {
            let name = crate::intern::intern(name);
            (name, shared.metrics.upstream(name).totals())
        });
        advance(&mut tracks.upstreams, upstreams);
        let policies = shared.config.rate_limits.keys().map(|name| {
            let totals = shared.metrics.limit(name).totals();
            (crate::intern::intern(name), totals)
        });
        advance(&mut tracks.policies, policies);
        tracks.look_at_threads(shared);
    }

    pub(super) fn tracks(&self) -> Tracks {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tracks> {
        // A chart with a gap is better than none.
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracks {
    fn look_at_threads(&mut self, shared: &Shared) {
        let now = Instant::now();
        let passed = self.looked.replace(now).map(|before| now - before);
        let before = std::mem::take(&mut self.threads);
        let busy = |runtime: &RuntimeNow| {
            let known = before
                .iter()
                .find(|known| known.runtime.thread == runtime.thread)?;
            let busy = runtime.busy.saturating_sub(known.runtime.busy);
            let possible = passed?.as_secs_f64().max(1e-3) * runtime.threads.max(1) as f64;
            Some(busy.as_secs_f64() / possible)
        };
        self.threads = shared
            .metrics
            .runtimes()
            .into_iter()
            .map(|runtime| Thread {
                busy: busy(&runtime).unwrap_or_default().min(1.0),
                runtime,
            })
            .collect();
    }
}

/// One more tick; what the configuration does not have any more is forgotten.
fn advance(
    tracks: &mut BTreeMap<&'static str, Track>,
    now: impl IntoIterator<Item = (&'static str, Totals)>,
) {
    let mut before = std::mem::take(tracks);
    for (name, totals) in now {
        let track = match before.remove(name) {
            Some(mut track) => {
                track.push(totals);
                track
            }
            None => Track::new(totals),
        };
        tracks.insert(name, track);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(all: u64, failed: u64) -> Totals {
        Totals {
            counts: Counts {
                all,
                failed,
                refused: 0,
            },
            durations: Buckets::default(),
        }
    }

    #[test]
    fn rates_are_of_the_last_minute_and_the_chart_of_the_last_five() {
        let mut track = Track::new(totals(1000, 0));
        assert_eq!(track.rates(), Rates::default());
        track.push(totals(1050, 5));
        let rates = track.rates();
        assert!((rates.all - 10.0).abs() < 1e-9 && (rates.failing() - 0.1).abs() < 1e-9);
        for tick in 0..100 {
            track.push(totals(1050 + tick, 5));
        }
        assert_eq!(track.ticks().len(), TICKS);
        assert!((track.rates().all - 0.2).abs() < 1e-9);
        assert!(track.rates().failing().abs() < 1e-9);
        assert!(track.snapshots.len() <= TICKS / SNAPSHOT_TICKS + 1);
    }

    #[test]
    fn what_a_reload_has_taken_out_is_forgotten() {
        let mut tracks = BTreeMap::new();
        advance(&mut tracks, [("a", totals(0, 0)), ("b", totals(0, 0))]);
        advance(&mut tracks, [("a", totals(5, 0)), ("c", totals(3, 0))]);
        assert_eq!(tracks.keys().copied().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(tracks["a"].ticks().len(), 1);
        assert_eq!(tracks["c"].ticks().len(), 0);
    }
}
