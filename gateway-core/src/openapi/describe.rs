//! What handlers, extractors and answers say about their operation. How the document is put together is `document.rs`.

use std::future::Future;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{Html, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::{Schemas, without_null};
use crate::RequestContext;
use crate::compose::{Answer, Composition, Polled};
use crate::error::Error;
use crate::extract::{JsonBody, LaterBody, PathParam, QueryParams};

/// An extractor or an answer that can say what it means to the client.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what it means to the client",
    note = "implement `gateway_core::openapi::Describe` for it: what it adds to its operation in `/openapi.json`"
)]
pub trait Describe {
    fn describe(operation: &mut Operation<'_>);
}

/// A handler whose extractors and answer can all say what they mean. `T` is only there to tell handlers of different
/// lengths apart, as axum does it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler whose extractors and answer all implement `openapi::Describe`"
)]
pub trait Described<T> {
    fn describe(operation: &mut Operation<'_>);
}

/// One operation being described.
pub struct Operation<'a> {
    pub(super) schemas: &'a mut Schemas,
    /// The names of the path's variable segments, in order.
    pub(super) segments: Vec<&'static str>,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// By status.
    pub(super) answers: Map<String, Value>,
    /// What there is to say besides the summary.
    pub(super) description: Option<String>,
    pub(super) deprecated: bool,
    /// Each parameter can be right, and all of them together wrong.
    pub(super) may_disagree: bool,
}

/// A variable segment whose type says no more of it: unreserved characters (RFC 3986, 2.3), and no dot segment. Others name
/// nothing, or are refused before anything is looked up.
const SEGMENT: &str = "^[A-Za-z0-9_-][A-Za-z0-9._~-]*$";

impl<'a> Operation<'a> {
    /// Of which nothing has been said yet.
    pub(super) fn new(schemas: &'a mut Schemas, segments: Vec<&'static str>) -> Self {
        Self {
            schemas,
            segments,
            parameters: Vec::new(),
            body: None,
            answers: Map::new(),
            description: None,
            deprecated: false,
            may_disagree: false,
        }
    }

    /// A parameter in the header: any text.
    pub fn header(&mut self, name: &str, required: bool, description: &str) {
        self.header_like(name, required, description, json!({"type": "string"}));
    }

    /// A parameter in the header of which `schema` tells how it looks.
    pub fn header_like(&mut self, name: &str, required: bool, description: &str, schema: Value) {
        let description = Some(json!(description));
        self.parameters
            .push(parameter("header", name, required, description, schema));
    }

    /// Parameters in the query: the members of `T`. Those that go together (`dependentRequired`, for which OpenAPI has no
    /// place beside parameters) are to be refused with [`ClientError::ParametersDisagree`](crate::error::ClientError).
    pub fn query<T: JsonSchema>(&mut self) {
        let schema = self.schemas.members_of::<T>();
        self.may_disagree |= !schema["dependentRequired"].is_null();
        let required = required(&schema);
        for (name, mut schema) in properties(schema) {
            without_null(&mut schema);
            let description = take(&mut schema, "description");
            self.parameters.push(parameter(
                "query",
                &name,
                required.contains(&name),
                description,
                schema,
            ));
        }
    }

    /// The variable segments of the path.
    pub fn path<T: JsonSchema>(&mut self) {
        let schema = self.schemas.members_of::<T>();
        let tuple = schema["prefixItems"].as_array().cloned();
        let members: Map<String, Value> = properties(schema.clone()).collect();
        for (index, name) in self.segments.clone().into_iter().enumerate() {
            let of_tuple = tuple.as_ref().and_then(|items| items.get(index)).cloned();
            let mut schema = of_tuple
                .or_else(|| members.get(name).cloned())
                .unwrap_or_else(|| schema.clone());
            if schema["type"] == "string" && schema.get("pattern").is_none() {
                schema["pattern"] = json!(SEGMENT);
            }
            let description = take(&mut schema, "description");
            self.parameters
                .push(parameter("path", name, true, description, schema));
        }
    }

    /// A JSON body.
    pub fn body<T: JsonSchema>(&mut self) {
        let schema = self.schemas.request::<T>();
        self.body = Some(json!({
            "required": true,
            "content": {"application/json": {"schema": schema}},
        }));
    }

    /// An answer with `T` as JSON.
    pub fn answer<T: JsonSchema>(&mut self, status: u16, description: &str, headers: Value) {
        let schema = self.schemas.answer::<T>();
        let answer = json!({
            "description": description,
            "headers": headers,
            "content": {"application/json": {"schema": schema}},
        });
        self.answers.insert(status.to_string(), answer);
    }

    /// The operation will go away: there is a newer one.
    pub fn deprecate(&mut self) {
        self.deprecated = true;
    }

    /// Says that the answer with this status can have a header more.
    pub fn add_header(&mut self, status: &str, name: &str, header: Value) {
        if let Some(answer) = self.answers.get_mut(status) {
            answer["headers"][name] = header;
        }
    }

    /// The answer is a stream of events for who asks for one.
    pub(crate) fn event_stream(&mut self) {
        if let Some(answer) = self.answers.get_mut("200") {
            answer["content"]["text/event-stream"] = json!({"schema": {
                "type": "string",
                "description": "Server-sent events (WHATWG HTML, 9.2). `event` says what has happened, `data` is JSON, `id` \
                                is a place to come back to. Comments are signs of life; the last event is `end`.",
            }});
        }
    }

    /// An answer without a body, or with one of which nothing is known.
    pub fn bare_answer(&mut self, status: u16, description: &str, headers: Value) {
        let answer = json!({"description": description, "headers": headers});
        self.answers.insert(status.to_string(), answer);
    }
}

fn parameter(
    place: &str,
    name: &str,
    required: bool,
    description: Option<Value>,
    schema: Value,
) -> Value {
    let mut parameter = json!({"name": name, "in": place, "required": required, "schema": schema});
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter
}

fn take(schema: &mut Value, member: &str) -> Option<Value> {
    schema.as_object_mut()?.remove(member)
}

fn required(schema: &Value) -> Vec<String> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn properties(mut schema: Value) -> impl Iterator<Item = (String, Value)> {
    let properties = match take(&mut schema, "properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    properties.into_iter()
}

macro_rules! says_nothing {
    ($($type:ty),+) => {
        $(
            impl Describe for $type {
                fn describe(_: &mut Operation<'_>) {}
            }
        )+
    };
}

says_nothing!(RequestContext, HeaderMap, Request);

impl<S> Describe for State<S> {
    fn describe(_: &mut Operation<'_>) {}
}

impl<T: JsonSchema> Describe for PathParam<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.path::<T>();
    }
}

impl<T: JsonSchema> Describe for QueryParams<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.query::<T>();
    }
}

impl<T: JsonSchema> Describe for JsonBody<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.body::<T>();
    }
}

impl<T: JsonSchema> Describe for LaterBody<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.body::<T>();
    }
}

impl<S: JsonSchema + 'static> Describe for Composition<S> {
    fn describe(operation: &mut Operation<'_>) {
        let sections = crate::compose::sections::<S>();
        if !sections.is_empty() {
            operation.parameters.push(json!({
                "name": "fields", "in": "query", "required": false, "style": "form", "explode": false,
                "description": "The sections to be fetched and shown; all of them when absent.",
                "schema": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": sections}},
            }));
        }
        operation.header(
            "If-None-Match",
            false,
            "The `ETag` of an answer that the client has: 304 when nothing has changed.",
        );
    }
}

impl<S: JsonSchema> Describe for Answer<S> {
    fn describe(operation: &mut Operation<'_>) {
        let text =
            |description: &str| json!({"description": description, "schema": {"type": "string"}});
        let etag = text("Weak. Absent when a part is missing: such an answer is stored by nobody.");
        let cache_control = text("Always `private`.");
        operation.answer::<S>(
            200,
            "As asked.",
            json!({"ETag": etag, "Cache-Control": cache_control}),
        );
        operation.description = operation.schemas.description_of::<S>();
        operation.bare_answer(304, "Nothing has changed.", json!({"ETag": etag}));
    }
}

impl<S: JsonSchema> Describe for Polled<S> {
    fn describe(operation: &mut Operation<'_>) {
        Answer::<S>::describe(operation);
        for status in ["200", "304"] {
            operation.add_header(
                status,
                "Retry-After",
                json!({
                    "description": "Seconds after which asking again is worth it. Absent when nothing will change any more.",
                    "schema": {"type": "integer", "minimum": 1},
                }),
            );
        }
    }
}

impl<T: JsonSchema> Describe for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer::<T>(200, "As asked.", json!({}));
    }
}

impl<T: Describe> Describe for Result<T, Error> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

macro_rules! says_only_that_it_is_there {
    ($($type:ty),+) => {
        $(
            impl Describe for $type {
                fn describe(operation: &mut Operation<'_>) {
                    operation.bare_answer(200, "As asked.", json!({}));
                }
            }
        )+
    };
}

says_only_that_it_is_there!(Response, Bytes, &'static str, String, StatusCode, ());

/// A status of its own is not described: types that say which it is are [`Accepted`](crate::accepted::Accepted) and the like.
impl<T: Describe> Describe for (StatusCode, T) {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl<H, T: Describe> Describe for (StatusCode, H, T) {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl<K, V, const N: usize, T: Describe> Describe for ([(K, V); N], T) {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

impl<T> Describe for Html<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.bare_answer(200, "A page.", json!({}));
    }
}

macro_rules! handlers {
    ($($extractor:ident)*) => {
        impl<F, Fut, Res, $($extractor),*> Described<($($extractor,)*)> for F
        where
            F: Fn($($extractor),*) -> Fut,
            Fut: Future<Output = Res>,
            Res: Describe,
            $($extractor: Describe,)*
        {
            fn describe(operation: &mut Operation<'_>) {
                $($extractor::describe(operation);)*
                Res::describe(operation);
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A B);
handlers!(A B C);
handlers!(A B C D);
handlers!(A B C D E);
handlers!(A B C D E G);
handlers!(A B C D E G H);
