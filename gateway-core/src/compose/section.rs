//! The envelope of a part on the wire: `{"status":"ok"|"stale"|"unavailable", "data"?, "reason"?, "age"?}`.
//! How a part is fetched, and within what time, is `compose.rs`; its schema is `schema.rs`.

use std::ops::Deref;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Why a section has no data of its own service: everything that `reason` can say.
pub const REASONS: &[&str] = &[
    "timeout",
    "unreachable",
    "open_circuit",
    "overloaded",
    "upstream_error",
    "not_found",
    "invalid_response",
    "response_too_large",
    DEPENDENCY_FAILED,
];

/// The part needs the data of another one that has none: its own service was not asked.
pub(super) const DEPENDENCY_FAILED: &str = "dependency_failed";

/// A part that the answer can do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section<T> {
    Ok(T),
    /// Data that is not what the service says now.
    Stale {
        data: T,
        /// Seconds since the service said it; `None` for a fallback, which no service has ever said.
        age: Option<u64>,
        /// Why there is nothing newer, when something went wrong.
        reason: Option<&'static str>,
    },
    /// No data, and why: one of [`REASONS`].
    Unavailable {
        reason: &'static str,
    },
    /// The client did not ask for it, so it was not fetched and is not on the wire.
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
            Self::Stale { data, age, reason } => Section::Stale {
                data: change(data),
                age,
                reason,
            },
            Self::Unavailable { reason } => Section::Unavailable { reason },
            Self::Omitted => Section::Omitted,
        }
    }

    /// The same envelope around a reference: two sections can be made of one.
    #[must_use]
    pub fn as_ref(&self) -> Section<&T> {
        match self {
            Self::Ok(data) => Section::Ok(data),
            Self::Stale { data, age, reason } => Section::Stale {
                data,
                age: *age,
                reason: *reason,
            },
            Self::Unavailable { reason } => Section::Unavailable { reason },
            Self::Omitted => Section::Omitted,
        }
    }
}

impl<T: Serialize> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ok(data) => with_data(data, false, None, None, serializer),
            Self::Stale { data, age, reason } => with_data(data, true, *age, *reason, serializer),
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

/// The envelope of data, with what there is to say of it when it is stale.
fn with_data<T: Serialize, S: Serializer>(
    data: &T,
    stale: bool,
    age: Option<u64>,
    reason: Option<&'static str>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let members = 2 + usize::from(age.is_some()) + usize::from(reason.is_some());
    let mut envelope = serializer.serialize_struct("Section", members)?;
    envelope.serialize_field("status", if stale { "stale" } else { "ok" })?;
    envelope.serialize_field("data", data)?;
    if let Some(reason) = reason {
        envelope.serialize_field("reason", reason)?;
    }
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
    /// Seconds since the service said it, and why there is nothing newer, when the data is stale.
    stale: Option<(u64, &'static str)>,
}

impl<T> Required<T> {
    pub(super) fn new(data: T, stale: Option<(u64, &'static str)>) -> Self {
        Self { data, stale }
    }

    /// Changes the data, for example from a service's words to the client's.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Required<U> {
        Required {
            data: change(self.data),
            stale: self.stale,
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
        let (age, reason) = self.stale.unzip();
        with_data(&self.data, self.stale.is_some(), age, reason, serializer)
    }
}
