//! The breaker against every order of events: with a clock of the test's own, and from several threads at once.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};

use super::state::State;
use super::*;

fn config() -> BreakerConfig {
    BreakerConfig {
        window: Duration::from_secs(10),
        min_calls: 10,
        failure_rate: 0.5,
        open: Duration::from_secs(1),
        max_open: Duration::from_secs(8),
        probes: 3,
        min_timeout: Duration::from_millis(250),
    }
}

fn admitted(breaker: &Breaker, now: Millis) -> Option<Ticket> {
    match breaker.admit(now).0 {
        Admission::Granted(ticket) => Some(ticket),
        Admission::Refused(_) => None,
    }
}

fn call(breaker: &Breaker, verdict: Verdict, now: Millis) -> Option<Transition> {
    let ticket = admitted(breaker, now).unwrap();
    breaker.settle(ticket, verdict, now)
}

/// Fails until it opens.
fn opened(breaker: &Breaker, now: Millis) -> Duration {
    for _ in 0..1_000 {
        if let Some(Transition::Opened { wait }) = call(breaker, Verdict::Failure, now) {
            return wait;
        }
    }
    panic!("it never opened");
}

#[test]
fn it_takes_a_share_of_enough_calls() {
    let breaker = Breaker::new(&config());
    let now = Millis(5);
    for _ in 0..6 {
        assert_eq!(call(&breaker, Verdict::Success, now), None);
    }
    for _ in 0..5 {
        assert_eq!(call(&breaker, Verdict::Failure, now), None);
    }
    // Six of twelve.
    let opened = call(&breaker, Verdict::Failure, now);
    assert!(matches!(opened, Some(Transition::Opened { .. })));
    assert_eq!(admitted(&breaker, now), None);

    let quiet = Breaker::new(&config());
    for _ in 0..9 {
        assert_eq!(call(&quiet, Verdict::Failure, now), None, "too few calls");
    }
}

#[test]
fn what_left_the_window_is_forgotten() {
    let breaker = Breaker::new(&config());
    for second in 0..100 {
        // Nine failures in each window of ten seconds.
        if second % 10 != 0 {
            assert_eq!(
                call(&breaker, Verdict::Failure, Millis(second * 1_000)),
                None
            );
        }
    }
}

#[test]
fn cancelled_calls_do_not_count() {
    let breaker = Breaker::new(&config());
    for _ in 0..100 {
        assert_eq!(call(&breaker, Verdict::Neutral, Millis(0)), None);
    }
    assert_eq!(breaker.totals(Millis(0)).calls, 0);
}

#[test]
fn exactly_the_configured_probes_pass_and_close_it() {
    let breaker = Breaker::new(&config());
    let wait = opened(&breaker, Millis(0));
    let early = Millis(u64::try_from(wait.as_millis()).unwrap() - 1);
    assert_eq!(admitted(&breaker, early), None);
    let now = Millis(0).after(wait);
    let probes: Vec<Ticket> = (0..10).filter_map(|_| admitted(&breaker, now)).collect();
    assert_eq!(probes.len(), 3);
    assert_eq!(breaker.phase(now), Phase::HalfOpen);
    // One is cancelled: its place is free again, once.
    breaker.settle(probes[0], Verdict::Neutral, now);
    let another = admitted(&breaker, now).unwrap();
    assert_eq!(admitted(&breaker, now), None);
    assert_eq!(breaker.settle(another, Verdict::Success, now), None);
    assert_eq!(breaker.settle(probes[1], Verdict::Success, now), None);
    let closed = breaker.settle(probes[2], Verdict::Success, now);
    assert_eq!(closed, Some(Transition::Closed));
    assert_eq!(breaker.totals(now).calls, 0);
}

#[test]
fn a_failed_probe_opens_it_for_longer_up_to_a_limit() {
    let breaker = Breaker::new(&config());
    let mut wait = opened(&breaker, Millis(0));
    let mut now = Millis(0);
    for seconds in [1, 2, 4, 8, 8] {
        let least = Duration::from_secs(seconds);
        assert!(wait >= least && wait <= least.mul_f64(1.11), "{wait:?}");
        now = now.after(wait);
        match call(&breaker, Verdict::Failure, now) {
            Some(Transition::Opened { wait: next }) => wait = next,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn late_answers_to_calls_from_before_say_nothing() {
    let breaker = Breaker::new(&config());
    let slow = admitted(&breaker, Millis(0)).unwrap();
    let wait = opened(&breaker, Millis(0));
    assert_eq!(breaker.settle(slow, Verdict::Success, Millis(1)), None);
    let now = Millis(0).after(wait);
    let probe = admitted(&breaker, now).unwrap();
    assert_eq!(breaker.settle(slow, Verdict::Failure, now), None);
    assert_eq!(breaker.phase(now), Phase::HalfOpen);
    // The probe of an earlier time, neither.
    let opened = breaker.settle(probe, Verdict::Failure, now);
    let Some(Transition::Opened { wait }) = opened else {
        panic!("{opened:?}")
    };
    let later = now.after(wait);
    let probes: Vec<Ticket> = (0..3).filter_map(|_| admitted(&breaker, later)).collect();
    assert_eq!(breaker.settle(probe, Verdict::Success, later), None);
    assert_eq!(breaker.settle(probes[0], Verdict::Success, later), None);
    assert_eq!(breaker.settle(probes[1], Verdict::Success, later), None);
    let closed = breaker.settle(probes[2], Verdict::Success, later);
    assert_eq!(closed, Some(Transition::Closed));
}

#[test]
fn threads_never_get_more_probes_than_configured() {
    for _ in 0..50 {
        let breaker = Breaker::new(&config());
        let now = Millis(0).after(opened(&breaker, Millis(0)));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if admitted(&breaker, now).is_some() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 3);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Settle(usize, Verdict),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        Just(Verdict::Success),
        Just(Verdict::Failure),
        Just(Verdict::Neutral)
    ];
    prop_oneof![
        4 => Just(Step::Admit),
        4 => (0_usize..16, verdict).prop_map(|(which, verdict)| Step::Settle(which, verdict)),
        1 => (1_u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes in whatever order: while open nothing passes; half-open never has more probes under way than
    /// configured; it can always be closed again.
    #[test]
    fn no_order_of_events_breaks_it(steps in proptest::collection::vec(step(), 1..200)) {
        let breaker = Breaker::new(&config());
        let mut now = Millis(0);
        let mut out: Vec<Ticket> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now = Millis(now.0 + millis),
                Step::Admit => {
                    let before = breaker.phase(now);
                    let ticket = admitted(&breaker, now);
                    if let Phase::Open { rest } = before {
                        prop_assert!(ticket.is_none() || rest.is_zero());
                    }
                    if before == Phase::Closed {
                        prop_assert!(ticket.is_some());
                    }
                    out.extend(ticket);
                }
                Step::Settle(which, verdict) => {
                    if !out.is_empty() {
                        let ticket = out.swap_remove(which % out.len());
                        breaker.settle(ticket, verdict, now);
                    }
                }
            }
            let state = State::unpack(breaker.state.load(Ordering::Relaxed));
            if let State::HalfOpen { outstanding, succeeded, .. } = state {
                prop_assert!(outstanding + succeeded <= 3, "{state:?}");
            }
        }
        for ticket in out.drain(..) {
            breaker.settle(ticket, Verdict::Neutral, now);
        }
        for _ in 0..10 {
            now = Millis(now.0 + 10_000);
            let ticket = admitted(&breaker, now);
            prop_assert!(ticket.is_some(), "it would never close again");
            breaker.settle(ticket.unwrap(), Verdict::Success, now);
        }
        prop_assert!(breaker.phase(now) == Phase::Closed);
    }

    #[test]
    fn a_state_fits_into_its_word(
        kind in 0_u8..3, streak in 0_u8..32, epoch: u16, a: u8, b: u8, time in 0_u64..(1 << 40)
    ) {
        let state = match kind {
            0 => State::Closed { epoch },
            1 => State::Open { streak, epoch, until: Millis(time) },
            _ => State::HalfOpen { streak, epoch, outstanding: a, succeeded: b },
        };
        prop_assert!(State::unpack(state.pack()) == state);
    }
}
