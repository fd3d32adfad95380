//! Generates the gRPC client for accounting from `contracts/`. protox parses the file, so no `protoc` is needed; nothing
//! else is built here.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=contracts");

    let descriptors = protox::compile(["accounting.proto"], ["contracts/accounting"])?;
    tonic_prost_build::configure()
        .build_server(false)
        // Calls go through the gateway's own pools.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
