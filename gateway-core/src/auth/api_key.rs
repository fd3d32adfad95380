//! API keys of partners' servers: how they look, how one is made, and how a presented one is recognised by its hash.
//! Where in a request a key stands is decided in `auth/jwt.rs`; which keys there are is in the configuration, and when one
//! was used in `api_key/uses.rs`.

mod uses;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ApiKeyPrincipal;
use crate::config::ApiKeysConfig;
use crate::encode::hex;
use uses::KeyUse;

pub(crate) use uses::KeyUses;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^32: about 190 bits of chance.
const RANDOM_LENGTH: usize = 32;
/// 62^6 is more than 2^32: a CRC-32 always fits.
const CHECKSUM_LENGTH: usize = 6;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Live,
    Test,
}

impl Environment {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// A key that was just made: the only time that it can be read.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// `{prefix}_{live|test}_{32 characters}{6 characters of checksum}`, for its owner.
    pub secret: String,
    /// SHA-256 of the secret in 64 hexadecimal digits, for the configuration.
    pub hash_hex: String,
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey")
            .field("hash_hex", &self.hash_hex)
            .finish_non_exhaustive()
    }
}

/// The operating system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers to be had")]
pub struct NoRandomness;

/// Makes a key.
///
/// # Errors
/// When the operating system gives no random numbers.
pub fn generate(prefix: &str, environment: Environment) -> Result<NewApiKey, NoRandomness> {
    let mut secret = format!("{prefix}_{}_", environment.as_str());
    let length = secret.len() + RANDOM_LENGTH;
    while secret.len() < length {
        let mut bytes = [0; RANDOM_LENGTH];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        // 248 is the largest multiple of 62 in a byte: taking the rest would make some characters likelier.
        let characters = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        let missing = length - secret.len();
        secret.extend(characters.take(missing));
    }
    let sum = checksum(&secret);
    secret.extend(sum.map(char::from));
    let hash_hex = hex(&Sha256::digest(&secret));
    Ok(NewApiKey { secret, hash_hex })
}

/// Whether the last six characters are the checksum of the rest: tells a typing error from a key that is not known, and
/// lets scanners find leaked keys.
#[must_use]
pub fn has_valid_checksum(key: &str) -> bool {
    key.len()
        .checked_sub(CHECKSUM_LENGTH)
        .and_then(|at| key.split_at_checked(at))
        .is_some_and(|(rest, sum)| !rest.is_empty() && checksum(rest) == sum.as_bytes())
}

/// CRC-32 in base 62, most significant digit first, padded with zeros.
fn checksum(text: &str) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// The keys that are accepted, by their hash.
pub(super) struct ApiKeys {
    /// `{prefix}_`: what makes a bearer token a key.
    marker: String,
    by_hash: HashMap<[u8; 32], KnownKey>,
}

struct KnownKey {
    principal: Arc<ApiKeyPrincipal>,
    last_use: Arc<KeyUse>,
}

impl ApiKeys {
    /// Uses are noted in `uses`.
    pub(super) fn new(config: &ApiKeysConfig, uses: &KeyUses) -> Self {
        let by_hash = config
            .keys
            .iter()
            .map(|key| {
                let principal = ApiKeyPrincipal {
                    key_id: key.id.clone(),
                    owner: key.owner.clone(),
                    scopes: key.scopes.clone(),
                    attributes: key.attributes.clone(),
                };
                let known = KnownKey {
                    principal: Arc::new(principal),
                    last_use: uses.of(&key.hash),
                };
                (key.hash, known)
            })
            .collect();
        Self {
            marker: format!("{}_", config.prefix),
            by_hash,
        }
    }

    pub(super) fn looks_like_key(&self, token: &str) -> bool {
        token.starts_with(&self.marker)
    }

    /// The owner of `key`, which is used by that, or the reason to refuse it, for the log.
    pub(super) fn find(&self, key: &str) -> Result<Arc<ApiKeyPrincipal>, &'static str> {
        let environment = key
            .strip_prefix(&self.marker)
            .and_then(|rest| rest.split_once('_'))
            .map(|(environment, _)| environment);
        if !matches!(environment, Some("live" | "test")) {
            return Err("not an API key");
        }
        if !has_valid_checksum(key) {
            return Err("API key with a wrong checksum");
        }
        // Looked up by its hash: how long that takes says nothing of the keys, for nobody can choose a hash.
        let hash: [u8; 32] = Sha256::digest(key).into();
        let known = self.by_hash.get(&hash).ok_or("unknown API key")?;
        known.last_use.note();
        Ok(Arc::clone(&known.principal))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeMap;

    use super::{ApiKeys, Environment, KeyUses, NewApiKey, checksum, generate, has_valid_checksum};
    use crate::config::{ApiKeyConfig, ApiKeysConfig};

    #[test]
    fn the_checksum_is_six_digits_in_base_62() {
        // The check value of CRC-32: 0xCBF43926 = 3421780262.
        assert_eq!(crc32fast::hash(b"123456789"), 3_421_780_262);
        let mut rest = 3_421_780_262_u64;
        let mut expected = Vec::new();
        for _ in 0..6 {
            expected.push(super::ALPHABET[(rest % 62) as usize]);
            rest /= 62;
        }
        expected.reverse();
        assert_eq!(checksum("123456789").to_vec(), expected);
        assert_eq!(checksum(""), *b"000000");
    }

    #[test]
    fn a_new_key_has_its_form_and_is_never_the_same() {
        let key = generate("acme", Environment::Live).unwrap();
        assert!(key.secret.starts_with("acme_live_"), "{}", key.secret);
        assert_eq!(key.secret.len(), "acme_live_".len() + 32 + 6);
        assert!(has_valid_checksum(&key.secret));
        assert_eq!(key.hash_hex.len(), 64);
        assert!(!format!("{key:?}").contains(&key.secret));
        assert_ne!(key, generate("acme", Environment::Live).unwrap());
    }

    #[test]
    fn one_wrong_character_is_a_wrong_checksum() {
        let key = generate("acme", Environment::Test).unwrap().secret;
        for at in 10..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(!has_valid_checksum(&changed), "{changed}");
        }
        for short in ["", "000000", "é00000", "\u{20ac}\u{20ac}\u{20ac}"] {
            assert!(!has_valid_checksum(short), "{short}");
        }
    }

    fn key(id: &str, key: &NewApiKey) -> ApiKeyConfig {
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(key.hash_hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        }
        ApiKeyConfig {
            id: id.to_owned(),
            owner: "partner-a".to_owned(),
            hash,
            scopes: vec!["widgets:read".to_owned()],
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_key_is_found_by_its_hash_only() {
        let live = generate("acme", Environment::Live).unwrap();
        let next = generate("acme", Environment::Live).unwrap();
        let other = generate("acme", Environment::Live).unwrap();
        let config = ApiKeysConfig {
            prefix: "acme".to_owned(),
            keys: vec![key("key-1", &live), key("key-2", &next)],
        };
        let uses = KeyUses::after(None, Some(&config));
        let keys = ApiKeys::new(&config, &uses);
        assert!(keys.looks_like_key(&live.secret));
        assert!(!keys.looks_like_key("eyJhbGciOiJSUzI1NiJ9.e30."));
        // Two of one owner, while one takes the other's place.
        for (secret, id) in [(&live.secret, "key-1"), (&next.secret, "key-2")] {
            let found = keys.find(secret).unwrap();
            assert_eq!(
                (found.owner.as_str(), found.key_id.as_str()),
                ("partner-a", id)
            );
        }
        assert_eq!(keys.find(&other.secret), Err("unknown API key"));
        assert_eq!(keys.find("acme_prod_x"), Err("not an API key"));
        assert_eq!(
            keys.find("acme_live_x000000"),
            Err("API key with a wrong checksum")
        );
    }
}
