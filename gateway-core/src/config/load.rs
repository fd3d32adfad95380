//! From files to a `Config`: several TOML files merged in order, `${VAR}` taken from the environment, everything checked.
//! The only place that reads configuration files and the environment; what the keys mean is in `config/raw.rs`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use toml::{Table, Value};

use super::Config;
use super::environment::Environment;
use super::fault::ConfigFaults;
use super::origin::Origin;
use super::raw::{self, RawInternalToken, Tree};
use super::validate::validate;
use crate::graphql::{Persisted, TrustedDocuments};

/// Reads the files in order: tables are merged, any other value of a later file replaces the earlier one (a list as a
/// whole). Strings may contain `${VAR}` or `${VAR:-default}`; `$${` is a literal `${`. When `VAR` is not set and `VAR_FILE`
/// is, the content of that file is taken, without the white space around it.
///
/// # Errors
/// All faults at once: files that cannot be read or are not TOML, or else everything that is wrong with their keys.
pub fn from_files(paths: &[PathBuf]) -> Result<Config, ConfigFaults> {
    let mut faults = ConfigFaults::default();
    let mut tables = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => tables.extend(parse(&name, &text, &mut faults)),
            Err(error) => faults.push(name, format!("cannot be read: {error}")),
        }
    }
    if paths.is_empty() {
        faults.push("--config", "no configuration file was named");
    }
    let mut config = from_tables(tables, faults, &|name| std::env::var(name).ok())?;
    config.origin.files = paths.to_vec();
    Ok(config)
}

/// The same from texts, for tests and embedding.
///
/// # Errors
/// As `from_files`; a text is named `text 1`, `text 2` …
pub fn from_text(texts: &[&str]) -> Result<Config, ConfigFaults> {
    from_text_in(texts, &|name| std::env::var(name).ok())
}

/// `from_text` in an environment of the caller's.
pub(super) fn from_text_in(
    texts: &[&str],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigFaults> {
    let mut faults = ConfigFaults::default();
    let mut tables = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        tables.extend(parse(&format!("text {}", index + 1), text, &mut faults));
    }
    from_tables(tables, faults, environment)
}

fn from_tables(
    tables: Vec<Table>,
    mut faults: ConfigFaults,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigFaults> {
    // With a file missing from the merge most of what follows would be a consequence, not a fault.
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut merged = Table::new();
    for table in tables {
        merge(&mut merged, table);
    }
    let environment = Environment::new(environment);
    let mut document = Tree::from(Value::Table(merged));
    document.replace_strings(&|text| substitute(text, &environment), &mut faults);
    let mut raw = raw::read(document, &mut faults);
    read_key_file(&mut raw.internal_token, &mut faults);
    let mut origin = Origin::new(Vec::new(), &raw, &environment);
    if !raw.internal_token.key_file.is_empty() {
        origin.add_secret_file(PathBuf::from(&raw.internal_token.key_file));
    }
    let trusted = raw.graphql.trusted_documents.clone();
    let mut config = validate(raw, &mut faults);
    if let Persisted::Trusted(documents) = &mut config.graphql.persisted
        && !trusted.is_empty()
    {
        *documents = Arc::new(read_trusted_documents(&trusted, &mut faults));
        origin.add_secret_file(PathBuf::from(trusted));
    }
    if faults.is_empty() {
        config.origin = origin;
        Ok(config)
    } else {
        // A secret that stands where none belongs is still one.
        for fault in &mut faults.0 {
            fault.message = environment.hide(&fault.message);
        }
        Err(faults)
    }
}

/// Puts the key in place of the name of its file. An empty text is as good as none: `${VAR:-}` stands for "if there is".
fn read_key_file(raw: &mut RawInternalToken, faults: &mut ConfigFaults) {
    const AT: &str = "internal_token.key_file";
    if raw.key_file.is_empty() {
        return;
    }
    if !raw.key.is_empty() {
        faults.push(AT, "there is a `key`, too; write one of them");
        return;
    }
    match fs::read_to_string(&raw.key_file) {
        Ok(key) if key.trim().is_empty() => faults.push(AT, "the file is empty"),
        Ok(key) => raw.key = key,
        Err(error) => faults.push(AT, format!("cannot be read: {error}")),
    }
}

/// `{"sha256:<64 hexadecimal digits>": "query …"}`; the prefix may be left out.
fn read_trusted_documents(file: &str, faults: &mut ConfigFaults) -> TrustedDocuments {
    const AT: &str = "graphql.trusted_documents";
    let read = fs::read(file)
        .map_err(|error| error.to_string())
        .and_then(|text| TrustedDocuments::parse(&text).map_err(|error| error.to_string()));
    read.unwrap_or_else(|error| {
        faults.push(AT, format!("cannot be read: {error}"));
        TrustedDocuments::default()
    })
}

fn parse(name: &str, text: &str, faults: &mut ConfigFaults) -> Option<Table> {
    match text.parse::<Table>() {
        Ok(table) => Some(table),
        Err(error) => {
            let path = match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or(text);
                    let line = before.matches('\n').count() + 1;
                    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                    format!("{name}:{line}:{column}")
                }
                None => name.to_owned(),
            };
            // One line a fault, also when the parser says more.
            faults.push(path, error.message().replace('\n', ", "));
            None
        }
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Fills in `${VAR}` and `${VAR:-default}`. What a variable contains is taken as it is, never expanded again.
fn substitute(text: &str, environment: &Environment<'_>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        result.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err("`${` without a closing `}`; write `$${` for the text itself".to_owned());
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable_name(name) {
            return Err(format!(
                "`{name}` is not the name of an environment variable"
            ));
        }
        // As in a shell, `:-` also stands in for a variable that is empty.
        match (environment.get(name)?, default) {
            (Some(value), _) => result.push_str(&value),
            (None, Some(default)) => result.push_str(default),
            (None, None) => {
                return Err(format!("the environment variable `{name}` is not set"));
            }
        }
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Environment, substitute};

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.7".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_once() {
        for (text, expected) in [
            ("plain $5", "plain $5"),
            ("http://${HOST}:80/${HOST}", "http://10.0.0.7:80/10.0.0.7"),
            ("${MISSING:-http://127.0.0.1:1}", "http://127.0.0.1:1"),
            ("${HOST:-other}", "10.0.0.7"),
            ("${EMPTY:-full}", "full"),
            ("${MISSING:-}", ""),
            ("${NESTED}", "${HOST}"),
            ("$${HOST}", "${HOST}"),
        ] {
            assert_eq!(
                substitute(text, &Environment::new(&environment)).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn a_variable_that_is_not_there_is_a_fault() {
        for (text, expected) in [
            (
                "${MISSING}",
                "the environment variable `MISSING` is not set",
            ),
            ("${EMPTY}", "the environment variable `EMPTY` is not set"),
            (
                "${HOST",
                "`${` without a closing `}`; write `$${` for the text itself",
            ),
            ("${1X}", "`1X` is not the name of an environment variable"),
            ("${}", "`` is not the name of an environment variable"),
        ] {
            assert_eq!(
                substitute(text, &Environment::new(&environment)),
                Err(expected.to_owned()),
                "{text}"
            );
        }
    }
}
