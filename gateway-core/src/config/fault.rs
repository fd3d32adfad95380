//! What is wrong with a configuration: every fault with the path of its key, for one report.
//! Which faults there are is found in `config/raw.rs`, `config/load.rs` and `config/validate.rs`.

use std::fmt;

/// One fault: where it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ConfigFault {
    /// The key's path, for example `routes[2].methods[0]`, or `FILE:LINE:COLUMN` for text that is not TOML.
    pub path: String,
    /// What is wrong, in words for the person who wrote the file. Never contains a secret's value.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All faults of a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl ConfigFaults {
    pub(super) fn push(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigFault {
            path: path.into(),
            message: message.into(),
        });
    }

    /// Like `push`, unless a fault at or below `path` explains it already: a value that could not be read must not
    /// be reported as missing, too.
    pub(super) fn push_unless_explained(&mut self, path: &str, message: impl Into<String>) {
        if !self.explains(path) {
            self.push(path, message);
        }
    }

    pub(super) fn explains(&self, path: &str) -> bool {
        self.0.iter().any(|fault| {
            fault
                .path
                .strip_prefix(path)
                .is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

/// How to go on after an unknown name: the nearest known one, or all of them.
pub(super) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= name.chars().count().max(3) / 2 => {
            format!("did you mean `{candidate}`?")
        }
        Some(_) => format!("there are `{}`", known.join("`, `")),
        None => "there is none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigFaults, suggest};

    #[test]
    fn a_near_miss_names_the_key_that_was_meant() {
        let known = ["header_timeout", "max_headers", "address"];
        assert_eq!(
            suggest("header_timout", known),
            "did you mean `header_timeout`?"
        );
        assert_eq!(suggest("adress", known), "did you mean `address`?");
        assert_eq!(
            suggest("colour", known),
            "there are `header_timeout`, `max_headers`, `address`"
        );
        assert_eq!(suggest("colour", []), "there is none");
    }

    #[test]
    fn a_fault_explains_its_own_path_and_what_is_above_it() {
        let mut faults = ConfigFaults::default();
        faults.push("routes[1].access.scope", "unknown key");
        assert!(faults.explains("routes[1].access"));
        assert!(faults.explains("routes[1].access.scope"));
        assert!(!faults.explains("routes[1].acc"));
        assert!(!faults.explains("routes[1].access.scope.x"));
        assert!(!faults.explains("routes[10]"));
    }
}
