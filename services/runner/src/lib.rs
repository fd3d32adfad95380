//! FTGO's services run together: [`system::Ftgo`] for tests and programs, [`control`] to stop and start single
//! services from outside, [`demo`] for what `make demo` shows. No domain logic is here: that is each service's own.

pub mod control;
pub mod demo;
pub mod logging;
pub mod service;
pub mod system;

/// Installs the process-wide cryptography: rustls and jsonwebtoken both want to be told which one to use, once,
/// before anything signs or connects. Calling it again changes nothing.
pub fn install_cryptography() {
    // An error means that somebody installed one before us; it stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
