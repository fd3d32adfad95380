//! FTGO's services run together: [`system::Ftgo`] for tests and programs, [`control`] to stop and start single
//! services from outside, [`demo`] for what `make demo` shows, [`gateway_key`] for
//! how its gateways are known to the services. No domain logic is here: that is each service's own.

pub mod control;
pub mod demo;
pub mod gateway_key;
pub mod logging;
pub mod service;
pub mod system;
