//! What configuration files take from the environment: `${VAR}`, or the content of the file that `VAR_FILE` names.
//! Where in a text it goes is `config/load.rs`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Shorter values are not looked for in other texts: they would be found everywhere.
const SHORTEST_HIDDEN: usize = 6;

/// The environment, and a note of everything that was taken from it.
pub(super) struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    taken: RefCell<Taken>,
}

/// What was taken, so that it can be kept out of faults and of `/config`.
#[derive(Default)]
struct Taken {
    /// By the variable's name.
    values: BTreeMap<String, Value>,
    files: Vec<PathBuf>,
}

struct Value {
    text: String,
    from_file: bool,
}

impl<'a> Environment<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variable,
            taken: RefCell::default(),
        }
    }

    /// The value of `name`, or the content of the file that `{name}_FILE` names, without the white space around it. What
    /// is empty counts as not set, as for a shell's `:-`.
    ///
    /// # Errors
    /// When the file cannot be read or is empty: a message that names it, never its content.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, String> {
        let variable = |name: &str| (self.variable)(name).filter(|value| !value.is_empty());
        if let Some(text) = variable(name) {
            self.note(name, &text, false);
            return Ok(Some(text));
        }
        let Some(path) = variable(&format!("{name}_FILE")) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let read = fs::read_to_string(&path);
        self.taken.borrow_mut().files.push(path.clone());
        let text = read.map_err(|error| {
            format!(
                "`{name}_FILE` names {}, which cannot be read: {error}",
                path.display()
            )
        })?;
        let text = text.trim();
        if text.is_empty() {
            return Err(format!(
                "`{name}_FILE` names {}, which is empty",
                path.display()
            ));
        }
        self.note(name, text, true);
        Ok(Some(text.to_owned()))
    }

    fn note(&self, name: &str, text: &str, from_file: bool) {
        self.taken.borrow_mut().values.insert(
            name.to_owned(),
            Value {
                text: text.to_owned(),
                from_file,
            },
        );
    }

    /// The files that were read, for whoever watches them.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.taken.borrow().files.clone();
        files.sort();
        files.dedup();
        files
    }

    /// `text` with everything that came from the environment replaced by its variable again.
    pub(super) fn hide(&self, text: &str) -> String {
        self.hidden(text, |_| true)
    }

    /// The same for what came from files alone: these are secrets.
    pub(super) fn hide_files(&self, text: &str) -> String {
        self.hidden(text, |value| value.from_file)
    }

    fn hidden(&self, text: &str, which: impl Fn(&Value) -> bool) -> String {
        let taken = self.taken.borrow();
        let mut values: Vec<(&String, &Value)> = taken
            .values
            .iter()
            .filter(|(_, value)| which(value))
            .collect();
        // The longest first: one value can be a part of another.
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.text.len()));
        let mut hidden = text.to_owned();
        for (name, value) in values {
            let whole = hidden == value.text;
            if whole || value.text.len() >= SHORTEST_HIDDEN {
                hidden = hidden.replace(&value.text, &format!("${{{name}}}"));
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::Environment;

    #[test]
    fn a_file_stands_in_for_a_variable_that_is_not_set() {
        let folder = std::env::temp_dir().join(format!("environment-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("secret");
        std::fs::write(&path, "  from-a-file\n").unwrap();
        let empty = folder.join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let variable = |name: &str| match name {
            "BOTH" => Some("from-the-variable".to_owned()),
            "BOTH_FILE" | "SECRET_FILE" => Some(path.display().to_string()),
            "EMPTY_FILE" => Some(empty.display().to_string()),
            "GONE_FILE" => Some("/nowhere/at-all".to_owned()),
            _ => None,
        };
        let environment = Environment::new(&variable);
        assert_eq!(
            environment.get("SECRET"),
            Ok(Some("from-a-file".to_owned()))
        );
        assert_eq!(
            environment.get("BOTH"),
            Ok(Some("from-the-variable".to_owned()))
        );
        assert_eq!(environment.get("NEITHER"), Ok(None));
        assert!(environment.get("EMPTY").unwrap_err().contains("is empty"));
        assert!(
            environment
                .get("GONE")
                .unwrap_err()
                .contains("cannot be read")
        );
        assert_eq!(
            environment.hide("x from-a-file from-the-variable"),
            "x ${SECRET} ${BOTH}"
        );
        assert_eq!(
            environment.hide_files("from-a-file from-the-variable"),
            "${SECRET} from-the-variable"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
