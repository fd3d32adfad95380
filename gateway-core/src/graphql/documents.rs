//! Documents that are known: parsed and found valid before, registered by a client (automatic persisted queries), or listed
//! by the operator (trusted documents). Whether a document is valid is found out by executing it (`transport.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::ServerError;
use async_graphql::parser::types::ExecutableDocument;
use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use super::error::coded;
use super::limits::{Limits, check_selections, check_text};
use super::request::Asked;
use super::{Persisted, Settings};

/// SHA-256 of a document's text.
pub(super) type Hash = [u8; 32];

/// What a parsed document takes for each token of its text, in bytes: a selection has two hundred, whatever its name, and the
/// lists that hold them have room to spare.
const PER_TOKEN: usize = 320;
/// What an entry takes besides.
const ENTRY: usize = 256;

/// A document that was parsed and is within the limits.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) text: Arc<str>,
    pub(super) document: ExecutableDocument,
    tokens: usize,
}

/// A parsed document, and whether all rules of the schema have been checked on it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) parsed: Arc<Parsed>,
    pub(super) valid: bool,
    /// Under which to keep it once it is known to be valid.
    hash: Option<Hash>,
}

/// The documents of a process, bounded by the memory that they take. Cloning is cheap.
#[derive(Clone)]
pub struct Documents {
    settings: Arc<Settings>,
    by_text: Cache<Arc<str>, Arc<Parsed>>,
    /// Only their texts: one that is not there parsed any more is parsed again.
    by_hash: Cache<Hash, Arc<str>>,
}

impl Documents {
    pub(crate) fn new(settings: &Settings) -> Self {
        let bytes = settings.document_cache_bytes;
        Self {
            settings: Arc::new(settings.clone()),
            by_text: bounded(bytes - bytes / 4, |parsed: &Arc<Parsed>| parsed.bytes()),
            by_hash: bounded(bytes / 4, |text: &Arc<str>| ENTRY + text.len()),
        }
    }

    /// Those of the next configuration: what was valid under other settings may not be any more.
    pub(crate) fn after(previous: &Self, settings: &Settings) -> Self {
        if *previous.settings == *settings {
            previous.clone()
        } else {
            Self::new(settings)
        }
    }

    /// The document that is meant.
    ///
    /// # Errors
    /// It is not known by this hash, is not one of the trusted ones, cannot be parsed, or is over a limit.
    pub(super) fn find(&self, asked: &Asked) -> Result<Found, ServerError> {
        let text = match (&self.settings.persisted, asked.hash, &asked.query) {
            (Persisted::Trusted(trusted), hash, query) => {
                let hash = hash.or_else(|| query.as_deref().map(hash_of));
                let known = hash.and_then(|hash| trusted.0.get(&hash));
                let text = known.ok_or_else(|| {
                    if query.is_some() {
                        coded("DOCUMENT_NOT_TRUSTED", "Only known documents are executed.")
                    } else {
                        not_found()
                    }
                })?;
                Arc::clone(text)
            }
            (_, None, Some(query)) => return self.parse(query, None),
            (Persisted::Automatic, Some(hash), None) => {
                let text = self.by_hash.get(&hash).ok_or_else(not_found)?;
                return self.parse(&text, None);
            }
            (Persisted::Automatic, Some(hash), Some(query)) => {
                if hash_of(query) != hash {
                    return Err(coded(
                        "PERSISTED_QUERY_HASH_MISMATCH",
                        "The hash is not that of the query.",
                    ));
                }
                return self.parse(query, Some(hash));
            }
            (Persisted::Off, Some(_), Some(query)) => return self.parse(query, None),
            (Persisted::Off, Some(_), None) => {
                return Err(coded(
                    "PERSISTED_QUERY_NOT_SUPPORTED",
                    "PersistedQueryNotSupported",
                ));
            }
            (_, None, None) => return Err(coded("BAD_REQUEST", "query: is missing.")),
        };
        self.parse(&text, None)
    }

    fn parse(&self, text: &str, hash: Option<Hash>) -> Result<Found, ServerError> {
        if let Some(parsed) = self.by_text.get(text) {
            if let Some(hash) = hash {
                self.by_hash.insert(hash, Arc::clone(&parsed.text));
            }
            return Ok(Found {
                parsed,
                valid: true,
                hash: None,
            });
        }
        let parsed = parse(text, &self.settings.limits)?;
        Ok(Found {
            parsed: Arc::new(parsed),
            valid: false,
            hash,
        })
    }

    /// The document has been found valid.
    pub(super) fn keep(&self, found: &Found) {
        if found.valid {
            return;
        }
        let parsed = &found.parsed;
        self.by_text
            .insert(Arc::clone(&parsed.text), Arc::clone(parsed));
        if let Some(hash) = found.hash {
            self.by_hash.insert(hash, Arc::clone(&parsed.text));
        }
    }
}

impl Parsed {
    /// About what it takes.
    fn bytes(&self) -> usize {
        ENTRY + self.text.len() + self.tokens * PER_TOKEN
    }
}

fn bounded<K, V>(bytes: u64, weight: impl Fn(&V) -> usize + Send + Sync + 'static) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(bytes)
        .weigher(move |_, value: &V| u32::try_from(weight(value)).unwrap_or(u32::MAX))
        .build()
}

fn parse(text: &str, limits: &Limits) -> Result<Parsed, ServerError> {
    let tokens = check_text(text, limits)?;
    let document = async_graphql::parser::parse_query(text).map_err(|error| {
        let mut error = ServerError::from(error);
        error
            .extensions
            .get_or_insert_default()
            .set("code", "GRAPHQL_PARSE_FAILED");
        error
    })?;
    check_selections(&document, limits)?;
    Ok(Parsed {
        text: text.into(),
        document,
        tokens,
    })
}

fn not_found() -> ServerError {
    // Clients look for this very word.
    coded("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
}

fn hash_of(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// A hash in hexadecimal digits, with or without the name of the algorithm.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // A sign would be taken for a digit.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

/// The only documents that are executed, by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedDocuments(HashMap<Hash, Arc<str>>);

/// A list of trusted documents that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadDocuments {
    #[error("it is no JSON object of texts: {0}")]
    Json(serde_json::Error),
    #[error("{0:?} is no SHA-256 in hexadecimal digits")]
    Hash(String),
    #[error("{0:?} is not the hash of its document")]
    Mismatch(String),
    #[error("the document {0:?} cannot be parsed: {1}")]
    Document(String, String),
}

impl TrustedDocuments {
    /// Reads `{"<hash>": "<document>"}`.
    ///
    /// # Errors
    /// When it is something else, or a hash is not that of its document.
    pub fn parse(json: &[u8]) -> Result<Self, BadDocuments> {
        let listed: HashMap<String, String> =
            serde_json::from_slice(json).map_err(BadDocuments::Json)?;
        let mut documents = HashMap::new();
        for (name, text) in listed {
            let Some(hash) = parse_hash(&name) else {
                return Err(BadDocuments::Hash(name));
            };
            if hash_of(&text) != hash {
                return Err(BadDocuments::Mismatch(name));
            }
            if let Err(error) = async_graphql::parser::parse_query(&text) {
                return Err(BadDocuments::Document(name, error.to_string()));
            }
            documents.insert(hash, text.into());
        }
        Ok(Self(documents))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use async_graphql::parser::types::Selection;
    use async_graphql::{Positioned, Variables};

    use super::*;

    fn asked(query: Option<&str>, hash: Option<Hash>) -> Asked {
        Asked {
            query: query.map(str::to_owned),
            hash,
            operation_name: None,
            variables: Variables::default(),
        }
    }

    #[test]
    fn a_document_of_short_names_weighs_what_its_selections_take() {
        let text = format!("{{ me {{ {} }} }}", "id ".repeat(1_000));
        let parsed = parse(&text, &Limits::default()).unwrap();
        // A list has up to twice the room that it needs; on average half of that.
        let takes = 1_000 * size_of::<Positioned<Selection>>() * 3 / 2;
        assert!(parsed.bytes() >= takes, "{} of {takes}", parsed.bytes());
    }

    #[test]
    fn all_documents_together_keep_to_the_bound() {
        let settings = Settings {
            document_cache_bytes: 1 << 20,
            ..Settings::default()
        };
        let documents = Documents::new(&settings);
        let text = |number: usize| format!("{{ a{number} {} }}", "id ".repeat(50));
        for number in 0..1_000 {
            let text = text(number);
            let asked = asked(Some(&text), Some(hash_of(&text)));
            documents.keep(&documents.find(&asked).unwrap());
        }
        documents.by_text.run_pending_tasks();
        documents.by_hash.run_pending_tasks();
        let bytes = documents.by_text.weighted_size() + documents.by_hash.weighted_size();
        assert!(bytes <= 1 << 20, "{bytes}");
        assert!(documents.by_text.entry_count() > 0 && documents.by_hash.entry_count() > 0);
    }

    #[test]
    fn a_document_is_found_by_its_hash_also_when_it_has_to_be_parsed_again() {
        let documents = Documents::new(&Settings::default());
        let text = "{ me { id } }";
        let hash = Some(hash_of(text));
        documents.keep(&documents.find(&asked(Some(text), hash)).unwrap());
        assert!(documents.find(&asked(None, hash)).unwrap().valid);
        documents.by_text.invalidate_all();
        let again = documents.find(&asked(None, hash)).unwrap();
        assert_eq!((&*again.parsed.text, again.valid), (text, false));
        documents.keep(&again);
        assert!(documents.find(&asked(None, hash)).unwrap().valid);
    }
}
