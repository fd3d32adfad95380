//! A token's header and claims as they are written, duplicates refused. Nothing is believed here: `auth/jwt.rs` checks.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Claims with a meaning of their own; all others can become attributes.
const REGISTERED: [&str; 9] = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "roles",
];

pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) token_type: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) is_critical: bool,
}

impl Header {
    pub(super) fn parse(encoded: &str) -> Result<Self, &'static str> {
        let mut members = members(encoded)?;
        Ok(Self {
            // RFC 7797, 7: a JWT must not leave its payload unencoded, and no reader may take one part for two texts.
            is_critical: members.contains_key("crit")
                || members.get("b64").is_some_and(|encoded| *encoded != true),
            algorithm: required_text(&mut members, "alg").ok_or("no alg")?,
            token_type: text(&mut members, "typ").map_err(|_| "typ is not text")?,
            key_id: text(&mut members, "kid").map_err(|_| "kid is not text")?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audiences: Vec<String>,
    /// Seconds since the epoch, as are the other times.
    pub(super) expires_at: u64,
    pub(super) not_before: Option<u64>,
    pub(super) token_id: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Claims {
    pub(super) fn parse(encoded: &str) -> Result<Self, &'static str> {
        let mut members = members(encoded)?;
        let attributes = members
            .iter()
            .filter(|(name, _)| !REGISTERED.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), attribute(value)?)))
            .collect();
        Ok(Self {
            issuer: required_text(&mut members, "iss").ok_or("no iss")?,
            subject: required_text(&mut members, "sub").ok_or("no sub")?,
            audiences: words(members.remove("aud"), false).ok_or("aud is not text")?,
            expires_at: members
                .remove("exp")
                .and_then(|exp| numeric_date(&exp))
                .ok_or("no exp")?,
            not_before: match members.remove("nbf") {
                Some(nbf) => Some(numeric_date(&nbf).ok_or("nbf is not a time")?),
                None => None,
            },
            token_id: text(&mut members, "jti").map_err(|_| "jti is not text")?,
            scopes: words(members.remove("scope"), true).ok_or("scope is not text")?,
            roles: words(members.remove("roles"), false).ok_or("roles are not text")?,
            attributes,
        })
    }
}

/// The members of a JSON object. RFC 7519, 4: names have to be unique, or two readers could see two tokens in one.
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

pub(super) fn members(encoded: &str) -> Result<BTreeMap<String, Value>, &'static str> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| "not base64url")?;
    let Members(members) =
        serde_json::from_slice(&json).map_err(|_| "not a JSON object with unique members")?;
    Ok(members)
}

fn required_text(members: &mut BTreeMap<String, Value>, name: &str) -> Option<String> {
    text(members, name).ok().flatten()
}

struct NotText;

fn text(members: &mut BTreeMap<String, Value>, name: &str) -> Result<Option<String>, NotText> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(NotText),
    }
}

/// A text or a list of texts; `None` for anything else.
pub(crate) fn words(value: Option<Value>, split: bool) -> Option<Vec<String>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::String(text)) if split => {
            Some(text.split_ascii_whitespace().map(str::to_owned).collect())
        }
        Some(Value::String(text)) => Some(vec![text]),
        Some(Value::Array(elements)) => elements
            .into_iter()
            .map(|element| match element {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        Some(_) => None,
    }
}

/// Seconds since the epoch; a fraction is cut off (RFC 7519, 2).
pub(super) fn numeric_date(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|seconds| (0.0..1e15).contains(seconds))
            .map(|seconds| seconds as u64)
    })
}

/// A text, or a list of texts joined by spaces. An element with a space in it would look like two: such a list is none.
pub(crate) fn attribute(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(elements) => {
            let words: Option<Vec<&str>> = elements
                .iter()
                .map(|element| element.as_str().filter(|word| !word.contains(' ')))
                .collect();
            words.map(|words| words.join(" "))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{Claims, Header};

    fn claims(json: &str) -> Result<Claims, &'static str> {
        Claims::parse(&URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn claims_become_what_a_principal_is_made_of() {
        let claims = claims(
            r#"{"iss":"https://login.example.com","sub":"someone","aud":"acme","exp":1700000000.9,"nbf":1,
                "jti":"1","scope":"a  b","roles":["member"],"iat":5,"team":"red","sites":["x","y"],"odd":["x y"],
                "level":3,"address":{"city":"here"}}"#,
        )
        .unwrap();
        assert_eq!(claims.audiences, ["acme"]);
        assert_eq!(claims.expires_at, 1_700_000_000);
        assert_eq!(claims.not_before, Some(1));
        assert_eq!(claims.scopes, ["a", "b"]);
        assert_eq!(claims.roles, ["member"]);
        let attributes: Vec<_> = claims.attributes.iter().collect();
        assert_eq!(
            attributes,
            [
                (&"sites".to_owned(), &"x y".to_owned()),
                (&"team".to_owned(), &"red".to_owned())
            ]
        );
    }

    #[test]
    fn what_is_written_twice_or_wrongly_is_refused() {
        for (json, expected) in [
            (
                r#"{"iss":"a","sub":"a","exp":1,"exp":2}"#,
                "not a JSON object with unique members",
            ),
            (
                r#"{"iss":"a","sub":"a","exp":1,"x":1,"x":1}"#,
                "not a JSON object with unique members",
            ),
            ("[]", "not a JSON object with unique members"),
            (
                r#"{"iss":"a"}{"sub":"a"}"#,
                "not a JSON object with unique members",
            ),
            (r#"{"sub":"a","exp":1}"#, "no iss"),
            (r#"{"iss":1,"sub":"a","exp":1}"#, "no iss"),
            (r#"{"iss":"a","exp":1}"#, "no sub"),
            (r#"{"iss":"a","sub":"a"}"#, "no exp"),
            (r#"{"iss":"a","sub":"a","exp":"1"}"#, "no exp"),
            (r#"{"iss":"a","sub":"a","exp":-1}"#, "no exp"),
            (r#"{"iss":"a","sub":"a","exp":1e300}"#, "no exp"),
            (
                r#"{"iss":"a","sub":"a","exp":1,"nbf":"x"}"#,
                "nbf is not a time",
            ),
            (
                r#"{"iss":"a","sub":"a","exp":1,"aud":[1]}"#,
                "aud is not text",
            ),
        ] {
            assert_eq!(claims(json).unwrap_err(), expected, "{json}");
        }
        let header = |json: &str| Header::parse(&URL_SAFE_NO_PAD.encode(json)).err();
        assert_eq!(
            header(r#"{"alg":"RS256","alg":"none"}"#),
            Some("not a JSON object with unique members")
        );
        assert_eq!(header(r#"{"typ":"JWT"}"#), Some("no alg"));
        assert_eq!(
            header(r#"{"alg":"RS256","kid":1}"#),
            Some("kid is not text")
        );
        assert_eq!(Header::parse("e30=").err(), Some("not base64url"));
    }
}
