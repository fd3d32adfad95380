//! `[graphql]` as it is written: limits of documents, how they may be persisted, sockets.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Size, Text};
use crate::graphql::Settings;

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawGraphql {
    pub(in crate::config) max_depth: usize,
    pub(in crate::config) max_complexity: usize,
    pub(in crate::config) max_directives: usize,
    pub(in crate::config) max_aliases: usize,
    pub(in crate::config) max_tokens: usize,
    pub(in crate::config) max_document: Text<Size>,
    pub(in crate::config) max_batch: usize,
    pub(in crate::config) introspection: bool,
    pub(in crate::config) document_cache: Text<Size>,
    pub(in crate::config) persisted_documents: RawPersistedDocuments,
    pub(in crate::config) trusted_documents: String,
    pub(in crate::config) init_timeout: Text<Duration>,
    pub(in crate::config) max_operations: usize,
    pub(in crate::config) max_operations_per_second: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawPersistedDocuments {
    Off,
    Automatic,
    Trusted,
}

impl Default for RawGraphql {
    fn default() -> Self {
        let Settings {
            limits, sockets, ..
        } = Settings::default();
        Self {
            max_depth: limits.depth,
            max_complexity: limits.complexity,
            max_directives: limits.directives,
            max_aliases: limits.aliases,
            max_tokens: limits.tokens,
            max_document: Text(Size(limits.bytes as u64)),
            max_batch: limits.batch,
            introspection: limits.introspection,
            document_cache: Text(Size(8 << 20)),
            persisted_documents: RawPersistedDocuments::Automatic,
            trusted_documents: String::new(),
            init_timeout: Text(sockets.init_timeout),
            max_operations: sockets.operations,
            max_operations_per_second: sockets.operations_per_second,
        }
    }
}
