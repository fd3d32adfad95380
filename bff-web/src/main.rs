//! The process of the browsers' backend. What it serves is in `lib.rs`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Of the allocators that were measured the one with the least memory for each idle connection.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    gateway_core::main(bff_web::app())
}
