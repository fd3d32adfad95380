//! Prometheus' own checks of what a gateway gives to Prometheus. What is checked is `it/metrics.rs`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs `promtool` with `input` on its standard input: whether it is content, and everything that it says.
pub async fn promtool(arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("promtool does not start: is it there? `scripts/setup.sh test` fetches it")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// The one that `scripts/setup.sh` has fetched, else the one on the path.
fn program() -> PathBuf {
    let fetched = tools().map(|tools| tools.join("promtool"));
    fetched
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("promtool"))
}

/// Where `scripts/setup.sh` puts what it fetches for tests.
pub(crate) fn tools() -> Option<PathBuf> {
    // target/<profile>/deps/it-… → target/tools
    let exe = std::env::current_exe().ok()?;
    Some(exe.ancestors().nth(3)?.join("tools"))
}

/// A file of the repository.
pub fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
