//! That the committed pages of bff-web are what their sources make, with their own checks and tests in Node. What browsers
//! get of them is tested in bff-web.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

#[test]
fn the_pages_are_what_their_sources_make() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bff-web/web");
    ensure!(
        folder.join("node_modules").exists(),
        "the pages' packages are not installed: `scripts/setup.sh test` does it"
    );
    let checked = Command::new("node")
        .arg("check.mjs")
        .current_dir(folder)
        .output()
        .context("Node cannot be started")?;
    ensure!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
    Ok(())
}
