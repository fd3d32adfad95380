//! Given a history, when a command comes, then these events or this rejection; and properties of any sequence of
//! commands. Storage is tested with the store.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use ftgo_chassis::{Currency, Money};
use proptest::collection::vec;
use proptest::strategy::{Just, Strategy};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};
use rust_decimal::Decimal;

use super::{Account, Authorization, Command, Event, Rejection, Status};

const LIMIT_CENTS: i32 = 100_000;

fn opened() -> Event {
    Event::Opened {
        consumer_id: "consumer-1".into(),
        order_limit: Money::usd(LIMIT_CENTS),
    }
}

fn authorized(order_id: &str, cents: i32) -> Event {
    Event::Authorized {
        order_id: order_id.into(),
        amount: Money::usd(cents),
    }
}

fn reversed(order_id: &str, cents: i32) -> Event {
    Event::AuthorizationReversed {
        order_id: order_id.into(),
        amount: Money::usd(cents),
    }
}

fn revised(order_id: &str, from: i32, to: i32) -> Event {
    Event::AuthorizationRevised {
        order_id: order_id.into(),
        previous_amount: Money::usd(from),
        amount: Money::usd(to),
    }
}

fn authorize(order_id: &str, cents: i32) -> Command {
    Command::Authorize {
        order_id: order_id.into(),
        amount: Money::usd(cents),
    }
}

fn reverse(order_id: &str) -> Command {
    Command::Reverse {
        order_id: order_id.into(),
    }
}

fn revise(order_id: &str, cents: i32) -> Command {
    Command::Revise {
        order_id: order_id.into(),
        amount: Money::usd(cents),
    }
}

struct Given(Account);

fn given(history: &[Event]) -> Given {
    Given(Account::replay(history))
}

impl Given {
    #[track_caller]
    fn when_then(self, command: Command, expected: Result<Vec<Event>, Rejection>) {
        let before = self.0.clone();
        assert_eq!(self.0.process(command), expected);
        assert_eq!(self.0, before, "processing changes nothing");
    }
}

#[test]
fn opening_twice_opens_once() {
    let open = || Command::Open {
        consumer_id: "consumer-1".into(),
        order_limit: Money::usd(LIMIT_CENTS),
    };
    given(&[]).when_then(open(), Ok(vec![opened()]));
    given(&[opened()]).when_then(open(), Ok(vec![]));
}

#[test]
fn an_order_is_authorized_once() {
    given(&[opened()]).when_then(authorize("o1", 61_70), Ok(vec![authorized("o1", 61_70)]));
    given(&[opened(), authorized("o1", 61_70)]).when_then(authorize("o1", 61_70), Ok(vec![]));
}

#[test]
fn another_amount_for_an_authorized_order_is_not_a_repetition() {
    given(&[opened(), authorized("o1", 61_70)]).when_then(
        authorize("o1", 61_71),
        Err(Rejection::AlreadyAuthorized(Money::usd(61_70))),
    );
}

#[test]
fn a_repeated_authorization_is_answered_alike_after_the_account_was_disabled() {
    given(&[opened(), authorized("o1", 10_00), Event::Disabled])
        .when_then(authorize("o1", 10_00), Ok(vec![]));
}

#[test]
fn a_reversed_order_is_never_authorized_again() {
    given(&[opened(), authorized("o1", 10_00), reversed("o1", 10_00)])
        .when_then(authorize("o1", 10_00), Err(Rejection::AlreadyReversed));
}

#[test]
fn the_limit_holds_for_one_order_and_is_inclusive() {
    given(&[opened()]).when_then(
        authorize("o1", LIMIT_CENTS),
        Ok(vec![authorized("o1", LIMIT_CENTS)]),
    );
    given(&[opened()]).when_then(
        authorize("o1", LIMIT_CENTS + 1),
        Err(Rejection::LimitExceeded {
            amount: Money::usd(LIMIT_CENTS + 1),
            limit: Money::usd(LIMIT_CENTS),
        }),
    );
}

#[test]
fn the_limit_is_never_cumulative() {
    given(&[
        opened(),
        authorized("o1", LIMIT_CENTS),
        authorized("o2", LIMIT_CENTS),
    ])
    .when_then(
        authorize("o3", LIMIT_CENTS),
        Ok(vec![authorized("o3", LIMIT_CENTS)]),
    );
}

#[test]
fn a_disabled_account_rejects_until_it_is_enabled() {
    given(&[opened(), Event::Disabled]).when_then(authorize("o1", 1), Err(Rejection::Disabled));
    given(&[opened(), authorized("o1", 1), Event::Disabled])
        .when_then(revise("o1", 2), Err(Rejection::Disabled));
    given(&[opened(), Event::Disabled, Event::Enabled])
        .when_then(authorize("o1", 1), Ok(vec![authorized("o1", 1)]));
}

#[test]
fn a_disabled_account_still_gives_money_back() {
    given(&[opened(), authorized("o1", 10_00), Event::Disabled])
        .when_then(reverse("o1"), Ok(vec![reversed("o1", 10_00)]));
}

#[test]
fn reversing_what_is_not_authorized_succeeds_without_an_event() {
    given(&[]).when_then(reverse("o1"), Ok(vec![]));
    given(&[opened()]).when_then(reverse("o1"), Ok(vec![]));
    given(&[opened(), authorized("o1", 1), reversed("o1", 1)]).when_then(reverse("o1"), Ok(vec![]));
}

#[test]
fn a_revision_replaces_the_amount_within_the_limit() {
    let history = [opened(), authorized("o1", 10_00)];
    given(&history).when_then(revise("o1", 20_00), Ok(vec![revised("o1", 10_00, 20_00)]));
    given(&history).when_then(revise("o1", 10_00), Ok(vec![]));
    given(&history).when_then(
        revise("o1", LIMIT_CENTS + 1),
        Err(Rejection::LimitExceeded {
            amount: Money::usd(LIMIT_CENTS + 1),
            limit: Money::usd(LIMIT_CENTS),
        }),
    );
    given(&[
        opened(),
        authorized("o1", 10_00),
        revised("o1", 10_00, 20_00),
    ])
    .when_then(reverse("o1"), Ok(vec![reversed("o1", 20_00)]));
}

#[test]
fn only_what_is_authorized_can_be_revised() {
    given(&[opened()]).when_then(revise("o1", 1), Err(Rejection::NotAuthorized));
    given(&[opened(), authorized("o1", 1), reversed("o1", 1)])
        .when_then(revise("o1", 2), Err(Rejection::AlreadyReversed));
}

#[test]
fn an_unopened_account_authorizes_nothing() {
    given(&[]).when_then(authorize("o1", 1), Err(Rejection::NotOpened));
    given(&[]).when_then(Command::Disable, Err(Rejection::NotOpened));
}

#[test]
fn only_positive_amounts_in_the_currency_of_the_account_are_held() {
    given(&[opened()]).when_then(
        authorize("o1", 0),
        Err(Rejection::InvalidAmount(Money::usd(0))),
    );
    given(&[opened()]).when_then(
        authorize("o1", -1),
        Err(Rejection::InvalidAmount(Money::usd(-1))),
    );
    let euros = Money::parse("1.00", "EUR").unwrap();
    given(&[opened()]).when_then(
        Command::Authorize {
            order_id: "o1".into(),
            amount: euros,
        },
        Err(Rejection::CurrencyMismatch {
            account: Currency::USD,
            requested: euros.currency(),
        }),
    );
}

#[test]
fn the_stored_form_of_an_event_is_stable() {
    assert_eq!(
        serde_json::to_string(&revised("o1", 10_00, 20_50)).unwrap(),
        r#"{"type":"authorizationRevised","orderId":"o1","previousAmount":{"amount":"10.00","currency":"USD"},"amount":{"amount":"20.50","currency":"USD"}}"#
    );
    assert_eq!(
        serde_json::from_str::<Event>(r#"{"type":"disabled","by":"a later release"}"#).unwrap(),
        Event::Disabled
    );
}

/// Few orders, so that commands meet, and amounts on both sides of the limit.
fn any_command() -> impl Strategy<Value = Command> {
    let order = || (0..4_u8).prop_map(|n| format!("o{n}"));
    let amount = || {
        prop_oneof![
            -2_00..=LIMIT_CENTS + 5_00,
            LIMIT_CENTS - 2..=LIMIT_CENTS + 2
        ]
    };
    prop_oneof![
        1 => (0..2_u8).prop_map(|n| Command::Open {
            consumer_id: format!("consumer-{n}"),
            order_limit: Money::usd(LIMIT_CENTS),
        }),
        6 => (order(), amount()).prop_map(|(order_id, cents)| authorize(&order_id, cents)),
        3 => order().prop_map(|order_id| reverse(&order_id)),
        4 => (order(), amount()).prop_map(|(order_id, cents)| revise(&order_id, cents)),
        1 => prop_oneof![Just(Command::Disable), Just(Command::Enable)],
    ]
}

/// Runs the commands one after another; the account as it went along, and everything that happened.
fn run(commands: &[Command]) -> (Account, Vec<Event>) {
    let mut account = Account::default();
    let mut history = Vec::new();
    for command in commands {
        let Ok(events) = account.process(command.clone()) else {
            continue;
        };
        for event in &events {
            account.apply(event);
        }
        history.extend(events);
    }
    (account, history)
}

fn held(account: &Account) -> BTreeMap<String, Decimal> {
    account
        .authorizations
        .iter()
        .filter_map(|(order, authorization)| match authorization {
            Authorization::Held(money) => Some((order.clone(), money.amount())),
            Authorization::Reversed => None,
        })
        .collect()
}

proptest! {
    #[test]
    fn a_replayed_account_is_the_account(commands in vec(any_command(), 0..60)) {
        let (account, history) = run(&commands);
        prop_assert_eq!(Account::replay(&history), account);
    }

    #[test]
    fn what_is_held_is_what_the_events_add_up_to(commands in vec(any_command(), 0..60)) {
        let (account, history) = run(&commands);
        let mut ledger = Decimal::ZERO;
        for event in &history {
            match event {
                Event::Authorized { amount, .. } => ledger += amount.amount(),
                Event::AuthorizationReversed { amount, .. } => ledger -= amount.amount(),
                Event::AuthorizationRevised { previous_amount, amount, .. } => {
                    ledger += amount.amount() - previous_amount.amount();
                }
                Event::Opened { .. } | Event::Disabled | Event::Enabled => {}
            }
        }
        prop_assert_eq!(held(&account).values().sum::<Decimal>(), ledger);
    }

    #[test]
    fn nothing_above_the_limit_is_ever_held(commands in vec(any_command(), 0..60)) {
        let mut account = Account::default();
        for command in commands {
            for event in account.process(command).unwrap_or_default() {
                account.apply(&event);
                for amount in held(&account).values() {
                    prop_assert!(*amount > Decimal::ZERO && *amount <= Money::usd(LIMIT_CENTS).amount());
                }
            }
        }
    }

    #[test]
    fn an_order_is_charged_at_most_once_and_never_while_disabled(commands in vec(any_command(), 0..60)) {
        let (_, history) = run(&commands);
        let mut charged = BTreeMap::<&str, u32>::new();
        let mut status = Status::Active;
        for event in &history {
            match event {
                Event::Authorized { order_id, .. } => {
                    *charged.entry(order_id.as_str()).or_default() += 1;
                    prop_assert_eq!(status, Status::Active);
                }
                Event::AuthorizationRevised { .. } => prop_assert_eq!(status, Status::Active),
                Event::Disabled => status = Status::Disabled,
                Event::Enabled => status = Status::Active,
                Event::Opened { .. } | Event::AuthorizationReversed { .. } => {}
            }
        }
        prop_assert!(charged.values().all(|times| *times == 1));
    }

    #[test]
    fn a_command_that_succeeded_changes_nothing_when_it_comes_again(
        commands in vec(any_command(), 0..60),
        last in any_command(),
    ) {
        let (mut account, _) = run(&commands);
        if let Ok(events) = account.process(last.clone()) {
            for event in &events {
                account.apply(event);
            }
            prop_assert_eq!(account.process(last), Ok(vec![]));
        }
    }
}
