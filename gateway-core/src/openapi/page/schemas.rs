//! Schemas on the page: what a value is, in a line or as a list of members. Whole operations are `operations.rs`.

use serde_json::Value;

use super::{list, prose, text};
use crate::html::{Html, html};

/// All components that are schemas.
pub(super) fn all(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let schemas = document["components"]["schemas"].as_object();
    schemas.into_iter().flatten()
}

pub(super) fn section(out: &mut Html, document: &Value) {
    html!(out, "<section id=\"schemas\"><h2>Schemas</h2>");
    for (name, schema) in all(document) {
        html!(out, "<article id=\"schema-" {name} "\"><h3><a href=\"#schema-" {name} "\">" {name} "</a></h3>");
        whole(out, schema);
        html!(out, "</article>");
    }
    html!(out, "</section>");
}

/// What it is, in words and with all its members.
pub(super) fn whole(out: &mut Html, schema: &Value) {
    prose(out, &schema["description"]);
    if schema.get("properties").is_none() {
        html!(out, "<p>");
        line(out, schema);
        html!(out, "</p>");
    }
    inside(out, schema);
}

/// Members, and what it can be one of; nothing for what is said in a line.
fn inside(out: &mut Html, schema: &Value) {
    if let Some(members) = schema["properties"].as_object()
        && !members.is_empty()
    {
        html!(out, "<dl class=\"members\">");
        for (name, member) in members {
            let is_required = list(&schema["required"]).iter().any(|known| known == name);
            html!(out, "<div><dt><code>" {name} "</code>");
            if is_required {
                html!(out, " <span class=\"required\">required</span>");
            }
            html!(out, "</dt><dd><p class=\"type\">");
            line(out, member);
            html!(out, "</p>");
            prose(out, &member["description"]);
            inside(out, member);
            html!(out, "</dd></div>");
        }
        html!(out, "</dl>");
    }
    if is_structured(&schema["items"]) {
        inside(out, &schema["items"]);
    }
    let choices = list(&schema["oneOf"]).iter().chain(list(&schema["anyOf"]));
    let choices: Vec<&Value> = choices.filter(|choice| is_structured(choice)).collect();
    if !choices.is_empty() {
        html!(out, "<ul class=\"choices\">");
        for choice in choices {
            html!(out, "<li>");
            prose(out, &choice["description"]);
            inside(out, choice);
            html!(out, "</li>");
        }
        html!(out, "</ul>");
    }
}

fn is_structured(schema: &Value) -> bool {
    ["properties", "oneOf", "anyOf"]
        .iter()
        .any(|keyword| schema.get(keyword).is_some())
}

/// The type and its bounds.
pub(super) fn line(out: &mut Html, schema: &Value) {
    kind(out, schema);
    let bound = |out: &mut Html, words: &str, keyword: &str| {
        if let Some(bound) = schema.get(keyword) {
            html!(out, " <span class=\"bound\">" {words} {bound} "</span>");
        }
    };
    if let Some(format) = schema["format"].as_str() {
        html!(out, " <span class=\"bound\">" {format} "</span>");
    }
    bound(out, "≥ ", "minimum");
    bound(out, "> ", "exclusiveMinimum");
    bound(out, "≤ ", "maximum");
    bound(out, "characters ≥ ", "minLength");
    bound(out, "characters ≤ ", "maxLength");
    bound(out, "items ≥ ", "minItems");
    bound(out, "items ≤ ", "maxItems");
    bound(out, "else ", "default");
    if let Some(pattern) = schema["pattern"].as_str() {
        html!(out, " <code class=\"bound\">" {pattern} "</code>");
    }
}

fn kind(out: &mut Html, schema: &Value) {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        html!(out, "<a href=\"#schema-" {name} "\">" {name} "</a>");
        return;
    }
    if let Some(only) = schema.get("const") {
        html!(out, "<code>" {only} "</code>");
        return;
    }
    let allowed = list(&schema["enum"]);
    if !allowed.is_empty() {
        separated(out, allowed.iter(), ", ", |out, one| {
            html!(out, "<code>" {one} "</code>");
        });
        return;
    }
    let choices = list(&schema["oneOf"]).iter().chain(list(&schema["anyOf"]));
    if schema.get("type").is_none() && choices.clone().next().is_some() {
        if choices.clone().all(is_structured) {
            out.text("one of these");
        } else {
            separated(out, choices, " or ", kind);
        }
        return;
    }
    match &schema["type"] {
        Value::Array(kinds) => separated(out, kinds.iter(), " or ", |out, one| {
            named(out, schema, text(one));
        }),
        one => named(out, schema, text(one)),
    }
}

fn named(out: &mut Html, schema: &Value, name: &str) {
    match name {
        "array" => {
            html!(out, "array of ");
            line(out, &schema["items"]);
        }
        "" => out.text("anything"),
        other => out.text(other),
    }
}

fn separated<'a>(
    out: &mut Html,
    values: impl Iterator<Item = &'a Value>,
    separator: &'static str,
    write: impl Fn(&mut Html, &Value),
) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.text(separator);
        }
        write(out, value);
    }
}
