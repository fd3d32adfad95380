//! Generates the gRPC messages, server and client from `proto/`. protox parses the file, so no `protoc` is needed; nothing
//! else is built here.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // `sqlx::migrate!` sees edits of known files, but not a new file.
    println!("cargo:rerun-if-changed=migrations");

    let descriptors = protox::compile(["accounting.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Callers bring a transport of their own.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
