//! The order aggregate: its states, its moves, and the rule that it never costs less than the restaurant's minimum.
//! Not here: the sagas that make the moves, nor how an order is stored.
//!
//! ```text
//! APPROVAL_PENDING ─approve─► APPROVED ─begin_cancel─► CANCEL_PENDING ─confirm_cancel─► CANCELLED
//!        │                     ▲ │ ▲                         │
//!      reject                  │ │ └──────undo_cancel────────┘
//!        ▼                     │ └─propose_revision─► REVISION_PENDING
//!     REJECTED                 └─confirm_revision / reject_revision─┘
//! ```

use chrono::{DateTime, Utc};
use ftgo_chassis::{Address, Money};
use serde::{Deserialize, Serialize};

use super::line_items::{LineItem, PricedItems, PricingError, Selection};
use super::restaurant::{MenuItem, Restaurant};

/// An order, at one version. The serde form is how it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub(super) id: String,
    pub(super) consumer_id: String,
    pub(super) restaurant_id: String,
    pub(super) restaurant_name: String,
    pub(super) state: OrderState,
    /// 1 when placed, one more with every move.
    pub(super) version: i64,
    pub(super) items: PricedItems,
    /// The restaurant's minimum when the order was placed: the terms that it keeps.
    pub(super) order_minimum: Money,
    pub(super) proposed: Option<PricedItems>,
    pub(super) delivery_address: Address,
    pub(super) delivery_time: Option<DateTime<Utc>>,
    pub(super) rejection_reason: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum OrderState {
    ApprovalPending,
    Approved,
    Rejected,
    CancelPending,
    Cancelled,
    RevisionPending,
}

/// What is needed to place an order.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) id: String,
    pub(crate) consumer_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) selection: Selection,
    pub(crate) delivery_address: Address,
    pub(crate) delivery_time: Option<DateTime<Utc>>,
}

/// What happened to an order. Every move has its event, so that whoever follows the events is never left in a state
/// that the order has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderEvent {
    Created,
    Authorized,
    Rejected,
    CancelRequested,
    CancelRejected,
    Cancelled,
    RevisionProposed,
    RevisionRejected,
    Revised,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("an order in state {state} cannot {action}")]
    IllegalMove {
        state: OrderState,
        action: &'static str,
    },
    #[error("the order costs {total}, less than the restaurant's minimum of {minimum}")]
    BelowMinimum { total: Money, minimum: Money },
    #[error("the delivery time {delivery_time} has passed")]
    DeliveryTimePassed { delivery_time: DateTime<Utc> },
    #[error(transparent)]
    Pricing(#[from] PricingError),
}

impl Order {
    /// A new order, APPROVAL_PENDING, under the restaurant's present terms.
    pub(crate) fn place(
        new: NewOrder,
        restaurant: &Restaurant,
        now: DateTime<Utc>,
    ) -> Result<(Order, OrderEvent), OrderError> {
        if let Some(delivery_time) = new.delivery_time.filter(|time| *time < now) {
            return Err(OrderError::DeliveryTimePassed { delivery_time });
        }
        let items = new
            .selection
            .price(restaurant.order_minimum, |id| restaurant.menu_item(id))?;
        require_minimum(&items, restaurant.order_minimum)?;
        let order = Order {
            id: new.id,
            consumer_id: new.consumer_id,
            restaurant_id: new.restaurant_id,
            restaurant_name: restaurant.name.clone(),
            state: OrderState::ApprovalPending,
            version: 1,
            items,
            order_minimum: restaurant.order_minimum,
            proposed: None,
            delivery_address: new.delivery_address,
            delivery_time: new.delivery_time,
            rejection_reason: None,
            created_at: now,
            updated_at: now,
        };
        Ok((order, OrderEvent::Created))
    }

    pub(crate) fn approve(&mut self, now: DateTime<Utc>) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::ApprovalPending, "be approved")?;
        self.enter(OrderState::Approved, now);
        Ok(OrderEvent::Authorized)
    }

    /// `reason` is the code of the participant's refusal.
    pub(crate) fn reject(
        &mut self,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::ApprovalPending, "be rejected")?;
        self.rejection_reason = Some(reason.to_owned());
        self.enter(OrderState::Rejected, now);
        Ok(OrderEvent::Rejected)
    }

    pub(crate) fn begin_cancel(&mut self, now: DateTime<Utc>) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::Approved, "be cancelled")?;
        self.enter(OrderState::CancelPending, now);
        Ok(OrderEvent::CancelRequested)
    }

    pub(crate) fn undo_cancel(&mut self, now: DateTime<Utc>) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::CancelPending, "go back from being cancelled")?;
        self.enter(OrderState::Approved, now);
        Ok(OrderEvent::CancelRejected)
    }

    pub(crate) fn confirm_cancel(&mut self, now: DateTime<Utc>) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::CancelPending, "end its cancellation")?;
        self.enter(OrderState::Cancelled, now);
        Ok(OrderEvent::Cancelled)
    }

    /// Proposes `selection` instead of the present line items. What was ordered already keeps its price; what is new
    /// is priced by `find`, the restaurant's menu.
    pub(crate) fn propose_revision<'m>(
        &mut self,
        selection: &Selection,
        find: impl Fn(&str) -> Option<&'m MenuItem>,
        now: DateTime<Utc>,
    ) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::Approved, "be revised")?;
        let agreed: Vec<MenuItem> = self
            .items
            .line_items()
            .iter()
            .map(LineItem::offer)
            .collect();
        let find = |id: &str| {
            agreed
                .iter()
                .find(|item| item.id == id)
                .or_else(|| find(id))
        };
        let proposed = selection.price(self.order_minimum, find)?;
        require_minimum(&proposed, self.order_minimum)?;
        self.proposed = Some(proposed);
        self.enter(OrderState::RevisionPending, now);
        Ok(OrderEvent::RevisionProposed)
    }

    pub(crate) fn confirm_revision(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::RevisionPending, "end its revision")?;
        if let Some(proposed) = self.proposed.take() {
            self.items = proposed;
        }
        self.enter(OrderState::Approved, now);
        Ok(OrderEvent::Revised)
    }

    pub(crate) fn reject_revision(&mut self, now: DateTime<Utc>) -> Result<OrderEvent, OrderError> {
        self.require(OrderState::RevisionPending, "go back from its revision")?;
        self.proposed = None;
        self.enter(OrderState::Approved, now);
        Ok(OrderEvent::RevisionRejected)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn consumer_id(&self) -> &str {
        &self.consumer_id
    }

    pub(crate) fn restaurant_id(&self) -> &str {
        &self.restaurant_id
    }

    pub(crate) fn restaurant_name(&self) -> &str {
        &self.restaurant_name
    }

    pub(crate) fn state(&self) -> OrderState {
        self.state
    }

    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    pub(crate) fn items(&self) -> &PricedItems {
        &self.items
    }

    /// The line items of a revision that is under way.
    pub(crate) fn proposed(&self) -> Option<&PricedItems> {
        self.proposed.as_ref()
    }

    pub(crate) fn delivery_address(&self) -> &Address {
        &self.delivery_address
    }

    pub(crate) fn delivery_time(&self) -> Option<DateTime<Utc>> {
        self.delivery_time
    }

    pub(crate) fn rejection_reason(&self) -> Option<&str> {
        self.rejection_reason.as_deref()
    }

    pub(crate) fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    pub(crate) fn updated_at(&self) -> DateTime<Utc> {
        self.updated_at
    }

    fn require(&self, state: OrderState, action: &'static str) -> Result<(), OrderError> {
        if self.state == state {
            Ok(())
        } else {
            Err(OrderError::IllegalMove {
                state: self.state,
                action,
            })
        }
    }

    fn enter(&mut self, state: OrderState, now: DateTime<Utc>) {
        self.state = state;
        self.version += 1;
        self.updated_at = now;
    }
}

impl OrderEvent {
    /// The CloudEvents type.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            OrderEvent::Created => "OrderCreated",
            OrderEvent::Authorized => "OrderAuthorized",
            OrderEvent::Rejected => "OrderRejected",
            OrderEvent::CancelRequested => "OrderCancelRequested",
            OrderEvent::CancelRejected => "OrderCancelRejected",
            OrderEvent::Cancelled => "OrderCancelled",
            OrderEvent::RevisionProposed => "OrderRevisionProposed",
            OrderEvent::RevisionRejected => "OrderRevisionRejected",
            OrderEvent::Revised => "OrderRevised",
        }
    }
}

impl std::fmt::Display for OrderState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            OrderState::ApprovalPending => "APPROVAL_PENDING",
            OrderState::Approved => "APPROVED",
            OrderState::Rejected => "REJECTED",
            OrderState::CancelPending => "CANCEL_PENDING",
            OrderState::Cancelled => "CANCELLED",
            OrderState::RevisionPending => "REVISION_PENDING",
        })
    }
}

fn require_minimum(items: &PricedItems, minimum: Money) -> Result<(), OrderError> {
    let total = items.total();
    // Items are priced in the currency of the minimum, so that the two can always be compared.
    if total.at_least(minimum) == Ok(true) {
        Ok(())
    } else {
        Err(OrderError::BelowMinimum { total, minimum })
    }
}

#[cfg(test)]
mod tests;
