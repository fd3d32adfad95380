//! `bff-public partners …`: who the partners are and which keys they have, in a file of its own that is merged over the
//! configuration. A gateway at work takes the file over by itself. What a key looks like is gateway-core's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway_core::auth::api_key::{self, Environment, NoRandomness};
use gateway_core::config::{self, ConfigFaults, EXIT_CONFIG};
use gateway_core::problem::chain;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::partner::{CONSUMER, RESTAURANTS};

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
        default_value = "orders:read,orders:write,restaurants:read,menus:write,webhooks:write"
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
    #[error("{} cannot be understood", path.display())]
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
    #[error("{} has keys, too: of two lists the gateway takes the later one alone; move them into the file of partners", .0.display())]
    KeysElsewhere(PathBuf),
    #[error("there is a partner `{id}` in {}, too", path.display())]
    PartnerElsewhere { id: String, path: PathBuf },
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
                    eprintln!(
                        "the key {key_id} follows; it is not shown again, and kept nowhere; it is accepted once the gateway \
                         has read the file"
                    );
                    // Alone on standard output, so that it can be handed on without being shown.
                    println!("{secret}");
                }
                Outcome::Removed(key_id) => {
                    eprintln!(
                        "the key {key_id} is not accepted any more once the gateway has read the file"
                    );
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bff-public: {}", chain(&error));
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
            let place = Place::take(&add.files)?;
            let mut book = place.read()?;
            if book.partners.contains_key(&add.id) {
                return Err(OnboardingError::Exists(add.id));
            }
            let attributes = [
                (CONSUMER, add.consumer),
                (RESTAURANTS, add.restaurants.join(" ")),
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
            handed_over(book, &add.id, add.key, &place)
        }
        Action::AddKey(add) => {
            let place = Place::take(&add.files)?;
            let book = place.read()?;
            if !book.partners.contains_key(&add.id) {
                return Err(OnboardingError::NoPartner(add.id));
            }
            handed_over(book, &add.id, add.key, &place)
        }
        Action::RemoveKey(remove) => {
            let place = Place::take(&remove.files)?;
            let mut book = place.read()?;
            let before = book.api_keys.keys.len();
            book.api_keys.keys.retain(|key| key.id != remove.key_id);
            if book.api_keys.keys.len() == before {
                return Err(OnboardingError::NoKey(remove.key_id));
            }
            place.write(&book)?;
            Ok(Outcome::Removed(remove.key_id))
        }
    }
}

/// Adds a key for `owner`, and writes the book.
fn handed_over(
    mut book: Book,
    owner: &str,
    arguments: KeyArguments,
    place: &Place,
) -> Result<Outcome, OnboardingError> {
    place.is_nowhere_else(owner)?;
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
    place.write(&book)?;
    Ok(Outcome::Made(Handover {
        key_id,
        secret: made.secret,
    }))
}

/// The file of partners, and the configuration around it. Nobody else who runs this command changes it meanwhile.
struct Place {
    /// Where a symbolic link leads to: it is not the link that is replaced.
    file: PathBuf,
    /// All files of the configuration in their order; the file of partners is not read from here.
    config: Vec<PathBuf>,
    /// The folder, locked until this is dropped. Whoever may write there can, and nothing stays behind.
    folder: File,
}

impl Place {
    fn take(files: &Files) -> Result<Self, OnboardingError> {
        let file = resolved(&files.file);
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let failed = |source| OnboardingError::File {
            path: folder.to_owned(),
            verb: "locked",
            source,
        };
        let held = File::open(folder).map_err(failed)?;
        held.lock().map_err(failed)?;
        let place = Self {
            file,
            config: files.config.iter().map(|path| resolved(path)).collect(),
            folder: held,
        };
        for (path, table) in place.others()? {
            let keys = table.get("api_keys").and_then(|keys| keys.get("keys"));
            if keys.is_some() {
                return Err(OnboardingError::KeysElsewhere(path.to_owned()));
            }
        }
        Ok(place)
    }

    /// The files of the configuration beside the file of partners.
    fn others(&self) -> Result<Vec<(&Path, Table)>, OnboardingError> {
        let others = self.config.iter().filter(|path| **path != self.file);
        others
            .map(|path| Ok((path.as_path(), read(path)?.unwrap_or_default())))
            .collect()
    }

    /// Tables are merged: the partner of another file would be another one, or the same with other attributes.
    fn is_nowhere_else(&self, partner: &str) -> Result<(), OnboardingError> {
        for (path, table) in self.others()? {
            let partners = table.get("partners");
            if partners.and_then(|all| all.get(partner)).is_some() {
                return Err(OnboardingError::PartnerElsewhere {
                    id: partner.to_owned(),
                    path: path.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What is in the file; nothing when there is none.
    fn read(&self) -> Result<Book, OnboardingError> {
        Ok(read(&self.file)?.unwrap_or_default())
    }

    /// Puts the book in place of the file in one step, once it is clear that the gateway takes it.
    fn write(&self, book: &Book) -> Result<(), OnboardingError> {
        let text = format!("{HEADER}{}", toml::to_string(book)?);
        let draft = self.file.with_extension("draft");
        let done = self.write_draft(&draft, &text).and_then(|()| {
            fs::rename(&draft, &self.file)
                .and_then(|()| self.folder.sync_all())
                .map_err(self.failed("replaced"))
        });
        if done.is_err() {
            // A draft that stays is written anew the next time.
            let _ = fs::remove_file(&draft);
        }
        done
    }

    fn write_draft(&self, draft: &Path, text: &str) -> Result<(), OnboardingError> {
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("written")(error));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(draft)
            .map_err(self.failed("written"))?;
        file.write_all(text.as_bytes())
            .map_err(self.failed("written"))?;
        self.hand_on(&file)
            .map_err(self.failed("replaced by one with the same owner and mode"))?;
        file.sync_all().map_err(self.failed("written"))?;
        // The draft stands where the file does; last, when it is not among them yet.
        let mut configs = self.config.clone();
        match configs.iter_mut().find(|path| **path == self.file) {
            Some(place) => draft.clone_into(place),
            None => configs.push(draft.to_owned()),
        }
        config::from_files(&configs)
            .map(drop)
            .map_err(OnboardingError::Refused)
    }

    /// Gives the new file the owner and the mode of the one that it replaces: whoever reads that one has to be able to read this one.
    fn hand_on(&self, new: &File) -> io::Result<()> {
        let old = match fs::metadata(&self.file) {
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
    }

    fn failed(&self, verb: &'static str) -> impl Fn(io::Error) -> OnboardingError {
        let path = self.file.clone();
        move |source| OnboardingError::File {
            path: path.clone(),
            verb,
            source,
        }
    }
}

/// Where a path leads to, if there is something.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// `None` when there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, OnboardingError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(OnboardingError::File {
                path: path.to_owned(),
                verb: "read",
                source,
            });
        }
    };
    let read = toml::from_str(&text).map_err(|error| OnboardingError::Unreadable {
        path: path.to_owned(),
        source: Box::new(error),
    });
    read.map(Some)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::path::PathBuf;

    use clap::Parser;
    use gateway_core::auth::api_key;

    use super::{Arguments, Book, Group, Handover, OnboardingError, Outcome, read, run};

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
        let book: Book = read(&file).unwrap().unwrap();
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
        let keys = read::<Book>(&file).unwrap().unwrap().api_keys.keys;
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
