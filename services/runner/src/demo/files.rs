//! Where the demo keeps what it writes, all under one folder (`./.demo`). What is in the files is decided elsewhere.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file or folder of the demo that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{} can't be {verb}", path.display())]
    Unusable {
        path: PathBuf,
        verb: &'static str,
        source: io::Error,
    },
    #[error("another demo is using {}: end it first", .0.display())]
    InUse(PathBuf),
}

/// The demo's folder, ours alone until this is dropped.
pub(crate) struct Files {
    root: PathBuf,
    _lock: File,
}

impl Files {
    /// Makes the folders that are missing, and keeps other demos and `make clean-demo` away from them.
    pub(crate) fn create(root: &Path) -> Result<Files, FilesError> {
        let unusable = |path: &Path, verb| {
            let path = path.to_owned();
            move |source| FilesError::Unusable { path, verb, source }
        };
        fs::create_dir_all(root).map_err(unusable(root, "made"))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(unusable(&path, "made"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FilesError::InUse(root.to_owned())),
            Err(TryLockError::Error(source)) => return Err(unusable(&path, "locked")(source)),
        }
        let files = Files {
            root: root.to_owned(),
            _lock: lock,
        };
        for folder in [files.databases(), files.logs()] {
            fs::create_dir_all(&folder).map_err(unusable(&folder, "made"))?;
        }
        Ok(files)
    }

    /// One file for each service.
    pub(crate) fn databases(&self) -> PathBuf {
        self.root.join("data")
    }

    /// What was seeded into these databases; beside them, so that it goes when they go.
    pub(crate) fn seed_marker(&self) -> PathBuf {
        self.databases().join("seed.json")
    }

    /// What a BFF keeps over a restart.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.databases().join(format!("{name}.db"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The partners' API keys, for people.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    /// The same keys' hashes, for bff-public.
    pub(crate) fn public_keys(&self) -> PathBuf {
        self.root.join("public-keys.toml")
    }

    /// The key by which the BFFs tell the services who is calling.
    pub(crate) fn gateway_key(&self) -> PathBuf {
        self.root.join("gateway-key.pem")
    }

    /// What bff-web shows over TLS: the certificate, for whoever is to believe it.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.root.join("tls.crt")
    }

    pub(crate) fn certificate_key(&self) -> PathBuf {
        self.root.join("tls.key")
    }

    /// Where bff-web reads of the two.
    pub(crate) fn tls_config(&self) -> PathBuf {
        self.root.join("tls.toml")
    }

    /// A bearer token, for the curl lines.
    pub(crate) fn token(&self) -> PathBuf {
        self.root.join("token")
    }
}

/// Replaces a file that only its owner may read, in one step: a crash leaves the old or the new one.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<(), FilesError> {
    let failed = |source| FilesError::Unusable {
        path: path.to_owned(),
        verb: "written",
        source,
    };
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed)?;
    // A draft left by a crash keeps its mode when it is opened again.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(content.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path))
        .map_err(failed)
}

/// Takes a file away, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), FilesError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| FilesError::Unusable {
            path: path.to_owned(),
            verb: "removed",
            source,
        }),
    }
}

/// The file's text, or nothing when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FilesError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FilesError::Unusable {
            path: path.to_owned(),
            verb: "read",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::os::unix::fs::PermissionsExt;

    use super::{Files, FilesError, read, write_private};

    #[test]
    fn a_folder_serves_one_demo_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(folder.path()).unwrap();
        assert!(matches!(
            Files::create(folder.path()),
            Err(FilesError::InUse(_))
        ));
        drop(files);
        Files::create(folder.path()).unwrap();
    }

    #[test]
    fn a_private_file_is_readable_by_its_owner_only_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(&folder.path().join("demo")).unwrap();
        assert_eq!(read(&files.keys()).unwrap(), None);

        write_private(&files.keys(), "a longer first text").unwrap();
        write_private(&files.keys(), "short").unwrap();

        assert_eq!(read(&files.keys()).unwrap().as_deref(), Some("short"));
        let mode = std::fs::metadata(files.keys())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
