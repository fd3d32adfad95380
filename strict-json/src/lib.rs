//! Reads a JSON text into a type, and says what is wrong and where in words for whoever sent it: used by the gateways and by
//! the services alike. It knows no HTTP; what a fault becomes is its caller's to say.

mod strict;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::{Path, Segment};

use strict::Strict;

/// Why a text could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Lines and columns are counted from 1, columns in bytes.
    #[error("no UTF-8 at line {line} column {column}")]
    NotUtf8 { line: usize, column: usize },
    #[error("no JSON")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but not of the type's shape. `pointer` is a JSON Pointer (RFC 6901).
    #[error("{pointer}: {detail}")]
    Misfit { pointer: String, detail: String },
}

/// Reads all of `text`.
///
/// # Errors
/// The first fault; syntax comes before shape, since it has to be mended first.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Fault> {
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(&text[..error.valid_up_to()]))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let misfit = match serde_path_to_error::deserialize(Strict::new(&mut deserializer)) {
        Ok(value) => {
            deserializer.end().map_err(Fault::Syntax)?;
            return Ok(value);
        }
        Err(misfit) => misfit,
    };
    // What does not fit may be followed by what is no JSON at all.
    serde_json::from_str::<IgnoredAny>(text).map_err(Fault::Syntax)?;
    Err(Fault::Misfit {
        pointer: pointer(misfit.path()),
        detail: without_position(misfit.inner()),
    })
}

fn not_utf8(before: &[u8]) -> Fault {
    let line_start = before.iter().rposition(|byte| *byte == b'\n');
    Fault::NotUtf8 {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: before.len() - line_start.map_or(0, |at| at + 1) + 1,
    }
}

/// serde_json ends its message with the position; the pointer says it better.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // Better the place around it than one that is not there.
            Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Widget {
        #[serde(rename = "a/b~c")]
        size: u8,
    }

    #[test]
    fn faults_say_where() {
        let fault = |text: &[u8]| from_slice::<Vec<Widget>>(text).unwrap_err();
        assert_eq!(
            from_slice::<Vec<Widget>>(br#"[{"a/b~c":1}]"#).unwrap()[0].size,
            1
        );
        assert!(
            matches!(fault(br#"[{"a/b~c":"x"}]"#), Fault::Misfit { pointer, .. } if pointer == "/0/a~1b~0c")
        );
        // Positions are not names.
        assert!(matches!(fault(b"[[1]]"), Fault::Misfit { pointer, .. } if pointer == "/0"));
        // What has to be mended first.
        assert!(matches!(fault(b"[7, x"), Fault::Syntax(error) if error.column() == 5));
        assert!(matches!(fault(b"[] []"), Fault::Syntax(_)));
        assert!(matches!(
            fault(b"[\n \xff"),
            Fault::NotUtf8 { line: 2, column: 2 }
        ));
    }
}
