//! Every move from every state, the order minimum, and what a revision does to prices.
//! Not here: line items by themselves (`line_items`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_chassis::{Address, Money};
use proptest::collection::vec;
use proptest::prelude::prop_assert;
use proptest::proptest;

use super::{NewOrder, Order, OrderError, OrderEvent, OrderState};
use crate::domain::line_items::{PricingError, Selection};
use crate::domain::restaurant::{Menu, MenuItem, Restaurant};

fn noon() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn restaurant() -> Restaurant {
    let item = |id: &str, cents: i32| MenuItem {
        id: id.to_owned(),
        name: format!("Dish {id}"),
        price: Money::usd(cents),
    };
    Restaurant {
        name: "Ajanta".to_owned(),
        order_minimum: Money::usd(2000),
        menu: Menu {
            items: vec![item("vindaloo", 1234), item("naan", 250)],
        },
    }
}

fn selection(lines: &[(&str, i64)]) -> Selection {
    let lines = lines
        .iter()
        .map(|(id, quantity)| ((*id).to_owned(), *quantity))
        .collect();
    Selection::new(lines).unwrap()
}

fn new(lines: &[(&str, i64)]) -> NewOrder {
    NewOrder {
        id: "1".to_owned(),
        consumer_id: "consumer-1".to_owned(),
        restaurant_id: "restaurant-1".to_owned(),
        selection: selection(lines),
        delivery_address: Address {
            street1: "1 Scenic Drive".to_owned(),
            street2: None,
            city: "Oakland".to_owned(),
            state: "CA".to_owned(),
            zip: "94555".to_owned(),
        },
        delivery_time: None,
    }
}

fn placed() -> Order {
    Order::place(new(&[("vindaloo", 2)]), &restaurant(), noon())
        .unwrap()
        .0
}

fn in_state(state: OrderState) -> Order {
    let mut order = placed();
    if state == OrderState::Rejected {
        order.reject("LIMIT_EXCEEDED", noon()).unwrap();
    } else if state != OrderState::ApprovalPending {
        order.approve(noon()).unwrap();
    }
    if matches!(state, OrderState::CancelPending | OrderState::Cancelled) {
        order.begin_cancel(noon()).unwrap();
    }
    if state == OrderState::Cancelled {
        order.confirm_cancel(noon()).unwrap();
    }
    if state == OrderState::RevisionPending {
        revise(&mut order).unwrap();
    }
    assert_eq!(order.state(), state);
    order
}

fn revise(order: &mut Order) -> Result<OrderEvent, OrderError> {
    let restaurant = restaurant();
    order.propose_revision(
        &selection(&[("vindaloo", 1), ("naan", 4)]),
        |id| restaurant.menu_item(id),
        noon(),
    )
}

type Move = fn(&mut Order) -> Result<OrderEvent, OrderError>;

const MOVES: [(Move, OrderState, OrderState, OrderEvent); 8] = {
    use OrderState::{
        ApprovalPending, Approved, CancelPending, Cancelled, Rejected, RevisionPending,
    };
    [
        (
            |order| order.approve(noon()),
            ApprovalPending,
            Approved,
            OrderEvent::Authorized,
        ),
        (
            |order| order.reject("NO", noon()),
            ApprovalPending,
            Rejected,
            OrderEvent::Rejected,
        ),
        (
            |order| order.begin_cancel(noon()),
            Approved,
            CancelPending,
            OrderEvent::CancelRequested,
        ),
        (
            |order| order.undo_cancel(noon()),
            CancelPending,
            Approved,
            OrderEvent::CancelRejected,
        ),
        (
            |order| order.confirm_cancel(noon()),
            CancelPending,
            Cancelled,
            OrderEvent::Cancelled,
        ),
        (
            revise,
            Approved,
            RevisionPending,
            OrderEvent::RevisionProposed,
        ),
        (
            |order| order.confirm_revision(noon()),
            RevisionPending,
            Approved,
            OrderEvent::Revised,
        ),
        (
            |order| order.reject_revision(noon()),
            RevisionPending,
            Approved,
            OrderEvent::RevisionRejected,
        ),
    ]
};

const STATES: [OrderState; 6] = [
    OrderState::ApprovalPending,
    OrderState::Approved,
    OrderState::Rejected,
    OrderState::CancelPending,
    OrderState::Cancelled,
    OrderState::RevisionPending,
];

#[test]
fn each_move_leads_from_its_one_state_to_the_next_and_is_refused_everywhere_else() {
    for (make, from, to, expected) in MOVES {
        for state in STATES {
            let mut order = in_state(state);
            let before = order.clone();
            let result = make(&mut order);
            if state == from {
                assert_eq!(result, Ok(expected));
                assert_eq!(order.state(), to);
                assert_eq!(order.version(), before.version() + 1);
            } else {
                assert!(
                    matches!(result, Err(OrderError::IllegalMove { state: at, .. }) if at == state)
                );
                assert_eq!(order, before, "a refused move changes nothing");
            }
        }
    }
}

#[test]
fn a_new_order_awaits_approval_under_the_terms_of_its_restaurant() {
    let (order, event) = Order::place(new(&[("vindaloo", 2)]), &restaurant(), noon()).unwrap();
    assert_eq!(event, OrderEvent::Created);
    assert_eq!(order.state(), OrderState::ApprovalPending);
    assert_eq!(order.version(), 1);
    assert_eq!(order.items().total(), Money::usd(2468));
    assert_eq!(order.restaurant_name(), "Ajanta");
}

#[test]
fn an_order_below_the_minimum_is_refused_and_one_at_the_minimum_is_not() {
    let below = Order::place(new(&[("vindaloo", 1)]), &restaurant(), noon());
    let expected = OrderError::BelowMinimum {
        total: Money::usd(1234),
        minimum: Money::usd(2000),
    };
    assert_eq!(below.unwrap_err(), expected);
    assert!(Order::place(new(&[("naan", 8)]), &restaurant(), noon()).is_ok());
}

#[test]
fn the_delivery_time_must_not_have_passed() {
    let at = |delivery_time| {
        let new = NewOrder {
            delivery_time: Some(delivery_time),
            ..new(&[("vindaloo", 2)])
        };
        Order::place(new, &restaurant(), noon())
    };
    assert!(at(noon()).is_ok());
    let passed = at(noon() - TimeDelta::milliseconds(1));
    assert!(
        matches!(passed, Err(OrderError::DeliveryTimePassed { .. })),
        "{passed:?}"
    );
}

#[test]
fn a_rejected_order_knows_why() {
    assert_eq!(
        in_state(OrderState::Rejected).rejection_reason(),
        Some("LIMIT_EXCEEDED")
    );
}

#[test]
fn a_revision_takes_effect_when_it_is_confirmed_and_leaves_no_trace_when_it_is_rejected() {
    let before = in_state(OrderState::Approved);
    let pending = in_state(OrderState::RevisionPending);
    assert_eq!(pending.items(), before.items());
    assert_eq!(pending.proposed().unwrap().total(), Money::usd(2234));

    let mut rejected = pending.clone();
    rejected.reject_revision(noon()).unwrap();
    assert_eq!(rejected.items(), before.items());
    assert_eq!(rejected.proposed(), None);

    let mut confirmed = pending.clone();
    confirmed.confirm_revision(noon()).unwrap();
    assert_eq!(Some(confirmed.items()), pending.proposed());
    assert_eq!(confirmed.proposed(), None);
}

#[test]
fn what_was_ordered_keeps_its_price_and_the_minimum_its_amount() {
    let mut order = in_state(OrderState::Approved);
    let mut dearer = restaurant();
    dearer.order_minimum = Money::usd(9000);
    for item in &mut dearer.menu.items {
        item.price = item.price.checked_mul(10).unwrap();
    }
    order
        .propose_revision(
            &selection(&[("vindaloo", 2), ("naan", 1)]),
            |id| dearer.menu_item(id),
            noon(),
        )
        .unwrap();
    assert_eq!(
        order.proposed().unwrap().total(),
        Money::usd(2 * 1234 + 2500)
    );
}

#[test]
fn a_revision_obeys_the_same_rules_as_a_new_order() {
    let restaurant = restaurant();
    let mut order = in_state(OrderState::Approved);
    let mut propose = |lines: &[(&str, i64)]| {
        order.propose_revision(&selection(lines), |id| restaurant.menu_item(id), noon())
    };
    assert!(matches!(
        propose(&[("vindaloo", 1)]),
        Err(OrderError::BelowMinimum { .. })
    ));
    let unknown = propose(&[("vindaloo", 2), ("caviar", 1)]);
    assert_eq!(
        unknown,
        Err(OrderError::Pricing(PricingError::NotOnMenu { line: 1 }))
    );
    assert_eq!(
        order,
        in_state(OrderState::Approved),
        "a refused revision changes nothing"
    );
}

#[test]
fn what_is_stored_is_what_was() {
    for state in STATES {
        let order = in_state(state);
        let text = serde_json::to_string(&order).unwrap();
        assert!(text.contains(&format!(r#""state":"{state}""#)));
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }
}

proptest! {
    /// Whatever is tried in whatever order, an order never costs less than the minimum.
    #[test]
    fn no_sequence_of_moves_gets_below_the_minimum(
        moves in vec((0..MOVES.len() + 1, 1..4_i64, 1..12_i64), 0..30),
    ) {
        let restaurant = restaurant();
        let mut order = placed();
        for (choice, vindaloos, naans) in moves {
            let _ = match MOVES.get(choice) {
                Some((make, ..)) => make(&mut order),
                None => order.propose_revision(
                    &selection(&[("vindaloo", vindaloos), ("naan", naans)]),
                    |id| restaurant.menu_item(id),
                    noon(),
                ),
            };
            prop_assert!(order.items().total().at_least(restaurant.order_minimum).unwrap());
        }
    }
}
