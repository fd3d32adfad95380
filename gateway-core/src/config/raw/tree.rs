//! A document as a tree whose nodes know their path, so that a fault can name its key and be taken out.
//! What the keys mean is in `config/raw.rs`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::config::fault::{ConfigFaults, suggest};

/// A TOML value. Elements keep the index that they have in the file when another one is taken out.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<(usize, Tree)>),
    Table(BTreeMap<String, Tree>),
}

impl From<toml::Value> for Tree {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::String(text),
            toml::Value::Integer(number) => Self::Integer(number),
            toml::Value::Float(number) => Self::Float(number),
            toml::Value::Boolean(value) => Self::Boolean(value),
            toml::Value::Datetime(time) => Self::Datetime(time.to_string()),
            toml::Value::Array(elements) => {
                Self::Array(elements.into_iter().map(Self::from).enumerate().collect())
            }
            toml::Value::Table(table) => Self::Table(
                table
                    .into_iter()
                    .map(|(key, value)| (key, Self::from(value)))
                    .collect(),
            ),
        }
    }
}

impl Tree {
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            tree: self,
            path: Path::default(),
        }
    }

    /// Takes the value at `path` out; false when there is none.
    pub(crate) fn remove(&mut self, path: &Path) -> bool {
        let Some((last, parents)) = path.0.split_last() else {
            return false;
        };
        let mut parent = self;
        for step in parents {
            let next = match (parent, step) {
                (Self::Table(table), Step::Key(key)) => table.get_mut(key),
                (Self::Array(elements), Step::Index(index)) => elements
                    .iter_mut()
                    .find_map(|(at, element)| (at == index).then_some(element)),
                _ => None,
            };
            let Some(next) = next else {
                return false;
            };
            parent = next;
        }
        match (parent, last) {
            (Self::Table(table), Step::Key(key)) => table.remove(key).is_some(),
            (Self::Array(elements), Step::Index(index)) => {
                let before = elements.len();
                elements.retain(|(at, _)| at != index);
                elements.len() < before
            }
            _ => false,
        }
    }

    /// Replaces every string by what `replace` makes of it; one that it refuses is reported and taken out.
    pub(crate) fn replace_strings(
        &mut self,
        replace: &impl Fn(&str) -> Result<String, String>,
        faults: &mut ConfigFaults,
    ) {
        self.replace_below(&Path::default(), replace, faults);
    }

    fn replace_below(
        &mut self,
        path: &Path,
        replace: &impl Fn(&str) -> Result<String, String>,
        faults: &mut ConfigFaults,
    ) -> bool {
        match self {
            Self::String(text) => match replace(text) {
                Ok(replaced) => *text = replaced,
                Err(message) => {
                    faults.push(path.to_string(), message);
                    return false;
                }
            },
            Self::Array(elements) => elements.retain_mut(|(index, element)| {
                element.replace_below(&path.then(Step::Index(*index)), replace, faults)
            }),
            Self::Table(table) => table.retain(|key, value| {
                value.replace_below(&path.then(Step::Key(key.clone())), replace, faults)
            }),
            Self::Integer(_) | Self::Float(_) | Self::Boolean(_) | Self::Datetime(_) => {}
        }
        true
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where a value stands, written as in TOML: `routes[2].methods[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for step in &self.0 {
            text = match step {
                Step::Key(key) => child(&text, key),
                Step::Index(index) => element(&text, *index),
            };
        }
        f.write_str(&text)
    }
}

/// The path of a key in the table at `parent`; quoted where TOML asks for it.
pub(crate) fn child(parent: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if parent.is_empty() {
        key
    } else {
        format!("{parent}.{key}")
    }
}

/// The path of an element of the array at `parent`.
pub(crate) fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// A fault that serde found, with the path of the value.
#[derive(Clone, Debug)]
pub(crate) struct Misfit {
    pub(crate) path: Path,
    pub(crate) message: String,
    placed: bool,
    unknown_key: Option<String>,
}

impl Misfit {
    fn new(message: String) -> Self {
        Self {
            path: Path::default(),
            message,
            placed: false,
            unknown_key: None,
        }
    }

    /// Places a fault that has no path yet; the innermost reader is the first to be asked.
    fn at(mut self, path: &Path) -> Self {
        if !self.placed {
            self.path = match self.unknown_key.take() {
                Some(key) => path.then(Step::Key(key)),
                None => path.clone(),
            };
            self.placed = true;
        }
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            unknown_key: Some(field.to_owned()),
            ..Self::new(format!(
                "unknown key; {}",
                suggest(field, expected.iter().copied())
            ))
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "unknown value `{variant}`; {}",
            suggest(variant, expected.iter().copied())
        ))
    }
}

/// Reads a tree as serde sees it.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    tree: &'a Tree,
    path: Path,
}

impl<'a> Reader<'a> {
    fn below(&self, step: Step, tree: &'a Tree) -> Self {
        Self {
            tree,
            path: self.path.then(step),
        }
    }
}

impl<'a> IntoDeserializer<'a, Misfit> for Reader<'a> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let read = match self.tree {
            Tree::String(text) | Tree::Datetime(text) => visitor.visit_str(text),
            Tree::Integer(number) => visitor.visit_i64(*number),
            Tree::Float(number) => visitor.visit_f64(*number),
            Tree::Boolean(value) => visitor.visit_bool(*value),
            Tree::Array(elements) => visitor.visit_seq(SeqDeserializer::new(
                elements
                    .iter()
                    .map(|(index, element)| self.below(Step::Index(*index), element)),
            )),
            Tree::Table(table) => {
                visitor.visit_map(MapDeserializer::new(table.iter().map(|(key, value)| {
                    (key.as_str(), self.below(Step::Key(key.clone()), value))
                })))
            }
        };
        read.map_err(|misfit| misfit.at(&self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let read = match self.tree {
            Tree::String(text) => visitor.visit_enum(StrDeserializer::<Misfit>::new(text)),
            _ => Err(de::Error::custom("expected a text")),
        };
        read.map_err(|misfit| misfit.at(&self.path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
