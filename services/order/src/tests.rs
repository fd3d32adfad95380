//! The whole service over real sockets and the real transport, with small participants in place of the other services.
//! Not here: rules that need neither (`domain`, and `saga` in ftgo-messaging).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod crash;
mod requests;
mod sagas;
mod storage;
mod world;
