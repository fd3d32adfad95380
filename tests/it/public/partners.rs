//! `bff-public partners` as operators run it: processes, the file that they leave, and the gateway that reads it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use ftgo_tests::System;
use ftgo_tests::bff::{self, Bff};
use ftgo_tests::process::{Process, binary, shipped_file};
use ftgo_tests::system::eventually;
use reqwest::Method;
use tempfile::TempDir;
use tokio::process::Command;

/// Another user than the one who runs the tests: `nobody` on most systems.
const SOMEBODY: u32 = 65534;

struct Place {
    folder: TempDir,
    /// The configuration, in its order.
    config: Vec<String>,
}

impl Place {
    /// `public.toml`, with `more` beside it.
    fn new(more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let beside = folder.path().join("more.toml");
        fs::write(&beside, more)?;
        let beside = beside.display().to_string();
        let config = vec![shipped_file("public"), shipped_file("demo"), beside];
        Ok(Self { folder, config })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("partners.toml")
    }

    async fn run(&self, arguments: &str) -> Result<Output> {
        let mut command = Command::new(binary("bff-public")?);
        command.arg("partners").args(arguments.split_whitespace());
        command.arg("--file").arg(self.file()).stdin(Stdio::null());
        for file in &self.config {
            command.arg("--config").arg(file);
        }
        Ok(command.output().await?)
    }

    /// What is printed to standard output.
    async fn done(&self, arguments: &str) -> Result<String> {
        let output = self.run(arguments).await?;
        ensure!(output.status.success(), "{arguments}: {output:?}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    async fn refused(&self, arguments: &str) -> Result<String> {
        let before = fs::read(self.file()).ok();
        let output = self.run(arguments).await?;
        ensure!(!output.status.success(), "{arguments}: {output:?}");
        ensure!(
            fs::read(self.file()).ok() == before,
            "{arguments}: it was written"
        );
        Ok(String::from_utf8(output.stderr)?)
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

fn owned(path: &Path) -> Result<(u32, u32, u32)> {
    let found = fs::metadata(path)?;
    Ok((found.uid(), found.gid(), found.mode() & 0o7777))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_stays_readable_for_whom_it_was() -> Result<()> {
    let place = Place::new("")?;
    place
        .done("add acme --plan starter --consumer consumer-9")
        .await?;
    assert_eq!(owned(&place.file())?.2, 0o600);
    // As the gateway's user reads it. Only root can give files away.
    let given = chown(place.file(), Some(SOMEBODY), Some(SOMEBODY)).is_ok();
    fs::set_permissions(place.file(), Permissions::from_mode(0o640))?;
    let before = owned(&place.file())?;
    assert_eq!(given, before.0 == SOMEBODY);
    let first = place.done("add-key acme").await?;
    assert!(first.starts_with("ftgo_live_"), "{first}");
    assert_eq!(owned(&place.file())?, before);

    // What a link leads to is replaced, and not the link.
    let real = place.folder.path().join("real.toml");
    fs::rename(place.file(), &real)?;
    std::os::unix::fs::symlink(&real, place.file())?;
    place
        .done("add other --plan starter --consumer consumer-8")
        .await?;
    assert!(fs::symlink_metadata(place.file())?.is_symlink());
    assert_eq!(owned(&real)?, before);
    assert!(fs::read_to_string(&real)?.contains("[partners.other]"));
    assert_eq!(place.names()?, ["more.toml", "partners.toml", "real.toml"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_the_same_time_none_is_lost() -> Result<()> {
    let place = Place::new("")?;
    let add =
        |number: u32| format!("add partner-{number} --plan starter --consumer consumer-{number}");
    let lines: Vec<String> = (0..8).map(add).collect();
    let added = futures_util::future::join_all(lines.iter().map(|line| place.done(line))).await;
    let keys: Vec<String> = added.into_iter().collect::<Result<_>>()?;
    let text = fs::read_to_string(place.file())?;
    for number in 0..8 {
        assert!(
            text.contains(&format!("[partners.partner-{number}]")),
            "{text}"
        );
        assert!(
            text.contains(&format!("id = \"partner-{number}-")),
            "{text}"
        );
    }
    assert_eq!(keys.len(), 8);
    assert_eq!(place.names()?, ["more.toml", "partners.toml"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_partners_are_in_one_file() -> Result<()> {
    let keys = "[[api_keys.keys]]\nid = \"k\"\nowner = \"old\"\nscopes = []\n\
                hash = \"sha256:00000000000000000000000000000000000000000000000000000000000000ff\"\n";
    let place = Place::new("")?;
    let add = "add acme --plan starter --consumer consumer-9";
    place.done(add).await?;
    let more = place.config.last().context("no configuration")?;
    fs::write(more, keys)?;
    let key_id = fs::read_to_string(place.file())?;
    let key_id = key_id.lines().find_map(|line| line.strip_prefix("id = "));
    let remove = format!("remove-key {}", key_id.context("no key")?.trim_matches('"'));
    for arguments in [
        "add-key acme",
        "add other --plan starter --consumer c",
        &remove,
    ] {
        let said = place.refused(arguments).await?;
        assert!(said.contains("has keys, too"), "{said}");
    }
    fs::write(
        more,
        "[partners.acme]\nplan = \"scale\"\n[partners.other]\nplan = \"scale\"\n",
    )?;
    for arguments in ["add-key acme", "add other --plan starter --consumer c"] {
        let said = place.refused(arguments).await?;
        assert!(said.contains("more.toml, too"), "{said}");
    }
    let removed = place.run(&remove).await?;
    assert!(removed.status.success(), "{removed:?}");
    let said = String::from_utf8(removed.stderr)?;
    assert!(
        said.contains("once the gateway has read the file"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_at_work_takes_keys_over() -> Result<()> {
    let system = System::start().await?;
    let overlay = bff::overlay(Bff::Public, &system.services.addresses())?;
    // But for the keys and partners that other tests use.
    let overlay = overlay.split("[[api_keys.keys]]").next();
    let place = Place::new(overlay.context("no configuration")?)?;
    let first = place
        .done("add acme --plan starter --consumer consumer-3")
        .await?;
    let mut files = place.config.clone();
    files.push(place.file().display().to_string());
    let arguments: Vec<&str> = files.iter().flat_map(|file| ["--config", file]).collect();
    let gateway = Process::start("bff-public", &arguments)?;
    let listening = gateway
        .logs("it listens", |line| line["message"] == "listening")
        .await?;
    let address = listening["address"].as_str().context("no address")?;
    let url = format!("http://{address}/v2/usage");
    let knows = async |key: &str, wanted: u16| {
        eventually(&format!("the answer is {wanted}"), async || {
            let request = system.http.request(Method::GET, &url);
            let answer = system.http.send(request.header("x-api-key", key)).await?;
            Ok((answer.status == wanted).then_some(()))
        })
        .await
    };
    knows(&first, 200).await?;
    let second = place.done("add-key acme").await?;
    knows(&second, 200).await?;
    let text = fs::read_to_string(place.file())?;
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id = "));
    let id = ids.next().context("no key")?.trim_matches('"');
    place.done(&format!("remove-key {id}")).await?;
    knows(&first, 401).await?;
    knows(&second, 200).await
}
