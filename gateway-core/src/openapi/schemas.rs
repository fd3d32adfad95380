//! The schemas of a document: those of requests and those of answers, which differ in what has to be there, under one roof.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::compose::is_section;

/// Where components are in a document.
const PLACE: &str = "#/components/schemas/";

pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// The schema of `T` as it is, without a component of its own.
    pub(super) fn members_of<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.requests).to_value()
    }

    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        let mut schema = self.requests.subschema_for::<T>().to_value();
        rename(&mut schema, REQUESTS);
        schema
    }

    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// What `T`, which is an answer's, says of itself.
    pub(super) fn description_of<T: JsonSchema>(&mut self) -> Option<String> {
        let schema = self.answer::<T>();
        let name = schema["$ref"].as_str()?.strip_prefix(PLACE)?;
        let component = self.answers.definitions().get(name)?;
        component["description"].as_str().map(str::to_owned)
    }

    /// All components. What means the same in requests and in answers is there once; where they differ, the request's is
    /// called `…Request`.
    pub(super) fn into_components(mut self, document: &mut Value) -> Map<String, Value> {
        let mut components = self.answers.take_definitions(true);
        for component in components.values_mut() {
            sections_may_be_missing(component);
            plain(component);
        }
        let mut requests = self.requests.take_definitions(true);
        for component in requests.values_mut() {
            plain(component);
        }
        // Two that are named alike are one when they, and all that they refer to, are.
        let mut differ: Vec<String> = Vec::new();
        loop {
            let found = requests.iter().find(|(name, schema)| {
                let other = components.get(*name);
                let refers =
                    |name: &String| schema.to_string().contains(&format!("{PLACE}{name}\""));
                !differ.contains(name)
                    && other.is_some_and(|other| other != *schema || differ.iter().any(refers))
            });
            let Some(name) = found.map(|(name, _)| name.clone()) else {
                break;
            };
            differ.push(name);
        }
        let new_name = |name: &str| {
            if differ.iter().any(|known| known == name) {
                format!("{name}Request")
            } else {
                name.to_owned()
            }
        };
        for (name, mut schema) in requests {
            resolve(&mut schema, PLACE, &new_name);
            components.entry(new_name(&name)).or_insert(schema);
        }
        resolve(document, REQUESTS, &new_name);
        components
    }
}

/// Where a document refers to requests until it is clear how they are called.
const REQUESTS: &str = "#/requests/";

fn rename(schema: &mut Value, place: &str) {
    each_reference(schema, &mut |reference| {
        if let Some(name) = reference.strip_prefix(PLACE) {
            *reference = format!("{place}{name}");
        }
    });
}

/// Makes references below `place` to components with their new names.
fn resolve(schema: &mut Value, place: &str, new_name: &impl Fn(&str) -> String) {
    each_reference(schema, &mut |reference| {
        if let Some(name) = reference.strip_prefix(place) {
            *reference = format!("{PLACE}{}", new_name(name));
        }
    });
}

fn each_reference(schema: &mut Value, change: &mut impl FnMut(&mut String)) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(reference) if name == "$ref" => change(reference),
                    other => each_reference(other, change),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                each_reference(item, change);
            }
        }
        _ => {}
    }
}

/// `?fields=` can leave out every section, also a required one.
fn sections_may_be_missing(component: &mut Value) {
    let Some(properties) = component["properties"].as_object() else {
        return;
    };
    let sections: Vec<String> = properties
        .iter()
        .filter(|(_, schema)| is_section(schema))
        .map(|(name, _)| name.clone())
        .collect();
    if sections.is_empty() {
        return;
    }
    if let Some(required) = component["required"].as_array_mut() {
        required.retain(|name| !sections.iter().any(|section| name == section));
        if required.is_empty()
            && let Some(members) = component.as_object_mut()
        {
            members.remove("required");
        }
    }
}

/// Formats that only Rust knows.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let foreign = members
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"));
            if foreign {
                members.remove("format");
            }
            members.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// A query cannot say `null`: what is optional there is absent.
pub(super) fn without_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array_mut() {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    plain(schema);
}
