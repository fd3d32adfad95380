//! Which of a service's refusals a partner may see: those that are about what the partner asked for. Everything else stays a
//! failure of the service, and its status is picked in gateway-core.

use gateway_core::error::{ClientError, Error, UpstreamError};
use http::StatusCode;

/// A thing was asked for by its id.
pub(crate) fn of_lookup(error: UpstreamError) -> Error {
    if error.is_not_found() {
        Error::not_found()
    } else {
        Error::Upstream(error)
    }
}

/// Something was searched with the partner's own parameters: a cursor may be made up, a state may not exist.
pub(crate) fn of_search(error: UpstreamError) -> Error {
    pass_on(error, &[StatusCode::BAD_REQUEST])
}

/// Something was to be done: an id in the body may name nothing, the state may not allow it, the content may be wrong, the
/// version may be an old one.
pub(crate) fn of_command(error: UpstreamError) -> Error {
    pass_on(
        error,
        &[
            StatusCode::NOT_FOUND,
            StatusCode::CONFLICT,
            StatusCode::PRECONDITION_FAILED,
            StatusCode::UNPROCESSABLE_ENTITY,
        ],
    )
}

fn pass_on(error: UpstreamError, statuses: &[StatusCode]) -> Error {
    match error.refusal() {
        Some(refusal) if statuses.contains(&refusal.status) => {
            ClientError::Refused(refusal.clone()).into()
        }
        _ => Error::Upstream(error),
    }
}
