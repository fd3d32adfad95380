//! `?fields=a,b`: which sections the client wants to see, and leaving the others out of an answer (`picked.rs`). What is not
//! wanted is not fetched either; that is `compose.rs`.

mod picked;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::schema::sections;
use crate::error::Error;
use picked::Picked;

/// The sections that were picked; all of them when nothing was said.
#[derive(Clone, Debug, Default)]
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

    /// `body` without the sections that were not picked.
    pub(super) fn shown<'a, B: Serialize>(&'a self, body: &'a B) -> Shown<'a, B> {
        Shown { fields: self, body }
    }
}

/// A body of which only what was picked is written.
pub(super) struct Shown<'a, B> {
    fields: &'a Fields,
    body: &'a B,
}

impl<B: Serialize> Serialize for Shown<'_, B> {
    /// Fails when sections are picked and the body is no struct, or has members that are flattened.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.fields.picked.is_none() {
            return self.body.serialize(serializer);
        }
        self.body.serialize(Picked {
            inner: serializer,
            fields: self.fields,
        })
    }
}

/// Section names need no decoding, but for an encoded comma.
fn picked(query: &str) -> Option<Vec<String>> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fields="))?;
    let value = value.replace("%2C", ",").replace("%2c", ",");
    Some(value.split(',').map(str::to_owned).collect())
}
