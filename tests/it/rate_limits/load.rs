//! A steady load over all replicas of a fleet, and what its clients saw. What must hold of that is in `../rate_limits.rs`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use ftgo_tests::Client;
use ftgo_tests::fleet::Fleet;
use ftgo_tests::system::eventually;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Clients of each replica, and the pause between two requests of one.
pub(super) const CLIENTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(5);

/// A load that goes on until it is stopped.
pub(super) struct Load {
    clients: JoinSet<()>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

#[derive(Clone, Copy)]
struct Sample {
    /// Which replica was asked.
    replica: usize,
    /// When the answer was there.
    at: Instant,
    took: Duration,
    /// `None` for a request without an answer.
    status: Option<u16>,
}

impl Load {
    pub(super) fn start(fleet: &Fleet, path: &str) -> Result<Self> {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let mut clients = JoinSet::new();
        for (replica, address) in fleet.addresses().iter().enumerate() {
            for _ in 0..CLIENTS {
                let client = Client::new()?;
                let url = format!("http://{address}{path}");
                let samples = Arc::clone(&samples);
                clients.spawn(async move {
                    let mut pace = interval(PAUSE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        pace.tick().await;
                        let began = Instant::now();
                        let status = match client.get_raw(&url).await {
                            Ok(answer) => Some(answer.status().as_u16()),
                            Err(_) => None,
                        };
                        let sample = Sample {
                            replica,
                            at: Instant::now(),
                            took: began.elapsed(),
                            status,
                        };
                        samples
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(sample);
                    }
                });
            }
        }
        Ok(Self { clients, samples })
    }

    /// Waits for so many answers.
    pub(super) async fn samples_reach(&self, count: usize) -> Result<()> {
        eventually("the load runs", async || {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((samples.len() >= count).then_some(()))
        })
        .await
    }

    pub(super) async fn stop(mut self) -> Result<Samples> {
        self.clients.shutdown().await;
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Samples(std::mem::take(&mut *samples)))
    }
}

/// A limit as it is configured.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) burst: f64,
}

/// How a bucket is at the beginning.
#[derive(Clone, Copy)]
pub(super) enum Bucket {
    Full,
    Empty,
}

/// What the clients saw.
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn admitted_between(&self, from: Instant, to: Instant) -> usize {
        self.count(|sample| sample.status == Some(200) && (from..to).contains(&sample.at))
    }

    /// How many of the same requests a single counter would let through that begins with a full bucket, or an empty one.
    /// What a limit grants while nobody asks is lost beyond its burst: on a machine with too much to do clients stall, and
    /// how much was granted says little about how much had to pass. Their own requests say it exactly.
    ///
    /// A request was decided somewhere between its beginning and its answer. Both are tried; the fewer have to pass, and
    /// of the requests that were under way at either end none needs to.
    pub(super) fn at_least(&self, limit: Limit, bucket: Bucket, from: Instant, to: Instant) -> f64 {
        let began = self.single_counter(limit, bucket, from, to, |sample| sample.at - sample.took);
        let ended = self.single_counter(limit, bucket, from, to, |sample| sample.at);
        began.min(ended) as f64 * 0.99 - (CLIENTS * self.replicas()) as f64
    }

    fn replicas(&self) -> usize {
        let replicas = self.0.iter().map(|sample| sample.replica + 1);
        replicas.max().unwrap_or(0)
    }

    /// The same for replicas that each keep to their share of the limit.
    pub(super) fn at_least_by_shares(
        &self,
        limit: Limit,
        bucket: Bucket,
        from: Instant,
        to: Instant,
    ) -> f64 {
        let replicas = self.replicas();
        let share = Limit {
            rate: limit.rate / replicas as f64,
            burst: (limit.burst / replicas as f64).floor(),
        };
        (0..replicas)
            .map(|replica| {
                let own = |sample: &&Sample| sample.replica == replica;
                let own = Samples(self.0.iter().filter(own).copied().collect());
                let began =
                    own.single_counter(share, bucket, from, to, |sample| sample.at - sample.took);
                let ended = own.single_counter(share, bucket, from, to, |sample| sample.at);
                began.min(ended) as f64 * 0.99 - CLIENTS as f64
            })
            .sum()
    }

    /// GCRA over the requests between `from` and `to`, by the time that `decided` gives them.
    fn single_counter(
        &self,
        limit: Limit,
        bucket: Bucket,
        from: Instant,
        to: Instant,
        decided: impl Fn(&Sample) -> Instant,
    ) -> usize {
        let mut times: Vec<f64> = self
            .0
            .iter()
            .map(decided)
            .filter(|at| (from..to).contains(at))
            .map(|at| (at - from).as_secs_f64())
            .collect();
        times.sort_by(f64::total_cmp);
        let interval = 1.0 / limit.rate;
        let most = interval * limit.burst;
        let mut arrival = match bucket {
            Bucket::Full => 0.0,
            Bucket::Empty => most,
        };
        let mut passed = 0;
        for at in times {
            let next = f64::max(arrival, at) + interval;
            if next - at <= most + 1e-9 {
                arrival = next;
                passed += 1;
            }
        }
        passed
    }

    pub(super) fn denied(&self) -> usize {
        self.count(|sample| sample.status == Some(429))
    }

    /// Neither let through nor refused by the limit.
    pub(super) fn failed(&self) -> usize {
        self.count(|sample| !matches!(sample.status, Some(200 | 429)))
    }

    pub(super) fn slowest(&self) -> Duration {
        self.0
            .iter()
            .map(|sample| sample.took)
            .max()
            .unwrap_or_default()
    }

    fn count(&self, wanted: impl Fn(&Sample) -> bool) -> usize {
        self.0.iter().filter(|sample| wanted(sample)).count()
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} denied, {} failed, the slowest took {:?}",
            self.0.len(),
            self.denied(),
            self.failed(),
            self.slowest()
        )
    }
}
