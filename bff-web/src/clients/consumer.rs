//! consumer: the people who order.

use gateway_core::RequestContext;
use gateway_core::encode::segment;
use gateway_core::error::UpstreamError;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use serde::Deserialize;

#[derive(Clone)]
pub(crate) struct ConsumerClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Consumer {
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

    pub(crate) async fn consumer(
        &self,
        context: RequestContext,
        id: &str,
    ) -> Result<Consumer, UpstreamError> {
        self.upstream
            .get(context, format!("/consumers/{}", segment(id)))
            .json_answer()
            .await
    }
}
