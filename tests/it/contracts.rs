//! What others may believe of us: OpenAPI documents are true and of use. What we believe of others: a BFF's narrow copy of a
//! proto is a subset of the service's own.

mod documents;
mod schemathesis;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Fields of each message and calls of each service, as `Message.field` → `number type` and `Service.Call` → `(in) (out)`.
fn declarations(file: &str) -> Result<BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| file.to_owned())?;
    let mut found = BTreeMap::new();
    let mut block = String::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or("").trim();
        let words: Vec<&str> = line
            .trim_end_matches([';', '{', '}'])
            .split_whitespace()
            .collect();
        match words.as_slice() {
            ["package", name] => {
                found.insert("package".to_owned(), (*name).to_owned());
            }
            ["message" | "service", name] => block = (*name).to_owned(),
            ["rpc", ..] => {
                let call = line
                    .trim_start_matches("rpc")
                    .trim_end_matches([';', '{', '}', ' ']);
                let (name, shape) = call.split_once('(').context("an rpc without parentheses")?;
                found.insert(format!("{block}.{}", name.trim()), shape.replace(' ', ""));
            }
            [kind @ .., name, "=", number] if !kind.is_empty() && !line.starts_with("option") => {
                found.insert(
                    format!("{block}.{name}"),
                    format!("{number} {}", kind.join(" ")),
                );
            }
            _ => {}
        }
    }
    Ok(found)
}

#[test]
fn what_bffs_know_of_accountings_proto_is_a_subset_of_the_services() -> Result<()> {
    let service = declarations("services/accounting/proto/accounting.proto")?;
    for bff in ["bff-mobile", "bff-web"] {
        let copy = declarations(&format!("{bff}/contracts/accounting/accounting.proto"))?;
        assert!(copy.len() >= 5, "the copy was not read: {copy:?}");
        for (name, shape) in &copy {
            assert_eq!(service.get(name), Some(shape), "{bff}: {name}");
        }
    }
    Ok(())
}
