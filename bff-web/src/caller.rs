//! Who is asking, and what for: fields are more than one route, so that their permissions can't be policy of the route.

use gateway_core::RequestContext;
use gateway_core::error::{ClientError, Error};

pub(crate) const ORDERS_READ: &str = "orders:read";
pub(crate) const ORDERS_WRITE: &str = "orders:write";
pub(crate) const TICKETS_READ: &str = "tickets:read";
pub(crate) const TICKETS_WRITE: &str = "tickets:write";
pub(crate) const MENUS_WRITE: &str = "menus:write";

/// The attribute of a principal that lists, separated by spaces, the restaurants that somebody works for.
const RESTAURANT_IDS: &str = "restaurant_ids";

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

/// Somebody who works for restaurants, and whose credentials allow what was asked.
pub(crate) struct Staff<'a> {
    restaurant_ids: &'a str,
}

impl Staff<'_> {
    /// Everything else of another restaurant does not exist for them.
    pub(crate) fn works_for(&self, restaurant_id: &str) -> bool {
        of_list(self.restaurant_ids).any(|id| id == restaurant_id)
    }
}

/// The member of staff who is asking, if the credentials allow what `scope` names.
///
/// # Errors
/// No credentials, or credentials without the scope.
pub(crate) fn staff<'a>(context: &'a RequestContext, scope: &str) -> Result<Staff<'a>, Error> {
    consumer(context, scope)?;
    let restaurant_ids = context.principal().attribute(RESTAURANT_IDS);
    Ok(Staff {
        restaurant_ids: restaurant_ids.unwrap_or_default(),
    })
}

/// The restaurants that the caller works for.
pub(crate) fn restaurant_ids(context: &RequestContext) -> impl Iterator<Item = &str> {
    of_list(
        context
            .principal()
            .attribute(RESTAURANT_IDS)
            .unwrap_or_default(),
    )
}

fn of_list(ids: &str) -> impl Iterator<Item = &str> {
    ids.split_whitespace()
}
