//! Transactional messaging for FTGO's services: the database file, the outbox and its relay, the inbox and its
//! consumer, and the transport between them. No business rule of any service is here.
//!
//! The way of a message:
//!
//! 1. A service changes its aggregate and calls [`outbox::publish`] in one transaction of its [`Database`].
//! 2. The commit wakes the [`Relay`] of that service. It offers the row to every subscriber of the topic through the
//!    [`Transport`]; each subscriber is served independently, in order for each (topic, subject).
//! 3. The subscriber's [`Consumer`] opens a transaction, enters the message into the inbox, lets its [`MessageHandler`]
//!    do its work on the same transaction, and commits. A message that is in the inbox already does nothing.
//! 4. When all subscribers have committed, the relay marks the row as delivered. A crash anywhere on the way only means
//!    that the message is offered again.

pub mod consumer;
pub mod crash;
pub mod database;
pub mod inbox;
pub mod message;
pub mod outbox;
pub mod relay;
pub mod saga;
pub mod transport;

pub use consumer::{Consumer, Receipt};
pub use database::{Database, DatabaseError};
pub use inbox::{BoxError, HandlerError, MessageHandler};
pub use message::{Message, Outcome, ReplyAddress};
pub use relay::{Relay, RelayHandle};
pub use transport::{InProcessTransport, OfferError, Subscription, Transport};

/// The text of a panic, for logs.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned())
}

/// Milliseconds since 1970, as the tables of this crate store times.
fn now_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
