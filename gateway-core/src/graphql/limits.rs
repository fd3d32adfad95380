//! What one document may cost, and when that is looked at: its text before it is parsed, its selections before any rule of
//! the schema is applied to them. What fields weigh is the schema's to say (complexity), and counted by async-graphql.
//!
//! async-graphql walks a document's fragments again for every spread before it counts anything, so that a page of text
//! can keep it busy for years: nothing reaches it that has not been counted here.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Name, Positioned, ServerError};

use super::error::coded;

/// What a document may cost, and what it may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nested fields.
    pub depth: usize,
    /// Fields, weighted by the schema: a list counts its page size times its element's fields.
    pub complexity: usize,
    /// Directives on one field or fragment.
    pub directives: usize,
    /// Fields with another name than their own, in the whole document.
    pub aliases: usize,
    /// Bytes of the document's text.
    pub bytes: usize,
    /// Words, numbers, strings, signs and comments of the document's text.
    pub tokens: usize,
    /// Requests in one HTTP request; 0 = only one, and not in a list.
    pub batch: usize,
    /// Whether documents may ask for the schema itself, and whether errors suggest names from it.
    pub introspection: bool,
}

impl Default for Limits {
    /// Ample for a screen and for the introspection of tools (15 levels), and closed to the curious.
    fn default() -> Self {
        Self {
            depth: 16,
            complexity: 5_000,
            directives: 8,
            aliases: 50,
            bytes: 32 << 10,
            tokens: 2_000,
            batch: 0,
            introspection: false,
        }
    }
}

/// Brackets in one another: the parser calls itself for each.
const NESTING: usize = 100;

/// Refuses a text that is too long or too nested to be parsed. Otherwise how many tokens it has.
pub(super) fn check_text(text: &str, limits: &Limits) -> Result<usize, ServerError> {
    if text.len() > limits.bytes {
        return Err(coded(
            "DOCUMENT_TOO_LARGE",
            format!("The document has more than {} bytes.", limits.bytes),
        ));
    }
    let mut tokens = 0;
    let mut nesting: usize = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        at += match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                at += 1;
                continue;
            }
            // It says nothing, but the parser has to get past it.
            b'#' => memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()),
            b'"' => string(rest),
            b'{' | b'[' | b'(' => {
                nesting += 1;
                1
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                1
            }
            byte if is_word(*byte) => rest
                .iter()
                .position(|byte| !is_word(*byte))
                .unwrap_or(rest.len()),
            _ => 1,
        };
        tokens += 1;
        if tokens > limits.tokens {
            return Err(coded(
                "TOKEN_LIMIT_EXCEEDED",
                format!("The document has more than {} tokens.", limits.tokens),
            ));
        }
        if nesting > NESTING {
            return Err(too_deep(limits));
        }
    }
    Ok(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of a string, in quotes or in three of them; to the end of the text when it does not end.
fn string(text: &[u8]) -> usize {
    let (mut at, end): (usize, &[u8]) = if text.starts_with(b"\"\"\"") {
        (3, b"\"\"\"")
    } else {
        (1, b"\"")
    };
    while at < text.len() {
        if text[at..].starts_with(end) {
            return at + end.len();
        }
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    text.len()
}

fn too_deep(limits: &Limits) -> ServerError {
    coded(
        "DEPTH_LIMIT_EXCEEDED",
        format!(
            "The document is nested deeper than {} levels.",
            limits.depth
        ),
    )
}

/// So many selections may stand for a field: fragments are looked at, too.
const FRAGMENTED: usize = 2;

/// What a selection comes to with its fragments in place.
#[derive(Clone, Copy, Default)]
struct Cost {
    fields: usize,
    /// Fields, and the fragments around them, also around none.
    selections: usize,
    depth: usize,
}

/// Refuses a document whose selections are too many, too deep or go round in circles.
pub(super) fn check_selections(
    document: &ExecutableDocument,
    limits: &Limits,
) -> Result<(), ServerError> {
    let mut walk = Walk {
        document,
        limits,
        aliases: 0,
        known: HashMap::new(),
    };
    for (name, fragment) in &document.fragments {
        walk.fragment(name, &fragment.node.selection_set.node)?;
    }
    // Validation looks at all operations, each with its fragments in place, whichever is executed.
    let mut all = Cost::default();
    for (_, operation) in document.operations.iter() {
        let cost = walk.set(&operation.node.selection_set.node)?;
        walk.check(cost)?;
        all.selections = all.selections.saturating_add(cost.selections);
        walk.check(all)?;
    }
    Ok(())
}

struct Walk<'a> {
    document: &'a ExecutableDocument,
    limits: &'a Limits,
    aliases: usize,
    /// Of each fragment; `None` while it is looked at.
    known: HashMap<&'a Name, Option<Cost>>,
}

impl<'a> Walk<'a> {
    fn fragment(&mut self, name: &'a Name, set: &'a SelectionSet) -> Result<Cost, ServerError> {
        match self.known.get(name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                return Err(coded(
                    "GRAPHQL_VALIDATION_FAILED",
                    format!("The fragment {:?} contains itself.", name.as_str()),
                ));
            }
            None => {}
        }
        self.known.insert(name, None);
        let cost = self.set(set)?;
        self.check(cost)?;
        self.known.insert(name, Some(cost));
        Ok(cost)
    }

    fn set(&mut self, set: &'a SelectionSet) -> Result<Cost, ServerError> {
        let mut sum = Cost::default();
        for Positioned {
            node: selection, ..
        } in &set.items
        {
            if selection.directives().len() > self.limits.directives {
                return Err(coded(
                    "DIRECTIVE_LIMIT_EXCEEDED",
                    format!(
                        "A field has more than {} directives.",
                        self.limits.directives
                    ),
                ));
            }
            let cost = match selection {
                Selection::Field(field) => {
                    if field.node.alias.is_some() {
                        self.aliases += 1;
                    }
                    let below = self.set(&field.node.selection_set.node)?;
                    Cost {
                        fields: below.fields.saturating_add(1),
                        depth: below.depth + 1,
                        ..below
                    }
                }
                Selection::InlineFragment(fragment) => {
                    self.set(&fragment.node.selection_set.node)?
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    match self.document.fragments.get_key_value(name) {
                        Some((name, fragment)) => {
                            self.fragment(name, &fragment.node.selection_set.node)?
                        }
                        // That there is none is said by validation.
                        None => Cost::default(),
                    }
                }
            };
            sum.fields = sum.fields.saturating_add(cost.fields);
            sum.selections = sum
                .selections
                .saturating_add(cost.selections.saturating_add(1));
            sum.depth = sum.depth.max(cost.depth);
        }
        if self.aliases > self.limits.aliases {
            return Err(coded(
                "ALIAS_LIMIT_EXCEEDED",
                format!(
                    "The document has more than {} aliases.",
                    self.limits.aliases
                ),
            ));
        }
        Ok(sum)
    }

    fn check(&self, cost: Cost) -> Result<(), ServerError> {
        if cost.depth > self.limits.depth {
            return Err(too_deep(self.limits));
        }
        // Each counts at least one.
        if cost.fields > self.limits.complexity
            || cost.selections / FRAGMENTED > self.limits.complexity
        {
            return Err(coded(
                "COMPLEXITY_LIMIT_EXCEEDED",
                "The document asks for too much.".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The code of an error that async-graphql gives for a whole document.
pub(super) fn code_of(message: &str) -> &'static str {
    if message.starts_with("Query is too complex") {
        "COMPLEXITY_LIMIT_EXCEEDED"
    } else if message.starts_with("Query is nested too deep")
        || message.starts_with("The recursion depth of the query")
    {
        "DEPTH_LIMIT_EXCEEDED"
    } else if message.starts_with("The number of directives") {
        "DIRECTIVE_LIMIT_EXCEEDED"
    } else {
        "GRAPHQL_VALIDATION_FAILED"
    }
}
