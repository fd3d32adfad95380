//! The aggregate Consumer and its rules. How it is stored, asked for or told about is not here.

use ftgo_chassis::Address;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Somebody who orders.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) name: PersonName,
    pub(crate) email: EmailAddress,
    /// Set by the staff: a blocked consumer can look, but not order.
    pub(crate) blocked: bool,
    pub(crate) addresses: Vec<SavedAddress>,
    /// Grows with every change.
    pub(crate) version: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PersonName {
    pub(crate) first: Text,
    pub(crate) last: Text,
}

/// An address under the name that the consumer gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedAddress {
    pub(crate) id: String,
    pub(crate) label: Text,
    pub(crate) address: Address,
}

/// A short text that is not blank, without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Text(String);

/// Something like `ada@example.com`. Whether mail arrives there only mail can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct EmailAddress(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    #[error("must be 1 to {LONGEST_TEXT} characters")]
    Text,
    #[error("must be an e-mail address")]
    Email,
}

/// Why a consumer may not order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderRefusal {
    #[error("the consumer is blocked")]
    Blocked,
}

/// An addition that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a consumer has at most {MOST_ADDRESSES} addresses")]
pub(crate) struct TooManyAddresses;

const LONGEST_TEXT: usize = 100;
pub(crate) const MOST_ADDRESSES: usize = 20;

impl Consumer {
    /// A new consumer, in version 1.
    pub(crate) fn register(id: String, name: PersonName, email: EmailAddress) -> Consumer {
        Consumer {
            id,
            name,
            email,
            blocked: false,
            addresses: Vec::new(),
            version: 1,
        }
    }

    /// Whether this consumer may place an order.
    pub(crate) fn validate_order(&self) -> Result<(), OrderRefusal> {
        if self.blocked {
            return Err(OrderRefusal::Blocked);
        }
        Ok(())
    }

    /// Blocks or unblocks; false when nothing changes.
    pub(crate) fn set_blocked(&mut self, blocked: bool) -> bool {
        if self.blocked == blocked {
            return false;
        }
        self.blocked = blocked;
        self.version += 1;
        true
    }

    pub(crate) fn add_address(
        &mut self,
        label: Text,
        address: Address,
    ) -> Result<SavedAddress, TooManyAddresses> {
        if self.addresses.len() >= MOST_ADDRESSES {
            return Err(TooManyAddresses);
        }
        let saved = SavedAddress {
            id: Uuid::now_v7().to_string(),
            label,
            address,
        };
        self.addresses.push(saved.clone());
        self.version += 1;
        Ok(saved)
    }
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl EmailAddress {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(text: String) -> Result<Text, TextError> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > LONGEST_TEXT {
            return Err(TextError::Text);
        }
        Ok(Text(text.to_owned()))
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = TextError;

    fn try_from(text: String) -> Result<EmailAddress, TextError> {
        let plausible = match text.split_once('@') {
            Some((local, domain)) => {
                !local.is_empty() && domain.contains('.') && !domain.contains('@')
            }
            None => false,
        };
        // RFC 5321, 4.5.3.1.3: a path has at most 256 octets, its two angle brackets included.
        if !plausible || text.len() > 254 || text.chars().any(char::is_whitespace) {
            return Err(TextError::Email);
        }
        Ok(EmailAddress(text))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

impl From<EmailAddress> for String {
    fn from(email: EmailAddress) -> String {
        email.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use ftgo_chassis::Address;

    use super::{
        Consumer, EmailAddress, MOST_ADDRESSES, OrderRefusal, PersonName, Text, TooManyAddresses,
    };

    fn text(text: &str) -> Text {
        Text::try_from(text.to_owned()).unwrap()
    }

    fn consumer() -> Consumer {
        let name = PersonName {
            first: text("First"),
            last: text("Last"),
        };
        let email = EmailAddress::try_from("ada@example.com".to_owned()).unwrap();
        Consumer::register("c1".to_owned(), name, email)
    }

    fn address() -> Address {
        Address {
            street1: "1 Main Street".to_owned(),
            street2: None,
            city: "Oakland".to_owned(),
            state: "CA".to_owned(),
            zip: "94612".to_owned(),
        }
    }

    #[test]
    fn a_blocked_consumer_may_not_order_until_unblocked() {
        let mut consumer = consumer();
        assert_eq!(consumer.validate_order(), Ok(()));
        assert!(consumer.set_blocked(true));
        assert_eq!(consumer.validate_order(), Err(OrderRefusal::Blocked));
        assert!(consumer.set_blocked(false));
        assert_eq!(consumer.validate_order(), Ok(()));
        assert_eq!(consumer.version, 3);
    }

    #[test]
    fn blocking_twice_changes_nothing() {
        let mut consumer = consumer();
        assert!(consumer.set_blocked(true));
        assert!(!consumer.set_blocked(true));
        assert_eq!(consumer.version, 2);
    }

    #[test]
    fn addresses_are_bounded() {
        let mut consumer = consumer();
        for _ in 0..MOST_ADDRESSES {
            consumer.add_address(text("home"), address()).unwrap();
        }
        let refused = consumer.add_address(text("home"), address());
        assert_eq!(refused, Err(TooManyAddresses));
        assert_eq!(consumer.version, 1 + MOST_ADDRESSES as i64);
    }

    #[test]
    fn texts_and_emails_are_checked() {
        assert_eq!(text("  First ").as_str(), "First");
        for blank in ["", " ", &"x".repeat(101)] {
            assert!(Text::try_from(blank.to_owned()).is_err(), "{blank:?}");
        }
        for wrong in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@localhost",
            "a b@example.com",
            "a@b@example.com",
        ] {
            assert!(EmailAddress::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
