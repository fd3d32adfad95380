//! What an OpenAPI document shows no example of. What fits its schema is a linter's to say.

use serde_json::Value;

/// Where examples are missing in `document`: of JSON bodies and answers of success and of all that is in them, and of
/// parameters. Of a cursor there is none: it comes from an answer. Tests expect nothing.
#[must_use]
pub fn without_examples(document: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
                let shows =
                    |schema: &Value| !schema["examples"].is_null() || !schema["enum"].is_null();
                if !shows(schema) && !shows(&schema["items"]) && name != "cursor" {
                    missing.push(format!("{place}: {name}"));
                }
            }
            let answers = operation["responses"].as_object().unwrap();
            let good = answers.iter().filter(|(status, _)| status.starts_with('2'));
            let contents = good
                .map(|(_, answer)| answer)
                .chain([&operation["requestBody"]]);
            for content in contents {
                let content = &content["content"]["application/json"];
                if !content.is_null() && !is_whole(&content["example"]) {
                    missing.push(format!("{place}: {}", content["example"]));
                }
            }
        }
    }
    missing
}

/// Whether nothing in it stands for a text of which none is named.
fn is_whole(example: &Value) -> bool {
    match example {
        Value::String(text) => text != "…",
        Value::Array(items) => items.iter().all(is_whole),
        Value::Object(members) => !members.is_empty() && members.values().all(is_whole),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}
