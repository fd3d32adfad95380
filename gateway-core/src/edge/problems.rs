//! Turns a failure that came up from below into its problem document, now that the request it belongs to is known.
//! Which failure has which status is decided in `problem.rs`.

use axum::response::Response;
use http::header::CONTENT_TYPE;

use super::access_log::Observation;
use crate::problem::Problem;

pub(super) fn render(
    mut response: Response,
    base: &str,
    observation: &mut Observation,
) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_unworded(&response) => Problem::of_status(response.status()),
        None => return response,
    };
    observation.failed(&problem);
    problem.render(base, observation.path(), &observation.arrival().request_id)
}

/// An error in nobody's form: what a library said for a handler. Its text may be about our code.
fn is_unworded(response: &Response) -> bool {
    let status = response.status();
    let media_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or("");
    // GraphQL over HTTP has a form of its own for documents that are refused.
    let worded = [
        "application/problem+json",
        "application/graphql-response+json",
    ]
    .iter()
    .any(|known| media_type.trim().eq_ignore_ascii_case(known));
    (status.is_client_error() || status.is_server_error()) && !worded
}
