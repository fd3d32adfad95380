//! Which label sets a gateway counts: handles are made here, once, when a configuration is put together, and held by what
//! counts. Names and help are `family.rs`, the text of a scrape is `text.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cells::{Cells, Counter, Gauge, Level};
use super::family::{Family, Kind};
use super::histogram::{Histogram, WIDTH};

/// Names and values, in the order in which they are shown. Values are names from the configuration and from the code.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// All figures of one gateway. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    workers: usize,
    families: Arc<Mutex<Families>>,
}

/// By name, and by the labels as they are written.
pub(super) type Families = BTreeMap<&'static str, (&'static Family, BTreeMap<String, Series>)>;

#[derive(Clone, Debug)]
pub(super) enum Series {
    Counter(Counter),
    Level(Level),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Registry {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            families: Arc::default(),
        }
    }

    /// The counter with these labels: the same one for everybody who asks.
    pub(crate) fn counter(&self, family: &'static Family, labels: Labels<'_>) -> Counter {
        let cells = || Counter::new(Cells::new(self.workers, 1), 0);
        match self.series(family, labels, || Series::Counter(cells())) {
            Series::Counter(counter) => counter,
            Series::Level(_) | Series::Gauge(_) | Series::Histogram(_) => cells(),
        }
    }

    /// Counters that differ in the last label alone, side by side in memory: one request adds to several of them.
    pub(crate) fn counters<const N: usize>(
        &self,
        family: &'static Family,
        labels: Labels<'_>,
        last: &'static str,
        values: [&str; N],
    ) -> [Counter; N] {
        let cells = Cells::new(self.workers, N);
        std::array::from_fn(|index| {
            let labels: Vec<_> = labels
                .iter()
                .copied()
                .chain([(last, values[index])])
                .collect();
            let fresh = || Counter::new(Arc::clone(&cells), index);
            match self.series(family, &labels, || Series::Counter(fresh())) {
                Series::Counter(counter) => counter,
                Series::Level(_) | Series::Gauge(_) | Series::Histogram(_) => fresh(),
            }
        })
    }

    pub(crate) fn level(&self, family: &'static Family, labels: Labels<'_>) -> Level {
        let fresh = || Level::new(Cells::new(self.workers, 1));
        match self.series(family, labels, || Series::Level(fresh())) {
            Series::Level(level) => level,
            Series::Counter(_) | Series::Gauge(_) | Series::Histogram(_) => fresh(),
        }
    }

    pub(crate) fn gauge(&self, family: &'static Family, labels: Labels<'_>) -> Gauge {
        match self.series(family, labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            Series::Counter(_) | Series::Level(_) | Series::Histogram(_) => Gauge::default(),
        }
    }

    pub(crate) fn histogram(&self, family: &'static Family, labels: Labels<'_>) -> Histogram {
        self.durations(family, labels, Histogram::new)
    }

    /// A histogram that keeps traces as examples.
    pub(crate) fn traced_histogram(
        &self,
        family: &'static Family,
        labels: Labels<'_>,
    ) -> Histogram {
        self.durations(family, labels, Histogram::with_exemplars)
    }

    fn durations(
        &self,
        family: &'static Family,
        labels: Labels<'_>,
        make: fn(Arc<Cells>) -> Histogram,
    ) -> Histogram {
        let fresh = || make(Cells::new(self.workers, WIDTH));
        match self.series(family, labels, || Series::Histogram(fresh())) {
            Series::Histogram(histogram) => histogram,
            Series::Counter(_) | Series::Level(_) | Series::Gauge(_) => fresh(),
        }
    }

    /// A family has series of one kind: what is asked for as another is counted for nobody, and fails in tests.
    fn series(
        &self,
        family: &'static Family,
        labels: Labels<'_>,
        fresh: impl FnOnce() -> Series,
    ) -> Series {
        let mut families = self.lock();
        let (_, series) = families
            .entry(family.name)
            .or_insert_with(|| (family, BTreeMap::new()));
        let found = series.entry(written(labels)).or_insert_with(fresh).clone();
        debug_assert_eq!(found.kind(), family.kind, "{}", family.name);
        found
    }

    /// For a scrape.
    pub(super) fn snapshot(&self) -> Families {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Families> {
        // Handles are put in whole: a panic elsewhere leaves nothing half done.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Level(_) | Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
    }
}

/// Labels as both text formats have them, without the braces.
pub(super) fn written(labels: Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::family::{CONNECTIONS, REQUESTS};
    use super::*;

    #[test]
    fn the_same_labels_are_the_same_figure() {
        let registry = Registry::new(1);
        let one = registry.counter(&REQUESTS, &[("route", "a"), ("class", "2xx")]);
        let [two, other] = registry.counters(&REQUESTS, &[("route", "a")], "class", ["2xx", "3xx"]);
        one.increment(1);
        two.increment(1);
        other.increment(5);
        assert_eq!((one.value(), two.value(), other.value()), (2, 2, 5));
        let (again, level) = (
            registry.level(&CONNECTIONS, &[]),
            registry.level(&CONNECTIONS, &[]),
        );
        again.up();
        assert_eq!(level.value(), 1);
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(
            written(&[("a", "plain"), ("b", "\"x\\\n")]),
            r#"a="plain",b="\"x\\\n""#
        );
    }
}
