//! Support for the integration tests: systems under test on port 0, and a client that checks what must hold for every
//! answer. What is tested is in `it/`.

pub mod bff;
pub mod books;
pub mod browser;
pub mod chromium;
pub mod client;
pub mod collector;
pub mod fleet;
pub mod issuer;
pub mod node;
pub mod openmetrics;
pub mod process;
pub mod promtool;
pub mod provider;
pub mod receiver;
pub mod redis;
pub mod system;
pub mod tools;
pub mod upstream;
pub mod web;

pub use client::{Answer, Client};
pub use system::System;
