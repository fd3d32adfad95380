//! Error answers in the document. Statuses, types and words come from real errors by way of `problem.rs`; what may happen to
//! which operation is decided here.

use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use crate::error::{ClientError, Error, FieldError, GatewayError, Refusal};
use crate::problem::Problem;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

/// What can go wrong with an operation, by what there is of it.
pub(super) struct Risks<'a> {
    pub(super) method: &'a Method,
    pub(super) needs_credentials: bool,
    pub(super) is_limited: bool,
    pub(super) has_segments: bool,
    /// It may not be there, though nothing in its path says which one is asked for.
    pub(super) may_be_missing: bool,
    pub(super) has_body: bool,
    /// It has no other media type to offer.
    pub(super) only_json: bool,
    pub(super) may_disagree: bool,
    pub(super) has_streams: bool,
    /// It names the version that it writes over.
    pub(super) has_precondition: bool,
    /// It is done once for each key.
    pub(super) has_key: bool,
    /// It counts against the caller's plan.
    pub(super) has_plan: bool,
    /// Where there is a newer version of the app, if versions are asked for.
    pub(super) store_url: Option<&'a str>,
}

impl Risks<'_> {
    fn errors(&self) -> Vec<Error> {
        let command = !self.method.is_safe();
        let wait = Duration::from_secs(1);
        let upstream = |kind| UpstreamError::new("service", kind);
        let field = || FieldError {
            pointer: "/quantity".to_owned(),
            detail: "must be at least 1".to_owned(),
        };
        let mut errors: Vec<Error> = vec![
            ClientError::BadRequest("limit: has to be from 1 to 100.".to_owned()).into(),
            ClientError::UriTooLong.into(),
            ClientError::HeadTooLarge.into(),
            GatewayError::Overloaded.into(),
            upstream(UpstreamErrorKind::Unreachable).into(),
            upstream(UpstreamErrorKind::OpenCircuit { retry_after: wait }).into(),
            upstream(UpstreamErrorKind::OverLimit).into(),
            upstream(UpstreamErrorKind::Undecodable).into(),
            upstream(UpstreamErrorKind::Timeout).into(),
            GatewayError::DeadlineExceeded.into(),
        ];
        if self.needs_credentials {
            errors.push(ClientError::Unauthenticated.into());
            errors.push(ClientError::InvalidToken("expired").into());
            errors.push(GatewayError::KeysUnavailable.into());
            let scope = "things:read".to_owned();
            errors.push(ClientError::InsufficientScope { scope }.into());
            errors.push(ClientError::Forbidden("Your role does not allow this.").into());
        }
        if let Some(store_url) = self.store_url {
            let store_url = store_url.to_owned();
            errors.push(ClientError::AppVersionUnsupported { store_url }.into());
        }
        if self.has_streams {
            errors.push(ClientError::TooManyStreams.into());
        }
        if self.is_limited {
            errors.push(ClientError::RateLimited { retry_after: wait }.into());
        }
        if self.has_plan {
            errors.push(ClientError::QuotaUsedUp { retry_after: wait }.into());
        }
        if self.has_key {
            errors.push(ClientError::IdempotencyKeyInUse.into());
            errors.push(ClientError::IdempotencyKeyReused.into());
        }
        if self.has_precondition {
            let changed = Refusal {
                status: http::StatusCode::PRECONDITION_FAILED,
                slug: Some("precondition-failed".to_owned()),
                detail: None,
                errors: Vec::new(),
            };
            errors.push(ClientError::PreconditionRequired.into());
            errors.push(ClientError::Refused(changed).into());
        }
        if self.has_segments || self.may_be_missing || command {
            errors.push(ClientError::NotFound.into());
        }
        if command {
            let conflict = Refusal {
                status: http::StatusCode::CONFLICT,
                slug: Some("state-does-not-allow-it".to_owned()),
                detail: Some("The state does not allow this.".to_owned()),
                errors: Vec::new(),
            };
            errors.push(ClientError::Refused(conflict).into());
            errors.push(ClientError::Unprocessable(vec![field()]).into());
        }
        if self.may_disagree {
            let detail = "from and to: have to be there together.".to_owned();
            errors.push(ClientError::ParametersDisagree(detail).into());
        }
        if self.only_json {
            errors.push(ClientError::NotAcceptable.into());
        }
        if self.has_body {
            let expected = "application/json";
            errors.push(ClientError::UnsupportedMediaType { expected }.into());
            errors.push(ClientError::BodyTooLarge { limit: 1_048_576 }.into());
            errors.push(ClientError::BodyTimeout.into());
        }
        errors
    }

    /// References to the error answers, by status; the answers themselves are put into `components`.
    pub(super) fn answers(
        &self,
        base: &str,
        components: &mut Map<String, Value>,
    ) -> Map<String, Value> {
        let mut answers = Map::new();
        for error in self.errors() {
            let problem = Problem::from(&error);
            let status = problem.status.as_str().to_owned();
            let name = format!("Problem{status}");
            let component = components
                .entry(name.clone())
                .or_insert_with(|| empty(&problem));
            let example = problem.example(base);
            let content = &mut component["content"]["application/problem+json"];
            content["examples"][&problem.slug] = json!({"value": example});
            for (header, value) in problem.headers() {
                component["headers"][header.as_str()] = described(header.as_str(), value);
            }
            let reference = format!("#/components/responses/{name}");
            answers.insert(status, json!({"$ref": reference}));
        }
        answers
    }
}

fn empty(problem: &Problem) -> Value {
    let reason = problem.status.canonical_reason().unwrap_or("Error");
    json!({
        "description": format!("{reason}. `type` says why: as in one of the examples, or in the words of the service that refused."),
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": {},
        }},
    })
}

fn described(name: &str, value: &HeaderValue) -> Value {
    let description = match name {
        "retry-after" => "Seconds after which it is worth trying again.",
        "www-authenticate" => "What credentials are needed (RFC 6750).",
        "allow" => "What the path can do.",
        _ => "",
    };
    let schema = match value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
    {
        Some(_) => json!({"type": "integer", "minimum": 0}),
        None => json!({"type": "string"}),
    };
    json!({"description": description, "schema": schema})
}

/// The schema of every error answer (RFC 9457).
pub(super) fn schema() -> Value {
    json!({
        "title": "Problem",
        "description": "Why a request was not answered as asked (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "requestId"],
        "properties": {
            "type": {
                "type": "string", "format": "uri-reference",
                "description": "The kind of problem, to decide by: its last segment.",
            },
            "title": {"type": "string", "description": "The kind of problem, for people."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What is wrong with this request, for people."},
            "instance": {"type": "string", "format": "uri-reference", "description": "The path of the request."},
            "requestId": {"type": "string", "description": "What to quote to the operators."},
            "storeUrl": {
                "type": "string", "format": "uri",
                "description": "Where there is a newer version of the app, when that is what is wrong.",
            },
            "errors": {
                "type": "array",
                "description": "What is wrong with the body, place by place.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {
                        "pointer": {"type": "string", "format": "json-pointer", "description": "RFC 6901."},
                        "detail": {"type": "string"},
                    },
                },
            },
        },
    })
}
