//! The partners' API keys: made once, kept in the clear for the people at this machine, and as hashes for bff-public.
//! How a key looks and how it is hashed is gateway-core's.

use std::collections::BTreeMap;

use gateway_core::auth::api_key::{self, Environment, NoRandomness};
use serde::{Deserialize, Serialize};

use crate::demo::files::{self, Files, FilesError};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("an API key can't be made")]
    Randomness(#[from] NoRandomness),
    #[error("the keys can't be written down as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the keys' hashes can't be written down as TOML")]
    Toml(#[from] toml::ser::Error),
}

/// A partner as the demo binds it.
struct Partner {
    name: &'static str,
    consumer: &'static str,
    /// Whose menus it writes, with spaces between them.
    restaurants: &'static str,
    plan: &'static str,
}

const PARTNERS: [Partner; 2] = [
    Partner {
        name: "partner-1",
        consumer: "consumer-3",
        restaurants: "restaurant-1 restaurant-2",
        plan: "scale",
    },
    Partner {
        name: "partner-2",
        consumer: "consumer-4",
        restaurants: "restaurant-3",
        plan: "starter",
    },
];

/// The same as in a partner's OAuth token.
const SCOPES: [&str; 5] = [
    "orders:read",
    "orders:write",
    "restaurants:read",
    "menus:write",
    "webhooks:write",
];

/// By partner.
pub(crate) type Keys = BTreeMap<String, String>;

/// The part of bff-public's configuration that the demo writes.
#[derive(Default, Serialize, Deserialize)]
struct PublicConfig {
    #[serde(default)]
    partners: BTreeMap<String, Bound>,
    #[serde(default)]
    api_keys: ApiKeys,
}

#[derive(Default, Serialize, Deserialize)]
struct ApiKeys {
    #[serde(default)]
    keys: Vec<Entry>,
}

/// What a partner is bound to, whether it comes with a key or with a token.
#[derive(Serialize, Deserialize)]
struct Bound {
    plan: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: String,
    owner: String,
    hash: String,
    scopes: Vec<String>,
}

/// The keys of an earlier start, or new ones for partners whose key or hash is missing. What a key is bound to and may
/// do is written anew at each start.
pub(crate) fn ensure(files: &Files) -> Result<Keys, KeysError> {
    let mut keys: Keys = files::read(&files.keys())?
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let known: PublicConfig = files::read(&files.public_keys())?
        .and_then(|text| toml::from_str(&text).ok())
        .unwrap_or_default();

    let mut config = PublicConfig::default();
    for partner in PARTNERS {
        let hash = known
            .api_keys
            .keys
            .iter()
            .find(|entry| entry.owner == partner.name && keys.contains_key(partner.name))
            .map(|entry| entry.hash.clone());
        let hash = match hash {
            Some(hash) => hash,
            None => {
                let new = api_key::generate("ftgo", Environment::Live)?;
                keys.insert(partner.name.to_owned(), new.secret);
                format!("sha256:{}", new.hash_hex)
            }
        };
        config.api_keys.keys.push(Entry {
            id: format!("{}-demo", partner.name),
            owner: partner.name.to_owned(),
            hash,
            scopes: SCOPES.map(str::to_owned).to_vec(),
        });
        let bound = Bound {
            plan: partner.plan.to_owned(),
            attributes: BTreeMap::from([
                ("consumer".to_owned(), partner.consumer.to_owned()),
                ("restaurant_ids".to_owned(), partner.restaurants.to_owned()),
            ]),
        };
        config.partners.insert(partner.name.to_owned(), bound);
    }

    files::write_private(
        &files.keys(),
        &(serde_json::to_string_pretty(&keys)? + "\n"),
    )?;
    let config = toml::to_string(&config)?;
    let config = format!(
        "# Written by the demo at each start; the keys themselves are in keys.json.\n\n{config}"
    );
    files::write_private(&files.public_keys(), &config)?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use gateway_core::auth::api_key;

    use super::{PublicConfig, ensure};
    use crate::demo::files::{self, Files};

    #[test]
    fn keys_are_made_once_and_their_hashes_stay_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(folder.path()).unwrap();
        let keys = ensure(&files).unwrap();
        assert!(keys.values().all(|key| key.starts_with("ftgo_live_")));
        assert!(keys.values().all(|key| api_key::has_valid_checksum(key)));
        let config = files::read(&files.public_keys()).unwrap().unwrap();

        assert_eq!(ensure(&files).unwrap(), keys);
        assert_eq!(files::read(&files.public_keys()).unwrap().unwrap(), config);
        for key in keys.values() {
            assert!(
                !config.contains(key.as_str()),
                "bff-public gets no key in the clear"
            );
        }
        let config: PublicConfig = toml::from_str(&config).unwrap();
        let bound = |partner: &str| config.partners[partner].attributes["consumer"].clone();
        assert_eq!(bound("partner-1"), "consumer-3");
        assert_eq!(bound("partner-2"), "consumer-4");
    }

    #[test]
    fn a_key_whose_hash_is_lost_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(folder.path()).unwrap();
        let before = ensure(&files).unwrap();
        std::fs::remove_file(files.public_keys()).unwrap();
        let after = ensure(&files).unwrap();
        assert!(before.iter().all(|(partner, key)| after[partner] != *key));
    }
}
