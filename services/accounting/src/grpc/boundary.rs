//! What holds for every gRPC call: it ends by its deadline, and what the caller did wrong is called so. Methods and their
//! statuses are not here.
//!
//! tonic's own server does the first with a layer that its `Routes` do not bring along; here they run in the router that
//! the chassis serves.

use std::error::Error;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tonic::{Code, Status};

#[cfg(test)]
mod tests;

/// For callers that set no deadline, or a longer one: nothing here takes this long, but a stuck call must end.
const LONGEST: Duration = Duration::from_secs(10);

pub(super) async fn enforce(request: Request, next: Next) -> Response {
    let timeout = match request.headers().get("grpc-timeout") {
        None => LONGEST,
        Some(value) => match value.to_str().ok().and_then(parse_timeout) {
            Some(timeout) => timeout.min(LONGEST),
            None => return Status::invalid_argument("grpc-timeout is malformed").into_http(),
        },
    };
    // Dropping the call rolls its transaction back.
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => blame_caller(response),
        Err(_) => Status::deadline_exceeded("the deadline has passed").into_http(),
    }
}

/// tonic answers INTERNAL to a message that it can't decode, as if the fault were ours. Our own INTERNAL has a source,
/// tonic's has none.
fn blame_caller(response: Response) -> Response {
    match response.extensions().get::<Status>() {
        Some(status) if status.code() == Code::Internal && status.source().is_none() => {
            Status::invalid_argument(status.message()).into_http()
        }
        _ => response,
    }
}

/// `1*8DIGIT` and a unit (gRPC over HTTP/2, "Requests").
fn parse_timeout(value: &str) -> Option<Duration> {
    let unit_at = value.len().checked_sub(1)?;
    let (digits, unit) = value.split_at_checked(unit_at)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}
