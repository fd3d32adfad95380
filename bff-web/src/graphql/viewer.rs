//! Who is signed in.

use async_graphql::{Context, ID, Object};
use futures_util::future::try_join_all;
use gateway_core::RequestContext;

use super::consumer::Consumer;
use super::restaurant::Restaurant;
use super::{Nullable, loaders};
use crate::caller;

/// As many as somebody is taken to work for, when the cost of a query is counted.
const RESTAURANTS: usize = 10;

/// The caller, as the credentials say it.
pub(super) struct Viewer {
    context: RequestContext,
    id: String,
}

impl Viewer {
    /// `None` for somebody who has not signed in.
    pub(super) fn of(context: &RequestContext) -> Option<Self> {
        let id = context.principal().subject()?.to_owned();
        Some(Self {
            context: context.clone(),
            id,
        })
    }
}

/// Who is signed in.
#[Object]
impl Viewer {
    async fn id(&self) -> ID {
        ID::from(&self.id)
    }

    /// What the caller is to FTGO, for example "consumer" or "staff".
    async fn roles(&self) -> &[String] {
        self.context.principal().roles()
    }

    /// What the caller's credentials allow.
    async fn scopes(&self) -> &[String] {
        self.context.principal().scopes()
    }

    /// The caller as somebody who orders; absent for couriers and restaurant staff.
    async fn consumer(&self, context: &Context<'_>) -> Nullable<Consumer> {
        Consumer::load(context, Ok(&self.id)).await
    }

    /// The restaurants that the caller works for.
    async fn restaurant_ids(&self) -> Vec<ID> {
        caller::restaurant_ids(&self.context)
            .map(ID::from)
            .collect()
    }

    /// The same restaurants, with what is known of them.
    #[graphql(complexity = "RESTAURANTS * child_complexity + 1")]
    async fn restaurants(&self, context: &Context<'_>) -> Nullable<Vec<Restaurant>> {
        let restaurants = async {
            let loader = &loaders(context)?.restaurants;
            let load = caller::restaurant_ids(&self.context).map(|id| loader.load(id));
            let found = try_join_all(load).await?;
            Ok(found.into_iter().flatten().map(Restaurant).collect())
        };
        Some(restaurants.await)
    }
}
