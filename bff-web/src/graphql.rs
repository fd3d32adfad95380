//! The schema: what browsers can ask, one file for each type, and who may ask it. Transport and limits are
//! `gateway_core::graphql`; paths and fields of services are in `clients`.
//!
//! A field that may fail is nullable: its failure leaves the rest of the answer intact, and is reported with its path,
//! a code and the request's id. Another consumer's order is `null`, as is one that does not exist.

mod bill;
mod connection;
mod consumer;
mod delivery;
mod loaders;
mod mutation;
mod order;
mod query;
mod restaurant;
mod subscription;
mod ticket;
mod values;
mod viewer;

use async_graphql::{Context, Data, Schema};
use axum::extract::{Request, State};
use axum::response::Response;
use gateway_core::RequestContext;
use gateway_core::error::{Error, GatewayError};
use gateway_core::graphql::{Settings, Transport};
use gateway_core::upstream::{UnknownUpstream, Upstreams};

use crate::clients::Clients;
use loaders::Loaders;
use mutation::Mutation;
use query::Query;
use subscription::Subscription;

type FtgoSchema = Schema<Query, Mutation, Subscription>;

/// What a field that may fail answers: a value, `null` because there is no such thing, or `null` and an error.
type Nullable<T> = Option<Result<T, Failure>>;

/// Why a field has no value, in the words of the transport: it is logged when it is made, and batches share it.
///
/// It is not an `async_graphql::Error`, into which every other error would turn silently, with neither code nor log.
#[derive(Clone)]
struct Failure {
    error: async_graphql::Error,
    /// Whether it is a service's or the gateway's, and may be over soon: not the caller's.
    may_pass: bool,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self {
            may_pass: !matches!(error, Error::Client(_)),
            error: gateway_core::graphql::error(&error),
        }
    }
}

impl From<Failure> for async_graphql::Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// One worker's schema. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Api {
    transport: Transport<FtgoSchema>,
}

impl Api {
    pub(crate) fn new(upstreams: &Upstreams, settings: &Settings) -> Result<Self, UnknownUpstream> {
        let clients = Clients::new(upstreams)?;
        let events = upstreams.events().clone();
        let of_schema = clients.clone();
        let build = move || {
            Schema::build(Query, Mutation, Subscription)
                .data(of_schema.clone())
                .data(events.clone())
        };
        // Data loaders live as long as one execution: what one caller has loaded is never another's.
        let share = move |context: &RequestContext, data: &mut Data| {
            data.insert(Loaders::new(context, &clients));
        };
        Ok(Self {
            transport: Transport::new(settings, upstreams.documents(), build, share),
        })
    }
}

/// `/graphql`.
pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Result<Response, Error> {
    api.transport.serve(request).await
}

/// The request that a field is resolved for.
fn request<'a>(context: &Context<'a>) -> Result<&'a RequestContext, Failure> {
    from_data(context)
}

fn clients<'a>(context: &Context<'a>) -> Result<&'a Clients, Failure> {
    from_data(context)
}

fn loaders<'a>(context: &Context<'a>) -> Result<&'a Loaders, Failure> {
    from_data(context)
}

fn from_data<'a, T: Send + Sync + 'static>(context: &Context<'a>) -> Result<&'a T, Failure> {
    context
        .data()
        .map_err(|error| GatewayError::Bug(error.message).into())
}

/// The schema in its definition language.
#[cfg(test)]
pub(crate) fn sdl(options: async_graphql::SDLExportOptions) -> String {
    Schema::build(Query, Mutation, Subscription)
        .finish()
        .sdl_with_options(options)
}
