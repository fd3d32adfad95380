//! What a partner is bound to: one consumer account, whose orders it sees, and some restaurants, whose menus it writes. Both
//! are attributes of the partner in the configuration, the same for its API keys and its tokens.

use gateway_core::RequestContext;
use gateway_core::error::{ClientError, Error};

/// The attribute that names the account.
pub(crate) const CONSUMER: &str = "consumer";
/// The attribute that names the restaurants, separated by spaces.
pub(crate) const RESTAURANTS: &str = "restaurant_ids";

/// The consumer account that the caller acts for.
///
/// # Errors
/// 403 for credentials that are bound to no account: they may still read what belongs to nobody.
pub(crate) fn consumer(context: &RequestContext) -> Result<&str, Error> {
    let bound = attribute(context, CONSUMER);
    bound.ok_or_else(|| {
        ClientError::Forbidden("The credentials are not bound to a consumer account.").into()
    })
}

/// The restaurants whose menus the caller writes.
pub(crate) fn restaurants(context: &RequestContext) -> impl Iterator<Item = &str> {
    let bound = attribute(context, RESTAURANTS);
    bound.unwrap_or_default().split_whitespace()
}

/// Lets those pass who write this restaurant's menu.
///
/// # Errors
/// 404 for others: for them there is no such menu to be written.
pub(crate) fn writes_menu_of(context: &RequestContext, id: &str) -> Result<(), Error> {
    if restaurants(context).any(|own| own == id) {
        Ok(())
    } else {
        Err(Error::not_found())
    }
}

/// The partner that the caller is, for what only partners have: what it has done, it has done with any of its credentials.
///
/// # Errors
/// 403 for credentials that are no partner's.
pub(crate) fn known(context: &RequestContext) -> Result<&str, Error> {
    let partner = context.principal().partner();
    partner.ok_or_else(|| ClientError::Forbidden("The credentials are not a partner's.").into())
}

/// Of a partner alone: what the token of somebody else claims binds it to nothing.
fn attribute<'a>(context: &'a RequestContext, name: &str) -> Option<&'a str> {
    let principal = context.principal();
    principal.partner().and(principal.attribute(name))
}
