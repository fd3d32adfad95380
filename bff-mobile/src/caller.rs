//! Whose orders or deliveries a request is about: always the caller's own. Whether the caller may use a route at all is policy.

use gateway_core::RequestContext;
use gateway_core::error::{ClientError, Error};

/// The consumer who is calling.
///
/// # Errors
/// 401 on a route that the configuration leaves open to everybody.
pub(crate) fn consumer(context: &RequestContext) -> Result<&str, Error> {
    context
        .principal()
        .subject()
        .ok_or_else(|| ClientError::Unauthenticated.into())
}

/// The courier who is calling.
///
/// # Errors
/// 401 on a route that the configuration leaves open to everybody.
pub(crate) fn courier(context: &RequestContext) -> Result<&str, Error> {
    consumer(context)
}
