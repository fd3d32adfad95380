//! The envelope of a part on the wire: `{"status":"ok"|"stale"|"unavailable", "data"?, "reason"?, "age"?}`.
//! How a part is fetched, and within what time, is `compose.rs`.

use std::ops::Deref;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A part that the answer can do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section<T> {
    Ok(T),
    /// Data from an earlier answer, `age` seconds old.
    Stale {
        data: T,
        age: u64,
    },
    /// No data, and why: `timeout`, `unreachable`, `upstream_error`, `not_found`, `invalid_response`, …
    Unavailable {
        reason: &'static str,
    },
    /// The client did not ask for it: not on the wire (`skip_serializing_if = "Section::is_omitted"`).
    Omitted,
}

impl<T> Section<T> {
    #[must_use]
    pub fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable { reason }
    }

    #[must_use]
    pub fn is_omitted(&self) -> bool {
        matches!(self, Self::Omitted)
    }

    /// The data, fresh or stale.
    #[must_use]
    pub fn data(&self) -> Option<&T> {
        match self {
            Self::Ok(data) | Self::Stale { data, .. } => Some(data),
            Self::Unavailable { .. } | Self::Omitted => None,
        }
    }

    /// Changes the data and keeps the rest of the envelope.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Section<U> {
        match self {
            Self::Ok(data) => Section::Ok(change(data)),
            Self::Stale { data, age } => Section::Stale {
                data: change(data),
                age,
            },
            Self::Unavailable { reason } => Section::Unavailable { reason },
            Self::Omitted => Section::Omitted,
        }
    }
}

impl<T: Serialize> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ok(data) => with_data(data, None, serializer),
            Self::Stale { data, age } => with_data(data, Some(*age), serializer),
            Self::Unavailable { reason } => {
                let mut envelope = serializer.serialize_struct("Section", 2)?;
                envelope.serialize_field("status", "unavailable")?;
                envelope.serialize_field("reason", reason)?;
                envelope.end()
            }
            Self::Omitted => serializer.serialize_unit(),
        }
    }
}

/// The envelope of data that is `ok`, or `stale` when it has an age.
fn with_data<T: Serialize, S: Serializer>(
    data: &T,
    age: Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut envelope = serializer.serialize_struct("Section", 2 + usize::from(age.is_some()))?;
    envelope.serialize_field("status", if age.is_some() { "stale" } else { "ok" })?;
    envelope.serialize_field("data", data)?;
    if let Some(age) = age {
        envelope.serialize_field("age", &age)?;
    }
    envelope.end()
}

/// A part that decides the status of the answer: when it is here, it is `ok`, or `stale` when its service failed and an
/// earlier answer stood in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required<T> {
    data: T,
    /// In seconds, when the data is stale.
    age: Option<u64>,
    shown: bool,
}

impl<T> Required<T> {
    pub(super) fn new(data: T, age: Option<u64>, shown: bool) -> Self {
        Self { data, age, shown }
    }

    /// Whether the client did not ask for it (`skip_serializing_if = "Required::is_omitted"`).
    #[must_use]
    pub fn is_omitted(&self) -> bool {
        !self.shown
    }

    /// Changes the data, for example from a service's words to the client's.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Required<U> {
        Required {
            data: change(self.data),
            age: self.age,
            shown: self.shown,
        }
    }
}

impl<T> Deref for Required<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Serialize> Serialize for Required<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_data(&self.data, self.age, serializer)
    }
}
