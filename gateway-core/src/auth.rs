//! Who is calling: the closed `Principal`, the authenticator that makes one from a request's credentials, and what a
//! route asks of it. Which key signs what is in `auth/jwks.rs`; ownership of a thing is decided in a BFF's code.

pub mod api_key;
pub mod internal_token;
mod jwks;
mod jwt;
mod partner;
mod policy;
mod revocation;
#[cfg(test)]
mod test_issuer;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::PARTNER;

pub(crate) use api_key::KeyUses;
pub use jwks::{IssuerReadiness, KeySets};
pub use jwt::Authenticator;
pub(crate) use jwt::{SignedClaims, claim_attribute, claim_words};
pub(crate) use partner::{bind as bind_partner, strip as strip_partner};
pub use policy::authorize;
pub(crate) use revocation::{Full, Revocation, RevocationWatch, Revocations, SharedRevocations};

/// Who is calling. Handlers receive it; nothing else says who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular, on a route that is public.
    Anonymous,
    /// The bearer of a verified token (a person, or a client with client credentials).
    Token(Arc<TokenPrincipal>),
    /// The holder of an API key.
    ApiKey(Arc<ApiKeyPrincipal>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrincipal {
    pub issuer: String,
    /// `sub`, as the issuer says it: what revocations and routes' `principals` name, together with the issuer.
    pub subject: String,
    /// Who that is to services and to handlers, which know of no issuers: the issuer's `subject_prefix`, then the subject.
    /// Nobody of another issuer has the same name.
    pub name: String,
    pub scopes: Vec<String>,
    pub roles: Vec<String>,
    /// Other claims that are strings, or lists of strings joined by a space.
    pub attributes: BTreeMap<String, String>,
    /// Seconds since the epoch.
    pub expires_at: u64,
    pub token_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyPrincipal {
    pub key_id: String,
    pub owner: String,
    pub scopes: Vec<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Principal {
    /// The stable name of the caller: a token's subject behind its issuer's prefix, a key's owner.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Token(token) => Some(&token.name),
            Self::ApiKey(key) => Some(&key.owner),
        }
    }

    /// What the access log says about the caller: never who it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token(_) => "token",
            Self::ApiKey(_) => "api_key",
        }
    }

    #[must_use]
    pub fn scopes(&self) -> &[String] {
        match self {
            Self::Anonymous => &[],
            Self::Token(token) => &token.scopes,
            Self::ApiKey(key) => &key.scopes,
        }
    }

    #[must_use]
    pub fn roles(&self) -> &[String] {
        match self {
            Self::Token(token) => &token.roles,
            Self::Anonymous | Self::ApiKey(_) => &[],
        }
    }

    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().iter().any(|held| held == scope)
    }

    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().iter().any(|held| held == role)
    }

    /// All that is known of the caller, in no order that says what is what.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let (names, attributes): ([Option<&str>; 4], _) = match self {
            Self::Anonymous => ([None; 4], None),
            Self::Token(token) => {
                let TokenPrincipal {
                    issuer,
                    subject,
                    name,
                    token_id,
                    attributes,
                    scopes: _,
                    roles: _,
                    expires_at: _,
                } = &**token;
                let names = [Some(issuer), Some(subject), Some(name), token_id.as_ref()];
                (names.map(|name| name.map(String::as_str)), Some(attributes))
            }
            Self::ApiKey(key) => {
                let names = [Some(key.key_id.as_str()), Some(&key.owner), None, None];
                (names, Some(&key.attributes))
            }
        };
        let words = self.scopes().iter().chain(self.roles());
        let attributes = attributes.into_iter().flatten();
        let attributes = attributes.flat_map(|(name, value)| [name, value]);
        let rest = words.chain(attributes).map(String::as_str);
        names.into_iter().flatten().chain(rest)
    }

    /// The partner whose credentials they are, of whichever kind, as the configuration knows it.
    #[must_use]
    pub fn partner(&self) -> Option<&str> {
        self.attribute(PARTNER)
    }

    /// A further claim of the token, or an attribute of the key's owner.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Token(token) => token.attributes.get(name).map(String::as_str),
            Self::ApiKey(key) => key.attributes.get(name).map(String::as_str),
        }
    }
}
