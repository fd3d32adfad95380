//! The JSON Schema of configuration files, for editors: shapes from the raw types, words from `config/example.toml`.
//! What a configuration is really refused for is `config/validate.rs`; a schema cannot say most of it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::RawConfig;

/// Explains every key; a test checks that none is missing.
const EXAMPLE: &str = include_str!("../../../config/example.toml");

/// The schema (JSON Schema draft 7, which TOML editors know), as text. `config/schema.json` is a copy.
///
/// It requires nothing: a file may be one of several that are merged.
#[must_use]
pub fn schema() -> String {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<RawConfig>()
        .to_value();
    simplify(&mut schema);
    if let Value::Object(members) = &mut schema {
        members.insert("title".to_owned(), "Configuration of a gateway".into());
    }
    for (path, words) in explanations(EXAMPLE) {
        if let Some(Value::Object(found)) = find(&mut schema, &path) {
            found.insert("description".to_owned(), words.into());
        }
    }
    // The policies of composed routes have keys that are explained where the other routes are.
    let explained = schema["properties"]["routes"]["items"]["properties"].clone();
    if let Some(Value::Object(keys)) =
        schema.pointer_mut("/properties/policies/additionalProperties/properties")
    {
        for (key, below) in keys {
            if let Value::Object(below) = below {
                below.insert(
                    "description".to_owned(),
                    explained[key]["description"].clone(),
                );
            }
        }
    }
    // Values that were parsed from the types: writing them does not fail.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// TOML has no null, defaults of whole tables say nothing that those of their keys don't, and editors do not know the
/// formats of Rust's numbers.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members
                .get("default")
                .is_some_and(|default| default.is_null() || default.is_object())
            {
                members.remove("default");
            }
            // Comments of the raw types are for those who read the code.
            for unwanted in ["format", "writeOnly", "description"] {
                if members
                    .get(unwanted)
                    .is_some_and(|value| !value.is_object())
                {
                    members.remove(unwanted);
                }
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(values)) = members.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::Array(any)) = members.get_mut("anyOf") {
                any.retain(|schema| schema.get("type").is_none_or(|name| name != "null"));
                if any.len() == 1
                    && let Some(Value::Object(only)) = any.pop()
                {
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            for (keyword, value) in members {
                match (keyword.as_str(), value) {
                    // Keys of the configuration, which may have the name of a keyword.
                    ("properties", Value::Object(keys)) => keys.values_mut().for_each(simplify),
                    ("default" | "enum", _) => {}
                    (_, value) => simplify(value),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a key: tables by their names, lists by their elements, maps by any name.
fn find<'a>(schema: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    let mut found = schema;
    for (depth, key) in path.iter().enumerate() {
        if depth > 0 && found.get("items").is_some() {
            found = found.get_mut("items")?;
        }
        let is_known = found
            .get("properties")
            .is_some_and(|properties| properties.get(key).is_some());
        found = if is_known {
            found.get_mut("properties")?.get_mut(key)?
        } else {
            found
                .get_mut("additionalProperties")
                .filter(|schema| schema.is_object())?
        };
    }
    Some(found)
}

/// The comments of a file, by the path of the key or table that they stand above. A key or table that is commented out is
/// one all the same.
fn explanations(text: &str) -> Vec<(Vec<String>, String)> {
    let mut found: Vec<(Vec<String>, String)> = Vec::new();
    let mut table: Vec<String> = Vec::new();
    let mut words = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            words.clear();
            continue;
        }
        let bare = line.strip_prefix('#').unwrap_or(line).trim_start();
        if bare.starts_with('[') && bare.ends_with(']') {
            table = bare
                .trim_matches(['[', ']'])
                .split('.')
                .map(str::to_owned)
                .collect();
            found.push((table.clone(), words.join(" ")));
            words.clear();
            continue;
        }
        let key = bare
            .parse::<toml::Table>()
            .ok()
            .and_then(|table| table.into_iter().next());
        match key {
            Some((key, _)) => {
                let mut path = table.clone();
                path.push(key);
                found.push((path, words.join(" ")));
                words.clear();
            }
            None => words.push(bare.to_owned()),
        }
    }
    found.retain(|(_, words)| !words.is_empty());
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::Value;

    use super::{EXAMPLE, explanations, find, schema};

    #[test]
    fn the_committed_schema_is_the_one_of_the_code() {
        let committed = include_str!("../../../config/schema.json");
        assert!(
            committed == schema(),
            "config/schema.json is not what the types say: run `make schema`"
        );
    }

    fn unexplained(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            // What stands in a table of access is explained where `access` is, and a map where its elements are.
            let is_map = below["additionalProperties"].is_object();
            if !is_map && below["description"].is_null() && !path.contains(".access.") {
                missing.push(path.clone());
            }
            unexplained(below, &path, missing);
        }
        for step in ["items", "additionalProperties"] {
            if schema[step].is_object() {
                unexplained(&schema[step], &format!("{path}.*"), missing);
            }
        }
    }

    #[test]
    fn every_key_is_explained_in_the_example() {
        let mut missing = Vec::new();
        let schema = serde_json::from_str(&schema()).unwrap();
        unexplained(&schema, "", &mut missing);
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_example_explains_nothing_that_is_not_there() {
        let mut schema: Value = serde_json::from_str(&schema()).unwrap();
        for (path, _) in explanations(EXAMPLE) {
            assert!(find(&mut schema, &path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn shapes_are_what_editors_need() {
        let mut schema: Value = serde_json::from_str(&schema()).unwrap();
        let mut at = |path: &str| {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            find(&mut schema, &path).unwrap().clone()
        };
        let timeout = at("upstreams.any.timeout");
        assert_eq!(timeout["type"], "string");
        assert_eq!(timeout["pattern"], r"^([0-9]+ ?(ms|s|m|h|d)|.*\$\{.+\}.*)$");
        assert_eq!(at("server.grace")["default"], "8s");
        assert_eq!(at("server.workers")["type"], "integer");
        assert_eq!(at("server")["additionalProperties"], false);
        assert_eq!(
            at("rate_limits.any.key")["enum"],
            serde_json::json!(["address", "principal", "api_key", "route"])
        );
        assert_eq!(
            at("routes.access")["anyOf"][0]["enum"],
            serde_json::json!(["public", "authenticated"])
        );
    }
}
