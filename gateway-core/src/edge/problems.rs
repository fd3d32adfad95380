//! Turns a failure that came up from below into its problem document, now that the request it belongs to is known.

use axum::response::Response;

use super::access_log::Observation;
use crate::context::RequestId;
use crate::problem::Problem;

pub(super) fn render(
    mut response: Response,
    base: &str,
    instance: &str,
    request_id: &RequestId,
    observation: &mut Observation,
) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    observation.failed(&problem);
    problem.render(base, instance, request_id)
}
