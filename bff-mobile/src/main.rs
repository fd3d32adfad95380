//! The process of the mobile app's backend. What it serves is in `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway_core::main(bff_mobile::app())
}
