//! One part for each of many things: batched, bounded, and each with an envelope of its own. The verb is in `compose.rs`.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;

use futures_util::StreamExt;
use futures_util::stream;

use super::section::Section;

/// How the things are asked for: how many in one call, and how many calls at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    pub size: usize,
    pub at_once: usize,
}

/// What became of many things that were asked for by their keys.
#[derive(Debug)]
pub struct Each<K, T> {
    found: HashMap<K, T>,
    failed: HashMap<K, &'static str>,
    /// The first call that failed, in the order of the keys, and why.
    first_failure: Option<(usize, &'static str)>,
    picked: bool,
}

impl<K: Eq + Hash, T> Each<K, T> {
    /// Nobody wants to see any of them.
    pub(super) fn omitted() -> Self {
        Self {
            found: HashMap::new(),
            failed: HashMap::new(),
            first_failure: None,
            picked: false,
        }
    }

    /// Asks for all `keys`, each once.
    pub(super) async fn fetch<Items, Fut>(
        keys: impl IntoIterator<Item = K>,
        batches: Batches,
        call: impl Fn(Vec<K>) -> Fut,
    ) -> Self
    where
        K: Clone,
        Items: IntoIterator<Item = (K, T)>,
        Fut: Future<Output = Result<Items, &'static str>>,
    {
        let mut known = HashSet::new();
        let once = keys.into_iter().filter(|key| known.insert(key.clone()));
        let keys: Vec<K> = once.collect();
        // Made here and owned: a handler whose future borrows from a closure's argument cannot be sent between threads.
        let mut calls = Vec::new();
        for (place, batch) in keys.chunks(batches.size.max(1)).enumerate() {
            let batch = batch.to_vec();
            let call = call(batch.clone());
            calls.push(async move { (place, batch, call.await) });
        }
        let mut answers = stream::iter(calls).buffer_unordered(batches.at_once.max(1));
        let mut each = Self {
            picked: true,
            ..Self::omitted()
        };
        while let Some((place, batch, answer)) = answers.next().await {
            match answer {
                Ok(items) => each.found.extend(items),
                Err(reason) => {
                    each.failed
                        .extend(batch.into_iter().map(|key| (key, reason)));
                    let known = each.first_failure.filter(|(before, _)| *before < place);
                    each.first_failure = known.or(Some((place, reason)));
                }
            }
        }
        each
    }

    /// Whether a call failed. That a service does not know a thing is an answer, not a failure.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The section of one of them; `not_found` when the service does not know it.
    #[must_use]
    pub fn of(&self, key: &K) -> Section<&T> {
        match (self.found.get(key), self.failed.get(key)) {
            (Some(data), _) => Section::Ok(data),
            (None, Some(reason)) => Section::unavailable(reason),
            (None, None) if self.picked => Section::unavailable("not_found"),
            (None, None) => Section::Omitted,
        }
    }

    /// All of them as one section, which has no data when any call failed.
    #[must_use]
    pub fn whole(self) -> Section<HashMap<K, T>> {
        match self.first_failure {
            Some((_, reason)) => Section::unavailable(reason),
            None if self.picked => Section::Ok(self.found),
            None => Section::Omitted,
        }
    }
}
