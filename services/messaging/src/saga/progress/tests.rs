//! Every path through a saga, by example and by property, without a database.
//! Not here: that a path survives a crash (the orchestrator's and the order service's tests).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq};
use proptest::proptest;

use super::{Failure, Ignored, Position, Progress, Reply, Transition, step};
use crate::saga::definition::{CommandTemplate, Definition, REASON, Step};
use crate::saga::retry::RetryPolicy;

const fn to(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new("t.commands", kind, fields)
}

/// The shape of FTGO's CreateOrder: a verification, a compensatable step, the pivot, two retriable steps.
const SIX: Definition = Definition::new(
    "Six",
    &[
        Step::local("Begin", to("UndoBegin", &["id", REASON])),
        Step::verification(to("Verify", &["id"])),
        Step::compensatable(to("Make", &["id"]), to("Unmake", &["id"])),
        Step::pivot(to("Pay", &["id"])),
        Step::retriable(to("Confirm", &["id"])),
        Step::retriable(to("Finish", &["id"])),
    ],
);

const RETRY: RetryPolicy = RetryPolicy {
    first: std::time::Duration::from_millis(100),
    cap: std::time::Duration::from_secs(5),
};

fn noon() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn refusal() -> Failure {
    Failure {
        code: "NO".to_owned(),
        detail: "because".to_owned(),
    }
}

fn reply(token: &str, accepted: bool) -> Reply {
    Reply {
        token: token.to_owned(),
        outcome: if accepted { Ok(()) } else { Err(refusal()) },
    }
}

/// Plays a saga to its end. Answers are taken from `answers`; when they run out, everything succeeds.
/// Returns the command types in the order of their issue, and where the saga ended.
fn play(
    definition: &Definition,
    answers: impl IntoIterator<Item = bool>,
) -> (Vec<&'static str>, Progress) {
    let mut answers = answers.into_iter();
    let mut now = noon();
    let mut issued = Vec::new();
    let (mut progress, mut command) = Progress::begin(definition);
    while let Some(current) = command {
        issued.push(current.kind);
        let token = progress.token(definition).unwrap();
        let answer = reply(&token, answers.next().unwrap_or(true));
        (progress, command) = match step(definition, &progress, &answer, RETRY, now) {
            Transition::Moves { progress, command } => (progress, command),
            Transition::WaitsToRetry { progress, due } => {
                assert_eq!(
                    progress.token(definition),
                    None,
                    "nothing is awaited before the due time"
                );
                assert_eq!(
                    progress.reissue(definition, due - TimeDelta::milliseconds(1)),
                    None
                );
                now = due;
                let (progress, command) = progress.reissue(definition, now).unwrap();
                assert_eq!(command, current, "the same command again");
                (progress, Some(command))
            }
            Transition::Ignores(why) => panic!("the awaited reply was ignored: {why:?}"),
        };
        assert!(issued.len() < 10_000, "the saga does not end");
    }
    (issued, progress)
}

#[test]
fn without_a_failure_every_step_is_done_in_order() {
    let (issued, progress) = play(&SIX, []);
    assert_eq!(issued, ["Verify", "Make", "Pay", "Confirm", "Finish"]);
    assert_eq!(progress.position, Position::Completed);
    assert_eq!(progress.reason, None);
}

#[test]
fn a_failure_undoes_the_steps_before_it_in_reverse_and_keeps_its_code() {
    for (answers, expected) in [
        (vec![false], vec!["Verify", "UndoBegin"]),
        (vec![true, false], vec!["Verify", "Make", "UndoBegin"]),
        (
            vec![true, true, false],
            vec!["Verify", "Make", "Pay", "Unmake", "UndoBegin"],
        ),
    ] {
        let (issued, progress) = play(&SIX, answers);
        assert_eq!(issued, expected);
        assert_eq!(progress.position, Position::Compensated);
        assert_eq!(progress.reason.as_deref(), Some("NO"));
    }
}

#[test]
fn a_refused_compensation_is_issued_again_and_does_not_change_the_reason() {
    let (issued, progress) = play(&SIX, [true, true, false, false, false, true, false]);
    assert_eq!(
        issued,
        [
            "Verify",
            "Make",
            "Pay",
            "Unmake",
            "Unmake",
            "Unmake",
            "UndoBegin",
            "UndoBegin"
        ]
    );
    assert_eq!(progress.position, Position::Compensated);
    assert_eq!(progress.last_error.as_deref(), Some("NO: because"));
}

#[test]
fn after_the_pivot_a_refusal_is_issued_again_and_never_compensated() {
    let (issued, progress) = play(&SIX, [true, true, true, false, false, true, false]);
    assert_eq!(
        issued,
        [
            "Verify", "Make", "Pay", "Confirm", "Confirm", "Confirm", "Finish", "Finish"
        ]
    );
    assert_eq!(progress.position, Position::Completed);
    assert_eq!(progress.reason, None, "nothing turned the saga round");
}

#[test]
fn each_attempt_waits_longer_and_has_a_token_of_its_own() {
    let (mut progress, _) = Progress::begin(&SIX);
    progress.position = Position::Acting(4);
    let mut waits = Vec::new();
    for attempt in 1..=3 {
        let token = progress.token(&SIX).unwrap();
        assert_eq!(token, ["Confirm", "Confirm.2", "Confirm.3"][attempt - 1]);
        let Transition::WaitsToRetry {
            progress: waiting,
            due,
        } = step(&SIX, &progress, &reply(&token, false), RETRY, noon())
        else {
            panic!("a refusal after the pivot is tried again");
        };
        waits.push((due - noon()).num_milliseconds());
        progress = waiting.reissue(&SIX, due).unwrap().0;
    }
    assert_eq!(waits, [100, 200, 400]);
}

#[test]
fn replies_that_are_not_awaited_change_nothing() {
    let (progress, _) = Progress::begin(&SIX);
    for token in ["Make", "Verify.2", "Verify.1", "UndoBegin", ""] {
        for accepted in [true, false] {
            let transition = step(&SIX, &progress, &reply(token, accepted), RETRY, noon());
            assert_eq!(
                transition,
                Transition::Ignores(Ignored::NotAwaited),
                "{token}"
            );
        }
    }
    for position in [Position::Completed, Position::Compensated] {
        let ended = Progress {
            position,
            ..progress.clone()
        };
        let transition = step(&SIX, &ended, &reply("Finish", true), RETRY, noon());
        assert_eq!(transition, Transition::Ignores(Ignored::Ended));
    }
}

/// A definition of any legal shape: which steps before the pivot can be undone, and how many stand after it.
fn any_definition() -> impl Strategy<Value = Definition> {
    (vec(any::<bool>(), 0..6), 0..5_usize).prop_map(|(before_pivot, after_pivot)| {
        let name = |text: String| -> &'static str { text.leak() };
        let mut steps = vec![Step::local("Begin", to("UndoBegin", &[]))];
        for (index, undone) in before_pivot.into_iter().enumerate() {
            let act = to(name(format!("Act{index}")), &[]);
            steps.push(if undone {
                Step::compensatable(act, to(name(format!("Undo{index}")), &[]))
            } else {
                Step::verification(act)
            });
        }
        steps.push(Step::pivot(to("Pivot", &[])));
        steps.extend(
            (0..after_pivot).map(|index| Step::retriable(to(name(format!("Finish{index}")), &[]))),
        );
        Definition::new("Any", steps.leak())
    })
}

proptest! {
    /// From any failure point the compensations run k-1 … 1, each until it succeeds, and every run ends.
    #[test]
    fn every_run_ends_and_undoes_exactly_what_was_done(
        definition in any_definition(),
        answers in vec(any::<bool>(), 0..40),
    ) {
        let (mut issued, progress) = play(&definition, answers.iter().copied());
        let attempts = issued.len();
        issued.dedup();
        let steps = definition.steps();
        let pivot = steps.iter().position(|step| step.name() == "Pivot").unwrap();
        let failed = (1..=pivot).find(|index| answers.get(index - 1) == Some(&false));
        let mut expected: Vec<&str> = steps[1..=failed.unwrap_or(steps.len() - 1)].iter().map(Step::name).collect();
        match failed {
            None => prop_assert_eq!(progress.position, Position::Completed),
            Some(failed) => {
                prop_assert_eq!(progress.position, Position::Compensated);
                prop_assert_eq!(progress.reason.as_deref(), Some("NO"));
                expected.extend(steps[..failed].iter().rev().filter_map(Step::compensation).map(|command| command.kind));
            }
        }
        let refusals = answers.iter().take(attempts).filter(|accepted| !**accepted).count();
        prop_assert_eq!(attempts, expected.len() + refusals - usize::from(failed.is_some()), "one attempt more for each refusal");
        prop_assert_eq!(issued, expected);
    }

    /// A duplicate of any earlier reply, offered at any later moment, changes nothing.
    #[test]
    fn duplicates_of_earlier_replies_change_nothing(
        definition in any_definition(),
        answers in vec(any::<bool>(), 0..30),
    ) {
        let mut answers = answers.into_iter();
        let (mut progress, mut command) = Progress::begin(&definition);
        let mut earlier: Vec<Reply> = Vec::new();
        while command.is_some() {
            for duplicate in &earlier {
                let transition = step(&definition, &progress, duplicate, RETRY, noon());
                prop_assert!(matches!(transition, Transition::Ignores(_)), "{duplicate:?} moved {progress:?}");
            }
            let answer = reply(&progress.token(&definition).unwrap(), answers.next().unwrap_or(true));
            let transition = step(&definition, &progress, &answer, RETRY, noon());
            earlier.push(answer);
            (progress, command) = match transition {
                Transition::Moves { progress, command } => (progress, command),
                Transition::WaitsToRetry { progress, due } => {
                    for duplicate in &earlier {
                        let transition = step(&definition, &progress, duplicate, RETRY, noon());
                        prop_assert_eq!(transition, Transition::Ignores(Ignored::NotAwaited));
                    }
                    let (progress, command) = progress.reissue(&definition, due).unwrap();
                    (progress, Some(command))
                }
                Transition::Ignores(why) => panic!("the awaited reply was ignored: {why:?}"),
            };
        }
    }
}
