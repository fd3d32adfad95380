//! Where a passthrough route forwards to: one upstream, or several by their weights; and where copies go. What is forwarded,
//! and how, is `proxy.rs`.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use crate::config::{MirrorConfig, WeightedUpstream};
use crate::context::RequestContext;
use crate::intern::intern;

/// One upstream or several. A caller always comes to the same one, on all routes with the same weights: whoever is in a
/// trial is in all of it, and reads what they wrote. Nobody in particular is told apart by address.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Each with the sum of the weights up to and with its own. Never empty.
    upstreams: Box<[(u64, &'static str)]>,
}

/// Another upstream that gets copies of requests; nobody waits for its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirrorRule {
    pub(crate) upstream: &'static str,
    /// Of the requests, from 0 to 1.
    pub(crate) share: f64,
}

impl Destination {
    pub(super) fn new(upstreams: &[WeightedUpstream]) -> Self {
        let mut sum = 0;
        let upstreams = upstreams
            .iter()
            .map(|upstream| {
                sum += u64::from(upstream.weight);
                (sum, intern(&upstream.name))
            })
            .collect();
        Self { upstreams }
    }

    /// All that callers may come to: what is at one of them is at the others, too.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.upstreams.iter().map(|(_, name)| *name)
    }

    /// The upstream for the caller of `context`.
    pub(crate) fn choose(&self, context: &RequestContext) -> &'static str {
        match &*self.upstreams {
            [(_, only)] => only,
            several => {
                let hasher = FixedState::with_seed(0);
                let caller = match context.caller().subject() {
                    Some(subject) => hasher.hash_one(subject),
                    None => hasher.hash_one(context.client_address()),
                };
                choose(several, caller)
            }
        }
    }
}

fn choose(upstreams: &[(u64, &'static str)], caller: u64) -> &'static str {
    let all = upstreams.last().map_or(0, |(sum, _)| *sum).max(1);
    let place = caller % all;
    let chosen = upstreams.iter().find(|(sum, _)| place < *sum);
    chosen.map_or("", |(_, name)| name)
}

impl fmt::Display for Destination {
    /// `things`, or `things 95, things-next 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(_, only)] = &*self.upstreams {
            return f.write_str(only);
        }
        let mut before = 0;
        for (index, (sum, name)) in self.upstreams.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {}", sum - before)?;
            before = *sum;
        }
        Ok(())
    }
}

impl From<&MirrorConfig> for MirrorRule {
    fn from(config: &MirrorConfig) -> Self {
        Self {
            upstream: intern(&config.upstream),
            share: config.share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighted(upstreams: &[(&str, u32)]) -> Destination {
        let upstreams: Vec<_> = upstreams
            .iter()
            .map(|(name, weight)| WeightedUpstream {
                name: (*name).to_owned(),
                weight: *weight,
            })
            .collect();
        Destination::new(&upstreams)
    }

    #[test]
    fn callers_are_shared_out_by_weight_and_stay_where_they_are() {
        let destination = weighted(&[("widgets", 90), ("next", 10), ("retired", 0)]);
        assert_eq!(destination.to_string(), "widgets 90, next 10, retired 0");
        assert_eq!(weighted(&[("widgets", 1)]).to_string(), "widgets");
        let hasher = FixedState::with_seed(0);
        let mut next = 0;
        for caller in 0..10_000 {
            let caller = hasher.hash_one(format!("caller-{caller}"));
            let chosen = choose(&destination.upstreams, caller);
            assert_eq!(chosen, choose(&destination.upstreams, caller));
            assert_ne!(chosen, "retired");
            next += u32::from(chosen == "next");
        }
        assert!((900..1100).contains(&next), "{next} of 10,000");
    }

    #[test]
    fn who_was_in_a_trial_stays_in_it_when_it_grows() {
        let small = weighted(&[("next", 10), ("widgets", 90)]);
        let large = weighted(&[("next", 50), ("widgets", 50)]);
        for caller in 0..1000 {
            if choose(&small.upstreams, caller) == "next" {
                assert_eq!(choose(&large.upstreams, caller), "next");
            }
        }
    }
}
