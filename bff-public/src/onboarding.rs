//! `bff-public partners …`: who the partners are and which keys they have, in a file of its own that is merged over the
//! configuration. A gateway at work takes the file over by itself. What a key looks like is gateway-core's.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway_core::auth::api_key::{self, Environment, NoRandomness};
use gateway_core::config::{self, ConfigFaults, EXIT_CONFIG};
use serde::{Deserialize, Serialize};

/// The first argument that asks for this instead of the gateway.
pub(crate) const COMMAND: &str = "partners";

const PREFIX: &str = "ftgo";
/// While one key takes another's place there are two.
const MAX_KEYS: usize = 2;
const HEADER: &str = "# Written by `bff-public partners`; merged over public.toml. Holds hashes only: nobody can read a key from it.\n\n";

#[derive(Parser)]
#[command(
    name = "bff-public",
    about = "Partners of FTGO's public API, and their keys"
)]
struct Arguments {
    #[command(subcommand)]
    group: Group,
}

#[derive(Subcommand)]
enum Group {
    /// Adds partners, gives them keys and takes keys away.
    #[command(subcommand)]
    Partners(Action),
}

#[derive(Subcommand)]
enum Action {
    /// Adds a partner and prints its first key: the only time that it can be read.
    Add(Add),
    /// Prints another key for a partner, which has two then: so the first one can be replaced.
    AddKey(AddKey),
    /// Takes a key away.
    RemoveKey(RemoveKey),
}

#[derive(Args)]
struct Add {
    /// What the partner is called in configuration, logs and tokens: lower-case letters, digits, `-` and `_`.
    id: String,
    /// A name in `[plans]`.
    #[arg(long)]
    plan: String,
    /// The consumer account whose orders the partner places and sees.
    #[arg(long)]
    consumer: String,
    /// The restaurants whose menus it writes.
    #[arg(long, value_delimiter = ',')]
    restaurants: Vec<String>,
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    files: Files,
}

#[derive(Args)]
struct AddKey {
    id: String,
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    files: Files,
}

#[derive(Args)]
struct RemoveKey {
    /// The key's id, as in the file and on `/keys`.
    key_id: String,
    #[command(flatten)]
    files: Files,
}

#[derive(Args)]
struct KeyArguments {
    /// What the key may be used for.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "orders:read,orders:write,restaurants:read,menus:write"
    )]
    scopes: Vec<String>,
    /// What the key says that it is for.
    #[arg(long, value_enum, default_value_t = For::Live)]
    environment: For,
}

#[derive(Args)]
struct Files {
    /// The file with partners and keys; it is made when it is missing.
    #[arg(long)]
    file: PathBuf,
    /// The gateway's configuration, as it is started with: what would come of it is checked before anything is written.
    #[arg(long = "config", value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum For {
    Live,
    Test,
}

#[derive(Debug, thiserror::Error)]
enum OnboardingError {
    #[error("{} cannot be {verb}", path.display())]
    File {
        path: PathBuf,
        verb: &'static str,
        source: io::Error,
    },
    #[error("{} is not a file of partners", path.display())]
    Unreadable {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("the file cannot be written as TOML")]
    Unwritable(#[from] toml::ser::Error),
    #[error("there is a partner `{0}` already; `partners add-key` gives it another key")]
    Exists(String),
    #[error("there is no partner `{0}`")]
    NoPartner(String),
    #[error("`{0}` has two keys; take one away first")]
    TooManyKeys(String),
    #[error("there is no key `{0}`")]
    NoKey(String),
    #[error("nothing was written: with it the gateway would not start")]
    Refused(#[source] ConfigFaults),
    #[error("a key cannot be made")]
    Randomness(#[from] NoRandomness),
}

/// The file: a part of the gateway's configuration.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Book {
    partners: BTreeMap<String, Partner>,
    api_keys: Keys,
}

#[derive(Serialize, Deserialize)]
struct Partner {
    plan: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    id: String,
    owner: String,
    hash: String,
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

/// A key that its owner has to be given.
struct Handover {
    key_id: String,
    secret: String,
}

/// Runs the command. Exit codes: 0 when it is done, 64 when the configuration would be wrong, 1 for anything else.
pub(crate) fn main() -> ExitCode {
    let Group::Partners(action) = Arguments::parse().group;
    match run(action) {
        Ok(outcome) => {
            match outcome {
                Outcome::Made(Handover { key_id, secret }) => {
                    eprintln!("the key {key_id} follows; it is not shown again, and kept nowhere");
                    // Alone on standard output, so that it can be handed on without being shown.
                    println!("{secret}");
                }
                Outcome::Removed(key_id) => eprintln!("the key {key_id} is not accepted any more"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bff-public: {}", Chain(&error));
            match error {
                OnboardingError::Refused(_) => ExitCode::from(EXIT_CONFIG),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

enum Outcome {
    Made(Handover),
    /// The id of the key that is gone.
    Removed(String),
}

fn run(action: Action) -> Result<Outcome, OnboardingError> {
    match action {
        Action::Add(add) => {
            let mut book = Book::read(&add.files.file)?;
            if book.partners.contains_key(&add.id) {
                return Err(OnboardingError::Exists(add.id));
            }
            let attributes = [
                ("consumer", add.consumer),
                ("restaurant_ids", add.restaurants.join(" ")),
            ];
            let partner = Partner {
                plan: add.plan,
                attributes: attributes
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            };
            book.partners.insert(add.id.clone(), partner);
            handed_over(book, &add.id, add.key, &add.files)
        }
        Action::AddKey(add) => {
            let book = Book::read(&add.files.file)?;
            if !book.partners.contains_key(&add.id) {
                return Err(OnboardingError::NoPartner(add.id));
            }
            handed_over(book, &add.id, add.key, &add.files)
        }
        Action::RemoveKey(remove) => {
            let mut book = Book::read(&remove.files.file)?;
            let before = book.api_keys.keys.len();
            book.api_keys.keys.retain(|key| key.id != remove.key_id);
            if book.api_keys.keys.len() == before {
                return Err(OnboardingError::NoKey(remove.key_id));
            }
            book.write(&remove.files)?;
            Ok(Outcome::Removed(remove.key_id))
        }
    }
}

/// Adds a key for `owner`, and writes the book.
fn handed_over(
    mut book: Book,
    owner: &str,
    arguments: KeyArguments,
    files: &Files,
) -> Result<Outcome, OnboardingError> {
    let keys = &mut book.api_keys.keys;
    if keys.iter().filter(|key| key.owner == owner).count() >= MAX_KEYS {
        return Err(OnboardingError::TooManyKeys(owner.to_owned()));
    }
    let environment = match arguments.environment {
        For::Live => Environment::Live,
        For::Test => Environment::Test,
    };
    let made = api_key::generate(PREFIX, environment)?;
    // The first characters of the hash tell keys apart, and say nothing of them.
    let key_id = format!("{owner}-{}", &made.hash_hex[..8]);
    keys.push(Key {
        id: key_id.clone(),
        owner: owner.to_owned(),
        hash: format!("sha256:{}", made.hash_hex),
        scopes: arguments.scopes,
        attributes: BTreeMap::new(),
    });
    book.write(files)?;
    Ok(Outcome::Made(Handover {
        key_id,
        secret: made.secret,
    }))
}

impl Book {
    /// What is in the file; nothing when there is none.
    fn read(path: &Path) -> Result<Self, OnboardingError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(OnboardingError::File {
                    path: path.to_owned(),
                    verb: "read",
                    source,
                });
            }
        };
        toml::from_str(&text).map_err(|error| OnboardingError::Unreadable {
            path: path.to_owned(),
            source: Box::new(error),
        })
    }

    /// Puts the book in place of the file in one step, once it is clear that the gateway takes it.
    fn write(&self, files: &Files) -> Result<(), OnboardingError> {
        let text = format!("{HEADER}{}", toml::to_string(self)?);
        let draft = files.file.with_extension("draft");
        let failed = |verb| {
            let path = files.file.clone();
            move |source| OnboardingError::File { path, verb, source }
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed("written"))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed("written"))?;
        // The file may be among them, as it was: then the draft stands in its place.
        let mut configs: Vec<PathBuf> = files
            .config
            .iter()
            .filter(|path| **path != files.file)
            .cloned()
            .collect();
        configs.push(draft.clone());
        if let Err(faults) = config::from_files(&configs) {
            // A draft that stays is written over the next time.
            let _ = fs::remove_file(&draft);
            return Err(OnboardingError::Refused(faults));
        }
        fs::rename(&draft, &files.file).map_err(failed("replaced"))
    }
}

/// An error and its sources in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::path::PathBuf;

    use clap::Parser;
    use gateway_core::auth::api_key;

    use super::{Arguments, Book, Group, Handover, OnboardingError, Outcome, run};

    fn partners(arguments: &str, file: &std::path::Path) -> Result<Outcome, OnboardingError> {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/public.toml");
        let line = format!("bff-public partners {arguments}");
        let words = line.split_whitespace().map(PathBuf::from);
        let files = [
            "--file".into(),
            file.to_owned(),
            "--config".into(),
            config.into(),
        ];
        let Group::Partners(action) = Arguments::parse_from(words.chain(files)).group;
        run(action)
    }

    fn made(outcome: Result<Outcome, OnboardingError>) -> Handover {
        match outcome.unwrap() {
            Outcome::Made(handover) => handover,
            Outcome::Removed(_) => panic!("no key was made"),
        }
    }

    #[test]
    fn a_partner_is_added_with_one_key_and_gets_a_second_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("partners.toml");
        let add = "add acme --plan starter --consumer consumer-9 --restaurants r-1,r-2";
        let first = made(partners(add, &file));
        assert!(
            first.secret.starts_with("ftgo_live_") && api_key::has_valid_checksum(&first.secret)
        );
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first.secret));
        let book = Book::read(&file).unwrap();
        let partner = &book.partners["acme"];
        assert_eq!(partner.plan, "starter");
        assert_eq!(partner.attributes["consumer"], "consumer-9");
        assert_eq!(partner.attributes["restaurant_ids"], "r-1 r-2");

        assert!(matches!(
            partners(add, &file),
            Err(OnboardingError::Exists(_))
        ));
        let second = partners(
            "add-key acme --scopes orders:read --environment test",
            &file,
        );
        let second = made(second);
        assert!(second.secret.starts_with("ftgo_test_"));
        assert!(matches!(
            partners("add-key acme", &file),
            Err(OnboardingError::TooManyKeys(_))
        ));
        assert!(matches!(
            partners("add-key other", &file),
            Err(OnboardingError::NoPartner(_))
        ));

        partners(&format!("remove-key {}", first.key_id), &file).unwrap();
        let keys = Book::read(&file).unwrap().api_keys.keys;
        assert_eq!(
            keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
            [&second.key_id]
        );
        assert_eq!(keys[0].scopes, ["orders:read"]);
        let gone = partners(&format!("remove-key {}", first.key_id), &file);
        assert!(matches!(gone, Err(OnboardingError::NoKey(_))));
    }

    #[test]
    fn what_the_gateway_would_refuse_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("partners.toml");
        let refused = partners("add acme --plan golden --consumer consumer-9", &file);
        let Err(OnboardingError::Refused(faults)) = refused else {
            panic!("there is no such plan");
        };
        assert!(
            faults.to_string().contains("partners.acme.plan"),
            "{faults}"
        );
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
