//! The process of the partners' API. What it serves is in `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway_core::main(bff_public::app())
}
