//! The OpenAPI documents as others read them: linters, and generators of clients, whose clients then work. Whether the gateways
//! do what the documents say is `schemathesis.rs`; that a document has changed is noticed by `tests/openapi.rs` of each BFF.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ftgo_tests::System;
use ftgo_tests::bff::partner_key;
use ftgo_tests::promtool::repository_file;
use ftgo_tests::tools::{node_program, program, python, python_module, run};
use serde_json::Value;

/// A gateway, as programs of others use it.
struct Door {
    name: &'static str,
    base: String,
    credential: String,
    document: String,
}

async fn doors(system: &System) -> Result<[Door; 2]> {
    let door = async |name, base: String, credential| -> Result<Door> {
        let document = system.http.get_raw(&format!("{base}/openapi.json")).await?;
        let document = document.error_for_status()?.text().await?;
        Ok(Door {
            name,
            base,
            credential,
            document,
        })
    };
    let consumer = system.token("consumer-1").await?;
    Ok([
        door("mobile", system.mobile_url(""), consumer).await?,
        door(
            "public",
            system.public_url(""),
            partner_key().secret.clone(),
        )
        .await?,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn linters_have_nothing_to_say() -> Result<()> {
    let system = System::start().await?;
    let folder = tempfile::tempdir()?;
    for door in doors(&system).await? {
        let file = format!("{}.json", door.name);
        std::fs::write(folder.path().join(&file), &door.document)?;
        let rules = repository_file("tests/contracts/spectral.yaml");
        let rules = rules.to_str().context("an odd path")?;
        let lint = [
            "lint",
            "--fail-severity",
            "hint",
            "--quiet",
            "--ruleset",
            rules,
            &file,
        ];
        run(program(node_program("spectral"), &lint, folder.path())).await?;

        let lint = [
            "lint",
            &file,
            "--extends",
            "recommended",
            "--format",
            "json",
        ];
        let mut redocly = program(node_program("redocly"), &lint, folder.path());
        redocly.env("REDOCLY_TELEMETRY", "off");
        redocly.env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
        let found: Value = serde_json::from_str(&run(redocly).await?)?;
        let totals = &found["totals"];
        ensure!(
            totals["errors"] == 0 && totals["warnings"] == 0 && totals["ignored"] == 0,
            "{}: {found:#}",
            door.name
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_every_operation_and_loads_nothing() -> Result<()> {
    let system = System::start().await?;
    for door in doors(&system).await? {
        let answer = system.http.get_raw(&format!("{}/docs", door.base)).await?;
        let answer = answer.error_for_status()?;
        let policy = answer.headers()["content-security-policy"].to_str()?;
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        let page = answer.text().await?;
        for loads in [" src=", "<link rel=\"stylesheet", "@import", "url("] {
            assert!(!page.contains(loads), "{}: {loads}", door.name);
        }
        let document: Value = serde_json::from_str(&door.document)?;
        let paths = document["paths"].as_object().context("no paths")?;
        let operations = paths.values().filter_map(Value::as_object).flatten();
        let mut shown = 0;
        for (_, operation) in operations {
            let id = operation["operationId"].as_str().context("no id")?;
            assert!(page.contains(&format!("<article id=\"{id}\">")), "{id}");
            shown += 1;
        }
        assert!(shown > 10, "{}: {shown}", door.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_clients_compile_and_work() -> Result<()> {
    let system = System::start().await?;
    for door in doors(&system).await? {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("openapi.json"), &door.document)?;
        for said in [
            typescript(&door, folder.path()).await?,
            python_client(&door, folder.path()).await?,
        ] {
            assert_eq!(said.trim(), "5", "{}: what was ordered is read", door.name);
        }
    }
    Ok(())
}

/// What the first program in TypeScript says.
async fn typescript(door: &Door, folder: &Path) -> Result<String> {
    let contracts = repository_file("tests/contracts").canonicalize()?;
    std::os::unix::fs::symlink(contracts.join("node_modules"), folder.join("node_modules"))?;
    for file in ["package.json", "tsconfig.json"] {
        std::fs::copy(contracts.join(file), folder.join(file))?;
    }
    let smoke = contracts.join("smoke").join(format!("{}.ts", door.name));
    std::fs::copy(smoke, folder.join("smoke.ts"))?;
    let generate = ["openapi.json", "--output", "schema.ts"];
    run(program(
        node_program("openapi-typescript"),
        &generate,
        folder,
    ))
    .await?;
    run(program(node_program("tsc"), &[], folder)).await?;
    let mut smoke = program("node", &["--preserve-symlinks", "smoke.js"], folder);
    smoke.env("BASE", &door.base).env("TOKEN", &door.credential);
    run(smoke).await
}

/// What the first program in Python says.
async fn python_client(door: &Door, folder: &Path) -> Result<String> {
    // Without formatting: nobody reads it.
    std::fs::write(folder.join("generator.yaml"), "post_hooks: []\n")?;
    let generate = [
        "generate",
        "--path",
        "openapi.json",
        "--meta",
        "none",
        "--output-path",
        "client",
        "--config",
        "generator.yaml",
        "--fail-on-warning",
    ];
    let mut command = python_module("openapi_python_client", &generate)?;
    command.current_dir(folder);
    run(command).await?;
    let mut command = python_module("compileall", &["-q", "client"])?;
    command.env_remove("PYTHONDONTWRITEBYTECODE");
    command.current_dir(folder);
    run(command).await?;
    let smoke = repository_file("tests/contracts/smoke").join(format!("{}.py", door.name));
    std::fs::copy(smoke, folder.join("smoke.py"))?;
    let mut command = python()?;
    command.arg("smoke.py").current_dir(folder);
    command
        .env("BASE", &door.base)
        .env("TOKEN", &door.credential);
    run(command).await
}
