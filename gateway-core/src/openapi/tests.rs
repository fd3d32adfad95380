//! What the types of handlers come to in a document.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::describe::Described;
use super::{Documented, Info, document};
use crate::accepted::Accepted;
use crate::compose::{Answer, Composition, Required, Section};
use crate::config;
use crate::error::Error;
use crate::extract::{JsonBody, PathParam, QueryParams};
use crate::idempotency::OptionalKey;

/// A widget and who makes it.
#[derive(Serialize, JsonSchema)]
struct Widget {
    name: Required<String>,
    maker: Section<Maker>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Maker {
    name: String,
    /// Not in what is sent when it is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    town: Option<String>,
    #[serde(default)]
    size: u32,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only the shape matters here")]
struct Search {
    near: f64,
    /// How many.
    limit: Option<u32>,
}

async fn show(
    _: Composition<Widget>,
    PathParam(_): PathParam<String>,
    QueryParams(_): QueryParams<Search>,
) -> Result<Answer<Widget>, Error> {
    Err(Error::not_found())
}

async fn make(
    OptionalKey(_): OptionalKey,
    JsonBody(maker): JsonBody<Maker>,
) -> Result<Accepted<Maker>, Error> {
    Ok(Accepted::new(maker))
}

fn described<D, H: Described<D>>(_: H) -> fn(&mut super::Operation<'_>) {
    <H as Described<D>>::describe
}

fn widgets() -> Value {
    let config = config::from_text(&["[server]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
        [api_keys]\nprefix = \"w\"\n[rate_limits.address]\nkey = \"address\"\nrate = \"1/s\"\n\
        [policies.widget]\naccess = \"public\"\n\
        [policies.make-it]\naccess = { scopes = [\"make\"], roles = [\"maker\"] }\nlimits = [\"address\"]\n"])
    .unwrap();
    let info = Info {
        title: "Widgets",
        version: "1",
        description: "All about widgets.",
        contact: ("Widgets", "https://widgets.example"),
        tags: &[("widgets", "Widgets.")],
        examples: &[
            ("name", "Sprocket"),
            ("Maker.name", "The Works"),
            ("town", "null"),
            ("size", "3"),
            ("widgets.id", "widget-1"),
        ],
    };
    let routes = [
        Documented {
            name: "widget",
            method: &Method::GET,
            path: "/v2/widgets/{id}",
            summary: "A widget",
            may_be_missing: false,
            describe: described(show),
        },
        Documented {
            name: "make-it",
            method: &Method::POST,
            path: "/v2/widgets",
            summary: "Make one",
            may_be_missing: false,
            describe: described(make),
        },
    ];
    document(&info, &routes, &config)
}

#[test]
fn extractors_are_parameters_and_bodies() {
    let document = widgets();
    let show = &document["paths"]["/v2/widgets/{id}"]["get"];
    assert_eq!(show["operationId"], "widget");
    assert_eq!(show["tags"], json!(["widgets"]));
    assert_eq!(show["description"], "A widget and who makes it.");
    assert_eq!(show["security"], json!([]));
    let parameters = show["parameters"].as_array().unwrap();
    let named: Vec<_> = parameters
        .iter()
        .map(|p| {
            (
                p["name"].as_str().unwrap(),
                p["in"].as_str().unwrap(),
                &p["required"],
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            ("fields", "query", &json!(false)),
            ("If-None-Match", "header", &json!(false)),
            ("id", "path", &json!(true)),
            ("limit", "query", &json!(false)),
            ("near", "query", &json!(true)),
        ]
    );
    assert_eq!(
        parameters[0]["schema"]["items"]["enum"],
        json!(["maker", "name"])
    );
    assert_eq!(parameters[3]["description"], "How many.");
    assert_eq!(
        parameters[3]["schema"],
        json!({"type": "integer", "minimum": 0})
    );

    let make = &document["paths"]["/v2/widgets"]["post"];
    assert_eq!(make["security"], json!([{"apiKey": []}]));
    assert_eq!(make["x-scopes"], json!(["make"]));
    assert_eq!(make["x-roles"], json!(["maker"]));
    let body = &make["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(*body, json!({"$ref": "#/components/schemas/MakerRequest"}));
}

#[test]
fn what_has_to_be_there_differs_between_requests_and_answers() {
    let schemas = &widgets()["components"]["schemas"];
    assert_eq!(schemas["MakerRequest"]["required"], json!(["name"]));
    assert_eq!(schemas["Maker"]["required"], json!(["name", "size"]));
    // `?fields=` may leave out any section.
    assert_eq!(schemas["Widget"].get("required"), None);
}

#[test]
fn errors_are_those_that_can_happen_and_as_they_are() {
    let document = widgets();
    let statuses = |path: &str, method: &str| -> Vec<String> {
        let answers = document["paths"][path][method]["responses"].as_object();
        answers.unwrap().keys().cloned().collect()
    };
    assert_eq!(
        statuses("/v2/widgets/{id}", "get"),
        [
            "200", "304", "400", "404", "406", "414", "431", "502", "503", "504"
        ]
    );
    assert_eq!(
        statuses("/v2/widgets", "post"),
        [
            "202", "400", "401", "403", "404", "406", "408", "409", "413", "414", "415", "422",
            "429", "431", "502", "503", "504"
        ]
    );
    let responses = &document["components"]["responses"];
    let examples = &responses["Problem504"]["content"]["application/problem+json"]["examples"];
    assert_eq!(examples["deadline-exceeded"]["value"]["status"], 504);
    assert!(examples["upstream-timeout"].is_object());
    let wait = &responses["Problem429"]["headers"]["retry-after"]["schema"];
    assert_eq!(wait["type"], "integer");
}

/// Every reference leads somewhere.
#[test]
fn the_document_holds_together() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = widgets();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn examples_are_put_together_of_those_of_members() {
    let document = widgets();
    let show = &document["paths"]["/v2/widgets/{id}"]["get"];
    let shown = &show["responses"]["200"]["content"]["application/json"]["example"];
    assert_eq!(
        *shown,
        json!({
            "name": {"status": "ok", "data": "…"},
            "maker": {"status": "ok", "data": {"name": "The Works", "town": null, "size": 3}},
        })
    );
    let parameters = show["parameters"].as_array().unwrap();
    let example = |name: &str| {
        let parameter = parameters.iter().find(|p| p["name"] == name).unwrap();
        parameter["schema"]["examples"].clone()
    };
    assert_eq!(example("id"), json!(["widget-1"]));
    assert_eq!(example("near"), Value::Null, "none is named");
    let make = &document["paths"]["/v2/widgets"]["post"];
    let body = &make["requestBody"]["content"]["application/json"]["example"];
    assert_eq!(body["name"], "The Works");
    assert!(show.get("requestBody").is_none());
    assert!(
        !document["components"]["schemas"]
            .to_string()
            .contains("\"properties\":null")
    );
}
