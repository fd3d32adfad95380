//! What stands on the page, and that nothing of a document becomes markup.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Page, SCRIPT, examples, hash, page};

fn document() -> Value {
    json!({
        "info": {"title": "Widgets <b>", "version": "1", "description": "Made of `parts`.",
                 "contact": {"name": "Us", "url": "https://widgets.example"}},
        "tags": [{"name": "widgets", "description": "All of them."}],
        "paths": {"/widgets/{id}": {"put": {
            "operationId": "makeWidget", "summary": "Make one", "description": "Make one", "tags": ["widgets"], "deprecated": true,
            "security": [{"token": []}], "x-scopes": ["make"],
            "parameters": [
                {"name": "id", "in": "path", "required": true, "schema": {"type": "string", "pattern": "^[a-z]+$"}},
                {"name": "near", "in": "query", "required": true, "schema": {"type": "number", "examples": [1.5]}},
                {"name": "Key", "in": "header", "required": true, "schema": {"type": "string", "examples": ["it's"]}},
            ],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Widget"}}}},
            "responses": {"200": {"description": "Done.", "headers": {"ETag": {"description": "Weak."}},
                                  "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Widget"}}}},
                          "404": {"$ref": "#/components/responses/Problem404"}},
        }}},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token."}},
            "responses": {"Problem404": {"description": "Not found.", "content": {"application/problem+json": {
                "schema": {"type": "object"}, "examples": {"not-found": {"value": {"status": 404}}}}}}},
            "schemas": {"Widget": {
                "type": "object", "required": ["name"], "description": "A widget.",
                "properties": {
                    "name": {"type": "string", "maxLength": 5, "description": "Its `name`."},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Widget"}},
                    "state": {"oneOf": [{"type": "object", "properties": {"status": {"const": "ok"}}}, {"type": "null"}]},
                },
            }},
        },
    })
}

#[test]
fn everything_of_the_document_stands_on_the_page() {
    let page = page(&document(), "/openapi.json");
    for part in [
        "<h1>Widgets &lt;b&gt;</h1>",
        "Made of <code>parts</code>.",
        "href=\"/openapi.json\"",
        "<article id=\"makeWidget\">",
        "href=\"#makeWidget\"",
        "deprecated</span>",
        "Scope: <code>make</code>",
        "<code class=\"bound\">^[a-z]+$</code>",
        "<span class=\"api\">$API</span>/widgets/{id}?near=1.5",
        "-H 'Key: it&#39;\\&#39;&#39;s'",
        "-H \"Authorization: Bearer $TOKEN\"",
        "<article id=\"schema-Widget\">",
        "characters ≤ 5",
        "array of <a href=\"#schema-Widget\">Widget</a>",
        "<code>not-found</code>",
        "Not found.",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("Widgets <b>"));
}

#[test]
fn examples_are_those_that_are_given_else_the_plainest() {
    let document = document();
    let widget = examples::of(&document, &json!({"$ref": "#/components/schemas/Widget"}));
    assert_eq!(widget["name"], "…");
    assert_eq!(widget["state"], json!({"status": "ok"}));
    // What contains itself ends somewhere.
    assert_eq!(widget["parts"][0]["parts"][0]["name"], "…");
    for (schema, example) in [
        (json!({"examples": ["a"], "type": "string"}), json!("a")),
        (json!({"enum": ["b", "c"]}), json!("b")),
        (json!({"type": ["null", "integer"], "minimum": 3}), json!(3)),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("2030-01-31T18:30:00Z"),
        ),
        (json!({}), Value::Null),
    ] {
        assert_eq!(examples::of(&document, &schema), example, "{schema}");
    }
}

#[test]
fn a_browser_may_run_what_is_on_the_page_and_nothing_else() {
    let page = Page::new(&document(), "/openapi.json");
    let response = page.answer(&HeaderMap::new());
    let policy = response.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.contains(&format!("script-src '{}'", hash(SCRIPT))));
    assert!(!policy.contains("unsafe"));
    assert!(!SCRIPT.contains("</script"));
    assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");

    let mut headers = HeaderMap::new();
    headers.insert(IF_NONE_MATCH, response.headers()[ETAG].clone());
    assert_eq!(page.answer(&headers).status(), StatusCode::NOT_MODIFIED);
}
