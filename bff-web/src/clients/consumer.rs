//! consumer: the people who order.

use gateway_core::RequestContext;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

use super::{Found, by_ids};

#[derive(Clone)]
pub(crate) struct ConsumerClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) name: Name,
    pub(crate) email: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Name {
    pub(crate) first: String,
    pub(crate) last: String,
}

impl ConsumerClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("consumer")?,
        })
    }

    pub(crate) async fn consumers(
        &self,
        context: RequestContext,
        ids: &[String],
    ) -> Result<Vec<Consumer>, UpstreamError> {
        let found: Found<Consumer> = self
            .upstream
            .get(context, by_ids("/consumers", ids))
            .json_answer()
            .await?;
        Ok(found.items)
    }
}
