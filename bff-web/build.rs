//! Generates the messages of accounting from `contracts/`, where protox parses the file, so that no `protoc` is needed; and
//! the list of the files in `assets/`, which `make assets` has built. Nothing else is built here.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=contracts");
    println!("cargo:rerun-if-changed=assets");

    let descriptors = protox::compile(["accounting.proto"], ["contracts/accounting"])?;
    prost_build::Config::new().compile_fds(descriptors)?;

    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let list = assets(&here.join("assets"))?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("assets.rs"), list)?;
    Ok(())
}

/// `ASSETS`, as the manifest says: a file and its media type on each line.
fn assets(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut list = String::from("pub(crate) static ASSETS: Assets = Assets(&[\n");
    for line in fs::read_to_string(folder.join("manifest.txt"))?.lines() {
        let (file, media_type) = line
            .split_once(' ')
            .ok_or_else(|| format!("assets/manifest.txt: {line:?} has no media type"))?;
        let include = |end: &str| {
            let name = format!("{file}{end}");
            // The folder is named when the list is compiled: what was built before a move is not to be looked for there.
            let bytes = format!(
                "include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/assets/files/{name}\"))"
            );
            folder.join("files").join(name).exists().then_some(bytes)
        };
        let option = |bytes: Option<String>| match bytes {
            Some(bytes) => format!("Some({bytes})"),
            None => "None".to_owned(),
        };
        let plain = include("").ok_or_else(|| format!("assets/files/{file} is missing"))?;
        let (brotli, gzip) = (option(include(".br")), option(include(".gz")));
        writeln!(
            list,
            "Asset {{ file: {file:?}, media_type: {media_type:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},"
        )?;
    }
    list.push_str("]);\n");
    Ok(list)
}
