//! The document: operations, components, security. What a handler's types say is `describe.rs`.

use http::Method;
use serde_json::{Map, Value, json};

use super::describe::Operation;
use super::examples::{self, Example};
use super::problems::{self, Risks};
use super::schemas::Schemas;
use crate::config::{Access, Config, PLAN, PolicyConfig};

/// What a document says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    pub title: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    /// Where its users turn to: a name and an address.
    pub contact: (&'static str, &'static str),
    /// What the operations are sorted by, the first segment of their paths, and what that is.
    pub tags: &'static [(&'static str, &'static str)],
    /// Of the members of what is sent and answered, and of parameters.
    pub examples: &'static [Example],
}

/// A route to be described.
#[derive(Clone, Copy)]
pub(crate) struct Documented<'a> {
    pub(crate) name: &'static str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) may_be_missing: bool,
    pub(crate) describe: fn(&mut Operation<'_>),
}

/// The document of `routes`, under the policies of `config`.
pub(crate) fn document(info: &Info, routes: &[Documented<'_>], config: &Config) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut problems = Map::new();
    for route in routes {
        let policy = config.policies.get(route.name);
        let mut operation = operation(route, policy, config, &mut schemas, &mut problems);
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            examples::name_parameters(route.path, parameters, info.examples);
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let tags = info
        .tags
        .iter()
        .map(|(name, description)| json!({"name": name, "description": description}));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": info.title,
            "version": info.version,
            "description": info.description,
            "contact": {"name": info.contact.0, "url": info.contact.1},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
    });
    let mut components = schemas.into_components(&mut document);
    examples::name_members(&mut components, info.examples);
    components.insert("Problem".to_owned(), problems::schema());
    document["components"] = json!({
        "schemas": components,
        "responses": problems,
        "headers": headers(),
        "securitySchemes": security_schemes(config),
    });
    examples::show_bodies(&mut document);
    document
}

/// Whether success is told in JSON and in nothing else. A version that will go away does not begin to ask.
pub(crate) fn answers_in_json_alone(describe: fn(&mut Operation<'_>)) -> bool {
    let mut schemas = Schemas::new();
    let mut operation = Operation::new(&mut schemas, Vec::new());
    describe(&mut operation);
    !operation.deprecated && is_json_alone(&operation.answers)
}

fn is_json_alone(answers: &Map<String, Value>) -> bool {
    let contents = answers.values().map(|answer| answer["content"].as_object());
    let mut media_types = contents.flatten().flat_map(Map::keys).peekable();
    media_types.peek().is_some() && media_types.all(|name| name == "application/json")
}

fn operation(
    route: &Documented<'_>,
    policy: Option<&PolicyConfig>,
    config: &Config,
    schemas: &mut Schemas,
    problems: &mut Map<String, Value>,
) -> Value {
    let mut operation = Operation::new(schemas, segments(route.path));
    (route.describe)(&mut operation);
    let Operation {
        segments,
        mut parameters,
        body,
        mut answers,
        description,
        deprecated,
        may_disagree,
        schemas: _,
    } = operation;
    let access = policy.map_or(&Access::Public, |policy| &policy.access);
    let versions = &config.app_version;
    let gated = versions.minimum.is_some() || versions.recommended.is_some();
    if gated {
        parameters.push(json!({
            "name": "App-Version", "in": "header", "required": false,
            "description": "The version of the app, such as `2.1.7`. Below what is served it is refused; below what is \
                            recommended, the answer has `App-Version-Recommended`.",
            "schema": {"type": "string"},
        }));
    }
    let streams = answers
        .get("200")
        .map(|answer| &answer["content"]["text/event-stream"]);
    let has_header = |name| parameters.iter().any(|parameter| parameter["name"] == name);
    let risks = Risks {
        has_precondition: has_header("If-Match"),
        has_key: has_header("Idempotency-Key"),
        has_plan: policy.is_some_and(|policy| policy.limits.iter().any(|limit| limit == PLAN)),
        has_streams: streams.is_some_and(|streams| !streams.is_null()),
        store_url: versions
            .minimum
            .is_some()
            .then_some(versions.store_url.as_str()),
        method: route.method,
        needs_credentials: !matches!(access, Access::Public),
        is_limited: policy.is_some_and(|policy| !policy.limits.is_empty()),
        has_segments: !segments.is_empty(),
        may_be_missing: route.may_be_missing,
        has_body: body.is_some(),
        only_json: !deprecated && is_json_alone(&answers),
        may_disagree,
    };
    for answer in answers.values_mut() {
        answer["headers"]["X-Request-Id"] = json!({"$ref": "#/components/headers/RequestId"});
        if risks.is_limited {
            for name in ["RateLimit", "RateLimit-Policy"] {
                let component = name.replace('-', "");
                answer["headers"][name] =
                    json!({"$ref": format!("#/components/headers/{component}")});
            }
        }
    }
    answers.extend(risks.answers(&config.problem_base, problems));
    let mut described = json!({
        "operationId": camel_case(route.name),
        "summary": route.summary,
        "description": description.as_deref().unwrap_or(route.summary),
        "tags": [tag(route.path)],
        "parameters": parameters,
        "responses": answers,
        "security": security(access, config),
    });
    if deprecated {
        described["deprecated"] = json!(true);
    }
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    if let Access::Principals(needed) = access {
        let scopes: Vec<&String> = needed.all_scopes.iter().chain(&needed.any_scopes).collect();
        for (name, words) in [
            ("x-scopes", scopes),
            ("x-roles", needed.roles.iter().collect()),
        ] {
            if !words.is_empty() {
                described[name] = json!(words);
            }
        }
    }
    described
}

/// What answers of many operations have in their headers.
fn headers() -> Value {
    let header = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string", "examples": [example]}});
    json!({
        "RequestId": header(
            "The request's name, in the log, too: the client's own if it was a sane one.",
            "01a203b0-d0a0-7090-84e3-3c97b3d178c7",
        ),
        "RateLimit": header(
            "What is left of each limit, and when there is more (draft-ietf-httpapi-ratelimit-headers).",
            "\"address\";r=399;t=1",
        ),
        "RateLimitPolicy": header("The limits that hold here: so many requests in so many seconds.", "\"address\";q=400;w=2"),
    })
}

/// The names between braces.
fn segments(path: &'static str) -> Vec<&'static str> {
    let parts = path.split('/');
    parts
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}

/// The first segment of a path, versions aside.
fn tag(path: &str) -> &str {
    let is_version = |part: &&str| {
        part.strip_prefix('v')
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.find(|part| !is_version(part)).unwrap_or("");
    first.split('.').next().unwrap_or("")
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// Any of these ways. Scopes are named beside it: only OAuth 2.0 has a list of them that they could be checked against.
fn security(access: &Access, config: &Config) -> Value {
    if matches!(access, Access::Public) {
        return json!([]);
    }
    let schemes = security_schemes(config);
    let names = schemes.as_object().into_iter().flatten();
    names.map(|(name, _)| json!({ name: [] })).collect()
}

/// A bearer token is one scheme, whoever gives it: where there are API keys, that scheme is theirs, and tokens are told of by
/// where they come from. Both in one request would be refused.
fn security_schemes(config: &Config) -> Value {
    let mut schemes = Map::new();
    if let Some(keys) = &config.api_keys {
        schemes.insert(
            "apiKey".to_owned(),
            json!({"type": "http", "scheme": "bearer", "bearerFormat": format!("{}_live_…", keys.prefix),
                   "description": "An API key as `Authorization: Bearer …`. `X-API-Key: …` takes it, too; one of the two, not \
                                   both."}),
        );
        for (number, issuer) in config.issuers.iter().enumerate() {
            let name = match number {
                0 => "token".to_owned(),
                more => format!("token{}", more + 1),
            };
            let url = format!(
                "{}/.well-known/openid-configuration",
                issuer.issuer.trim_end_matches('/')
            );
            let scheme = json!({"type": "openIdConnect", "openIdConnectUrl": url,
                                "description": "An access token of this provider, as `Authorization: Bearer …`."});
            schemes.insert(name, scheme);
        }
    } else if !config.issuers.is_empty() {
        schemes.insert(
            "token".to_owned(),
            json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                   "description": "An access token of the identity provider."}),
        );
    }
    Value::Object(schemes)
}
