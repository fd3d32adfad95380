//! Examples of schemas: those that are written there, else the plainest thing that fits. They are for people: what fits a
//! pattern nobody has told.

use serde_json::{Map, Value, json};

use super::{list, resolved};

/// A schema in a schema in a schema: deeper ones are left out.
const DEPTH: usize = 8;

pub(super) fn of(document: &Value, schema: &Value) -> Value {
    within(document, schema, DEPTH)
}

fn within(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolved(document, schema);
    let given = list(&schema["examples"]).first();
    let fixed = schema.get("const").or(given).or(schema["enum"].get(0));
    if let Some(fixed) = fixed {
        return fixed.clone();
    }
    if depth == 0 {
        return Value::Null;
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = list(&schema[choice]).first()
            && schema.get("type").is_none()
        {
            return within(document, first, depth - 1);
        }
    }
    match kind(schema) {
        "object" => {
            let members = schema["properties"].as_object().into_iter().flatten();
            let members = members.map(|(name, schema)| {
                let example = within(document, schema, depth - 1);
                (name.clone(), example)
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        "array" => json!([within(document, &schema["items"], depth - 1)]),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "string" => json!(match schema["format"].as_str() {
            Some("date-time") => "2030-01-31T18:30:00Z",
            Some("uri" | "uri-reference") => "https://example.com/",
            _ => "…",
        }),
        _ => Value::Null,
    }
}

/// The first type that is not `null`.
pub(super) fn kind(schema: &Value) -> &str {
    let types = match &schema["type"] {
        Value::Array(types) => types.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut types = types.iter().filter_map(Value::as_str);
    types.find(|kind| *kind != "null").unwrap_or_default()
}
