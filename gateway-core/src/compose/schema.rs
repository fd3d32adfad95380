//! The JSON Schema of sections, failure envelope included, and the sections of a screen, read off its struct's schema.
//! The document around it is `openapi.rs`.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::section::{REASONS, Required, Section};

/// Marks what is a section, and of which kind; it stays in published documents, where it is worth knowing, too.
const KIND: &str = "x-section";

impl<T: JsonSchema> JsonSchema for Section<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Section_of_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("Section<{}>", T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let data = generator.subschema_for::<T>();
        let ok = ok(&data);
        let stale = stale(&data);
        json_schema!({
            KIND: "optional",
            "oneOf": [ok, stale, {
                        "type": "object",
                "required": ["status", "reason"],
                "properties": {"status": {"const": "unavailable"}, "reason": reason()},
            }],
        })
    }
}

impl<T: JsonSchema> JsonSchema for Required<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Required_of_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("Required<{}>", T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let data = generator.subschema_for::<T>();
        json_schema!({KIND: "required", "oneOf": [ok(&data), stale(&data)]})
    }
}

/// None of them has a title: generators of clients take titles for names, and would find each of these many times.
fn ok(data: &Schema) -> Value {
    serde_json::json!({
        "type": "object",
        "required": ["status", "data"],
        "properties": {"status": {"const": "ok"}, "data": data},
    })
}

fn stale(data: &Schema) -> Value {
    serde_json::json!({
        "description": "Not what the service says now: from an earlier answer, `age` seconds old; or, without `age`, a \
                        fallback that no service has said.",
        "type": "object",
        "required": ["status", "data"],
        "properties": {
            "status": {"const": "stale"},
            "data": data,
            "reason": reason(),
            "age": {"type": "integer", "minimum": 0, "description": "Seconds."},
        },
    })
}

fn reason() -> Value {
    serde_json::json!({"type": "string", "enum": REASONS})
}

/// The names of the sections of `S` as they are on the wire: its members that are a [`Required`] or a [`Section`].
pub(crate) fn sections<S: JsonSchema + 'static>() -> &'static [&'static str] {
    static KNOWN: Mutex<Option<HashMap<TypeId, &'static [&'static str]>>> = Mutex::new(None);
    // A poisoned lock means that a panic happened while a name was noted; those that are noted are still good.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .get_or_insert_default()
        .entry(TypeId::of::<S>())
        // Once for each type in the life of the process.
        .or_insert_with(|| Vec::leak(read_off::<S>()))
}

fn read_off<S: JsonSchema>() -> Vec<&'static str> {
    let schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<S>();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .filter(|(_, schema)| is_section(schema))
        .map(|(name, _)| crate::intern::intern(name))
        .collect()
}

/// Whether the schema of a member is that of a section.
pub(crate) fn is_section(schema: &Value) -> bool {
    schema.get(KIND).is_some()
}
