//! Turns a failure that came up from below into its problem document, now that the request it belongs to is known.
//! Which status a failure has is `problem.rs`.

use axum::response::Response;

use super::access_log::Observation;
use crate::problem::Problem;

pub(super) fn render(
    mut response: Response,
    base: &str,
    observation: &mut Observation,
) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    observation.failed(&problem);
    problem.render(base, observation.path(), &observation.arrival().request_id)
}
