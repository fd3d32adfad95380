//! Examples. An app names one for each member of its types, parameters included ([`Info::examples`](super::Info)); those of
//! whole bodies and answers are put together of them, so that they tell one story and fit their schemas. Where none is
//! named, it is the plainest thing that fits, as far as that can be told.

use serde_json::{Map, Value, json};

/// An example of a member: where it is (`order.id`, `Order.id`, or `id` wherever there is one), and how it is written, texts
/// without quotation marks. The more a name says, the more it counts.
pub type Example = (&'static str, &'static str);

/// Gives the members of components what is named for them.
pub(super) fn name_members(components: &mut Map<String, Value>, examples: &[Example]) {
    for (component, schema) in components {
        members_of(component, schema, examples);
    }
}

fn members_of(component: &str, schema: &mut Value, examples: &[Example]) {
    // As it is called where what is sent is like what is answered.
    let places = [
        component,
        component.strip_suffix("Request").unwrap_or(component),
    ];
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, member) in properties.into_iter().flatten() {
        name_one(&places, name, member, examples);
        members_of(component, member, examples);
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        let choices = schema.get_mut(choice).and_then(Value::as_array_mut);
        for one in choices.into_iter().flatten() {
            members_of(component, one, examples);
        }
    }
}

/// Gives `schema`, of a member called `name` within one of `places`, its example; a list has one of its items.
fn name_one(places: &[&str], name: &str, schema: &mut Value, examples: &[Example]) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    if ["examples", "const", "enum"]
        .iter()
        .any(|fixed| members.contains_key(*fixed))
    {
        return;
    }
    let find = |wanted: &str| examples.iter().find(|(name, _)| *name == wanted);
    let found = places
        .iter()
        .find_map(|place| find(&format!("{place}.{name}")))
        // Of a section it would be the name of what is in it.
        .or_else(|| find(name).filter(|_| !kind(schema).is_empty()));
    let Some((_, text)) = found else {
        return;
    };
    let is_list = kind(schema) == "array";
    if is_list && schema["items"].get("type").is_some() && !text.starts_with('[') {
        schema["items"]["examples"] = json!([read(&schema["items"], text)]);
    } else {
        schema["examples"] = json!([read(schema, text)]);
    }
}

/// As it is written in JSON, but for texts.
fn read(schema: &Value, text: &str) -> Value {
    match text {
        "null" => Value::Null,
        text if kind(schema) == "string" => json!(text),
        text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

/// Gives parameters what is named for them: those of a path by what stands before them in it.
pub(super) fn name_parameters(path: &str, parameters: &mut [Value], examples: &[Example]) {
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let segment = format!("{{{name}}}");
        let before = path.split('/').zip(path.split('/').skip(1));
        let of_path = before
            .filter(|(_, this)| *this == segment)
            .map(|(before, _)| before);
        let place = parameter["in"].as_str().unwrap_or_default().to_owned();
        let places: Vec<&str> = of_path.chain([path, place.as_str()]).collect();
        name_one(&places, &name, &mut parameter["schema"], examples);
    }
}

/// Shows in every JSON body and answer of success how it looks.
pub(super) fn show_bodies(document: &mut Value) {
    let shown = document.clone();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.filter_map(|(_, path)| path.as_object_mut()).flatten() {
        let (_, operation) = operation;
        if let Some(body) = operation.get_mut("requestBody") {
            show_content(&shown, body);
        }
        let answers = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut);
        let good = answers
            .into_iter()
            .flatten()
            .filter(|(status, _)| status.starts_with('2'));
        for (_, answer) in good {
            show_content(&shown, answer);
        }
    }
}

fn show_content(document: &Value, holder: &mut Value) {
    let content = holder
        .get_mut("content")
        .and_then(|content| content.get_mut("application/json"));
    if let Some(content) = content {
        content["example"] = of(document, &content["schema"]);
    }
}

/// A schema in a schema in a schema: deeper ones are left out.
const DEPTH: usize = 8;

pub(super) fn of(document: &Value, schema: &Value) -> Value {
    within(document, schema, DEPTH)
}

fn within(document: &Value, schema: &Value, depth: usize) -> Value {
    // A member may have one of its own beside what it refers to.
    let own = list(&schema["examples"]).first();
    let schema = resolved(document, schema);
    let given = own.or_else(|| list(&schema["examples"]).first());
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

/// What a reference leads to; anything else is itself.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|r| r.strip_prefix('#'));
    pointer
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(value)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
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
