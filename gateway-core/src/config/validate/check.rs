//! The checks that several tables share, each reporting to the same list of faults.
//! Which key gets which check is decided in `config/validate.rs`.

use std::time::Duration;

use http::Uri;

use crate::config::fault::ConfigFaults;
use crate::config::raw::{Size, Text, element};

pub(super) struct Check<'a> {
    pub(super) faults: &'a mut ConfigFaults,
}

impl Check<'_> {
    pub(super) fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(path, message);
    }

    pub(super) fn that(&mut self, holds: bool, path: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.faults.push_unless_explained(path, message());
        }
    }

    pub(super) fn missing(&mut self, path: &str) {
        self.faults.push_unless_explained(path, "is required");
    }

    /// A text that has to be there and not to be empty; empty when it is at fault.
    pub(super) fn required(&mut self, text: Option<String>, path: &str) -> String {
        let text = text.unwrap_or_default();
        if text.is_empty() {
            self.missing(path);
        }
        text
    }

    pub(super) fn positive(&mut self, duration: Text<Duration>, path: &str) -> Duration {
        self.that(!duration.0.is_zero(), path, || {
            "has to be more than zero".to_owned()
        });
        duration.0
    }

    pub(super) fn at_least_one(&mut self, number: usize, path: &str) -> usize {
        self.that(number >= 1, path, || "has to be at least 1".to_owned());
        number
    }

    /// A size above zero that is held in memory.
    pub(super) fn bytes(&mut self, size: Text<Size>, path: &str) -> usize {
        let bytes = usize::try_from(size.0.0).unwrap_or(0);
        self.that(bytes > 0, path, || "has to be at least 1B".to_owned());
        bytes
    }

    pub(super) fn not_empty<T>(&mut self, list: &[T], path: &str, message: &str) {
        self.that(!list.is_empty(), path, || message.to_owned());
    }

    /// Words of a space-separated list, as scopes are.
    pub(super) fn words(&mut self, words: &[String], path: &str) {
        for (index, word) in words.iter().enumerate() {
            self.that(
                !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control()),
                &element(path, index),
                || "has to be a word without spaces".to_owned(),
            );
        }
    }

    /// The name of a thing that is referred to: it ends up in headers, metrics and logs.
    pub(super) fn name(&mut self, name: &str, path: &str) {
        self.that(is_name(name), path, || {
            format!("`{name}` is not a name; use lower-case letters, digits, `-` and `_`")
        });
    }

    pub(super) fn no_credentials(&mut self, url: &Uri, path: &str) {
        let credentials = url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        self.that(!credentials, path, || {
            "contains credentials; they would end up in logs".to_owned()
        });
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        })
}
