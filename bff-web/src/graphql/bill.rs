//! What an order was charged.

use std::sync::Arc;

use async_graphql::{Enum, Object};

use super::values::{DateTime, Money, of_word};
use crate::clients::accounting;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum BillState {
    Authorized,
    Reversed,
    /// A state that this schema does not know yet.
    Unknown,
}

pub(super) struct Bill(pub(super) Arc<accounting::Bill>);

/// What an order was charged.
#[Object]
impl Bill {
    async fn state(&self) -> BillState {
        of_word(&self.0.state, BillState::Unknown)
    }

    /// What is authorized; of a reversed bill, what was.
    async fn amount(&self) -> Option<Money> {
        self.0.amount.clone().map(Money::from)
    }

    async fn authorized_at(&self) -> Option<DateTime> {
        Some(self.0.authorized_at.clone())
            .filter(|time| !time.is_empty())
            .map(DateTime)
    }
}
