//! A strict reading of OpenMetrics by somebody else's parser, that of Prometheus' client for Python: promtool reads the older
//! text alone. What is expected of it is in `it/metrics.rs`.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::promtool::tools;

/// Reads all of standard input or fails; the families as JSON.
const READ: &str = r"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
print(json.dumps([{
    'name': family.name, 'kind': family.type, 'unit': family.unit, 'samples': len(family.samples),
    'exemplars': [sample.exemplar.labels for sample in family.samples if sample.exemplar],
} for family in families(sys.stdin.read())]))
";

/// A metric with its samples.
#[derive(Debug, Deserialize)]
pub struct Family {
    /// Without the suffixes of samples.
    pub name: String,
    pub kind: String,
    pub unit: String,
    pub samples: usize,
    /// The labels of each exemplar.
    pub exemplars: Vec<std::collections::BTreeMap<String, String>>,
}

/// Reads an exposition.
///
/// # Errors
/// Whatever the parser does not take, in its words.
pub async fn read(text: &str) -> Result<Vec<Family>> {
    let mut command = Command::new("python3");
    if let Some(tools) = tools() {
        command.env("PYTHONPATH", tools.join("python"));
    }
    let mut child = command
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("python3 does not start: is it there? `scripts/setup.sh test` sees to it")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(text.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
