//! The list of metrics against what operators read and load: names, documentation, dashboard and alert rules.
use std::collections::BTreeSet;

use super::family::{ALL, Kind};

/// The names that stand in a text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("gateway_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn the_names_are_what_dashboards_know() {
    let mut names: Vec<String> = ALL
        .iter()
        .map(|family| format!("{} {}", family.name, family.kind.as_str()))
        .collect();
    names.sort();
    insta::assert_snapshot!("names", names.join("\n"));
}

#[test]
fn names_say_kind_and_unit() {
    let mut seen = BTreeSet::new();
    for family in ALL {
        let name = family.name;
        assert!(seen.insert(name), "{name} twice");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{name}"
        );
        assert_eq!(name.ends_with("_info"), family.kind == Kind::Info, "{name}");
        if family.kind == Kind::Histogram {
            assert_eq!(family.unit(), Some("seconds"), "{name}");
        }
        assert!(
            family.help.ends_with('.') && !family.help.contains(['\\', '\n', '"']),
            "{name}"
        );
    }
}

#[test]
fn every_metric_is_explained_to_operators() {
    let documented = names(include_str!("../../../docs/operations.md"));
    for family in ALL {
        assert!(
            documented.contains(family.name),
            "docs/operations.md does not explain {}",
            family.name
        );
    }
    let known: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
    for name in documented {
        assert!(
            known.contains(name),
            "docs/operations.md explains {name}, which is nothing"
        );
    }
}
