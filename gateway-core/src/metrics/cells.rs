//! Numbers that many threads add to and hardly anybody reads: each worker has cells of its own. Names and labels are
//! `registry.rs`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one core fetches at a time: two workers never write to the same line.
const CELLS_PER_LINE: usize = 8;

thread_local! {
    /// 0 is everybody's; a worker has a number from 1 on, and nobody else in the process adds to its cells.
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// From here on this thread is the worker `number` (from 0), the only one of that number.
pub(crate) fn enter_worker(number: usize) {
    SHARD.set(number + 1);
}

#[repr(align(64))]
#[derive(Debug, Default)]
struct Line([AtomicU64; CELLS_PER_LINE]);

/// A row of counters in each shard.
#[derive(Debug)]
pub(super) struct Cells {
    lines: Box<[Line]>,
    lines_per_shard: usize,
    shards: usize,
}

impl Cells {
    /// Room for `width` counters of `workers` workers and of everybody else.
    pub(super) fn new(workers: usize, width: usize) -> Arc<Self> {
        let lines_per_shard = width.div_ceil(CELLS_PER_LINE);
        let shards = workers + 1;
        Arc::new(Self {
            lines: std::iter::repeat_with(Line::default)
                .take(lines_per_shard * shards)
                .collect(),
            lines_per_shard,
            shards,
        })
    }

    fn cell(&self, shard: usize, index: usize) -> &AtomicU64 {
        let line = shard * self.lines_per_shard + index / CELLS_PER_LINE;
        &self.lines[line].0[index % CELLS_PER_LINE]
    }

    /// Adds, wrapping around; `-1` is `u64::MAX`.
    pub(super) fn add(&self, index: usize, amount: u64) {
        self.writer().add(index, amount);
    }

    /// For several additions in a row.
    pub(super) fn writer(&self) -> Writer<'_> {
        let shard = SHARD.get();
        Writer {
            cells: self,
            shard: if shard < self.shards { shard } else { 0 },
        }
    }

    /// Over all shards.
    pub(super) fn sum(&self, index: usize) -> u64 {
        (0..self.shards)
            .map(|shard| self.cell(shard, index).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// This thread's cells.
pub(super) struct Writer<'a> {
    cells: &'a Cells,
    shard: usize,
}

impl Writer<'_> {
    pub(super) fn add(&self, index: usize, amount: u64) {
        let cell = self.cells.cell(self.shard, index);
        if self.shard == 0 {
            cell.fetch_add(amount, Ordering::Relaxed);
        } else {
            // One writer needs no locked instruction.
            let before = cell.load(Ordering::Relaxed);
            cell.store(before.wrapping_add(amount), Ordering::Relaxed);
        }
    }
}

/// A number that only grows. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    cells: Arc<Cells>,
    index: usize,
}

impl Counter {
    pub(super) fn new(cells: Arc<Cells>, index: usize) -> Self {
        Self { cells, index }
    }

    pub(crate) fn increment(&self, by: u64) {
        self.cells.add(self.index, by);
    }

    pub(crate) fn value(&self) -> u64 {
        self.cells.sum(self.index)
    }
}

/// How many there are of something that comes and goes. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    cells: Arc<Cells>,
}

impl Level {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self { cells }
    }

    pub(crate) fn up(&self) {
        self.cells.add(0, 1);
    }

    /// Also from another thread than the one that said `up`.
    pub(crate) fn down(&self) {
        self.cells.add(0, u64::MAX);
    }

    pub(crate) fn value(&self) -> i64 {
        self.cells.sum(0).cast_signed()
    }
}

/// A number that is set. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge {
    bits: Arc<AtomicU64>,
}

impl Gauge {
    pub(crate) fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn what_workers_and_others_add_is_summed() {
        let counter = Counter::new(Cells::new(2, 3), 2);
        let level = Level::new(Cells::new(2, 1));
        level.up();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (counter, level) = (&counter, &level);
                scope.spawn(move || {
                    // More workers than the cells were made for share those of everybody.
                    enter_worker(number);
                    for _ in 0..1000 {
                        counter.increment(2);
                        level.up();
                        level.down();
                    }
                });
            }
        });
        assert_eq!(counter.value(), 8000);
        assert_eq!(level.value(), 1);
        level.down();
        level.down();
        assert_eq!(level.value(), -1);
    }

    #[test]
    fn a_gauge_is_what_was_set_last() {
        let gauge = Gauge::default();
        let other = gauge.clone();
        gauge.set(1.5);
        std::thread::spawn(move || other.set(-2.0)).join().unwrap();
        assert!((gauge.value() + 2.0).abs() < f64::EPSILON);
    }
}
