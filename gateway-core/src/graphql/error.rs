//! A gateway's error as a field's error: a message for people, a code for programs. Statuses are not picked here, and
//! what may be said to a client is said once, in `problem.rs`.

use async_graphql::Value;

use crate::error::{Error, ErrorSource};
use crate::problem::Problem;

/// The error of a field: `extensions.code` is the problem's type in capitals (`UPSTREAM_TIMEOUT`, `UNAUTHENTICATED`,
/// `FORBIDDEN`, …), `extensions.reason` the word that a section would give, `extensions.errors` what is wrong with
/// the input. The cause goes to the log and nowhere else.
#[must_use]
pub fn error(error: &Error) -> async_graphql::Error {
    let problem = Problem::from(error);
    let code = problem.slug.replace('-', "_").to_ascii_uppercase();
    match problem.source {
        ErrorSource::Client => tracing::debug!(code, cause = problem.cause, "a field was refused"),
        ErrorSource::Upstream | ErrorSource::Gateway => {
            tracing::warn!(
                code,
                upstream = problem.upstream,
                cause = problem.cause,
                "a field could not be resolved"
            );
        }
    }
    let mut answer = async_graphql::Error::new(
        problem
            .detail
            .unwrap_or_else(|| format!("{}.", problem.title)),
    );
    let extensions = answer.extensions.get_or_insert_default();
    extensions.set("code", code);
    if let Error::Upstream(upstream) = error {
        extensions.set("reason", upstream.reason());
    }
    if !problem.errors.is_empty() {
        let faults = problem.errors.iter().map(|fault| {
            let members = [("pointer", &fault.pointer), ("detail", &fault.detail)];
            Value::Object(
                members
                    .map(|(name, text)| {
                        (async_graphql::Name::new(name), Value::from(text.as_str()))
                    })
                    .into(),
            )
        });
        extensions.set("errors", Value::List(faults.collect()));
    }
    answer
}

/// An error of a whole request.
pub(super) fn coded(code: &str, message: impl Into<String>) -> async_graphql::ServerError {
    let mut error = async_graphql::ServerError::new(message, None);
    error.extensions.get_or_insert_default().set("code", code);
    error
}

/// A gateway's error as that of a whole request.
pub(super) fn whole(failure: &Error) -> async_graphql::ServerError {
    let async_graphql::Error {
        message,
        extensions,
        ..
    } = error(failure);
    let mut error = async_graphql::ServerError::new(message, None);
    error.extensions = extensions;
    error
}
