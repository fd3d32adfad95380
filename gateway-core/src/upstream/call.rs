//! Typed calls to JSON services: a path in, a decoded answer or a classified failure out, always under the deadline.
//! Streams that pass through untouched are `proxy.rs`; gRPC is `grpc.rs`.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::error::{UpstreamError, UpstreamErrorKind};
use super::pool::{Attempt, CallKind, Pool};
use crate::context::RequestContext;
use crate::deadline::Deadline;
use crate::error::{FieldError, Refusal};
use crate::waterfall::CallTarget;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON service. Cloning is cheap.
#[derive(Clone)]
pub struct UpstreamClient {
    pool: Pool,
}

/// A call that has not been sent yet.
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    pool: Pool,
    context: RequestContext,
    method: Method,
    path: String,
    template: Option<&'static str>,
    headers: HeaderMap,
    body: Result<Bytes, serde_json::Error>,
}

/// A successful answer, read to its end.
#[derive(Debug)]
pub struct UpstreamResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl UpstreamClient {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
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

    fn call(&self, context: RequestContext, method: Method, path: String) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, JSON);
        Call {
            pool: self.pool.clone(),
            context,
            method,
            path,
            template: None,
            headers,
            body: Ok(Bytes::new()),
        }
    }
}

impl Call {
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// How the path is called in traces and on the console, with its placeholders: `/widgets/{id}`.
    pub fn named(mut self, template: &'static str) -> Self {
        self.template = Some(template);
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
    pub async fn json_answer<T: DeserializeOwned + Send + 'static>(
        self,
    ) -> Result<T, UpstreamError> {
        self.run(|pool, response| decode(pool, &response)).await
    }

    /// Sends the call and decodes a 2xx answer; its headers say more than its body, for example that it is a replay.
    ///
    /// # Errors
    /// As [`json_answer`](Self::json_answer).
    pub async fn json_response<T: DeserializeOwned + Send + 'static>(
        self,
    ) -> Result<(HeaderMap, T), UpstreamError> {
        self.run(|pool, response| decode(pool, &response).map(|answer| (response.headers, answer)))
            .await
    }

    /// Sends the call and gives a 2xx answer as it is.
    ///
    /// # Errors
    /// Any other status, an answer that is too large, no connection, no time.
    pub async fn send(self) -> Result<UpstreamResponse, UpstreamError> {
        self.run(|_pool, response| Ok(response)).await
    }

    /// A read ends with the future that waits for it; a command runs on.
    async fn run<T: Send + 'static>(self, read: Reader<T>) -> Result<T, UpstreamError> {
        match CallKind::of(&self.method) {
            CallKind::Safe => self.attempt(read).await,
            CallKind::Command => {
                let pool = self.pool.clone();
                pool.to_its_end(self.attempt(read)).await
            }
        }
    }

    async fn attempt<T>(self, read: Reader<T>) -> Result<T, UpstreamError> {
        let pool = self.pool.clone();
        let target = CallTarget::Http {
            method: self.method.clone(),
            template: self.template,
        };
        let mut attempt = pool.begin(&self.context, target);
        let result = self
            .exchange(&mut attempt)
            .await
            .and_then(|response| read(&pool, response));
        attempt.finished(result.as_ref().map_or_else(UpstreamError::reason, |_| "ok"));
        result
    }

    async fn exchange(self, attempt: &mut Attempt) -> Result<UpstreamResponse, UpstreamError> {
        let Self {
            pool,
            context,
            method,
            path,
            headers,
            body,
            ..
        } = self;
        let body = body.map_err(|e| pool.error(UpstreamErrorKind::Undecodable).caused_by(e))?;
        let path = uri::PathAndQuery::try_from(path)
            .map_err(|e| pool.error(UpstreamErrorKind::Undecodable).caused_by(e))?;
        let deadline = pool.attempt_deadline(&context, CallKind::of(&method));
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = pool.uri(path);
        *request.headers_mut() = headers;
        let response = pool.send(request, attempt.context(), deadline).await?;
        attempt.answered(Instant::now(), Some(response.status().as_u16()));
        let (head, body) = response.into_parts();
        let body = read_whole(&pool, body, deadline).await?;
        if head.status.is_success() {
            Ok(UpstreamResponse {
                status: head.status,
                headers: head.headers,
                body,
            })
        } else {
            let refusal = refusal(head.status, &head.headers, &body);
            Err(pool.error(UpstreamErrorKind::Status(refusal)))
        }
    }
}

/// What a call makes of a 2xx answer.
type Reader<T> = fn(&Pool, UpstreamResponse) -> Result<T, UpstreamError>;

/// Reads an answer's body to its end, within its size and time.
async fn read_whole(
    pool: &Pool,
    mut body: Incoming,
    deadline: Deadline,
) -> Result<Bytes, UpstreamError> {
    let limit = pool.max_response_bytes();
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    loop {
        let frame = match tokio::time::timeout_at(deadline.at(), body.frame()).await {
            Err(_elapsed) => return Err(pool.error(UpstreamErrorKind::Timeout)),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(pool.error(UpstreamErrorKind::Reset).caused_by(error));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.as_ref().map_or(0, BytesMut::len);
        if so_far + data.len() > limit {
            return Err(pool.error(UpstreamErrorKind::TooLarge));
        }
        // Most answers come in one piece: that one is never copied.
        match (&mut first, &mut rest) {
            (None, _) => first = Some(data),
            (Some(_), Some(rest)) => rest.extend_from_slice(&data),
            (Some(_), None) => rest = Some(BytesMut::from(&data[..])),
        }
    }
    Ok(match (first, rest) {
        (None, _) => Bytes::new(),
        (Some(first), None) => first,
        (Some(first), Some(rest)) => {
            let mut whole = BytesMut::with_capacity(first.len() + rest.len());
            whole.extend_from_slice(&first);
            whole.extend_from_slice(&rest);
            whole.freeze()
        }
    })
}

fn decode<T: DeserializeOwned>(
    pool: &Pool,
    response: &UpstreamResponse,
) -> Result<T, UpstreamError> {
    let media_type = response
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    if !is_json(media_type) {
        return Err(pool
            .error(UpstreamErrorKind::Undecodable)
            .caused_by(format!("media type {media_type:?} instead of JSON")));
    }
    serde_json::from_slice(&response.body).map_err(|error| {
        pool.error(UpstreamErrorKind::Undecodable)
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
