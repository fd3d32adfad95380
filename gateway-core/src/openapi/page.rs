//! The document as a page for people: written once, when the gateway starts, with everything that it needs in it. What the
//! document says is `document.rs`'s; nothing is said here that is not there.
//!
//! It works without scripts; the script finds operations while one types, and puts the gateway's own address into commands.

mod operations;
mod schemas;
#[cfg(test)]
mod tests;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::examples::resolved;
use super::{Served, examples};
use crate::html::{Html, html};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// A page as it is served.
#[derive(Clone)]
pub(crate) struct Page {
    html: Served,
    policy: HeaderValue,
}

impl Page {
    /// `at` is where programs find the document.
    pub(crate) fn new(document: &Value, at: &str) -> Self {
        let html = page(document, at);
        // Nothing but the style and the script that are in it; it asks nobody for anything, and nobody frames it.
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        Self {
            html: Served::new("text/html; charset=utf-8", html),
            policy: HeaderValue::try_from(policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = self.html.answer(headers);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

/// CSP 3, 2.3.1.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

fn page(document: &Value, at: &str) -> String {
    let mut html = Html::default();
    let out = &mut html;
    let info = &document["info"];
    html!(out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<meta name=\"color-scheme\" content=\"light dark\">"
        "<title>" {text(&info["title"])} "</title><link rel=\"icon\" href=\"data:,\"><style>"
    );
    out.markup(STYLE);
    html!(
        out,
        "</style></head><body><a class=\"skip\" href=\"#content\">To the content</a>"
    );
    navigation(out, document);
    html!(out,
        "<main id=\"content\"><header><h1>" {text(&info["title"])} "</h1><p class=\"meta\">Version "
        {text(&info["version"])} " · <a href=\"" {at} "\">OpenAPI document</a>"
    );
    if let Some(url) = info["contact"]["url"].as_str() {
        html!(out, " · <a href=\"" {url} "\" rel=\"noopener noreferrer\">" {text(&info["contact"]["name"])} "</a>");
    }
    html!(out, "</p>");
    prose(out, &info["description"]);
    html!(out, "</header>");
    credentials(out, document);
    operations::sections(out, document);
    schemas::section(out, document);
    html!(out, "</main><script>");
    out.markup(SCRIPT);
    html!(out, "</script></body></html>");
    html.into_string()
}

fn navigation(out: &mut Html, document: &Value) {
    html!(out,
        "<nav aria-label=\"Operations\"><details open><summary>Contents</summary>"
        "<p class=\"find\" hidden><label for=\"find\">Find</label><input id=\"find\" type=\"search\" autocomplete=\"off\" \
         placeholder=\"Find an operation or a schema\"></p><p id=\"none\" hidden>Nothing of that name.</p>"
    );
    html!(
        out,
        "<ul><li><a href=\"#credentials\">Credentials</a></li></ul>"
    );
    for tag in list(&document["tags"]) {
        html!(out, "<section><h2>" {text(&tag["name"])} "</h2><ul>");
        for operation in operations::of_tag(document, text(&tag["name"])) {
            html!(out,
                "<li><a href=\"#" {operation.id()} "\"><span class=\"method " {operation.method} "\">"
                {operation.method} "</span> <span class=\"path\">" {operation.path} "</span></a></li>"
            );
        }
        html!(out, "</ul></section>");
    }
    html!(out, "<section><h2>Schemas</h2><ul>");
    for (name, _) in schemas::all(document) {
        html!(out, "<li><a href=\"#schema-" {name} "\">" {name} "</a></li>");
    }
    html!(out, "</ul></section></details></nav>");
}

fn credentials(out: &mut Html, document: &Value) {
    let schemes = document["components"]["securitySchemes"].as_object();
    html!(out, "<section id=\"credentials\"><h2>Credentials</h2>");
    if schemes.is_none_or(serde_json::Map::is_empty) {
        html!(out, "<p>None are needed.</p>");
    }
    html!(out, "<dl class=\"members\">");
    for (name, scheme) in schemes.into_iter().flatten() {
        html!(out, "<div><dt><code>" {name} "</code></dt><dd>");
        prose(out, &scheme["description"]);
        if let Some(url) = scheme["openIdConnectUrl"].as_str() {
            html!(out, "<p>Provider: <code>" {url} "</code></p>");
        }
        html!(out, "</dd></div>");
    }
    html!(out, "</dl></section>");
}

/// Text with code between backticks.
fn prose(out: &mut Html, words: &Value) {
    let words = text(words);
    if words.is_empty() {
        return;
    }
    html!(out, "<p>");
    for (index, part) in words.split('`').enumerate() {
        if index % 2 == 1 {
            html!(out, "<code>" {part} "</code>");
        } else {
            out.text(part);
        }
    }
    html!(out, "</p>");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
