//! What a BFF's tests stand on (feature `testkit`): a gateway on a port of its own, services that answer as a test says and
//! fail as it says, and the failure matrix. Nothing of this is in a production build.
//!
//! A BFF writes down its [`Setup`] once: its configuration, the services that it calls and what they usually answer. Then
//! [`TestGateway::start`] gives a test a world of its own, and [`Matrix`] runs every part of every screen through every
//! [`Fault`]. That table reads like data:
//!
//! ```
//! use gateway_core::testkit::Screen;
//!
//! let screens = [
//!     Screen::get("widget", "/widgets/1")
//!         .required("widget", "widgets", "GET /widgets/1").or_not_found()
//!         .optional("stock", "stock", "GET /stock/1"),
//!     Screen::post("buy-widget", "/purchases", serde_json::json!({"widget": "1"}))
//!         .required("", "purchases", "POST /purchases").or_not_found(),
//! ];
//! # let _ = screens;
//! ```
#![expect(
    clippy::unwrap_used,
    reason = "this is test code: a failed unwrap is a failed test"
)]

mod answer;
mod check;
mod examples;
mod fault;
mod gateway;
pub(crate) mod log;
mod matrix;
mod service;

pub use answer::Answer;
pub use examples::without_examples;
pub use fault::Fault;
pub use gateway::{Key, Setup, TestGateway, eventually};
pub use matrix::{Matrix, Screen};
pub use service::{Seen, Service};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod widgets;
