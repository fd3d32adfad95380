//! Operations on the page: what one sends, a command to try, and what comes back. Schemas are `schemas.rs`.

use serde_json::Value;

use super::{examples, list, prose, resolved, schemas, text};
use crate::encode::query_value;
use crate::html::{Html, html};

/// In this order on the page.
const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

pub(super) struct Operation<'a> {
    pub(super) path: &'a str,
    pub(super) method: &'static str,
    operation: &'a Value,
}

impl Operation<'_> {
    pub(super) fn id(&self) -> &str {
        text(&self.operation["operationId"])
    }
}

/// The operations that are sorted under `tag`.
pub(super) fn of_tag<'a>(document: &'a Value, tag: &str) -> Vec<Operation<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(|method| {
                let operation = item.get(method)?;
                Some(Operation {
                    path,
                    method,
                    operation,
                })
            })
        })
        .filter(|found| {
            list(&found.operation["tags"])
                .iter()
                .any(|known| known == tag)
        })
        .collect()
}

pub(super) fn sections(out: &mut Html, document: &Value) {
    for tag in list(&document["tags"]) {
        let name = text(&tag["name"]);
        html!(out, "<section id=\"tag-" {name} "\"><h2>" {name} "</h2>");
        prose(out, &tag["description"]);
        for operation in of_tag(document, name) {
            article(out, document, &operation);
        }
        html!(out, "</section>");
    }
}

fn article(out: &mut Html, document: &Value, found: &Operation<'_>) {
    let operation = found.operation;
    html!(out,
        "<article id=\"" {found.id()} "\"><h3><a href=\"#" {found.id()} "\"><span class=\"method "
        {found.method} "\">" {found.method} "</span> <span class=\"path\">" {found.path} "</span></a>"
    );
    if operation["deprecated"] == true {
        html!(out, " <span class=\"deprecated\">deprecated</span>");
    }
    html!(out, "</h3><p class=\"summary\">" {text(&operation["summary"])} "</p>");
    if operation["description"] != operation["summary"] {
        prose(out, &operation["description"]);
    }
    who(out, operation);
    parameters(out, document, operation);
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        html!(out, "<h4>Body</h4><p>JSON: ");
        schemas::line(out, body);
        html!(out, "</p>");
    }
    html!(out, "<h4>Try it</h4><pre tabindex=\"0\"><code>");
    command(out, document, found, body);
    html!(out, "</code></pre><h4>Answers</h4>");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        self::answer(out, document, status, answer);
    }
    html!(out, "</article>");
}

fn who(out: &mut Html, operation: &Value) {
    if list(&operation["security"]).is_empty() {
        html!(out, "<p class=\"who\">Without credentials.</p>");
        return;
    }
    for (label, member) in [("Scope: ", "x-scopes"), ("Role: ", "x-roles")] {
        let words = list(&operation[member]);
        if words.is_empty() {
            continue;
        }
        html!(out, "<p class=\"who\">" {label});
        for word in words {
            html!(out, "<code>" {text(word)} "</code> ");
        }
        html!(out, "</p>");
    }
}

fn parameters(out: &mut Html, document: &Value, operation: &Value) {
    let parameters = list(&operation["parameters"]);
    if parameters.is_empty() {
        return;
    }
    html!(out, "<h4>Parameters</h4><dl class=\"members\">");
    for parameter in parameters {
        let parameter = resolved(document, parameter);
        html!(out,
            "<div><dt><code>" {text(&parameter["name"])} "</code> <span class=\"place\">" {text(&parameter["in"])} "</span>"
        );
        if parameter["required"] == true {
            html!(out, " <span class=\"required\">required</span>");
        }
        html!(out, "</dt><dd><p class=\"type\">");
        schemas::line(out, &parameter["schema"]);
        html!(out, "</p>");
        prose(out, &parameter["description"]);
        html!(out, "</dd></div>");
    }
    html!(out, "</dl>");
}

/// For a shell. `$API` is where the gateway is: the page's script knows.
fn command(out: &mut Html, document: &Value, found: &Operation<'_>, body: &Value) {
    let operation = found.operation;
    html!(out, "curl ");
    if found.method != "get" {
        html!(out, "-X " {found.method.to_ascii_uppercase()} " ");
    }
    html!(out, "\"<span class=\"api\">$API</span>" {target(document, found)} "\"");
    let line = |out: &mut Html, header: &str| {
        html!(out, " \\\n  -H '" {header.replace('\'', "'\\''")} "'");
    };
    if !list(&operation["security"]).is_empty() {
        html!(out, " \\\n  -H \"Authorization: Bearer $TOKEN\"");
    }
    for parameter in list(&operation["parameters"]) {
        if parameter["in"] == "header" && parameter["required"] == true {
            let example = examples::of(document, &parameter["schema"]);
            let example = example.as_str().unwrap_or_default().to_owned();
            line(out, &format!("{}: {example}", text(&parameter["name"])));
        }
    }
    if !body.is_null() {
        line(out, "Content-Type: application/json");
        let example = examples::of(document, body);
        let json = serde_json::to_string_pretty(&example).unwrap_or_default();
        html!(out, " \\\n  -d '" {json.replace('\'', "'\\''")} "'");
    }
}

/// The path, with the parameters that have to be there.
fn target(document: &Value, found: &Operation<'_>) -> String {
    let required = list(&found.operation["parameters"])
        .iter()
        .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
    let pairs = required.map(|parameter| {
        let example = examples::of(document, &parameter["schema"]);
        let example = match example {
            Value::String(text) => text,
            other => other.to_string(),
        };
        format!("{}={}", text(&parameter["name"]), query_value(&example))
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    // What is between braces is for people to fill in.
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{mark}{query}", found.path)
}

fn answer(out: &mut Html, document: &Value, status: &str, answer: &Value) {
    let answer = resolved(document, answer);
    html!(out,
        "<details class=\"answer\"><summary><span class=\"status s" {status.get(..1).unwrap_or_default()} "\">" {status}
        "</span> "
    );
    let description = text(&answer["description"]);
    for (index, part) in description.split('`').enumerate() {
        if index % 2 == 1 {
            html!(out, "<code>" {part} "</code>");
        } else {
            out.text(part);
        }
    }
    html!(out, "</summary>");
    let headers = answer["headers"].as_object();
    if headers.is_some_and(|headers| !headers.is_empty()) {
        html!(out, "<dl class=\"members\">");
        for (name, header) in headers.into_iter().flatten() {
            let header = resolved(document, header);
            html!(out, "<div><dt><code>" {name} "</code> <span class=\"place\">header</span></dt><dd>");
            prose(out, &header["description"]);
            html!(out, "</dd></div>");
        }
        html!(out, "</dl>");
    }
    for (media_type, content) in answer["content"].as_object().into_iter().flatten() {
        html!(out, "<p><code>" {media_type} "</code>: ");
        schemas::line(out, &content["schema"]);
        html!(out, "</p>");
        let given = content["examples"].as_object();
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            for (name, example) in given {
                json(out, name, &example["value"]);
            }
        } else if media_type.contains("json") {
            json(out, "", &examples::of(document, &content["schema"]));
        }
    }
    html!(out, "</details>");
}

fn json(out: &mut Html, name: &str, example: &Value) {
    if !name.is_empty() {
        html!(out, "<p class=\"type\"><code>" {name} "</code></p>");
    }
    let text = serde_json::to_string_pretty(example).unwrap_or_default();
    html!(out, "<pre tabindex=\"0\"><code>" {text} "</code></pre>");
}
