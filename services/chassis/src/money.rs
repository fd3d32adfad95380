//! Amounts of money: exact, with their currency. Prices and limits are the business of the services.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimal places of an amount, as in all currencies that FTGO takes.
const SCALE: u32 = 2;
/// No single amount in this business gets near it, and sums of many stay exact.
const LARGEST: i64 = 1_000_000_000_000;

/// An exact amount. In JSON `{"amount":"61.70","currency":"USD"}`: the amount is a string with two decimals, never a
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Always with two decimals.
    amount: Decimal,
    currency: Currency,
}

/// An ISO 4217 code, as `USD`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// Why an amount can't be read or computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("an amount is a decimal number with at most two decimals, as 61.70")]
    Amount,
    #[error("a currency is three capital letters, as USD")]
    Currency,
    #[error("{0} and {1} are different currencies")]
    Mismatch(Currency, Currency),
    #[error("the amount is too large")]
    Overflow,
}

impl Currency {
    pub const USD: Currency = Currency(*b"USD");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Money {
    /// # Errors
    /// `Amount` with more than two decimals, `Overflow` beyond ±1,000,000,000,000.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Money, MoneyError> {
        if amount.abs() > Decimal::from(LARGEST) {
            return Err(MoneyError::Overflow);
        }
        let mut amount = amount.normalize();
        if amount.scale() > SCALE {
            return Err(MoneyError::Amount);
        }
        amount.rescale(SCALE);
        Ok(Money { amount, currency })
    }

    /// From the two texts of the JSON form, as a database keeps them.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub fn parse(amount: &str, currency: &str) -> Result<Money, MoneyError> {
        let amount = Decimal::from_str_exact(amount).map_err(|_| MoneyError::Amount)?;
        Money::new(amount, currency.parse()?)
    }

    /// US dollars, in cents.
    pub fn usd(cents: i32) -> Money {
        Money {
            amount: Decimal::new(cents.into(), SCALE),
            currency: Currency::USD,
        }
    }

    pub fn amount(&self) -> Decimal {
        self.amount
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// # Errors
    /// `Mismatch` or `Overflow`.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let amount = self.amount.checked_add(other.amount);
        Money::new(amount.ok_or(MoneyError::Overflow)?, self.currency)
    }

    /// # Errors
    /// `Mismatch` or `Overflow`.
    pub fn checked_sub(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let amount = self.amount.checked_sub(other.amount);
        Money::new(amount.ok_or(MoneyError::Overflow)?, self.currency)
    }

    /// # Errors
    /// `Overflow`.
    pub fn checked_mul(self, quantity: u32) -> Result<Money, MoneyError> {
        let amount = self.amount.checked_mul(quantity.into());
        Money::new(amount.ok_or(MoneyError::Overflow)?, self.currency)
    }

    /// Whether this is `other` or more.
    ///
    /// # Errors
    /// `Mismatch`.
    pub fn at_least(self, other: Money) -> Result<bool, MoneyError> {
        self.same_currency(other)?;
        Ok(self.amount >= other.amount)
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.amount < Decimal::ZERO
    }

    fn same_currency(self, other: Money) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::Mismatch(self.currency, other.currency))
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Currency, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Currency(code)),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// As `61.70 USD`.
impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.amount, self.currency)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            amount: String,
            currency: &'a str,
        }
        Wire {
            amount: self.amount.to_string(),
            currency: self.currency.as_str(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            amount: String,
            currency: String,
        }
        let wire = Wire::deserialize(deserializer)?;
        Money::parse(&wire.amount, &wire.currency).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{Currency, Money, MoneyError};

    #[test]
    fn json_has_a_string_with_two_decimals() {
        for amount in ["61.7", "61.70", "61.700"] {
            let text = format!(r#"{{"amount":"{amount}","currency":"USD"}}"#);
            let money: Money = serde_json::from_str(&text).unwrap();
            let written = serde_json::to_string(&money).unwrap();
            assert_eq!(written, r#"{"amount":"61.70","currency":"USD"}"#);
        }
    }

    #[test]
    fn other_json_is_refused() {
        for text in [
            r#"{"amount":61.7,"currency":"USD"}"#,
            r#"{"amount":"61.701","currency":"USD"}"#,
            r#"{"amount":"1e2","currency":"USD"}"#,
            r#"{"amount":"","currency":"USD"}"#,
            r#"{"amount":"61.70","currency":"usd"}"#,
            r#"{"amount":"61.70"}"#,
            r#"{"amount":"9999999999999","currency":"USD"}"#,
        ] {
            assert!(serde_json::from_str::<Money>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact_and_keeps_currencies_apart() {
        let price = Money::usd(1010);
        assert_eq!(price.checked_mul(3), Ok(Money::usd(3030)));
        assert_eq!(price.checked_add(Money::usd(-1011)), Ok(Money::usd(-1)));
        assert_eq!(price.checked_sub(Money::usd(10)), Ok(Money::usd(1000)));
        assert_eq!(price.at_least(Money::usd(1010)), Ok(true));
        assert!(Money::usd(-1).is_negative());
        let euros = Money::parse("10.10", "EUR").unwrap();
        let mismatch = MoneyError::Mismatch(Currency::USD, "EUR".parse().unwrap());
        assert_eq!(price.checked_add(euros), Err(mismatch));
        let large = Money::parse("999999999999", "USD").unwrap();
        assert_eq!(large.checked_mul(u32::MAX), Err(MoneyError::Overflow));
    }
}
