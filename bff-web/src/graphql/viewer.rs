//! Who is signed in.

use async_graphql::{Context, ID, Object, SimpleObject};
use gateway_core::RequestContext;

use super::{Failure, Nullable, clients, request};

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

    async fn profile(&self, context: &Context<'_>) -> Result<Option<Consumer>, Failure> {
        let call = request(context)?.for_optional("consumer");
        match clients(context)?.consumers.consumer(call, &self.id).await {
            Ok(consumer) => Ok(Some(Consumer {
                first_name: consumer.name.first,
                last_name: consumer.name.last,
                email: consumer.email,
            })),
            // Couriers and restaurant staff are no consumers.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
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
        self.profile(context).await.transpose()
    }
}

/// Somebody who orders.
#[derive(SimpleObject)]
struct Consumer {
    first_name: String,
    last_name: String,
    email: Option<String>,
}
