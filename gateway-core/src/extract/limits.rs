//! The limits that a body's schema states: lengths, counts, ranges and patterns. They are read off the schema that the API's
//! document shows, so what is published and what is enforced cannot differ. What shape a body has is the type's to say.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::Regex;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::not_json;
use crate::error::{ClientError, Error, FieldError, GatewayError};

/// Checks a JSON text that fits `T` against the limits of `T`'s schema.
///
/// # Errors
/// 422 with all that is beyond them; 400 when a member that `T` does not have is no JSON.
pub(super) fn check<T: JsonSchema + 'static>(text: &[u8]) -> Result<(), Error> {
    let limits = limits_of::<T>()?;
    if !limits.are_any {
        return Ok(());
    }
    // Members that the type does not have were not looked at so closely: numbers out of range, halves of characters, depth.
    let value: Value = serde_json::from_slice(text).map_err(|error| not_json(&error))?;
    let mut faults = Vec::new();
    limits.root.check(&limits, &value, "", &mut faults);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Unprocessable(faults).into())
    }
}

thread_local! {
    /// Of the types that this worker has read.
    static KNOWN: RefCell<HashMap<TypeId, Rc<Limits>>> = RefCell::default();
}

fn limits_of<T: JsonSchema + 'static>() -> Result<Rc<Limits>, Error> {
    let id = TypeId::of::<T>();
    if let Some(known) = KNOWN.with_borrow(|known| known.get(&id).cloned()) {
        return Ok(known);
    }
    let limits = Limits::of::<T>()
        .map_err(|error| GatewayError::Bug(format!("a schema's pattern: {error}")))?;
    let limits = Rc::new(limits);
    KNOWN.with_borrow_mut(|known| known.insert(id, Rc::clone(&limits)));
    Ok(limits)
}

struct Limits {
    are_any: bool,
    root: Node,
    /// By name.
    definitions: HashMap<String, Node>,
}

/// The limits at one place of a schema. Each binds values of one JSON type and lets others pass: their type has been checked.
#[derive(Default)]
struct Node {
    length: Bounds,
    pattern: Option<Regex>,
    count: Bounds,
    number: Bounds,
    members: Vec<(String, Node)>,
    element: Option<Box<Node>>,
    /// `$ref`, whose target's limits hold here, too.
    reference: Option<String>,
    /// Others that hold at the same place.
    also: Vec<Node>,
}

#[derive(Default)]
struct Bounds {
    least: Option<f64>,
    most: Option<f64>,
}

impl Limits {
    fn of<T: JsonSchema>() -> Result<Self, regex::Error> {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let schema = settings.into_generator().into_root_schema_for::<T>();
        let schema = schema.to_value();
        let definitions = schema["$defs"].as_object().into_iter().flatten();
        let definitions: HashMap<String, Node> = definitions
            .map(|(name, schema)| Ok((name.clone(), Node::of(schema)?)))
            .collect::<Result<_, regex::Error>>()?;
        let root = Node::of(&schema)?;
        Ok(Self {
            are_any: root.binds() || definitions.values().any(Node::binds),
            root,
            definitions,
        })
    }

    fn named(&self, reference: &str) -> Option<&Node> {
        match reference.strip_prefix("#/$defs/") {
            Some(name) => self.definitions.get(name),
            // A type that holds others of its own.
            None => (reference == "#").then_some(&self.root),
        }
    }
}

impl Node {
    fn of(schema: &Value) -> Result<Self, regex::Error> {
        let members = schema["properties"].as_object().into_iter().flatten();
        let mut also = Vec::new();
        for schema in schema["allOf"].as_array().into_iter().flatten() {
            also.push(Self::of(schema)?);
        }
        // Something or `null`. Of several alternatives it is the type that knows which one it is.
        for word in ["anyOf", "oneOf"] {
            let alternatives = schema[word].as_array().into_iter().flatten();
            let mut alternatives = alternatives.filter(|schema| schema["type"] != "null");
            if let (Some(only), None) = (alternatives.next(), alternatives.next()) {
                also.push(Self::of(only)?);
            }
        }
        Ok(Self {
            length: Bounds::of(schema, "minLength", "maxLength"),
            pattern: schema["pattern"].as_str().map(Regex::new).transpose()?,
            count: Bounds::of(schema, "minItems", "maxItems"),
            number: Bounds::of(schema, "minimum", "maximum"),
            members: members
                .map(|(name, schema)| Ok((name.clone(), Self::of(schema)?)))
                .collect::<Result<_, regex::Error>>()?,
            element: match &schema["items"] {
                items @ Value::Object(_) => Some(Box::new(Self::of(items)?)),
                _ => None,
            },
            reference: schema["$ref"].as_str().map(str::to_owned),
            also,
        })
    }

    /// Whether there is any limit here or within, besides what is referred to.
    fn binds(&self) -> bool {
        let members = self.members.iter().map(|(_, node)| node);
        let mut parts = members.chain(self.element.as_deref()).chain(&self.also);
        let bounds = [&self.length, &self.count, &self.number];
        self.pattern.is_some()
            || bounds.iter().any(|bounds| bounds.are_any())
            || parts.any(Self::binds)
    }

    fn check(&self, limits: &Limits, value: &Value, at: &str, faults: &mut Vec<FieldError>) {
        let mut fault = |detail: Option<String>| {
            faults.extend(detail.map(|detail| FieldError {
                pointer: at.to_owned(),
                detail,
            }));
        };
        match value {
            Value::String(text) => {
                fault(self.length.of_many(text.chars().count(), "characters"));
                if let Some(pattern) = &self.pattern
                    && !pattern.is_match(text)
                {
                    fault(Some(format!("must match {pattern}")));
                }
            }
            Value::Number(number) => fault(number.as_f64().and_then(|n| self.number.beyond(n))),
            Value::Array(elements) => {
                fault(self.count.of_many(elements.len(), "elements"));
                if let Some(node) = &self.element {
                    for (index, element) in elements.iter().enumerate() {
                        node.check(limits, element, &format!("{at}/{index}"), faults);
                    }
                }
            }
            Value::Object(members) => {
                for (name, node) in &self.members {
                    if let Some(member) = members.get(name) {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        node.check(limits, member, &format!("{at}/{name}"), faults);
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        let referred = self
            .reference
            .as_deref()
            .and_then(|name| limits.named(name));
        for node in self.also.iter().chain(referred) {
            node.check(limits, value, at, faults);
        }
    }
}

impl Bounds {
    fn of(schema: &Value, least: &str, most: &str) -> Self {
        Self {
            least: schema[least].as_f64(),
            most: schema[most].as_f64(),
        }
    }

    fn are_any(&self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    fn beyond(&self, number: f64) -> Option<String> {
        match (self.least, self.most) {
            (Some(least), _) if number < least => Some(format!("must be at least {least}")),
            (_, Some(most)) if number > most => Some(format!("must be at most {most}")),
            _ => None,
        }
    }

    fn of_many(&self, count: usize, what: &str) -> Option<String> {
        let count = count as f64;
        match (self.least, self.most) {
            (Some(1.0), _) if count < 1.0 => Some("must not be empty".to_owned()),
            (Some(least), _) if count < least => Some(format!("must have at least {least} {what}")),
            (_, Some(most)) if count > most => Some(format!("must have at most {most} {what}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[schemars(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only the schema matters here")]
    struct Widget {
        #[schemars(length(min = 1, max = 3))]
        short_name: String,
        #[schemars(length(min = 2))]
        code: Option<String>,
        #[schemars(regex(pattern = "^[a-z]+$"))]
        colour: Option<String>,
        #[schemars(length(min = 1, max = 2))]
        parts: Vec<Part>,
        spare: Option<Part>,
        next: Option<Box<Widget>>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only the schema matters here")]
    struct Part {
        #[schemars(range(min = 1, max = 100))]
        count: u32,
        #[schemars(range(min = -1.5, max = 1.5))]
        offset: f64,
    }

    fn faults(value: &Value) -> Vec<(String, String)> {
        match check::<Widget>(value.to_string().as_bytes()) {
            Ok(()) => Vec::new(),
            Err(Error::Client(ClientError::Unprocessable(faults))) => faults
                .into_iter()
                .map(|fault| (fault.pointer, fault.detail))
                .collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_limit_holds_from_the_first_value_beyond_it() {
        let good = json!({
            "shortName": "äöü", "code": "ab", "colour": "red", "spare": {"count": 1, "offset": 1.5},
            "parts": [{"count": 1, "offset": -1.5}, {"count": 100, "offset": 0}], "next": null,
        });
        assert_eq!(faults(&good), []);
        for (pointer, value, detail) in [
            ("/shortName", json!(""), "must not be empty"),
            (
                "/shortName",
                json!("äöüß"),
                "must have at most 3 characters",
            ),
            ("/code", json!("a"), "must have at least 2 characters"),
            ("/colour", json!("Red"), "must match ^[a-z]+$"),
            ("/parts", json!([]), "must not be empty"),
            (
                "/parts",
                json!([{}, {}, {}]),
                "must have at most 2 elements",
            ),
            ("/parts/1/count", json!(0), "must be at least 1"),
            ("/parts/1/count", json!(101), "must be at most 100"),
            ("/parts/0/offset", json!(-1.6), "must be at least -1.5"),
            ("/spare/count", json!(101), "must be at most 100"),
        ] {
            let mut body = good.clone();
            *body.pointer_mut(pointer).unwrap() = value;
            let expected = vec![(pointer.to_owned(), detail.to_owned())];
            assert_eq!(faults(&body), expected);
            // A schema that refers to itself.
            let nested = json!({"shortName": "a", "parts": [{"count": 1}], "next": body});
            let expected = vec![(format!("/next{pointer}"), detail.to_owned())];
            assert_eq!(faults(&nested), expected);
        }
        for pointer in ["/code", "/colour", "/spare"] {
            let mut body = good.clone();
            *body.pointer_mut(pointer).unwrap() = Value::Null;
            assert_eq!(faults(&body), []);
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let body = json!({"shortName": "", "parts": [{"count": 0, "offset": 2}]});
        let pointers: Vec<String> = faults(&body).into_iter().map(|(at, _)| at).collect();
        assert_eq!(
            pointers,
            ["/parts/0/count", "/parts/0/offset", "/shortName"]
        );
    }

    #[test]
    fn what_has_no_limits_is_not_read_again() {
        check::<Value>(b"no JSON").unwrap();
    }
}
