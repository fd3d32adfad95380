//! The integration tests: behaviour over real sockets, with FTGO's real services behind the gateways. One binary, one
//! module for each kind of behaviour; what they share is the support library in `../src`.

mod assets;
mod bad_input;
mod browser;
mod caching;
mod contracts;
mod crash;
mod demo;
mod departure;
mod main_path;
mod metrics;
mod mobile;
mod ownership;
mod partial_failure;
mod process;
mod public;
mod rate_limits;
mod restart;
mod revocations;
mod secrets;
mod session;
mod tidy;
mod tokens;
mod tracing;
mod web;
mod webhooks;
