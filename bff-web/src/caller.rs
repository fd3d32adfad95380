//! Who is asking, and what for: fields are more than one route, so that their permissions can't be policy of the route.

use gateway_core::RequestContext;
use gateway_core::error::{ClientError, Error};

pub(crate) const ORDERS_READ: &str = "orders:read";
pub(crate) const ORDERS_WRITE: &str = "orders:write";

/// The consumer who is asking, if the credentials allow what `scope` names.
///
/// # Errors
/// No credentials, or credentials without the scope.
pub(crate) fn consumer<'a>(context: &'a RequestContext, scope: &str) -> Result<&'a str, Error> {
    let principal = context.principal();
    let Some(subject) = principal.subject() else {
        return Err(ClientError::Unauthenticated.into());
    };
    if principal.has_scope(scope) {
        Ok(subject)
    } else {
        Err(ClientError::Forbidden("The credentials do not allow this.").into())
    }
}
