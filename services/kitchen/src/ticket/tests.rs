//! The rules of a ticket, by example and as properties over random sequences of moves; no storage, no HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Moved, Ticket, TicketError, TicketEvent, TicketLineItem, TicketState};

fn noon() -> DateTime<Utc> {
    "2026-11-05T12:00:00Z".parse().unwrap()
}

fn items(quantity: u32) -> Vec<TicketLineItem> {
    vec![TicketLineItem {
        menu_item_id: "restaurant-1-item-1".to_owned(),
        name: "Chicken Vindaloo".to_owned(),
        quantity,
    }]
}

fn pending() -> Ticket {
    Ticket::create(
        "order-1".to_owned(),
        Some("consumer-1".to_owned()),
        "restaurant-1".to_owned(),
        items(1),
        noon(),
    )
}

#[derive(Clone, Copy, Debug)]
enum Move {
    CancelCreate,
    ConfirmCreate,
    Accept,
    AcceptTooLate,
    Prepare,
    Finish,
    PickUp,
    BeginCancel,
    UndoCancel,
    ConfirmCancel,
    BeginRevise(u32),
    UndoRevise,
    ConfirmRevise,
}

fn play(ticket: &mut Ticket, action: Move, now: DateTime<Utc>) -> Moved {
    match action {
        Move::CancelCreate => ticket.cancel_create(now),
        Move::ConfirmCreate => ticket.confirm_create(now),
        Move::Accept => ticket.accept(now + TimeDelta::minutes(20), now),
        Move::AcceptTooLate => ticket.accept(now, now),
        Move::Prepare => ticket.start_preparing(now),
        Move::Finish => ticket.finish_preparing(now),
        Move::PickUp => ticket.pick_up(now),
        Move::BeginCancel => ticket.begin_cancel(now),
        Move::UndoCancel => ticket.undo_cancel(now),
        Move::ConfirmCancel => ticket.confirm_cancel(now),
        Move::BeginRevise(quantity) => ticket.begin_revise(items(quantity), now),
        Move::UndoRevise => ticket.undo_revise(now),
        Move::ConfirmRevise => ticket.confirm_revise(now),
    }
}

fn after(moves: &[Move]) -> Ticket {
    let mut ticket = pending();
    for action in moves {
        play(&mut ticket, *action, noon()).unwrap();
    }
    ticket
}

#[test]
fn the_way_of_a_ticket_through_the_kitchen() {
    let mut ticket = pending();
    let now = noon() + TimeDelta::minutes(1);
    let ready_by = now + TimeDelta::minutes(20);
    assert_eq!(ticket.confirm_create(now), Ok(Some(TicketEvent::Created)));
    assert_eq!(
        ticket.accept(ready_by, now),
        Ok(Some(TicketEvent::Accepted))
    );
    assert_eq!(
        ticket.start_preparing(now),
        Ok(Some(TicketEvent::Preparing))
    );
    assert_eq!(
        ticket.finish_preparing(now),
        Ok(Some(TicketEvent::ReadyForPickup))
    );
    assert_eq!(ticket.pick_up(now), Ok(Some(TicketEvent::PickedUp)));
    assert_eq!(ticket.state, TicketState::PickedUp);
    assert_eq!(ticket.version, 6);
    assert_eq!(ticket.ready_by, Some(ready_by));
    assert_eq!(ticket.created_at, noon());
    for stamp in [
        ticket.accepted_at,
        ticket.preparing_at,
        ticket.ready_for_pickup_at,
        ticket.picked_up_at,
    ] {
        assert_eq!(stamp, Some(now));
    }
}

#[test]
fn ready_by_must_lie_in_the_future() {
    let mut ticket = after(&[Move::ConfirmCreate]);
    let before = ticket.clone();
    for ready_by in [
        noon(),
        noon() - TimeDelta::seconds(1),
        DateTime::<Utc>::MAX_UTC,
    ] {
        assert_eq!(
            ticket.accept(ready_by, noon()),
            Err(TicketError::ReadyByNotInFuture { ready_by })
        );
        assert_eq!(ticket, before);
    }
}

#[test]
fn cooking_is_not_cancelled_and_not_revised() {
    let mut ticket = after(&[Move::ConfirmCreate, Move::Accept, Move::Prepare]);
    assert_eq!(
        ticket.begin_cancel(noon()),
        Err(TicketError::IllegalMove {
            state: TicketState::Preparing,
            action: "be cancelled"
        })
    );
    assert!(ticket.begin_revise(items(2), noon()).is_err());
    assert_eq!(ticket.state, TicketState::Preparing);
}

#[test]
fn a_revision_changes_the_line_items_only_when_confirmed() {
    let mut ticket = after(&[Move::ConfirmCreate, Move::Accept, Move::BeginRevise(3)]);
    assert_eq!(ticket.line_items, items(1));
    assert_eq!(
        ticket.confirm_revise(noon()),
        Ok(Some(TicketEvent::Revised))
    );
    assert_eq!(ticket.state, TicketState::Accepted);
    assert_eq!(ticket.line_items, items(3));
    assert_eq!(ticket.proposed_line_items, None);

    ticket.begin_revise(items(4), noon()).unwrap();
    ticket.undo_revise(noon()).unwrap();
    assert_eq!(ticket.line_items, items(3));
    assert_eq!(ticket.proposed_line_items, None);
}

#[test]
fn names_of_states_are_read_back() {
    let names: HashSet<_> = TicketState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect();
    assert_eq!(names.len(), TicketState::ALL.len());
    for state in TicketState::ALL {
        assert_eq!(TicketState::parse(state.as_str()), Some(state));
        assert_eq!(
            serde_json::to_value(state).unwrap(),
            serde_json::Value::from(state.as_str())
        );
    }
    assert_eq!(TicketState::parse("accepted"), None);
}

/// The arrows of the state diagram, written down a second time and independently of the code above.
fn arrow(from: TicketState, to: TicketState) -> bool {
    use TicketState as S;
    matches!(
        (from, to),
        (S::CreatePending, S::AwaitingAcceptance | S::CreateCancelled)
            | (
                S::AwaitingAcceptance,
                S::Accepted | S::CancelPending | S::RevisionPending
            )
            | (
                S::Accepted,
                S::Preparing | S::CancelPending | S::RevisionPending
            )
            | (S::Preparing, S::ReadyForPickup)
            | (S::ReadyForPickup, S::PickedUp)
            | (
                S::CancelPending,
                S::Cancelled | S::AwaitingAcceptance | S::Accepted
            )
            | (S::RevisionPending, S::AwaitingAcceptance | S::Accepted)
    )
}

fn any_move() -> impl Strategy<Value = Move> {
    // The moves that lead on are given more weight, so that long sequences do reach the far states.
    prop_oneof![
        1 => Just(Move::CancelCreate),
        8 => Just(Move::ConfirmCreate),
        6 => Just(Move::Accept),
        1 => Just(Move::AcceptTooLate),
        3 => Just(Move::Prepare),
        3 => Just(Move::Finish),
        3 => Just(Move::PickUp),
        4 => Just(Move::BeginCancel),
        4 => Just(Move::UndoCancel),
        1 => Just(Move::ConfirmCancel),
        4 => (1_u32..9).prop_map(Move::BeginRevise),
        4 => Just(Move::UndoRevise),
        3 => Just(Move::ConfirmRevise),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_moves_leaves_the_state_graph(moves in proptest::collection::vec(any_move(), 0..40)) {
        let mut ticket = pending();
        let mut suspended_from: Option<Ticket> = None;
        for (step, action) in moves.into_iter().enumerate() {
            let now = noon() + TimeDelta::seconds(i64::try_from(step).unwrap());
            let before = ticket.clone();
            match play(&mut ticket, action, now) {
                Err(_) => prop_assert_eq!(&ticket, &before, "a refused move changes nothing"),
                Ok(event) => {
                    prop_assert!(arrow(before.state, ticket.state), "{} -> {}", before.state, ticket.state);
                    prop_assert_eq!(ticket.version, before.version + 1);
                    prop_assert_eq!(ticket.updated_at, now);
                    let silent = matches!(
                        action,
                        Move::CancelCreate | Move::BeginCancel | Move::UndoCancel | Move::BeginRevise(_) | Move::UndoRevise
                    );
                    prop_assert_eq!(event.is_none(), silent);
                }
            }
            let is_pending = matches!(ticket.state, TicketState::CancelPending | TicketState::RevisionPending);
            prop_assert_eq!(ticket.previous_state.is_some(), is_pending);
            prop_assert_eq!(ticket.proposed_line_items.is_some(), ticket.state == TicketState::RevisionPending);

            if is_pending && suspended_from.is_none() {
                suspended_from = Some(before);
            } else if !is_pending && let Some(former) = suspended_from.take() {
                // An undo gives back what was there, save for the traces that something happened.
                if matches!(action, Move::UndoCancel | Move::UndoRevise) {
                    let expected = Ticket { version: ticket.version, updated_at: ticket.updated_at, ..former };
                    prop_assert_eq!(&ticket, &expected);
                } else if ticket.state != TicketState::Cancelled {
                    prop_assert_eq!(ticket.state, former.state, "a confirmed revision leads back");
                }
            }
        }
    }
}
