//! Which past orders the demo has: whose, from where, and the state each rests in. How they get there is `drive`'s.

/// Grows when the plan changes, so that data seeded by an older one is completed.
pub(super) const VERSION: u32 = 1;

/// The consumer whose screens the demo shows; the lists need more than one page.
pub(super) const SHOWN_CONSUMER: &str = "consumer-1";

pub(super) const RESTAURANTS: [&str; 6] = [
    "restaurant-1",
    "restaurant-2",
    "restaurant-3",
    "restaurant-4",
    "restaurant-5",
    "restaurant-6",
];

/// Where the consumers live, all in the demo's city.
const HOMES: [(&str, &str, &str); 4] = [
    ("consumer-1", "1432 Alice Street", "94612"),
    ("consumer-2", "385 Bellevue Avenue", "94610"),
    ("consumer-3", "4027 Piedmont Avenue", "94611"),
    ("consumer-4", "2101 Telegraph Avenue", "94612"),
];

/// The state that an order rests in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Over the limit of the consumer's account.
    Rejected,
    Cancelled,
    /// APPROVED in what follows; here the ticket awaits acceptance.
    Approved,
    /// A courier is scheduled from here on.
    Accepted,
    Preparing,
    ReadyForPickup,
    /// The courier has it.
    OnTheWay,
    Delivered,
}

impl Outcome {
    /// Whether something is still to happen to it.
    pub(super) fn is_under_way(self) -> bool {
        match self {
            Outcome::Rejected | Outcome::Cancelled | Outcome::Delivered => false,
            Outcome::Approved
            | Outcome::Accepted
            | Outcome::Preparing
            | Outcome::ReadyForPickup
            | Outcome::OnTheWay => true,
        }
    }
}

/// One order that the demo has from its first start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PastOrder {
    /// Also its Idempotency-Key: the same order is never placed twice.
    pub(super) key: String,
    pub(super) consumer: &'static str,
    pub(super) street: &'static str,
    pub(super) zip: &'static str,
    pub(super) restaurant: &'static str,
    /// Which of the menu's items it starts with.
    pub(super) dish: usize,
    pub(super) outcome: Outcome,
}

pub(super) fn past_orders() -> Vec<PastOrder> {
    use Outcome::{
        Accepted, Approved, Cancelled, Delivered, OnTheWay, Preparing, ReadyForPickup, Rejected,
    };

    let shown = [
        (Delivered, 19),
        (Cancelled, 4),
        (Rejected, 4),
        (Approved, 3),
        (Accepted, 2),
        (Preparing, 1),
        (ReadyForPickup, 1),
        (OnTheWay, 2),
    ];
    let others = [
        (Delivered, 3),
        (Cancelled, 1),
        (Rejected, 1),
        (Approved, 1),
        (Preparing, 1),
        (OnTheWay, 1),
    ];
    let mut orders = Vec::new();
    for (person, (consumer, street, zip)) in HOMES.into_iter().enumerate() {
        let counts: &[(Outcome, usize)] = if consumer == SHOWN_CONSUMER {
            &shown
        } else {
            &others
        };
        let outcomes = counts
            .iter()
            .flat_map(|&(outcome, count)| std::iter::repeat_n(outcome, count));
        for (number, outcome) in outcomes.enumerate() {
            orders.push(PastOrder {
                key: format!("demo-{VERSION}-{consumer}-{number}"),
                consumer,
                street,
                zip,
                restaurant: RESTAURANTS[(person + number) % RESTAURANTS.len()],
                dish: number,
                outcome,
            });
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{HOMES, Outcome, SHOWN_CONSUMER, past_orders};

    #[test]
    fn the_shown_consumer_has_more_orders_than_a_page_and_everybody_has_some_in_each_kind_of_end() {
        let orders = past_orders();
        let of = |consumer: &str| {
            orders
                .iter()
                .filter(|order| order.consumer == consumer)
                .count()
        };
        assert!(of(SHOWN_CONSUMER) >= 30);
        for (consumer, ..) in HOMES {
            for outcome in [
                Outcome::Rejected,
                Outcome::Cancelled,
                Outcome::Delivered,
                Outcome::OnTheWay,
            ] {
                let found = orders
                    .iter()
                    .any(|order| order.consumer == consumer && order.outcome == outcome);
                assert!(found, "{consumer} {outcome:?}");
            }
        }
    }

    #[test]
    fn no_two_orders_share_a_key() {
        let orders = past_orders();
        let keys: BTreeSet<_> = orders.iter().map(|order| &order.key).collect();
        assert_eq!(keys.len(), orders.len());
    }
}
