//! Chromium, as people use it: signing in, and whatever the steps of `tests/web/browser.mjs` can do. `browser.rs` is a
//! client that only behaves like one, where no scripts and no pages are needed.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::node::Script;
use crate::process::target_folder;

/// A running Chromium. It ends when it is dropped.
pub struct Chromium {
    script: Script,
}

impl Chromium {
    /// Pictures, also those of failures, go to `target/browser/{test}`.
    pub fn start(test: &str) -> Result<Self> {
        let shots = target_folder()?.join("browser").join(test);
        let shots = shots.to_str().context("an odd path")?;
        Ok(Self {
            script: Script::start("browser.mjs", &[("SHOTS", shots)])?,
        })
    }

    /// One step of the script, by `who`; what comes of it.
    pub async fn step(&self, step: &str, who: &str, mut with: Value) -> Result<Value> {
        with["who"] = who.into();
        self.script.step(step, with).await
    }

    /// `who` signs in as `subject` at FTGO's identity provider; the URL that the browser shows then.
    pub async fn sign_in(&self, who: &str, origin: &str, subject: &str, to: &str) -> Result<Value> {
        let with = json!({"origin": origin, "subject": subject, "returnUrl": to});
        self.step("signIn", who, with).await
    }

    pub async fn end(self) -> Result<()> {
        self.script.end().await
    }
}
