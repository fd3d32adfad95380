//! A postal address, as all services write it. Where it lies on the map is a `GeoPoint`.

use serde::{Deserialize, Serialize};

use crate::problem::FieldError;

/// A postal address in the United States.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub street1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub street2: Option<String>,
    pub city: String,
    /// Two letters, as `CA`.
    pub state: String,
    pub zip: String,
}

impl Address {
    /// What is missing in it; `pointer` is its place in the body, as `/deliveryAddress`.
    pub fn check(&self, pointer: &str) -> Vec<FieldError> {
        [
            ("street1", &self.street1),
            ("city", &self.city),
            ("state", &self.state),
            ("zip", &self.zip),
        ]
        .into_iter()
        .filter(|(_, value)| value.trim().is_empty())
        .map(|(name, _)| FieldError::new(format!("{pointer}/{name}"), "must not be empty"))
        .collect()
    }
}
