//! Where governor keeps its buckets: a map in shards, bounded, that can also be looked at without taking anything.
//! The rule itself (GCRA) is governor's; which bucket a request belongs to is decided in `rate_limit.rs`.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

const SHARDS: usize = 64;
/// Buckets in one shard; a policy holds about 260,000, in some 12 MiB.
const MAX_PER_SHARD: usize = 4096;
/// How many are compared to find one to forget in a full shard.
const SAMPLE: usize = 8;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bucket {
    V4(u32),
    /// The /64 that a subscriber gets: within it addresses cost nothing.
    V6(u64),
    Principal(u64),
    Route(&'static str),
}

impl From<IpAddr> for Bucket {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Says what would happen.
    Look,
    Take,
}

/// A question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lookup {
    pub(super) bucket: Bucket,
    pub(super) mode: Mode,
}

/// Seeded by chance, as the choice of the shard is: which buckets meet cannot be foreseen. Whose bucket it is has been hashed
/// with a key before.
type Shard = HashMap<Bucket, u64, RandomState>;

/// One policy's buckets: for each the theoretical arrival time, in nanoseconds of governor's clock.
#[derive(Debug)]
pub(super) struct Buckets {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Buckets {
    fn shard(&self, bucket: Bucket) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(bucket) as usize % self.shards.len();
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic in between cannot leave a map half changed.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateStore for Buckets {
    type Key = Lookup;

    fn measure_and_replace<T, F, E>(&self, lookup: &Lookup, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(lookup.bucket);
        let take = lookup.mode == Mode::Take;
        if let Some(known) = shard.get_mut(&lookup.bucket) {
            let (outcome, arrival) = decide(Some(Nanos::new(*known)))?;
            if take {
                *known = arrival.as_u64();
            }
            return Ok(outcome);
        }
        let (outcome, arrival) = decide(None)?;
        if take {
            if shard.len() >= MAX_PER_SHARD {
                forget_one(&mut shard);
            }
            shard.insert(lookup.bucket, arrival.as_u64());
        }
        Ok(outcome)
    }
}

/// Makes room in a full shard: of a few buckets the one that is nearest to being full again, for forgetting it gives the
/// least away.
fn forget_one(shard: &mut Shard) {
    let least = shard
        .iter()
        .take(SAMPLE)
        .min_by_key(|(_, arrival)| **arrival)
        .map(|(bucket, _)| *bucket);
    if let Some(bucket) = least {
        shard.remove(&bucket);
    }
}

impl ShrinkableKeyedStateStore<Lookup> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|_, arrival| *arrival > drop_below.as_u64());
            // After a flood of addresses the memory goes back.
            if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
