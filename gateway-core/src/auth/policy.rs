//! What a route asks of its caller, as the configuration says it. Whose thing it is, is decided in a BFF's code.

use super::Principal;
use crate::config::{Access, AllowedPrincipal};
use crate::error::ClientError;

/// Lets `principal` use a route with this `access`, or says why not.
///
/// # Errors
/// `Unauthenticated` (401) for nobody where somebody is asked for, `InsufficientScope` (403) naming the scopes that would
/// do, `Forbidden` (403) when no role fits or the caller is not one of those named.
pub fn authorize(access: &Access, principal: &Principal) -> Result<(), ClientError> {
    let requirement = match access {
        Access::Public => return Ok(()),
        Access::Principals(requirement) => requirement,
    };
    if matches!(principal, Principal::Anonymous) {
        return Err(ClientError::Unauthenticated);
    }
    let all = &requirement.all_scopes;
    if !all.iter().all(|scope| principal.has_scope(scope)) {
        return Err(ClientError::InsufficientScope {
            scope: all.join(" "),
        });
    }
    let any = &requirement.any_scopes;
    if !any.is_empty() && !any.iter().any(|scope| principal.has_scope(scope)) {
        return Err(ClientError::InsufficientScope {
            scope: any.join(" "),
        });
    }
    let roles = &requirement.roles;
    if !roles.is_empty() && !roles.iter().any(|role| principal.has_role(role)) {
        return Err(ClientError::Forbidden("no role that the route asks for"));
    }
    let named = &requirement.principals;
    if !named.is_empty() && !named.iter().any(|allowed| is(allowed, principal)) {
        return Err(ClientError::Forbidden("not one of the route's callers"));
    }
    Ok(())
}

fn is(allowed: &AllowedPrincipal, principal: &Principal) -> bool {
    match (allowed, principal) {
        (AllowedPrincipal::Subject { issuer, subject }, Principal::Token(token)) => {
            *subject == token.subject && *issuer == token.issuer
        }
        (AllowedPrincipal::Owner(owner), Principal::ApiKey(key)) => *owner == key.owner,
        (AllowedPrincipal::Key(id), Principal::ApiKey(key)) => *id == key.key_id,
        (
            AllowedPrincipal::Subject { .. }
            | AllowedPrincipal::Owner(_)
            | AllowedPrincipal::Key(_),
            Principal::Anonymous | Principal::Token(_) | Principal::ApiKey(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::authorize;
    use crate::auth::{ApiKeyPrincipal, Principal, TokenPrincipal};
    use crate::config::{Access, AllowedPrincipal, Requirement};
    use crate::error::ClientError;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn person(scopes: &str, roles: &str) -> Principal {
        Principal::Token(Arc::new(TokenPrincipal {
            issuer: "https://login.example.com".to_owned(),
            subject: "someone".to_owned(),
            name: "someone".to_owned(),
            scopes: words(scopes),
            roles: words(roles),
            attributes: BTreeMap::new(),
            expires_at: u64::MAX,
            token_id: None,
        }))
    }

    fn machine(scopes: &str) -> Principal {
        Principal::ApiKey(Arc::new(ApiKeyPrincipal {
            key_id: "key-1".to_owned(),
            owner: "acme".to_owned(),
            scopes: words(scopes),
            attributes: BTreeMap::new(),
        }))
    }

    fn asks(all: &str, any: &str, roles: &str) -> Access {
        Access::Principals(Requirement {
            all_scopes: words(all),
            any_scopes: words(any),
            roles: words(roles),
            principals: Vec::new(),
        })
    }

    fn only(principals: &[AllowedPrincipal]) -> Access {
        Access::Principals(Requirement {
            principals: principals.to_vec(),
            ..Requirement::default()
        })
    }

    #[test]
    fn a_route_can_name_its_callers() {
        let subject = |issuer: &str, subject: &str| AllowedPrincipal::Subject {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        let someone = [subject("https://login.example.com", "someone")];
        let elsewhere = [subject("https://other.example.com", "someone")];
        let acme = [AllowedPrincipal::Owner("acme".to_owned())];
        let key = [AllowedPrincipal::Key("key-1".to_owned())];
        let both = [acme[0].clone(), someone[0].clone()];
        // A token's subject that is called as a key's owner is not that owner.
        let called_acme = [subject("https://login.example.com", "acme")];
        for (allowed, principal, fits) in [
            (&someone[..], person("", ""), true),
            (&someone, machine(""), false),
            (&someone, Principal::Anonymous, false),
            (&elsewhere, person("", ""), false),
            (&acme, machine(""), true),
            (&acme, person("", ""), false),
            (&called_acme, machine(""), false),
            (&key, machine(""), true),
            (&key, person("", ""), false),
            (
                &[AllowedPrincipal::Key("key-2".to_owned())],
                machine(""),
                false,
            ),
            (
                &[AllowedPrincipal::Owner("key-1".to_owned())],
                machine(""),
                false,
            ),
            (&both, machine(""), true),
            (&both, person("", ""), true),
        ] {
            let found = authorize(&only(allowed), &principal).is_ok();
            assert_eq!(found, fits, "{allowed:?} {principal:?}");
        }
        // Names come on top of what else is asked for.
        let strict = Access::Principals(Requirement {
            all_scopes: words("widgets:read"),
            principals: acme.to_vec(),
            ..Requirement::default()
        });
        assert!(authorize(&strict, &machine("")).is_err());
        assert!(authorize(&strict, &machine("widgets:read")).is_ok());
    }

    #[test]
    fn a_route_gets_the_callers_it_asks_for() {
        let read = asks("widgets:read", "", "");
        let member = asks("widgets:read", "", "member admin");
        let either = asks("", "team:a team:b", "");
        let anyone = asks("", "", "");
        for (access, principal, expected) in [
            (&Access::Public, Principal::Anonymous, "ok"),
            (&anyone, Principal::Anonymous, "401"),
            (&anyone, person("", ""), "ok"),
            (&read, Principal::Anonymous, "401"),
            (&read, person("widgets:read x", ""), "ok"),
            (&read, machine("widgets:read"), "ok"),
            (&read, person("widgets:write", ""), "scope widgets:read"),
            (&read, person("widgets:rea", ""), "scope widgets:read"),
            (&either, person("team:b", ""), "ok"),
            (&either, person("team:c", ""), "scope team:a team:b"),
            (&member, person("widgets:read", "admin"), "ok"),
            (&member, person("widgets:read", "guest"), "role"),
            (&member, machine("widgets:read"), "role"),
            (&member, person("", "admin"), "scope widgets:read"),
        ] {
            let found = match authorize(access, &principal) {
                Ok(()) => "ok".to_owned(),
                Err(ClientError::Unauthenticated) => "401".to_owned(),
                Err(ClientError::InsufficientScope { scope }) => format!("scope {scope}"),
                Err(ClientError::Forbidden(_)) => "role".to_owned(),
                Err(other) => other.to_string(),
            };
            assert_eq!(found, expected, "{access:?} {principal:?}");
        }
    }
}
