//! Unary calls to gRPC services. They are calls like all others (`call.rs`): they go down the same column, fail with the same words,
//! and reads are shared and stored as JSON's are. Which methods there are is a BFF's knowledge, from its contracts.

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, response};
use prost::Message;
use tonic::{Code, Status};

use super::attempt::Attempt;
use super::call::{Answered, Call, UpstreamClient, UpstreamResponse};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::flight::GRPC_STATUS;
use super::stack::{CallKind, Stack};
use crate::cache::Lifetime;
use crate::context::RequestContext;
use crate::encode::decoded;
use crate::error::Refusal;

const MEDIA_TYPE: &str = "application/grpc";
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What stands before a message: whether it is compressed, and its length (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX: usize = 5;

/// A gRPC service. Cloning is cheap.
#[derive(Clone)]
pub struct GrpcUpstream {
    client: UpstreamClient,
}

/// A unary method of a service: what goes there, and what comes back.
pub struct GrpcMethod<Request, Answer> {
    path: &'static str,
    messages: PhantomData<fn(Request) -> Answer>,
}

/// A call that has not been sent yet.
#[must_use = "a call does nothing until it is sent"]
pub struct GrpcCall<Answer> {
    call: Call,
    answer: PhantomData<fn() -> Answer>,
}

impl<Request: Message, Answer: Message + Default + 'static> GrpcMethod<Request, Answer> {
    /// `path` as in the service's contract: `/package.Service/Method`.
    #[must_use]
    pub const fn new(path: &'static str) -> Self {
        Self {
            path,
            messages: PhantomData,
        }
    }
}

impl GrpcUpstream {
    pub(super) fn new(client: UpstreamClient) -> Self {
        Self { client }
    }

    /// A call that only reads: it may be repeated, and shared with those who ask the same.
    pub fn read<Request: Message, Answer: Message + Default + 'static>(
        &self,
        context: RequestContext,
        method: &GrpcMethod<Request, Answer>,
        request: &Request,
    ) -> GrpcCall<Answer> {
        self.call(context, CallKind::Safe, method, request)
    }

    /// A call that changes something: it is sent once, and runs to its end.
    pub fn command<Request: Message, Answer: Message + Default + 'static>(
        &self,
        context: RequestContext,
        method: &GrpcMethod<Request, Answer>,
        request: &Request,
    ) -> GrpcCall<Answer> {
        self.call(context, CallKind::Command, method, request)
    }

    fn call<Request: Message, Answer>(
        &self,
        context: RequestContext,
        kind: CallKind,
        method: &GrpcMethod<Request, Answer>,
        request: &Request,
    ) -> GrpcCall<Answer> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        // Services look for it: what removes trailers on the way would remove this, too.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let message = framed(request);
        GrpcCall {
            call: self
                .client
                .grpc(context, kind, method.path, headers, message),
            answer: PhantomData,
        }
    }
}

impl<Answer: Message + Default + 'static> GrpcCall<Answer> {
    /// As [`Call::cached`].
    pub fn cached(self, lifetime: Lifetime) -> Self {
        Self {
            call: self.call.cached(lifetime),
            ..self
        }
    }

    /// As [`Call::tagged`].
    pub fn tagged<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        Self {
            call: self.call.tagged(tags),
            ..self
        }
    }

    /// Sends the call and decodes its answer.
    ///
    /// # Errors
    /// Any code but OK, as the HTTP status that stands for it; an answer that is none of gRPC's, that does not fit `Answer` or is too
    /// large; no connection, no time.
    pub fn answer(self) -> Answered<Answer> {
        self.call.run(decode)
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.extend_from_slice(&[0]);
    // A message of 4 GiB is not made here; a service would refuse its first bytes.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

fn decode<Answer: Message + Default>(
    stack: &Stack,
    response: &UpstreamResponse,
) -> Result<Answer, UpstreamError> {
    Answer::decode(response.body.clone())
        .map_err(|error| stack.error(UpstreamErrorKind::Undecodable).caused_by(error))
}

/// What an answer that was read to its end says: its message, or why there is none.
pub(super) fn answer(
    stack: &Stack,
    attempt: &mut Attempt,
    head: response::Parts,
    body: Bytes,
    trailers: Option<&HeaderMap>,
) -> Result<UpstreamResponse, UpstreamError> {
    // An answer without a message has no trailers: its head says how the call ended.
    let said = trailers.and_then(said).or_else(|| said(&head.headers));
    attempt.coded(
        said.as_ref()
            .and_then(|status| u16::try_from(i32::from(status.code())).ok()),
    );
    let undecodable = |cause: &str| stack.error(UpstreamErrorKind::Undecodable).caused_by(cause);
    let status = match said {
        Some(status) => status,
        // Something in between that does not know gRPC.
        None if head.status != StatusCode::OK => Status::new(code_for(head.status), ""),
        None => return Err(undecodable("no grpc-status")),
    };
    if status.code() != Code::Ok {
        // Not its message: that may say what was asked for, and by whom.
        let cause = format!("gRPC code {:?}", status.code());
        return Err(stack.error(refused(&status)).caused_by(cause));
    }
    let media_type = head.headers.get(CONTENT_TYPE);
    if !media_type.is_some_and(|value| is_grpc(value.as_bytes())) {
        return Err(undecodable("the media type is not gRPC's"));
    }
    Ok(UpstreamResponse {
        status: head.status,
        headers: head.headers,
        body: message(body).map_err(undecodable)?,
    })
}

/// `application/grpc`, alone or with the messages' encoding; not gRPC-Web, which is framed otherwise.
fn is_grpc(media_type: &[u8]) -> bool {
    let rest = media_type.strip_prefix(MEDIA_TYPE.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The status in trailers, or in the head of an answer without a message. Whatever else is wrong there, the code counts (gRPC over
/// HTTP/2, Status-Message): a message that is not well encoded is read as far as it is, and details are not looked at.
fn said(fields: &HeaderMap) -> Option<Status> {
    let code = Code::from_bytes(fields.get(GRPC_STATUS)?.as_bytes());
    let message = fields.get(GRPC_MESSAGE).map(|value| {
        let encoded = String::from_utf8_lossy(value.as_bytes());
        decoded(&encoded).into_owned()
    });
    Some(Status::new(code, message.unwrap_or_default()))
}

/// The one message of a unary answer.
fn message(mut body: Bytes) -> Result<Bytes, &'static str> {
    let Some([compressed, length @ ..]) = body.first_chunk::<PREFIX>() else {
        return Err("no message");
    };
    if *compressed != 0 {
        return Err("a compressed message, which was not asked for");
    }
    let length = u32::from_be_bytes(*length);
    let message = body.split_off(PREFIX);
    if usize::try_from(length) != Ok(message.len()) {
        return Err("more or less than one message");
    }
    Ok(message)
}

/// The failure that a service's status stands for.
fn refused(status: &Status) -> UpstreamErrorKind {
    let status_code = match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => return UpstreamErrorKind::Timeout,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let detail = status_code
        .is_client_error()
        .then(|| status.message().to_owned());
    UpstreamErrorKind::Status(Refusal {
        status: status_code,
        slug: None,
        detail,
        errors: Vec::new(),
    })
}

/// The code for an HTTP status without one (gRPC's HTTP to gRPC Status Code Mapping).
fn code_for(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}
