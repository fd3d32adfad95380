//! The process of the browsers' backend. What it serves is in `lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway_core::main(bff_web::app())
}
