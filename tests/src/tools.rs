//! Programs of others that tests have look at us: where they are, and running them. What they are asked is with the tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::promtool::{repository_file, tools};

/// A program of a package in `tests/contracts/package.json`.
pub fn node_program(name: &str) -> PathBuf {
    repository_file("tests/contracts/node_modules/.bin").join(name)
}

/// Python that finds what is in `tests/contracts/requirements.txt`.
pub fn python() -> Result<Command> {
    let packages = tools().context("an odd path")?.join("contracts");
    let mut command = Command::new("python3");
    // One file for each package that is read is enough.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", &packages);
    Ok(command)
}

/// One of its modules as a program.
pub fn python_module(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = python()?;
    command.arg("-m").arg(name).args(arguments);
    Ok(command)
}

/// `program` with `arguments`, to be run in `folder`.
pub fn program(program: impl AsRef<OsStr>, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command
}

/// Runs it to its end, which has to be a good one; what it has said on its standard output.
pub async fn run(mut command: Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!("{command:?} does not start: `scripts/setup.sh test` installs it")
        })?
        .wait_with_output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{:?}: {}\n{said}\n{complained}",
        command.as_std().get_program(),
        output.status
    );
    Ok(said)
}
