//! The invariants of ARCHITECTURE.md that can be read off the tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Without `..`: what a path says of a file is looked at.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// All files below `folder` (relative to the root) that end in `.rs`.
fn rust_files(folder: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn our_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [
        "gateway-core",
        "bff-mobile",
        "bff-web",
        "bff-public",
        "services",
        "tests",
    ] {
        files.extend(rust_files(folder)?);
    }
    Ok(files)
}

/// The words of a text, with `camelCase` and `snake_case` names taken apart.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let starts_new =
            c.is_uppercase() && word.chars().next_back().is_some_and(char::is_lowercase);
        if starts_new || !c.is_alphanumeric() {
            words.push(std::mem::take(&mut word).to_lowercase());
        }
        if c.is_alphanumeric() {
            word.push(c);
        }
    }
    words.push(word.to_lowercase());
    words
}

#[test]
fn gateway_core_knows_nothing_of_food() -> Result<()> {
    let nouns = [
        "ftgo",
        "kitchen",
        "restaurant",
        "restaurants",
        "courier",
        "couriers",
        "menu",
        "menus",
    ];
    for file in rust_files("gateway-core")? {
        let text = fs::read_to_string(&file)?;
        for (number, line) in text.lines().enumerate() {
            let found = words(line)
                .into_iter()
                .find(|word| nouns.contains(&word.as_str()));
            assert_eq!(found, None, "{}:{}", file.display(), number + 1);
        }
        for domain in [
            "OrderId",
            "TicketId",
            "ConsumerId",
            "orderId",
            "consumerId",
            "/orders",
            "/tickets",
            "/consumers",
        ] {
            assert!(!text.contains(domain), "{}: {domain}", file.display());
        }
    }
    Ok(())
}

/// The dependencies of every member on other members, by package name.
fn members() -> Result<BTreeMap<String, Vec<String>>> {
    let mut manifests = Vec::new();
    for folder in [
        "gateway-core",
        "bff-mobile",
        "bff-web",
        "bff-public",
        "tests",
    ] {
        manifests.push(root().join(folder).join("Cargo.toml"));
    }
    for entry in fs::read_dir(root().join("services"))? {
        manifests.push(entry?.path().join("Cargo.toml"));
    }
    let ours = |name: &str| {
        name.starts_with("ftgo-") || name.starts_with("bff-") || name == "gateway-core"
    };
    let mut members = BTreeMap::new();
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("name = "))
            .with_context(|| manifest.display().to_string())?
            .trim_matches('"')
            .to_owned();
        let dependencies = text
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| ours(dependency))
            .map(str::to_owned)
            .collect();
        members.insert(name, dependencies);
    }
    Ok(members)
}

#[test]
fn nobody_depends_on_what_is_none_of_its_business() -> Result<()> {
    let members = members()?;
    assert!(
        members.len() >= 15,
        "the members were not found: {members:?}"
    );
    for (name, dependencies) in &members {
        for dependency in dependencies {
            let allowed = match name.as_str() {
                "ftgo-tests" => true,
                "ftgo-runner" => !dependency.starts_with("bff-"),
                "gateway-core" => false,
                _ if name.starts_with("bff-") => dependency == "gateway-core",
                "ftgo-messaging" => false,
                "ftgo-chassis" => dependency == "ftgo-messaging",
                _ => matches!(dependency.as_str(), "ftgo-messaging" | "ftgo-chassis"),
            };
            assert!(allowed, "{name} depends on {dependency}");
        }
    }
    Ok(())
}

#[test]
fn files_say_what_they_hold_and_are_not_crowded() -> Result<()> {
    for file in our_files()? {
        let text = fs::read_to_string(&file)?;
        assert!(
            text.starts_with("//!"),
            "{} does not open with //!",
            file.display()
        );
        assert!(
            file.file_name().is_none_or(|name| name != "mod.rs"),
            "{}",
            file.display()
        );
        let is_test = file
            .iter()
            .any(|part| part == "tests" || part == "it" || part == "tests.rs");
        let lines = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count();
        assert!(
            is_test || lines <= 600,
            "{} has {lines} lines",
            file.display()
        );
    }
    Ok(())
}

#[test]
fn services_are_called_through_upstream_only() -> Result<()> {
    // Dials of the control plane: key sets, identity providers, the feed of events. What partners' servers are told, and
    // tests, which are clients.
    let may_dial = [
        "gateway-core/src/upstream",
        "gateway-core/src/auth",
        "gateway-core/src/session",
        "gateway-core/src/events",
        "gateway-core/src/webhooks",
        "gateway-core/src/testkit",
        "gateway-core/src/wire_tests",
    ];
    let dials = [
        "hyper_util::client",
        "reqwest::",
        "TcpStream::connect",
        "hyper::client",
    ];
    for folder in [
        "gateway-core/src",
        "bff-mobile/src",
        "bff-web/src",
        "bff-public/src",
    ] {
        for file in rust_files(folder)? {
            let path = file.display().to_string();
            let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
            if is_test || may_dial.iter().any(|allowed| path.contains(allowed)) {
                continue;
            }
            let text = fs::read_to_string(&file)?;
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            for dial in dials {
                assert!(!code.contains(dial), "{path} dials by itself: {dial}");
            }
        }
    }
    Ok(())
}

#[test]
fn statuses_are_picked_in_one_place() -> Result<()> {
    // Error statuses in gateway-core appear where they are picked, where an upstream's are translated, and in GraphQL's and
    // the admin listener's own protocols.
    let may_name = [
        "problem.rs",
        "upstream/grpc.rs",
        "upstream/error.rs",
        "src/admin",
        "graphql",
    ];
    for file in rust_files("gateway-core/src")? {
        let path = file.display().to_string();
        let is_test = path.ends_with("tests.rs")
            || file
                .components()
                .rev()
                .take_while(|part| part.as_os_str() != "src")
                .any(|part| part.as_os_str() == "tests");
        if is_test || may_name.iter().any(|allowed| path.contains(allowed)) {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        for status in [
            "INTERNAL_SERVER_ERROR",
            "BAD_GATEWAY",
            "SERVICE_UNAVAILABLE",
            "GATEWAY_TIMEOUT",
            "UNAUTHORIZED",
            "FORBIDDEN",
        ] {
            assert!(
                !code.contains(&format!("StatusCode::{status}")),
                "{path} picks {status}"
            );
        }
    }
    Ok(())
}

/// The documents for people, without what is installed.
fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/adr", "bench", "bench/results", "deploy"] {
        for entry in fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[test]
fn links_in_documents_lead_somewhere() -> Result<()> {
    let mut followed = 0;
    for file in documents()? {
        let text = fs::read_to_string(&file)?;
        let targets = text.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split_once(')')) {
            let path = target.0.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let to = file.parent().context("a file is in a folder")?.join(path);
            assert!(to.exists(), "{}: {path} is nothing", file.display());
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed}");
    Ok(())
}

#[test]
fn codes_of_graphql_are_explained() -> Result<()> {
    let explained = fs::read_to_string(root().join("docs/graphql.md"))?;
    let mut codes = 0;
    for file in rust_files("gateway-core/src/graphql")? {
        let text = fs::read_to_string(&file)?;
        if file.ends_with("tests.rs") {
            continue;
        }
        let is_code = |word: &&str| {
            word.len() > 4 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        for code in text.split('"').filter(is_code) {
            let name = format!("`{code}`");
            assert!(explained.contains(&name), "docs/graphql.md: {code}");
            codes += 1;
        }
    }
    assert!(codes > 15, "{codes}");
    Ok(())
}
