//! Typed calls to services: a path in, a decoded answer or a classified failure out, always under the deadline. Those to JSON
//! services are made here; what is gRPC's own is `grpc.rs`, streams that pass through untouched are `proxy.rs`.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, uri};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::attempt::Attempt;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::grpc;
use super::outgoing::Outgoing;
use super::reads::Reads;
use super::stack::{CallKind, Judged, Stack};
use crate::cache::{Lifetime, Slot};
use crate::context::RequestContext;
use crate::error::{FieldError, Refusal};
use crate::waterfall::CallTarget;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON service. Cloning is cheap.
#[derive(Clone)]
pub struct UpstreamClient {
    stack: Stack,
    reads: Reads,
    /// Stands for all commands to this upstream.
    commands: Slot,
}

/// A call that has not been sent yet.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    pub(super) stack: Stack,
    pub(super) reads: Reads,
    pub(super) context: RequestContext,
    kind: CallKind,
    /// What is called, as traces and the console say it.
    pub(super) target: CallTarget,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, serde_json::Error>,
    /// How long the answer may be used again; `None` = not at all.
    pub(super) lifetime: Option<Lifetime>,
    pub(super) tags: Vec<Slot>,
    pub(super) commands: Slot,
}

/// An answer on its way. In a box: a composition holds the futures of all its parts, and moves them.
pub type Answered<T> = Pin<Box<dyn Future<Output = Result<T, UpstreamError>> + Send>>;

/// A successful answer, read to its end.
#[derive(Clone, Debug)]
pub struct UpstreamResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl UpstreamClient {
    pub(super) fn new(stack: Stack, reads: Reads) -> Self {
        let commands = reads.commands_to(stack.name());
        Self {
            stack,
            reads,
            commands,
        }
    }

    /// `GET path`; the path is absolute, its variable segments encoded with [`segment`](crate::encode::segment).
    pub fn get(&self, context: RequestContext, path: impl Into<String>) -> Call {
        self.call(context, Method::GET, path.into())
    }

    /// `POST path` with `body` as JSON.
    pub fn post(
        &self,
        context: RequestContext,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Call {
        self.call(context, Method::POST, path.into()).json(body)
    }

    /// `PUT path` with `body` as JSON.
    pub fn put(
        &self,
        context: RequestContext,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Call {
        self.call(context, Method::PUT, path.into()).json(body)
    }

    fn call(&self, context: RequestContext, method: Method, path: String) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        Call {
            stack: self.stack.clone(),
            reads: self.reads.clone(),
            context,
            kind: CallKind::of(&method),
            target: CallTarget::Http {
                method: method.clone(),
                template: None,
            },
            method,
            path,
            headers,
            body: Ok(Bytes::new()),
            lifetime: None,
            tags: Vec::new(),
            commands: self.commands,
        }
    }

    /// A call of a gRPC method, with a message in its frame.
    pub(super) fn grpc(
        &self,
        context: RequestContext,
        kind: CallKind,
        method: &'static str,
        headers: HeaderMap,
        message: Bytes,
    ) -> Call {
        Call {
            kind,
            target: CallTarget::Grpc { method },
            headers,
            body: Ok(message),
            ..self.call(context, Method::POST, method.to_owned())
        }
    }
}

impl Call {
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Lets a successful answer be used again for the same call on behalf of the same caller; for the same call of
    /// anybody when its context is [`for_everybody`](RequestContext::for_everybody). It concerns reads alone.
    pub fn cached(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Names what the answer depends on, for instance `widget:7`; for a command, what it changes: once it has ended, and
    /// before its caller sees the answer, nothing that depends on one of them and was asked for before is used any more.
    pub fn tagged<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        for tag in tags {
            self.tags.push(self.reads.tags.slot(tag.as_ref()));
        }
        self
    }

    /// How the path is called in traces and on the console, with its placeholders: `/widgets/{id}`.
    pub fn named(mut self, name: &'static str) -> Self {
        if let CallTarget::Http { template, .. } = &mut self.target {
            *template = Some(name);
        }
        self
    }

    fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).map(Bytes::from);
        self.headers.insert(CONTENT_TYPE, JSON);
        self
    }

    /// Sends the call and decodes a 2xx answer.
    ///
    /// # Errors
    /// Any other status, a wrong media type, a body that does not fit `T` or is too large, no connection, no time.
    pub fn json_answer<T: DeserializeOwned + Send + 'static>(self) -> Answered<T> {
        self.run(decode)
    }

    /// Sends the call and decodes a 2xx answer; its headers say more than its body, for example that it is a replay.
    ///
    /// # Errors
    /// As [`json_answer`](Self::json_answer).
    pub fn json_response<T: DeserializeOwned + Send + 'static>(self) -> Answered<(HeaderMap, T)> {
        self.run(|stack, response| {
            decode(stack, response).map(|answer| (response.headers.clone(), answer))
        })
    }

    /// Sends the call and gives a 2xx answer as it is.
    ///
    /// # Errors
    /// Any other status, an answer that is too large, no connection, no time.
    pub fn send(self) -> Answered<UpstreamResponse> {
        self.run(|_stack, response| Ok(response.clone()))
    }

    /// A read ends with the last one who waits for it; a command runs on.
    pub(super) fn run<T: Send + 'static>(self, read: Reader<T>) -> Answered<T> {
        let call = Box::new(self);
        match call.kind {
            CallKind::Safe => Box::pin(call.read(read)),
            CallKind::Command => Box::pin(async move {
                let stack = call.stack.clone();
                stack.to_its_end(Box::pin(call.command(read))).await
            }),
        }
    }

    /// What the command changes is purged whatever came of it: a refusal, too, can mean that what was stored is old, and
    /// a lost answer leaves open what was done.
    async fn command<T>(mut self: Box<Self>, read: Reader<T>) -> Result<T, UpstreamError> {
        let reads = self.reads.clone();
        let tags = std::mem::take(&mut self.tags);
        let commands = self.commands;
        let result = self.attempt(read).await;
        reads.command_ended([commands], &tags).await;
        result.map(|(_, answer)| answer)
    }

    /// The answer as it came, and what it was read as.
    pub(super) async fn attempt<T>(
        self: Box<Self>,
        read: Reader<T>,
    ) -> Result<(UpstreamResponse, T), UpstreamError> {
        let stack = self.stack.clone();
        let mut attempt = stack.begin(&self.context, self.target.clone());
        let result = self.exchange(&mut attempt).await.and_then(|response| {
            let answer = read(&stack, &response)?;
            Ok((response, answer))
        });
        attempt.finished(
            result
                .as_ref()
                .map_or_else(UpstreamError::outcome, |_| "ok"),
        );
        result
    }

    async fn exchange(
        self: Box<Self>,
        attempt: &mut Attempt,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let Self {
            stack,
            kind,
            target,
            method,
            path,
            headers,
            body,
            ..
        } = *self;
        let body = body.map_err(|e| stack.error(UpstreamErrorKind::Undecodable).caused_by(e))?;
        let path = uri::PathAndQuery::try_from(path)
            .map_err(|e| stack.error(UpstreamErrorKind::Undecodable).caused_by(e))?;
        let mut request = Box::new(Request::new(Outgoing::whole(body)));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(path);
        *request.headers_mut() = headers;
        let response = stack.send(request, attempt, kind, Judged::AtEnd).await?;
        let (head, body) = response.into_parts();
        let (body, trailers) = read_whole(&stack, body).await?;
        if let CallTarget::Grpc { .. } = target {
            return grpc::answer(&stack, attempt, head, body, trailers.as_ref());
        }
        if head.status.is_success() {
            Ok(UpstreamResponse {
                status: head.status,
                headers: head.headers,
                body,
            })
        } else {
            let refusal = refusal(head.status, &head.headers, &body);
            Err(stack.error(UpstreamErrorKind::Status(refusal)))
        }
    }
}

/// What a call makes of a 2xx answer.
pub(super) type Reader<T> = fn(&Stack, &UpstreamResponse) -> Result<T, UpstreamError>;

/// Reads an answer's body to its end, within its size and time; with its trailers.
async fn read_whole(
    stack: &Stack,
    mut body: Answer,
) -> Result<(Bytes, Option<HeaderMap>), UpstreamError> {
    let limit = stack.max_response_bytes();
    let deadline = body.deadline();
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut trailers = None;
    loop {
        let frame = match tokio::time::timeout_at(deadline.at(), body.frame()).await {
            Err(_elapsed) => return Err(stack.error(UpstreamErrorKind::Timeout)),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(stack.error(UpstreamErrorKind::Reset).caused_by(error));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.as_ref().map_or(0, BytesMut::len);
        if so_far + data.len() > limit {
            return Err(stack.error(UpstreamErrorKind::TooLarge));
        }
        // Most answers come in one piece: that one is never copied.
        match (&mut first, &mut rest) {
            (None, _) => first = Some(data),
            (Some(_), Some(rest)) => rest.extend_from_slice(&data),
            (Some(_), None) => rest = Some(BytesMut::from(&data[..])),
        }
    }
    let body = match (first, rest) {
        (None, _) => Bytes::new(),
        (Some(first), None) => first,
        (Some(first), Some(rest)) => {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            whole.freeze()
        }
    };
    Ok((body, trailers))
}

fn decode<T: DeserializeOwned>(
    stack: &Stack,
    response: &UpstreamResponse,
) -> Result<T, UpstreamError> {
    let media_type = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if !is_json(media_type) {
        return Err(stack
            .error(UpstreamErrorKind::Undecodable)
            .caused_by(format!("media type {media_type:?} instead of JSON")));
    }
    serde_json::from_slice(&response.body).map_err(|error| {
        stack
            .error(UpstreamErrorKind::Undecodable)
            .caused_by(without_texts(&error.to_string()))
    })
}

/// What serde says of an answer that does not fit, without the texts that it quotes from it: they are somebody's data.
fn without_texts(message: &str) -> String {
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, quoted)) = rest.split_once('"') {
        kept.push_str(before);
        kept.push('…');
        // The quoted text is written with escapes, so that the first bare quotation mark ends it.
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = end.map_or("", |end| &quoted[end + 1..]);
    }
    kept.push_str(rest);
    kept
}

/// `application/json` or any `…+json` (RFC 6839), parameters aside.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case("+json")
}

/// What may be passed on of a service's refusal: the members of its problem document that are meant for callers.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct ServiceProblem {
        r#type: Option<String>,
        detail: Option<String>,
        errors: Vec<FieldError>,
    }
    let problem = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .filter(|media_type| is_json(media_type))
        .and_then(|_| serde_json::from_slice::<ServiceProblem>(body).ok())
        .unwrap_or_default();
    let slug = problem
        .r#type
        .as_deref()
        .and_then(|kind| kind.rsplit(['/', ':']).next())
        .filter(|slug| {
            !slug.is_empty()
                && *slug != "blank"
                && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    Refusal {
        status,
        slug: slug.map(str::to_owned),
        detail: problem.detail,
        errors: problem.errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_people_stays_out_of_errors() {
        let error = serde_json::from_str::<Vec<u32>>(r#"["a \"secret\" address"]"#)
            .err()
            .map(|error| without_texts(&error.to_string()));
        assert_eq!(
            error.as_deref(),
            Some("invalid type: string …, expected u32 at line 1 column 23")
        );
        assert_eq!(without_texts("missing field `id`"), "missing field `id`");
        assert_eq!(without_texts("an odd \" sign"), "an odd …");
    }
}
