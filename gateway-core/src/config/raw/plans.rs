//! Plans and partners as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rate, Text};

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawPlan {
    pub(in crate::config) rate: Option<Text<Rate>>,
    pub(in crate::config) burst: Option<u32>,
    pub(in crate::config) daily: Option<u64>,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawPartner {
    pub(in crate::config) plan: Option<String>,
    pub(in crate::config) attributes: BTreeMap<String, String>,
}
