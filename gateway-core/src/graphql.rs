//! GraphQL over HTTP: from a request to a parsed document, and from an execution's result to an answer. It knows no
//! schema: a BFF brings an [`Executor`]. Subscriptions, batches and persisted documents are not here yet.
//!
//! The stock integrations execute mutations over GET and from forms, ignore `Accept` and `operationName`, and answer
//! fields in the order in which they were resolved. This transport follows the GraphQL-over-HTTP draft instead:
//!
//! | stop | what it decides |
//! |---|---|
//! | `media_type` | what the client accepts, before anything is read (406) |
//! | `request` | GET or POST to query, variables and operation name (400, 415) |
//! | `document` | the operation that is meant; only POST writes (405) |
//! | the executor | validation, limits, resolvers |
//! | `field_order` | the fields in the order of the query |
//! | `response` | codes and request id on every error; status |
//!
//! # A trap for schemas
//!
//! async-graphql 7.2 leaves out a field whose resolver returns `Err`, instead of answering `null`. A resolver that can
//! fail therefore returns `Option<Result<T, async_graphql::Error>>`, which answers `null` and reports the error.

mod document;
mod error;
mod field_order;
mod media_type;
mod request;
mod response;

use async_graphql::{Executor, ObjectType, Request, SchemaBuilder, SubscriptionType};
use axum::response::Response;
use http::Method;

pub use error::error;

use crate::context::RequestContext;
use crate::error::{ClientError, Error, GatewayError};

/// What a document may cost, and what it may ask. Counted by async-graphql before anything is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nested fields.
    pub depth: usize,
    /// Fields, weighted by the schema: a list counts its page size times its element's fields.
    pub complexity: usize,
    /// Directives on one field.
    pub directives: usize,
    /// Whether documents may ask for the schema itself, and whether errors suggest names from it.
    pub introspection: bool,
}

impl Default for Limits {
    /// Ample for a screen and for the introspection of tools (15 levels), and closed to the curious.
    fn default() -> Self {
        Self {
            depth: 16,
            complexity: 5_000,
            directives: 8,
            introspection: false,
        }
    }
}

impl Limits {
    /// Puts these limits on a schema.
    pub fn apply<Q, M, S>(&self, builder: SchemaBuilder<Q, M, S>) -> SchemaBuilder<Q, M, S>
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
        S: SubscriptionType + 'static,
    {
        let builder = builder
            .limit_depth(self.depth)
            .limit_complexity(self.complexity)
            .limit_directives(self.directives);
        if self.introspection {
            builder
        } else {
            builder.disable_introspection().disable_suggestions()
        }
    }
}

/// Answers one GraphQL request over GET or POST.
///
/// The request's [`RequestContext`] is in the data of the execution, so that resolvers call under its deadline;
/// `prepare` may add what else they share within one request, for example data loaders.
///
/// # Errors
/// What is wrong with the HTTP request: 400, 405, 406, 413, 415. What is wrong with the document or happens in a
/// resolver is an answer.
pub async fn serve<E: Executor>(
    executor: &E,
    request: axum::extract::Request,
    prepare: impl FnOnce(&RequestContext, Request) -> Request,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let media_type = media_type::negotiate(&parts.headers)?;
    let context = parts
        .extensions
        .get::<RequestContext>()
        .cloned()
        .ok_or_else(|| GatewayError::Bug("a handler ran without the edge".to_owned()))?;
    let asked = request::read(&parts, body).await?;

    let document = match async_graphql::parser::parse_query(&asked.query) {
        Ok(document) => document,
        Err(error) => {
            return response::refused(error.into(), "GRAPHQL_PARSE_FAILED", media_type, &context);
        }
    };
    let plan = match document::select(&document, &asked) {
        Ok(plan) => plan,
        Err(error) => return response::refused(error, "BAD_REQUEST", media_type, &context),
    };
    // HEAD comes here, too: whatever is not a POST only reads.
    if parts.method != Method::POST && !plan.is_query() {
        return Err(ClientError::MethodNotAllowed {
            allow: http::HeaderValue::from_static("POST"),
        }
        .into());
    }
    if let Err(error) = plan.check() {
        return response::refused(error, "BAD_REQUEST", media_type, &context);
    }

    let mut execution = Request::new(asked.query.clone())
        .variables(asked.variables.clone())
        .data(context.clone());
    execution.operation_name.clone_from(&asked.operation_name);
    execution.set_parsed_query(document.clone());
    let mut answer = executor.execute(prepare(&context, execution)).await;
    field_order::arrange(&mut answer.data, &plan);
    response::executed(answer, media_type, &context)
}

#[cfg(test)]
mod tests;
