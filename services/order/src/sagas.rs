//! The three sagas that order orchestrates, step by step as the domain has them, and the data each one needs.
//! Not here: how a saga moves (`ftgo_messaging::saga`), nor what order's own steps do (`commands`).

use ftgo_chassis::Money;
use ftgo_messaging::saga::{CommandTemplate, Definition, REASON, Step};
use serde::Serialize;

use crate::domain::{Order, PricedItems};

pub(crate) const CREATE_ORDER: &str = "CreateOrder";
pub(crate) const CANCEL_ORDER: &str = "CancelOrder";
pub(crate) const REVISE_ORDER: &str = "ReviseOrder";

/// Order's own steps go through the outbox like everyone's, so that each commits by itself.
pub(crate) const ORDER_COMMANDS: &str = "order.commands";
pub(crate) const ORDER_REPLIES: &str = "order.replies";

pub(crate) const DEFINITIONS: &[Definition] = &[
    Definition::new(
        CREATE_ORDER,
        &[
            Step::local(
                "BeginCreateOrder",
                order("RejectOrder", &["orderId", REASON]),
            ),
            Step::verification(consumer(
                "ValidateOrder",
                &["orderId", "consumerId", "orderTotal"],
            )),
            Step::compensatable(
                kitchen(
                    "CreateTicket",
                    &["orderId", "consumerId", "restaurantId", "lineItems"],
                ),
                kitchen("CancelCreateTicket", &["orderId"]),
            ),
            Step::pivot(accounting(
                "AuthorizeCard",
                &["orderId", "consumerId", "amount"],
            )),
            Step::retriable(kitchen("ConfirmTicket", &["orderId"])),
            Step::retriable(order("ApproveOrder", &["orderId"])),
        ],
    ),
    Definition::new(
        CANCEL_ORDER,
        &[
            Step::local("BeginCancelOrder", order("UndoCancelOrder", &["orderId"])),
            Step::compensatable(
                kitchen("BeginCancelTicket", &["orderId"]),
                kitchen("UndoCancelTicket", &["orderId"]),
            ),
            Step::pivot(accounting(
                "ReverseAuthorization",
                &["orderId", "consumerId"],
            )),
            Step::retriable(kitchen("ConfirmCancelTicket", &["orderId"])),
            Step::retriable(order("ConfirmCancelOrder", &["orderId"])),
        ],
    ),
    Definition::new(
        REVISE_ORDER,
        &[
            Step::local("BeginReviseOrder", order("RejectRevision", &["orderId"])),
            Step::compensatable(
                kitchen("BeginReviseTicket", &["orderId", "lineItems"]),
                kitchen("UndoReviseTicket", &["orderId"]),
            ),
            Step::pivot(accounting(
                "ReviseAuthorization",
                &["orderId", "consumerId", "amount"],
            )),
            Step::retriable(kitchen("ConfirmReviseTicket", &["orderId"])),
            Step::retriable(order("ConfirmReviseOrder", &["orderId"])),
        ],
    ),
];

/// What the commands of any of the three carry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SagaData<'a> {
    order_id: &'a str,
    consumer_id: &'a str,
    restaurant_id: &'a str,
    /// What the kitchen is to prepare.
    line_items: Vec<TicketLine<'a>>,
    /// What the consumer is asked to pay: the total that is verified and the amount that is authorized.
    order_total: Money,
    amount: Money,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TicketLine<'a> {
    menu_item_id: &'a str,
    name: &'a str,
    quantity: u32,
}

impl<'a> SagaData<'a> {
    /// About `order` with `items`, which are its own or those of its revision.
    pub(crate) fn of(order: &'a Order, items: &'a PricedItems) -> SagaData<'a> {
        let lines = items.line_items().iter().map(|item| TicketLine {
            menu_item_id: &item.menu_item_id,
            name: &item.name,
            quantity: item.quantity,
        });
        SagaData {
            order_id: order.id(),
            consumer_id: order.consumer_id(),
            restaurant_id: order.restaurant_id(),
            line_items: lines.collect(),
            order_total: items.total(),
            amount: items.total(),
        }
    }
}

const fn order(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new(ORDER_COMMANDS, kind, fields)
}

const fn consumer(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new("consumer.commands", kind, fields)
}

const fn kitchen(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new("kitchen.commands", kind, fields)
}

const fn accounting(kind: &'static str, fields: &'static [&'static str]) -> CommandTemplate {
    CommandTemplate::new("accounting.commands", kind, fields)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use ftgo_messaging::saga::{Role, Step};

    use super::DEFINITIONS;

    /// The domain's table, row by row.
    #[test]
    fn the_sagas_are_those_of_the_domain() {
        let table: Vec<(&str, Vec<&str>, &str)> = DEFINITIONS
            .iter()
            .map(|saga| {
                let pivot = saga.steps().iter().find(|step| step.role() == Role::Pivot);
                (
                    saga.kind(),
                    saga.steps().iter().map(Step::name).collect(),
                    pivot.unwrap().name(),
                )
            })
            .collect();
        let create = [
            "BeginCreateOrder",
            "ValidateOrder",
            "CreateTicket",
            "AuthorizeCard",
            "ConfirmTicket",
            "ApproveOrder",
        ];
        let cancel = [
            "BeginCancelOrder",
            "BeginCancelTicket",
            "ReverseAuthorization",
            "ConfirmCancelTicket",
            "ConfirmCancelOrder",
        ];
        let revise = [
            "BeginReviseOrder",
            "BeginReviseTicket",
            "ReviseAuthorization",
            "ConfirmReviseTicket",
            "ConfirmReviseOrder",
        ];
        let expected = [
            ("CreateOrder", create.to_vec(), "AuthorizeCard"),
            ("CancelOrder", cancel.to_vec(), "ReverseAuthorization"),
            ("ReviseOrder", revise.to_vec(), "ReviseAuthorization"),
        ];
        assert_eq!(table, expected);
    }
}
