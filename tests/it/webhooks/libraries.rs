//! The reference libraries of Standard Webhooks take what is sent, and nothing else. `scripts/setup.sh test` installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use ftgo_tests::receiver::{Received, Receiver};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::delivery::{first, start};

/// A program, its script, and the folder below `target/tools` in which its library is.
const LIBRARIES: [(&str, &str, &str); 2] = [
    ("node", "verify.mjs", "standardwebhooks/node"),
    ("python3", "verify.py", "standardwebhooks/python"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_libraries_verify_our_messages() -> Result<()> {
    let (system, gateway) = start().await?;
    let receiver = Receiver::start().await?;
    let partner = first(&system, &gateway);
    let webhook = partner.add(json!({"url": receiver.url("/hook")})).await?;
    partner.place("one").await?;
    receiver.wait("/hook", 1).await?;
    let path = format!("/v2/webhooks/{}", webhook.id);
    let rotated = partner.post(&format!("{path}/rotate")).await?;
    let new = rotated.body["secret"].as_str().context("no secret")?;
    partner.post(&format!("{path}/test")).await?;
    let received = ftgo_tests::system::eventually("the test message", async || {
        let received = receiver.at("/hook");
        let there = received.iter().any(|one| one.body.contains("webhook.test"));
        Ok(there.then_some(received))
    })
    .await?;
    for library in LIBRARIES {
        for one in &received {
            let kind = one.json()?["type"].as_str().map(str::to_owned);
            let former = verified(library, &webhook.secret, one, &one.body).await?;
            assert_eq!(former, kind, "{library:?}: {one:?}");
        }
        let test = received
            .iter()
            .find(|one| one.body.contains("webhook.test"))
            .context("no test message")?;
        let with_new = verified(library, new, test, &test.body).await?;
        assert_eq!(with_new.as_deref(), Some("webhook.test"), "{library:?}");
        let forged = test.body.replace("test", "tost");
        assert_eq!(
            verified(library, new, test, &forged).await?,
            None,
            "{library:?}"
        );
    }
    Ok(())
}

/// The message's type when the library takes it.
async fn verified(
    (program, script, folder): (&str, &str, &str),
    secret: &str,
    received: &Received,
    body: &str,
) -> Result<Option<String>> {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = names
        .into_iter()
        .map(|name| (name.to_owned(), json!(received.header(name))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let input = json!({"secret": secret, "headers": headers, "body": body}).to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("it/webhooks")
        .join(script);
    let folder = tools()?.join(folder);
    anyhow::ensure!(
        folder.exists(),
        "{} is missing: `scripts/setup.sh test` installs it",
        folder.display()
    );
    let mut child = Command::new(program)
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} does not start"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(Some(String::from_utf8(output.stdout)?.trim().to_owned()));
    }
    // The library's own word: anything else is a broken test.
    anyhow::ensure!(
        said.contains("WebhookVerificationError"),
        "{program}: {said}"
    );
    Ok(None)
}

/// target/<profile>/deps/it-… → target/tools
fn tools() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(3).context("an odd path")?;
    Ok(target.join("tools"))
}
