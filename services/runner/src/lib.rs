//! FTGO's services run together: [`system::Ftgo`] for tests and programs, [`control`] to stop and start single
//! services from outside, [`demo`] for what `make demo` shows. No domain logic is here: that is each service's own.

pub mod control;
pub mod demo;
pub mod logging;
pub mod service;
pub mod system;
