//! Where services contradict each other about one order: each has committed its own step, and another has not heard of it
//! yet, or never will. Nothing is hidden or mended here: what each of them says is shown, and that it does not fit.

use schemars::JsonSchema;
use serde::Serialize;

/// Two sections that cannot both be right.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Contradiction {
    /// The sections; each has the time of what it says, and all but the bill its version.
    sections: [&'static str; 2],
    /// For people.
    detail: String,
}

/// What services say of an order, each for itself; `None` when one says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct States<'a> {
    pub(crate) order: &'a str,
    pub(crate) ticket: Option<&'a str>,
    pub(crate) delivery: Option<&'a str>,
    pub(crate) bill: Option<&'a str>,
}

impl States<'_> {
    /// All that does not fit. Steps that a saga is in the middle of do.
    pub(crate) fn contradictions(self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut compare = |sections, words: [(&str, &str); 2], fits: bool| {
            if !fits {
                let [(one, is), (other, says)] = words;
                let detail = format!("The {one} is {is}, and the {other} is {says}.");
                found.push(Contradiction { sections, detail });
            }
        };
        let order = self.order;
        if let Some(ticket) = self.ticket {
            let fits = order_and_ticket(order, ticket);
            compare(
                ["order", "ticket"],
                [("order", order), ("ticket", ticket)],
                fits,
            );
        }
        if let Some(delivery) = self.delivery {
            let fits = order_and_delivery(order, delivery);
            compare(
                ["order", "delivery"],
                [("order", order), ("delivery", delivery)],
                fits,
            );
        }
        if let Some(bill) = self.bill {
            let fits = order_and_bill(order, bill);
            compare(["order", "bill"], [("order", order), ("bill", bill)], fits);
        }
        if let (Some(ticket), Some(delivery)) = (self.ticket, self.delivery) {
            let fits = ticket_and_delivery(ticket, delivery);
            compare(
                ["ticket", "delivery"],
                [("ticket", ticket), ("delivery", delivery)],
                fits,
            );
        }
        found
    }
}

/// Words that are not known here fit everything: services may come to have more of them.
fn order_and_ticket(order: &str, ticket: &str) -> bool {
    let off = matches!(ticket, "CANCELLED" | "CREATE_CANCELLED");
    let at_work = matches!(
        ticket,
        "ACCEPTED" | "PREPARING" | "READY_FOR_PICKUP" | "PICKED_UP"
    );
    match order {
        "CANCELLED" => off || !(at_work || ticket == "AWAITING_ACCEPTANCE"),
        // A ticket that was never confirmed is nobody's work.
        "REJECTED" => !(at_work || ticket == "AWAITING_ACCEPTANCE"),
        "APPROVED" => !off && ticket != "CREATE_PENDING",
        "APPROVAL_PENDING" => !at_work,
        _ => true,
    }
}

fn order_and_delivery(order: &str, delivery: &str) -> bool {
    let under_way = matches!(delivery, "SCHEDULED" | "PICKED_UP" | "DELIVERED");
    match order {
        "CANCELLED" | "REJECTED" => !(under_way || delivery == "PENDING"),
        "APPROVED" => delivery != "CANCELLED",
        "APPROVAL_PENDING" => !under_way,
        _ => true,
    }
}

fn order_and_bill(order: &str, bill: &str) -> bool {
    match order {
        "CANCELLED" | "REJECTED" => bill != "AUTHORIZED",
        "APPROVED" => bill != "REVERSED",
        _ => true,
    }
}

/// The food cannot be on the road before the kitchen has it ready.
fn ticket_and_delivery(ticket: &str, delivery: &str) -> bool {
    let has_food = matches!(delivery, "PICKED_UP" | "DELIVERED");
    let not_ready = matches!(
        ticket,
        "CREATE_PENDING" | "AWAITING_ACCEPTANCE" | "ACCEPTED" | "PREPARING"
    );
    !(has_food && not_ready)
}

#[cfg(test)]
mod tests {
    use super::States;

    #[test]
    fn what_cannot_be_is_found_and_what_is_on_its_way_is_not() {
        let on_its_way = [
            (
                "APPROVAL_PENDING",
                Some("CREATE_PENDING"),
                Some("PENDING"),
                None,
            ),
            (
                "APPROVAL_PENDING",
                Some("AWAITING_ACCEPTANCE"),
                Some("PENDING"),
                Some("AUTHORIZED"),
            ),
            (
                "APPROVED",
                Some("PREPARING"),
                Some("SCHEDULED"),
                Some("AUTHORIZED"),
            ),
            (
                "APPROVED",
                Some("READY_FOR_PICKUP"),
                Some("PICKED_UP"),
                Some("AUTHORIZED"),
            ),
            (
                "CANCEL_PENDING",
                Some("CANCELLED"),
                Some("SCHEDULED"),
                Some("REVERSED"),
            ),
            (
                "REVISION_PENDING",
                Some("REVISION_PENDING"),
                Some("SCHEDULED"),
                Some("AUTHORIZED"),
            ),
            (
                "CANCELLED",
                Some("CANCELLED"),
                Some("CANCELLED"),
                Some("REVERSED"),
            ),
            (
                "REJECTED",
                Some("CREATE_CANCELLED"),
                Some("CANCELLED"),
                None,
            ),
            ("REJECTED", Some("CREATE_PENDING"), None, None),
            (
                "OF_ANOTHER_YEAR",
                Some("PREPARING"),
                Some("LOST"),
                Some("DOUBTED"),
            ),
        ];
        let impossible = [
            (
                "CANCELLED",
                Some("PREPARING"),
                None,
                None,
                "The order is CANCELLED, and the ticket is PREPARING.",
            ),
            (
                "CANCELLED",
                None,
                Some("SCHEDULED"),
                None,
                "The order is CANCELLED, and the delivery is SCHEDULED.",
            ),
            (
                "CANCELLED",
                None,
                None,
                Some("AUTHORIZED"),
                "The order is CANCELLED, and the bill is AUTHORIZED.",
            ),
            (
                "REJECTED",
                Some("ACCEPTED"),
                None,
                None,
                "The order is REJECTED, and the ticket is ACCEPTED.",
            ),
            (
                "APPROVED",
                Some("CANCELLED"),
                None,
                None,
                "The order is APPROVED, and the ticket is CANCELLED.",
            ),
            (
                "APPROVED",
                None,
                Some("CANCELLED"),
                None,
                "The order is APPROVED, and the delivery is CANCELLED.",
            ),
            (
                "APPROVED",
                None,
                None,
                Some("REVERSED"),
                "The order is APPROVED, and the bill is REVERSED.",
            ),
            (
                "APPROVAL_PENDING",
                Some("ACCEPTED"),
                None,
                None,
                "The order is APPROVAL_PENDING, and the ticket is ACCEPTED.",
            ),
            (
                "APPROVED",
                Some("PREPARING"),
                Some("PICKED_UP"),
                None,
                "The ticket is PREPARING, and the delivery is PICKED_UP.",
            ),
        ];
        for (order, ticket, delivery, bill) in on_its_way {
            let states = States {
                order,
                ticket,
                delivery,
                bill,
            };
            assert_eq!(states.contradictions(), [], "{states:?}");
        }
        for (order, ticket, delivery, bill, detail) in impossible {
            let states = States {
                order,
                ticket,
                delivery,
                bill,
            };
            let found = states.contradictions();
            let details: Vec<_> = found.iter().map(|found| found.detail.as_str()).collect();
            assert_eq!(details, [detail], "{states:?}");
        }
    }
}
