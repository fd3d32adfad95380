//! Who may use a route: from `access = …` to `Access`.
//! Whether a principal fits is decided in `auth/policy.rs`.

use super::check::Check;
use crate::config::fault::suggest;
use crate::config::raw::{RawAccess, RawAllowedPrincipal, child, element};
use crate::config::{Access, AllowedPrincipal, Requirement};

/// A route without `access` is a fault; what is returned then is closed to everybody without credentials.
pub(super) fn access(
    raw: Option<RawAccess>,
    issuers: &[&str],
    at: &str,
    check: &mut Check<'_>,
) -> Access {
    let at = child(at, "access");
    let Some(raw) = raw else {
        check.faults.push_unless_explained(
            &at,
            r#"is required: "public", "authenticated" or { scopes = […], any_scopes = […], roles = […], principals = […] }"#,
        );
        return Access::Principals(Requirement::default());
    };
    match raw {
        RawAccess::Public => Access::Public,
        RawAccess::Authenticated => Access::Principals(Requirement::default()),
        RawAccess::Requirement(raw) => {
            check.that(
                !(raw.scopes.is_empty()
                    && raw.any_scopes.is_empty()
                    && raw.roles.is_empty()
                    && raw.principals.is_empty()),
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
                principals: raw
                    .principals
                    .into_iter()
                    .enumerate()
                    .filter_map(|(index, raw)| {
                        let at = element(&child(&at, "principals"), index);
                        principal(raw, issuers, &at, check)
                    })
                    .collect(),
            })
        }
    }
}

/// One caller by name. Whether there is a key of that id is not asked: keys come and go without their routes.
fn principal(
    raw: RawAllowedPrincipal,
    issuers: &[&str],
    at: &str,
    check: &mut Check<'_>,
) -> Option<AllowedPrincipal> {
    for (text, key) in [
        (&raw.subject, "subject"),
        (&raw.issuer, "issuer"),
        (&raw.owner, "owner"),
        (&raw.key_id, "key_id"),
    ] {
        check.that(text.as_deref() != Some(""), &child(at, key), || {
            "is empty".to_owned()
        });
    }
    check.that(
        raw.issuer.is_none() || raw.subject.is_some(),
        &child(at, "issuer"),
        || "goes with a subject".to_owned(),
    );
    match (raw.subject, raw.owner, raw.key_id) {
        (Some(subject), None, None) => {
            let issuer = issuer(raw.issuer, issuers, &child(at, "issuer"), check);
            Some(AllowedPrincipal::Subject { issuer, subject })
        }
        (None, Some(owner), None) => Some(AllowedPrincipal::Owner(owner)),
        (None, None, Some(key)) => Some(AllowedPrincipal::Key(key)),
        _ => {
            check.fault(
                at,
                "names one caller: { subject, issuer }, { owner } or { key_id }",
            );
            None
        }
    }
}

/// The same subject of two issuers is two callers: with several issuers it has to be said whose it is.
fn issuer(raw: Option<String>, known: &[&str], at: &str, check: &mut Check<'_>) -> String {
    match (raw, known) {
        (Some(issuer), _) => {
            check.that(known.contains(&issuer.as_str()), at, || {
                format!(
                    "no issuer is named `{issuer}`; {}",
                    suggest(&issuer, known.iter().copied())
                )
            });
            issuer
        }
        (None, [only]) => (*only).to_owned(),
        (None, []) => {
            check.fault(at, "there are no [[issuers]]: nobody has a subject");
            String::new()
        }
        (None, _) => {
            check.fault(at, "is required where there are several [[issuers]]");
            String::new()
        }
    }
}
