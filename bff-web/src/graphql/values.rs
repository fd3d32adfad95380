//! Small output types that many types share, and the scalar for moments.

use async_graphql::resolver_utils::EnumType;
use async_graphql::{
    InputObject, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value,
};

use crate::clients::{accounting, delivery, order};

/// An exact amount of money.
#[derive(SimpleObject, Clone)]
pub(super) struct Money {
    /// Decimal digits, for example "61.70"; never a float.
    amount: String,
    /// ISO 4217, for example "USD".
    currency: String,
}

impl From<order::Money> for Money {
    fn from(money: order::Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency,
        }
    }
}

impl From<accounting::proto::Money> for Money {
    fn from(money: accounting::proto::Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency,
        }
    }
}

/// An amount as clients write it.
#[derive(InputObject)]
pub(super) struct MoneyInput {
    /// Decimal digits, for example "61.70".
    amount: String,
    /// ISO 4217, for example "USD".
    currency: String,
}

impl From<MoneyInput> for order::Money {
    fn from(money: MoneyInput) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency,
        }
    }
}

#[derive(SimpleObject)]
pub(super) struct Address {
    street1: String,
    street2: Option<String>,
    city: String,
    state: String,
    zip: String,
}

impl From<order::Address> for Address {
    fn from(address: order::Address) -> Self {
        let order::Address {
            street1,
            street2,
            city,
            state,
            zip,
        } = address;
        Self {
            street1,
            street2,
            city,
            state,
            zip,
        }
    }
}

/// WGS 84, in degrees.
#[derive(SimpleObject)]
pub(super) struct Location {
    lat: f64,
    lng: f64,
}

impl From<delivery::Location> for Location {
    fn from(delivery::Location { lat, lng }: delivery::Location) -> Self {
        Self { lat, lng }
    }
}

/// A moment in RFC 3339, for example "2030-01-31T18:30:00Z". Answers are in UTC.
pub(super) struct DateTime(pub(super) String);

#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if chrono::DateTime::parse_from_rfc3339(&text).is_ok() => {
                Ok(Self(text))
            }
            other => Err(InputValueError::expected_type(other)),
        }
    }

    /// Asked while the document is validated: a bad value in it, or in its variables, refuses all of it.
    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A service's word as a value of an enum; a word that this schema does not know yet is `unknown`.
pub(super) fn of_word<E: EnumType>(word: &str, unknown: E) -> E {
    E::items()
        .iter()
        .find(|item| item.name == word)
        .map_or(unknown, |item| item.value)
}

/// A value of an enum as a service's word.
pub(super) fn word<E: EnumType>(value: E) -> &'static str {
    E::items()
        .iter()
        .find(|item| item.value == value)
        .map_or("", |item| item.name)
}
