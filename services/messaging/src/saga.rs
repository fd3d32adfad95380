//! Orchestrated sagas: definitions as data, a pure stepping function, and the rows that make both survive a crash.
//! Not here: what any step does, which is a participant's business, nor the delivery of its command (`outbox`, `relay`).
//!
//! # How a saga moves
//!
//! A [`Definition`] lists steps. The first is local: whoever starts the saga does it in the transaction that calls
//! [`Orchestrator::start`], which writes the instance row and the second step's command. From then on every step is a
//! command in the outbox and a reply in the inbox, also where the participant is the orchestrator's own service, so
//! that each commits by itself:
//!
//! ```text
//! reply arrives ─► one transaction { inbox entry, instance row moves, next command in the outbox } ─► relay
//! ```
//!
//! A failure before or at the pivot turns the saga round: the compensations of the steps before it run in reverse.
//! Compensations and steps after the pivot cannot be refused: a failure of theirs is recorded, and
//! [`run_retries`] issues the same command again after a backoff, for as long as it takes.
//!
//! A crash between any two transactions loses nothing: an unsent command is still in the outbox, an unprocessed reply
//! is offered again, and a due time is a column of the row.

mod definition;
mod instance;
mod orchestrator;
mod progress;
mod retry;

pub use definition::{CommandTemplate, Definition, REASON, Role, Step};
pub use instance::{Instance, InstanceState};
pub use orchestrator::{Orchestrator, SagaError};
pub use retry::{RetryPolicy, run_retries};
