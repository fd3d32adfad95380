//! Whether configuration files have changed: folders are watched, contents compared. What follows from it is `reload.rs`.
//!
//! Editors and Kubernetes replace a file by renaming another one, or a symbolic link, over it: whoever watches the file
//! itself goes on watching the old one. So the folders are watched, of the links as well as of what they point to; and
//! since much can happen in a folder, only other contents count as a change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// A change has come to its end when nothing has happened for so long …
const QUIET: Duration = Duration::from_millis(200);
/// … or when it has gone on for so long.
const LONGEST: Duration = Duration::from_secs(2);

/// What stands in files, as far as it can be compared.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents(Vec<Result<[u8; 32], io::ErrorKind>>);

impl Contents {
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let digest = |path: &PathBuf| match fs::read(path) {
            Ok(bytes) => Ok(Sha256::digest(&bytes).into()),
            Err(error) => Err(error.kind()),
        };
        Self(files.iter().map(digest).collect())
    }
}

/// Watches the folders of files.
pub(super) struct Watch {
    /// None where the system has no way to watch files: then only signals reload.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    events: Arc<Notify>,
}

impl Watch {
    /// For a configuration from texts, nothing.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let events = Arc::new(Notify::new());
        if files.is_empty() {
            return Self {
                watcher: None,
                folders: BTreeSet::new(),
                events,
            };
        }
        let wake = Arc::clone(&events);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // That somebody reads a file, as we do, is no change; an error may hide one.
            if !matches!(
                event,
                Ok(Event {
                    kind: EventKind::Access(_),
                    ..
                })
            ) {
                wake.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "configuration files cannot be watched; SIGHUP reloads them");
            })
            .ok();
        Self {
            watcher,
            folders: BTreeSet::new(),
            events,
        }
    }

    /// Watches where `files` are now: links may point to another place than before.
    pub(super) fn look_at(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| folders_of(file)).collect();
        for gone in self.folders.difference(&wanted) {
            // It may not exist any more.
            let _ = watcher.unwatch(gone);
        }
        // Again for those that are known: a folder that was replaced has kept its name.
        self.folders = wanted;
        for folder in &self.folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "a folder of configuration files cannot be watched");
            }
        }
    }

    /// Waits until something has happened in a folder, and for it to come to its end.
    pub(super) async fn stirred(&self) {
        self.events.notified().await;
        let latest = Instant::now() + LONGEST;
        loop {
            tokio::select! {
                () = sleep_until(latest) => return,
                () = sleep(QUIET) => return,
                () = self.events.notified() => {}
            }
        }
    }
}

/// The folder of every name on the way from `file` to its contents: `x.toml` → `..data/x.toml` → `..2026_11/x.toml`.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    let mut folders = vec![parent(file)];
    if let Ok(real) = fs::canonicalize(file) {
        folders.push(parent(&real));
    }
    folders
}
