//! The account, event-sourced: `process` turns a command into events without changing anything, `apply` folds an event
//! and cannot fail. How events are stored and who hears of them is not decided here.

use std::collections::BTreeMap;

use ftgo_chassis::{Currency, Money};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// The money that a consumer's orders have authorized, and the rules under which more may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// `None` until the account is opened: the state before the first event.
    opened: Option<Opened>,
    /// Number of events folded so far.
    version: i64,
    /// By order id. An entry never goes away, so that an order cannot be charged a second time after a reversal.
    authorizations: BTreeMap<String, Authorization>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Opened {
    consumer_id: String,
    order_limit: Money,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Disabled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Authorization {
    Held(Money),
    Reversed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Open {
        consumer_id: String,
        order_limit: Money,
    },
    Authorize {
        order_id: String,
        amount: Money,
    },
    Reverse {
        order_id: String,
    },
    Revise {
        order_id: String,
        amount: Money,
    },
    Disable,
    Enable,
}

/// What happened. The JSON form is what the event store keeps for ever: fields may be added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Event {
    Opened {
        consumer_id: String,
        order_limit: Money,
    },
    Authorized {
        order_id: String,
        amount: Money,
    },
    AuthorizationReversed {
        order_id: String,
        amount: Money,
    },
    AuthorizationRevised {
        order_id: String,
        previous_amount: Money,
        amount: Money,
    },
    Disabled,
    Enabled,
}

/// Why a command changes nothing. `code` is what a saga's reply carries.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Rejection {
    #[error("there is no such account")]
    NotOpened,
    #[error("the account is disabled")]
    Disabled,
    #[error("{amount} exceeds the limit of {limit} for one order")]
    LimitExceeded { amount: Money, limit: Money },
    #[error("the account is kept in {account}, not in {requested}")]
    CurrencyMismatch {
        account: Currency,
        requested: Currency,
    },
    #[error("{0} is not an amount that can be authorized")]
    InvalidAmount(Money),
    #[error("the order is authorized already, for {0}")]
    AlreadyAuthorized(Money),
    #[error("the order's authorization was reversed")]
    AlreadyReversed,
    #[error("nothing is authorized for the order")]
    NotAuthorized,
}

impl Rejection {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotOpened => "ACCOUNT_NOT_FOUND",
            Self::Disabled => "ACCOUNT_DISABLED",
            Self::LimitExceeded { .. } => "LIMIT_EXCEEDED",
            Self::CurrencyMismatch { .. } => "CURRENCY_MISMATCH",
            Self::InvalidAmount(_) => "INVALID_AMOUNT",
            Self::AlreadyAuthorized(_) => "ALREADY_AUTHORIZED",
            Self::AlreadyReversed => "AUTHORIZATION_REVERSED",
            Self::NotAuthorized => "NOT_AUTHORIZED",
        }
    }
}

impl Account {
    /// Folds a history, oldest event first.
    pub(crate) fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut account = Self::default();
        for event in events {
            account.apply(event);
        }
        account
    }

    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// `None` before the account is opened.
    pub(crate) fn consumer_id(&self) -> Option<&str> {
        self.opened
            .as_ref()
            .map(|opened| opened.consumer_id.as_str())
    }

    /// The events that the command causes; none when what it asks for is already so, which makes every command safe to
    /// repeat.
    pub(crate) fn process(&self, command: Command) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Open {
                consumer_id,
                order_limit,
            } => Ok(self.open(consumer_id, order_limit)),
            Command::Authorize { order_id, amount } => self.authorize(order_id, amount),
            Command::Reverse { order_id } => Ok(self.reverse(order_id)),
            Command::Revise { order_id, amount } => self.revise(order_id, amount),
            Command::Disable => self.change_status(Status::Disabled),
            Command::Enable => self.change_status(Status::Active),
        }
    }

    /// Folds one event. An event is a fact: nothing is checked again, and one that makes no sense here changes nothing
    /// but the version.
    pub(crate) fn apply(&mut self, event: &Event) {
        self.version += 1;
        match event {
            Event::Opened {
                consumer_id,
                order_limit,
            } => {
                self.opened = Some(Opened {
                    consumer_id: consumer_id.clone(),
                    order_limit: *order_limit,
                    status: Status::Active,
                });
            }
            Event::Authorized { order_id, amount }
            | Event::AuthorizationRevised {
                order_id, amount, ..
            } => {
                self.authorizations
                    .insert(order_id.clone(), Authorization::Held(*amount));
            }
            Event::AuthorizationReversed { order_id, .. } => {
                self.authorizations
                    .insert(order_id.clone(), Authorization::Reversed);
            }
            Event::Disabled => self.set_status(Status::Disabled),
            Event::Enabled => self.set_status(Status::Active),
        }
    }

    fn open(&self, consumer_id: String, order_limit: Money) -> Vec<Event> {
        match self.opened {
            Some(_) => Vec::new(),
            None => vec![Event::Opened {
                consumer_id,
                order_limit,
            }],
        }
    }

    fn authorize(&self, order_id: String, amount: Money) -> Result<Vec<Event>, Rejection> {
        match self.authorizations.get(&order_id) {
            // The same question again gets the same answer, whatever has become of the account since.
            Some(Authorization::Held(held)) if *held == amount => return Ok(Vec::new()),
            Some(Authorization::Held(held)) => {
                return Err(Rejection::AlreadyAuthorized(*held));
            }
            Some(Authorization::Reversed) => return Err(Rejection::AlreadyReversed),
            None => {}
        }
        self.may_hold(amount)?;
        Ok(vec![Event::Authorized { order_id, amount }])
    }

    /// Never refused: neither a disabled account nor a limit stands in the way of giving money back.
    fn reverse(&self, order_id: String) -> Vec<Event> {
        match self.authorizations.get(&order_id) {
            Some(Authorization::Held(held)) => vec![Event::AuthorizationReversed {
                order_id,
                amount: *held,
            }],
            // A compensation may be of something that never happened. No mark is left: the commands of one order arrive
            // in their order, so no authorization can come after its own reversal.
            Some(Authorization::Reversed) | None => Vec::new(),
        }
    }

    fn revise(&self, order_id: String, amount: Money) -> Result<Vec<Event>, Rejection> {
        let held = match self.authorizations.get(&order_id) {
            Some(Authorization::Held(held)) => held,
            Some(Authorization::Reversed) => return Err(Rejection::AlreadyReversed),
            None => return Err(Rejection::NotAuthorized),
        };
        if *held == amount {
            return Ok(Vec::new());
        }
        self.may_hold(amount)?;
        Ok(vec![Event::AuthorizationRevised {
            order_id,
            previous_amount: *held,
            amount,
        }])
    }

    fn change_status(&self, status: Status) -> Result<Vec<Event>, Rejection> {
        let opened = self.opened.as_ref().ok_or(Rejection::NotOpened)?;
        if opened.status == status {
            return Ok(Vec::new());
        }
        Ok(vec![match status {
            Status::Active => Event::Enabled,
            Status::Disabled => Event::Disabled,
        }])
    }

    /// The limit is of one order and knows nothing of the others: a regular's many small orders are no risk.
    fn may_hold(&self, amount: Money) -> Result<(), Rejection> {
        let opened = self.opened.as_ref().ok_or(Rejection::NotOpened)?;
        if opened.status == Status::Disabled {
            return Err(Rejection::Disabled);
        }
        let limit = opened.order_limit;
        if amount.currency() != limit.currency() {
            return Err(Rejection::CurrencyMismatch {
                account: limit.currency(),
                requested: amount.currency(),
            });
        }
        if amount.amount() <= Decimal::ZERO {
            return Err(Rejection::InvalidAmount(amount));
        }
        if amount.amount() > limit.amount() {
            return Err(Rejection::LimitExceeded { amount, limit });
        }
        Ok(())
    }

    fn set_status(&mut self, status: Status) {
        if let Some(opened) = &mut self.opened {
            opened.status = status;
        }
    }
}
