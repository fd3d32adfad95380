//! `?fields=a,b`: which sections the client wants to see, and leaving the others out of an answer (`picked.rs`). What is not
//! wanted is not fetched either; that is `compose.rs`.

mod picked;

use schemars::JsonSchema;
use serde::Serialize;

use super::schema::sections;
use crate::error::Error;
use picked::Picked;

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

    /// `body` as JSON, without the sections that were not picked.
    ///
    /// # Errors
    /// When sections are picked and `body` is no struct, or has members that are flattened.
    pub(super) fn write<S: Serialize>(&self, body: &S) -> Result<Vec<u8>, serde_json::Error> {
        if self.picked.is_none() {
            return serde_json::to_vec(body);
        }
        let mut json = Vec::with_capacity(1024);
        body.serialize(Picked {
            inner: &mut serde_json::Serializer::new(&mut json),
            fields: self,
        })?;
        Ok(json)
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
