//! The process of the partners' API. What it serves is in `lib.rs`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Of the allocators that were measured the one with the least memory for each idle connection.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    bff_public::main()
}
