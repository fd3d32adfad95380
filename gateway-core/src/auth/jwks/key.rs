//! A key set (RFC 7517) as it is used: public keys of known kinds, each with the algorithms that it fits.
//! How it gets here is `auth/jwks/fetch.rs`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// More keys than any issuer rotates through.
const MAX_KEYS: usize = 64;
/// RSA keys below 2048 bits are refused (RFC 7518, 3.3).
const MIN_RSA_BYTES: usize = 256;

/// The usable keys of a set.
#[derive(Debug)]
pub(super) struct KeyList(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    kind: Kind,
    /// The only algorithm that the issuer allows for it, when it says so.
    algorithm: Option<Algorithm>,
    key: Arc<DecodingKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// What a key set has for a token.
pub(super) enum Selection {
    Key(Arc<DecodingKey>),
    /// The key is there, and the token must not use it.
    Refused(&'static str),
    /// A newer key set may have it.
    Unknown,
}

/// A set or one of its keys as it is written. Members that are not known are ignored (RFC 7517, 4).
#[derive(Deserialize)]
struct RawKeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeyList {
    /// Reads a key set; keys of other kinds or for other uses are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let set: RawKeySet = serde_json::from_slice(json)?;
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
            let key: RawKey = serde_json::from_value(key).ok()?;
            Key::from_raw(key)
        });
        Ok(Self(keys.collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection {
        let Some(kid) = kid else {
            // Without a name there must be no choice to make.
            let mut fitting = self.0.iter().filter(|key| key.fits(algorithm));
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Selection::Key(Arc::clone(&only.key)),
                (None, _) => Selection::Refused("no key for the algorithm"),
                (Some(_), Some(_)) => Selection::Refused("no kid"),
            };
        };
        let mut named = self
            .0
            .iter()
            .filter(|key| key.kid.as_deref() == Some(kid))
            .peekable();
        if named.peek().is_none() {
            return Selection::Unknown;
        }
        match named.find(|key| key.fits(algorithm)) {
            Some(key) => Selection::Key(Arc::clone(&key.key)),
            None => Selection::Refused("the key is not for the algorithm"),
        }
    }
}

impl Key {
    fn from_raw(raw: RawKey) -> Option<Self> {
        let signs = raw.r#use.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = raw
            .key_ops
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !signs || !verifies {
            return None;
        }
        let (kind, key) = match (raw.kty.as_str(), raw.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (raw.n?, raw.e?);
                if URL_SAFE_NO_PAD.decode(&n).ok()?.len() < MIN_RSA_BYTES {
                    return None;
                }
                (Kind::Rsa, DecodingKey::from_rsa_components(&n, &e))
            }
            ("EC", Some("P-256")) => (
                Kind::P256,
                DecodingKey::from_ec_components(&raw.x?, &raw.y?),
            ),
            ("EC", Some("P-384")) => (
                Kind::P384,
                DecodingKey::from_ec_components(&raw.x?, &raw.y?),
            ),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(&raw.x?)),
            // Symmetric keys (`oct`) have no place in a public set; others are not known.
            _ => return None,
        };
        let algorithm = match raw.alg {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let key = Self {
            kid: raw.kid,
            kind,
            algorithm,
            key: Arc::new(key.ok()?),
        };
        // A key that contradicts itself fits nothing.
        algorithm
            .is_none_or(|algorithm| key.fits(algorithm))
            .then_some(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            _ => return false,
        };
        self.kind == kind && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use jsonwebtoken::Algorithm;
    use serde_json::{Value, json};

    use super::{KeyList, Selection};

    fn set(keys: &Value) -> KeyList {
        KeyList::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn rsa(kid: &str) -> Value {
        json!({ "kty": "RSA", "kid": kid, "n": "g".repeat(342), "e": "AQAB" })
    }

    fn ec(kid: &str, crv: &str) -> Value {
        json!({ "kty": "EC", "kid": kid, "crv": crv, "x": "AAAA", "y": "AAAA" })
    }

    fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
        key[name] = value.into();
        key
    }

    #[test]
    fn only_public_signature_keys_are_taken() {
        let list = set(&json!([
            rsa("rsa"),
            ec("ec", "P-256"),
            with(rsa("sig"), "use", "sig"),
            with(rsa("verify"), "key_ops", json!(["verify"])),
            // and none of these:
            with(rsa("enc"), "use", "enc"),
            with(rsa("sign"), "key_ops", json!(["sign"])),
            with(rsa("short"), "n", "g".repeat(170)),
            with(rsa("contradiction"), "alg", "ES256"),
            with(rsa("unknown-alg"), "alg", "RSA-OAEP"),
            with(rsa("symmetric-alg"), "alg", "HS256"),
            ec("curve", "secp256k1"),
            json!({ "kty": "oct", "kid": "secret", "k": "AAAA" }),
            json!({ "kty": "new-kind", "kid": "new" }),
            json!({ "kid": "no-kind" }),
            json!("not a key"),
        ]));
        let kids: Vec<_> = list.0.iter().filter_map(|key| key.kid.as_deref()).collect();
        assert_eq!(kids, ["rsa", "ec", "sig", "verify"]);
    }

    #[test]
    fn a_key_is_chosen_by_name_and_has_to_fit_the_algorithm() {
        let list = set(&json!([
            rsa("rsa"),
            with(rsa("only-ps"), "alg", "PS256"),
            ec("p256", "P-256"),
            ec("p384", "P-384"),
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "A".repeat(43) },
        ]));
        for (kid, algorithm, expected) in [
            (Some("rsa"), Algorithm::RS256, "key"),
            (Some("rsa"), Algorithm::PS512, "key"),
            (Some("only-ps"), Algorithm::PS256, "key"),
            (
                Some("only-ps"),
                Algorithm::RS256,
                "the key is not for the algorithm",
            ),
            (
                Some("rsa"),
                Algorithm::ES256,
                "the key is not for the algorithm",
            ),
            (
                Some("rsa"),
                Algorithm::HS256,
                "the key is not for the algorithm",
            ),
            (Some("p256"), Algorithm::ES256, "key"),
            (
                Some("p256"),
                Algorithm::ES384,
                "the key is not for the algorithm",
            ),
            (Some("p384"), Algorithm::ES384, "key"),
            (Some("ed"), Algorithm::EdDSA, "key"),
            (Some("gone"), Algorithm::RS256, "unknown"),
            (None, Algorithm::ES256, "key"),
            (None, Algorithm::RS256, "key"),
            (None, Algorithm::PS256, "no kid"),
            (None, Algorithm::HS256, "no key for the algorithm"),
        ] {
            let found = match list.select(kid, algorithm) {
                Selection::Key(_) => "key",
                Selection::Refused(reason) => reason,
                Selection::Unknown => "unknown",
            };
            assert_eq!(found, expected, "{kid:?} {algorithm:?}");
        }
    }
}
