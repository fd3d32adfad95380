//! Who may use a route: from `access = …` to `Access`.
//! Whether a principal fits is decided in `auth/policy.rs`.

use super::check::Check;
use crate::config::raw::{RawAccess, child};
use crate::config::{Access, Requirement};

/// A route without `access` is a fault; what is returned then is closed to everybody without credentials.
pub(super) fn access(raw: Option<RawAccess>, at: &str, check: &mut Check<'_>) -> Access {
    let at = child(at, "access");
    let Some(raw) = raw else {
        check.faults.push_unless_explained(
            &at,
            r#"is required: "public", "authenticated" or { scopes = […], any_scopes = […], roles = […] }"#,
        );
        return Access::Principals(Requirement::default());
    };
    match raw {
        RawAccess::Public => Access::Public,
        RawAccess::Authenticated => Access::Principals(Requirement::default()),
        RawAccess::Requirement(raw) => {
            check.that(
                !(raw.scopes.is_empty() && raw.any_scopes.is_empty() && raw.roles.is_empty()),
                &at,
                || {
                    r#"asks for nothing; write "authenticated" for any principal, or "public""#
                        .to_owned()
                },
            );
            check.words(&raw.scopes, &child(&at, "scopes"));
            check.words(&raw.any_scopes, &child(&at, "any_scopes"));
            check.words(&raw.roles, &child(&at, "roles"));
            Access::Principals(Requirement {
                all_scopes: raw.scopes,
                any_scopes: raw.any_scopes,
                roles: raw.roles,
            })
        }
    }
}
