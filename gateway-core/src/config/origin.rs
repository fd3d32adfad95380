//! Where a configuration came from, and how it is shown to operators: as in the file, with every default, without secrets.
//! Who shows it is `admin.rs`.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};

use super::environment::Environment;
use super::raw::RawConfig;

/// What stands in place of a secret.
const REDACTED: &str = "(redacted)";

/// Keys whose texts are secrets wherever they stand. The types leave theirs out already; this holds for the next one.
const SECRETS: [&str; 9] = [
    "key",
    "client_secret",
    "secret",
    "password",
    "passphrase",
    "private_key",
    "token",
    "credentials",
    "hash",
];

/// What of `[server]` a reload takes over. Everything else of it belongs to sockets, threads and open connections.
const RELOADED: [&str; 6] = [
    "trusted_proxies",
    "max_requests",
    "max_wait",
    "max_uri",
    "max_body",
    "lame_duck",
];

/// Tables that are only read at the start.
const AT_START: [&str; 5] = ["admin", "log", "tracing", "store", "webhooks"];

/// The same, of tables that may be absent: compared as a whole.
const WHOLE_AT_START: [&str; 2] = ["redis", "session"];

/// The files of a configuration, and what may be seen of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// In the order in which they were merged; none for a configuration from texts.
    pub(crate) files: Vec<PathBuf>,
    /// What `VAR_FILE` variables name, and keys for the names of files with secrets.
    pub(crate) secret_files: Vec<PathBuf>,
    /// The whole configuration in the shape of the file, secrets redacted.
    pub(crate) shown: Value,
}

/// A value that was changed in the files, and has no effect before the process starts again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct NeedsRestart {
    /// The key's path, for example `server.address`.
    pub(crate) key: String,
    pub(crate) running: Value,
    pub(crate) configured: Value,
}

impl Origin {
    pub(super) fn new(files: Vec<PathBuf>, raw: &RawConfig, environment: &Environment<'_>) -> Self {
        // The types are strings, numbers, lists and maps with text keys: this cannot fail.
        let mut shown = serde_json::to_value(raw).unwrap_or_default();
        redact(&mut shown, environment);
        if let Value::Object(tables) = &mut shown {
            // A rate limit's `key` says what it counts by.
            let limits = serde_json::to_value(&raw.rate_limits).unwrap_or_default();
            tables.insert("rate_limits".to_owned(), limits);
        }
        // And the key of a certificate where it is.
        let file = raw.server.tls.as_ref().and_then(|tls| tls.key.as_ref());
        if let (Some(file), Some(value)) = (file, shown.pointer_mut("/server/tls/key")) {
            *value = environment.hide(&file.display().to_string()).into();
        }
        Self {
            files,
            secret_files: environment.files(),
            shown,
        }
    }

    /// A file that is named by a key, and not by a variable.
    pub(super) fn add_secret_file(&mut self, file: PathBuf) {
        if !self.secret_files.contains(&file) {
            self.secret_files.push(file);
        }
    }

    /// What of `running` cannot be replaced without a restart and differs here; it is shown as it runs.
    pub(crate) fn keep_running(&mut self, running: &Self) -> Vec<NeedsRestart> {
        let mut kept = Vec::new();
        for table in AT_START.iter().chain(std::iter::once(&"server")) {
            let (Some(Value::Object(configured)), Some(Value::Object(running))) =
                (self.shown.get_mut(table), running.shown.get(table))
            else {
                continue;
            };
            keep_table(table, configured, running, &mut kept);
        }
        for table in WHOLE_AT_START {
            if let (Some(configured), Some(running)) =
                (self.shown.get_mut(table), running.shown.get(table))
                && configured != running
            {
                kept.push(NeedsRestart {
                    key: table.to_owned(),
                    running: running.clone(),
                    configured: std::mem::replace(configured, running.clone()),
                });
            }
        }
        kept
    }
}

fn keep_table(
    table: &str,
    configured: &mut Map<String, Value>,
    running: &Map<String, Value>,
    kept: &mut Vec<NeedsRestart>,
) {
    for (key, value) in configured {
        let reloaded = match table {
            "server" => RELOADED.contains(&key.as_str()),
            "tracing" => key == "sample",
            _ => false,
        };
        let Some(running) = running.get(key).filter(|running| *running != value) else {
            continue;
        };
        if !reloaded {
            kept.push(NeedsRestart {
                key: format!("{table}.{key}"),
                running: running.clone(),
                configured: std::mem::replace(value, running.clone()),
            });
        }
    }
}

fn redact(value: &mut Value, environment: &Environment<'_>) {
    match value {
        Value::String(text) => *text = shown(text, environment),
        Value::Array(elements) => {
            for element in elements {
                redact(element, environment);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                if member.is_string() && SECRETS.contains(&key.as_str()) {
                    *member = REDACTED.into();
                } else {
                    redact(member, environment);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Addresses are shown, whatever they came from, without what they know to get in. Of other texts, what came from the
/// environment is shown as the variable: nobody knows what it is.
fn shown(text: &str, environment: &Environment<'_>) -> String {
    if text.parse::<SocketAddr>().is_ok() {
        return text.to_owned();
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && text.parse::<Uri>().is_ok()
    {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => format!("{REDACTED}@{host}"),
            None => authority.to_owned(),
        };
        return environment.hide_files(&format!("{scheme}://{host}{path}"));
    }
    environment.hide(text)
}

#[cfg(test)]
mod tests {
    use super::shown;
    use crate::config::environment::Environment;

    #[test]
    fn addresses_are_shown_and_what_opens_them_is_not() {
        let variable = |name: &str| match name {
            "PASSWORD" => Some("correct-horse".to_owned()),
            "URL" => Some("http://10.0.0.7:8101".to_owned()),
            _ => None,
        };
        let environment = Environment::new(&variable);
        for name in ["PASSWORD", "URL"] {
            assert!(environment.get(name).is_ok_and(|value| value.is_some()));
        }
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://10.0.0.7:8101", "http://10.0.0.7:8101"),
            (
                "redis://user:correct-horse@10.0.0.8:6379/0?password=x",
                "redis://(redacted)@10.0.0.8:6379/0",
            ),
            ("Basic correct-horse", "Basic ${PASSWORD}"),
            ("orders", "orders"),
        ] {
            assert_eq!(shown(text, &environment), expected);
        }
    }
}
