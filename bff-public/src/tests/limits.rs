//! The limits that the document states of bodies are those that are enforced: each is tried out, at it and beyond it.

use gateway_core::testkit::{Setup, TestGateway};
use http::Method;
use serde_json::{Value, json};

use super::{BOUND, SETUP};

/// For hundreds of requests of one partner.
const PLENTY: Setup = Setup {
    config: &[
        SETUP.config[0],
        SETUP.config[1],
        "[plans.scale]\nrate = \"10000/s\"\nburst = 10000\n",
    ],
    ..SETUP
};

/// A place in a body, what may be there at most, and what may not.
struct Case {
    pointer: String,
    good: Value,
    bad: Value,
    limit: String,
}

#[tokio::test]
async fn what_the_document_allows_is_allowed_and_what_is_beyond_it_is_422() {
    let world = TestGateway::start(&PLENTY, |_| None).await;
    let document = world.anonymous(Method::GET, "/openapi.json").send().await;
    let document: Value = document.unwrap().json().await.unwrap();
    let mut bodies = 0;
    let mut tried = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            bodies += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace("{id}", "restaurant-1");
            let sample = sample(&document, schema);
            let mut cases = Vec::new();
            collect(&document, schema, "", &mut cases);
            for case in cases {
                let place = format!("{method} {path} {} {}", case.pointer, case.limit);
                let mut answers = Vec::new();
                for value in [case.good, case.bad] {
                    let mut body = sample.clone();
                    *body.pointer_mut(&case.pointer).unwrap() = value;
                    let request = world.request(method.clone(), &path, BOUND);
                    let request = request.header("idempotency-key", &place);
                    let answer = request
                        .header("if-match", "\"v4\"")
                        .json(&body)
                        .send()
                        .await;
                    answers.push(faults_at(answer.unwrap(), &case.pointer).await);
                }
                let [good, bad] = answers.try_into().unwrap();
                assert!(!bad.is_empty(), "{place}: what is beyond it is allowed");
                // A text of the right length can still be no URL.
                assert!(!good.contains(&bad[0]), "{place}: it is {}", bad[0]);
                tried.push(place);
            }
        }
    }
    assert!(bodies >= 3 && tried.len() >= 25, "{bodies}: {tried:?}");
}

/// What a 422 says of this place.
async fn faults_at(answer: reqwest::Response, pointer: &str) -> Vec<String> {
    let status = answer.status().as_u16();
    assert!(
        status < 500 && ![400, 401, 403, 404, 429].contains(&status),
        "{status}"
    );
    if status != 422 {
        return Vec::new();
    }
    let problem: Value = answer.json().await.unwrap();
    let faults = problem["errors"].as_array().unwrap().iter();
    let here = faults.filter(|fault| fault["pointer"] == pointer);
    here.map(|fault| fault["detail"].as_str().unwrap().to_owned())
        .collect()
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else {
        return schema;
    };
    document
        .pointer(reference.strip_prefix('#').unwrap())
        .unwrap()
}

/// Something of the right shape and within all limits: one element in each array, `null` where it may be.
fn sample(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    let is = |kind: &str| {
        let types = &schema["type"];
        types == kind
            || types
                .as_array()
                .is_some_and(|all| all.contains(&json!(kind)))
    };
    if is("null") {
        Value::Null
    } else if is("object") {
        let members = schema["properties"].as_object().unwrap().iter();
        let members = members.map(|(name, schema)| (name.clone(), sample(document, schema)));
        Value::Object(members.collect())
    } else if is("array") {
        json!([sample(document, &schema["items"])])
    } else if is("boolean") {
        json!(false)
    } else if is("integer") || is("number") {
        schema["minimum"].clone()
    } else {
        assert!(is("string"), "a test has to know what is good: {schema}");
        match (schema["pattern"].as_str(), schema["format"].as_str()) {
            (Some(pattern), _) => of_pattern(pattern).0,
            (None, Some("uri")) => json!("https://hooks.example.com/ftgo"),
            _ => json!("ORDER"),
        }
    }
}

/// What matches, and what does not.
fn of_pattern(pattern: &str) -> (Value, Value) {
    let (good, bad) = match pattern {
        "^[A-Z]{3}$" => ("USD", "usd"),
        r"^-?[0-9]{1,12}(\.[0-9]{1,2})?$" => ("123456789012.99", "1.234"),
        _ => panic!("a test has to know what matches {pattern}"),
    };
    (json!(good), json!(bad))
}

fn collect(document: &Value, schema: &Value, at: &str, cases: &mut Vec<Case>) {
    let schema = resolved(document, schema);
    let mut case = |limit: &str, good: Value, bad: Value| {
        cases.push(Case {
            pointer: at.to_owned(),
            good,
            bad,
            limit: limit.to_owned(),
        });
    };
    let limit = |name: &str| schema[name].as_i64();
    let text = |length: i64| json!("ä".repeat(usize::try_from(length).unwrap()));
    let element = || sample(document, &schema["items"]);
    let array = |count: i64| Value::Array((0..count).map(|_| element()).collect());
    for (name, step) in [("minLength", -1), ("maxLength", 1)] {
        if let Some(limit) = limit(name).filter(|limit| limit + step >= 0) {
            case(name, text(limit), text(limit + step));
        }
    }
    for (name, step) in [("minItems", -1), ("maxItems", 1)] {
        if let Some(limit) = limit(name).filter(|limit| limit + step >= 0) {
            case(name, array(limit), array(limit + step));
        }
    }
    for (name, step) in [("minimum", -1), ("maximum", 1)] {
        if let Some(limit) = limit(name) {
            case(name, json!(limit), json!(limit + step));
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let (good, bad) = of_pattern(pattern);
        case("pattern", good, bad);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        collect(document, schema, &format!("{at}/{name}"), cases);
    }
    if schema["items"].is_object() {
        collect(document, &schema["items"], &format!("{at}/0"), cases);
    }
}
