//! From what was asked to its results: the document, the checks, the execution, the order of the fields. How requests and
//! results travel is `graphql.rs` (HTTP), `event_stream.rs` and `socket.rs`.

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::parser::types::OperationType;
use async_graphql::{
    Data, Executor, ObjectType, Request, Response, Schema, SchemaBuilder, ServerError,
    SubscriptionType, ValidationMode,
};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::documents::{Documents, Found};
use super::request::Asked;
use super::{Limits, Settings, document, field_order, response};
use crate::context::RequestContext;

/// What resolvers share within one execution, for example data loaders: put in by the BFF.
type Share = Arc<dyn Fn(&RequestContext, &mut Data) + Send + Sync>;

/// One worker's GraphQL endpoint: a schema, and what is known of documents. Cloning is cheap.
pub struct Transport<E> {
    pub(super) inner: Arc<Inner<E>>,
}

impl<E> Clone for Transport<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

pub(super) struct Inner<E> {
    /// For what is seen for the first time: every rule is checked.
    strict: E,
    /// For documents whose rules were checked before. Limits are counted again: they depend on variables.
    fast: E,
    /// For subscriptions: each event is an execution with what it shares of its own.
    events: E,
    documents: Documents,
    pub(super) settings: Settings,
    share: Share,
}

/// An operation that may be executed.
pub(super) struct Ready {
    found: Found,
    asked: Asked,
    pub(super) kind: OperationType,
    /// As how many operations it counts.
    pub(super) weight: u32,
}

impl<Q, M, S> Transport<Schema<Q, M, S>>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    /// The schema that `build` begins. The [`RequestContext`] is in the data of every execution, so that resolvers call under
    /// its deadline; `share` adds what else they share within one execution.
    #[must_use]
    pub fn new(
        settings: &Settings,
        documents: &Documents,
        build: impl Fn() -> SchemaBuilder<Q, M, S>,
        share: impl Fn(&RequestContext, &mut Data) + Send + Sync + 'static,
    ) -> Self {
        let share: Share = Arc::new(share);
        let limits = settings.limits;
        let events = apply(&limits, build()).extension(PerEvent(Arc::clone(&share)));
        Self {
            inner: Arc::new(Inner {
                strict: apply(&limits, build()).finish(),
                fast: apply(&limits, build())
                    .validation_mode(ValidationMode::Fast)
                    .finish(),
                events: events.finish(),
                documents: documents.clone(),
                settings: settings.clone(),
                share,
            }),
        }
    }
}

/// Puts the limits on a schema.
fn apply<Q, M, S>(limits: &Limits, builder: SchemaBuilder<Q, M, S>) -> SchemaBuilder<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let builder = builder
        .limit_depth(limits.depth)
        .limit_complexity(limits.complexity)
        .limit_directives(limits.directives);
    if limits.introspection {
        builder
    } else {
        builder.disable_introspection().disable_suggestions()
    }
}

impl<E: Executor> Transport<E> {
    /// Finds and checks what is asked, as far as that can be done without the schema.
    pub(super) fn prepare(&self, asked: Asked) -> Result<Ready, ServerError> {
        let found = self.inner.documents.find(&asked)?;
        let bad_request = |mut error: ServerError| {
            let extensions = error.extensions.get_or_insert_default();
            extensions.set("code", "BAD_REQUEST");
            error
        };
        let plan = document::select(&found.parsed.document, &asked).map_err(bad_request)?;
        let kind = plan.kind();
        let count = plan.check().map_err(bad_request)?;
        Ok(Ready {
            weight: u32::try_from(count).unwrap_or(u32::MAX),
            found,
            asked,
            kind,
        })
    }

    /// Executes a query or a mutation.
    pub(super) async fn execute(&self, ready: &Ready, context: &RequestContext) -> Response {
        let Inner {
            strict,
            fast,
            documents,
            ..
        } = &*self.inner;
        let mut answer = if ready.may_be_fast() {
            let answer = fast.execute(self.request(ready, context)).await;
            // Our own errors have codes. Others are about what the client has sent, and are told as validation tells them:
            // a query can be asked again.
            if answer.errors.iter().any(has_no_code) {
                strict.execute(self.request(ready, context)).await
            } else {
                answer
            }
        } else {
            strict.execute(self.request(ready, context)).await
        };
        if !response::is_refused(&answer) {
            documents.keep(&ready.found);
        }
        self.finish(&mut answer, ready, context);
        answer
    }

    /// The results of an operation of any kind, one after the other; of a subscription until its source ends.
    pub(super) fn results(
        &self,
        ready: Ready,
        context: RequestContext,
    ) -> BoxStream<'static, Response> {
        let this = self.clone();
        if ready.kind != OperationType::Subscription {
            return stream::once(async move { this.execute(&ready, &context).await }).boxed();
        }
        let events = this.inner.events.clone();
        let source = events.execute_stream(this.request(&ready, &context), None);
        let mut is_kept = false;
        source
            .map(move |mut answer| {
                if !is_kept && !response::is_refused(&answer) {
                    is_kept = true;
                    this.inner.documents.keep(&ready.found);
                }
                this.finish(&mut answer, &ready, &context);
                answer
            })
            .boxed()
    }

    fn request(&self, ready: &Ready, context: &RequestContext) -> Request {
        let Ready { found, asked, .. } = ready;
        let mut request = Request::new("")
            .variables(asked.variables.clone())
            .data(context.clone());
        (self.inner.share)(context, &mut request.data);
        request.operation_name.clone_from(&asked.operation_name);
        request.set_parsed_query(found.parsed.document.clone());
        request
    }

    fn finish(&self, answer: &mut Response, ready: &Ready, context: &RequestContext) {
        // It was found before.
        if let Ok(plan) = document::select(&ready.found.parsed.document, &ready.asked) {
            field_order::arrange(&mut answer.data, &plan);
        }
        response::complete(answer, context);
    }
}

/// As how many operations it counts. What is refused has been looked at, too.
pub(super) fn weight(prepared: &Result<Ready, ServerError>) -> u32 {
    prepared.as_ref().map_or(1, |ready| ready.weight)
}

fn has_no_code(error: &ServerError) -> bool {
    let extensions = error.extensions.as_ref();
    extensions.is_none_or(|extensions| extensions.get("code").is_none())
}

impl Ready {
    /// Whether validation would say nothing new: the variables are what their definitions say, as far as that is plain.
    /// Where one is an object, only validation notices members that do not belong there; and a mutation is not asked
    /// twice.
    fn may_be_fast(&self) -> bool {
        self.found.valid
            && self.kind == OperationType::Query
            && document::select(&self.found.parsed.document, &self.asked)
                .is_ok_and(|plan| plan.has_plain_variables())
    }
}

/// Gives each event of a subscription a deadline and loaders of its own: what was loaded for the event before is old.
struct PerEvent(Share);

impl ExtensionFactory for PerEvent {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

#[async_trait]
impl Extension for PerEvent {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let Ok(subscribed) = ctx.data::<RequestContext>() else {
            return next.run(ctx, operation_name).await;
        };
        let context = subscribed.renewed();
        let mut data = Data::default();
        (self.0)(&context, &mut data);
        data.insert(context);
        next.run_with_data(ctx, operation_name, data).await
    }
}
