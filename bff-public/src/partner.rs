//! What a partner is bound to: one consumer account, whose orders it sees. That is an attribute of its API keys in the
//! configuration, or a claim of its token.

use gateway_core::RequestContext;
use gateway_core::error::{ClientError, Error};

/// The attribute or claim that names the account.
const CONSUMER: &str = "consumer";

/// The consumer account that the caller acts for.
///
/// # Errors
/// 403 for credentials that are bound to no account: they may still read what belongs to nobody.
pub(crate) fn consumer(context: &RequestContext) -> Result<&str, Error> {
    let bound = context.principal().attribute(CONSUMER);
    bound.ok_or_else(|| {
        ClientError::Forbidden("The credentials are not bound to a consumer account.").into()
    })
}
