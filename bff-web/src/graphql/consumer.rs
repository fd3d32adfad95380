//! Somebody who orders.

use std::sync::Arc;

use async_graphql::{Context, Object};

use super::{Failure, Nullable, loaders};
use crate::clients::consumer;

pub(super) struct Consumer(Arc<consumer::Consumer>);

impl Consumer {
    /// The consumer with this id; `None` for somebody who is none.
    pub(super) async fn load(context: &Context<'_>, id: Result<&str, Failure>) -> Nullable<Self> {
        let consumer = async { loaders(context)?.consumers.load(id?).await };
        consumer.await.map(|found| found.map(Self)).transpose()
    }
}

/// Somebody who orders.
#[Object]
impl Consumer {
    async fn first_name(&self) -> &str {
        &self.0.name.first
    }

    async fn last_name(&self) -> &str {
        &self.0.name.last
    }

    async fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }
}
