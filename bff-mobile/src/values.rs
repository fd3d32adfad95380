//! Small values that come from services and go to the app as they are. Whole resources are read in `clients/*` and shown
//! in `screens/*`, each with only the fields that it needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An exact amount: decimal digits in text, never a float, never formatted for one country.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Money {
    pub(crate) amount: String,
    /// ISO 4217 code.
    pub(crate) currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Address {
    pub(crate) street1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) street2: Option<String>,
    pub(crate) city: String,
    pub(crate) state: String,
    pub(crate) zip: String,
}

/// WGS 84, in degrees.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Location {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
}

/// A moment as services write it: RFC 3339, UTC.
pub(crate) type Timestamp = String;

/// A part of a list, and where the next part begins.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PageOf{T}")]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Opaque; `null` on the last page.
    #[schemars(regex(pattern = "^[a-z0-9]+$"))]
    pub(crate) next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next_cursor: self.next_cursor,
        }
    }
}
