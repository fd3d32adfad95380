//! `?fields=a,b`: which sections the client wants to see, and taking the others out of an answer. What is not wanted is not
//! fetched either; that is `compose.rs`.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::schema::sections;
use crate::error::Error;

/// The sections that were picked; all of them when nothing was said.
#[derive(Debug, Default)]
pub(super) struct Fields {
    picked: Option<Vec<String>>,
    /// Those that there are. What is no section is always shown.
    sections: &'static [&'static str],
}

impl Fields {
    /// What `query` picks of the sections of `S`. An answer without sections has nothing to pick from.
    ///
    /// # Errors
    /// 400 when a section is picked that there is not.
    pub(super) fn of<S: JsonSchema + 'static>(query: Option<&str>) -> Result<Self, Error> {
        let Some(picked) = query.and_then(picked) else {
            return Ok(Self::default());
        };
        let sections = sections::<S>();
        if sections.is_empty() {
            return Ok(Self::default());
        }
        match picked
            .iter()
            .find(|name| !sections.contains(&name.as_str()))
        {
            Some(unknown) => Err(Error::bad_request(format!(
                "fields: there is no section {unknown:?}; there are {}.",
                sections.join(", ")
            ))),
            None => Ok(Self {
                picked: Some(picked),
                sections,
            }),
        }
    }

    pub(super) fn picks(&self, name: &str) -> bool {
        self.picked
            .as_ref()
            .is_none_or(|fields| fields.iter().any(|field| field == name))
    }

    fn shows(&self, member: &str) -> bool {
        self.picks(member) || !self.sections.contains(&member)
    }

    /// Takes out of a JSON object the sections that were not picked; the rest stays byte for byte.
    ///
    /// # Errors
    /// When `json` is not an object.
    pub(super) fn cut(&self, json: Vec<u8>) -> Result<Vec<u8>, serde_json::Error> {
        if self.picked.is_none() {
            return Ok(json);
        }
        let Members(members) = serde_json::from_slice(&json)?;
        let mut cut = Vec::with_capacity(json.len());
        cut.push(b'{');
        for (name, value) in members.iter().filter(|(name, _)| self.shows(name)) {
            if cut.len() > 1 {
                cut.push(b',');
            }
            serde_json::to_writer(&mut cut, name)?;
            cut.push(b':');
            cut.extend_from_slice(value.get().as_bytes());
        }
        cut.push(b'}');
        Ok(cut)
    }
}

/// Section names need no decoding, but for an encoded comma.
fn picked(query: &str) -> Option<Vec<String>> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fields="))?;
    let value = value.replace("%2C", ",").replace("%2c", ",");
    Some(
        value
            .split(',')
            .filter(|field| !field.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
