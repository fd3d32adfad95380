//! Generates the messages of accounting from `contracts/`. protox parses the file, so no `protoc` is needed; nothing
//! else is built here.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=contracts");

    let descriptors = protox::compile(["accounting.proto"], ["contracts/accounting"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
