//! API composition: one answer made of several upstream calls, as ordinary async Rust with a few verbs.
//!
//! The answer's struct is the declaration: a [`Required`] part decides the status, a [`Section`] may fail, and on the
//! wire both are sections. Independent parts run in one [`all`](Composition::all); a dependency is an `await`. From the
//! same struct come `?fields=` and the schema of the answer.
//!
//! ```
//! # use axum::extract::State;
//! # use gateway_core::RequestContext;
//! # use gateway_core::compose::{Answer, Composition, Required, Section};
//! # use gateway_core::error::Error;
//! # use gateway_core::extract::PathParam;
//! # use gateway_core::upstream::UpstreamError;
//! # use schemars::JsonSchema;
//! # use serde::Serialize;
//! # #[derive(Serialize, JsonSchema)] struct Widget { maker: String }
//! # #[derive(Serialize, JsonSchema)] struct Maker;
//! # #[derive(Serialize, JsonSchema)] struct Stock;
//! # #[derive(Clone)] struct Clients;
//! # impl Clients {
//! #     async fn widget(&self, _: RequestContext, _: &str) -> Result<Widget, UpstreamError> { Ok(Widget { maker: String::new() }) }
//! #     async fn maker(&self, _: RequestContext, _: &str) -> Result<Maker, UpstreamError> { Ok(Maker) }
//! #     async fn stock(&self, _: RequestContext, _: &str) -> Result<Stock, UpstreamError> { Ok(Stock) }
//! # }
//! /// A widget, how many there are, and who makes it.
//! #[derive(Serialize, JsonSchema)]
//! struct WidgetScreen {
//!     widget: Required<Widget>,
//!     stock: Section<Stock>,
//!     maker: Section<Maker>,
//! }
//!
//! async fn show(
//!     page: Composition<WidgetScreen>,
//!     State(clients): State<Clients>,
//!     PathParam(id): PathParam<String>,
//! ) -> Result<Answer<WidgetScreen>, Error> {
//!     let widget_and_maker = async {
//!         let widget = page.required("widget", |call| clients.widget(call, &id)).await?;
//!         let maker = page.optional("maker", |call| clients.maker(call, &widget.maker)).await;
//!         Ok((widget, maker))
//!     };
//!     let stock = page.optional("stock", |call| clients.stock(call, &id));
//!     let ((widget, maker), stock) = page.all((widget_and_maker, stock)).await?;
//!     Ok(page.answer(WidgetScreen { widget, stock, maker }))
//! }
//! # fn is_a_handler<H: axum::handler::Handler<T, Clients>, T>(_: H) {}
//! # is_a_handler(show);
//! ```
//!
//! Nothing here knows HTTP paths or services; how a failure becomes a status is `problem.rs`.

mod answer;
mod each;
mod fields;
mod parts;
mod schema;
mod section;

use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::header::IF_NONE_MATCH;
use http::request::Parts as RequestParts;
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

pub use answer::{Answer, Polled};
pub(crate) use answer::{matches_weakly, weak_etag};
pub use each::{Batches, Each};
pub use parts::{Outcome, Parts};
pub(crate) use schema::{is_section, sections};
pub use section::{REASONS, Required, Section};

use crate::context::{PartKind, RequestContext, Staleness};
use crate::error::{Error, GatewayError};
use crate::upstream::UpstreamError;
use crate::waterfall::PartOutcome;
use fields::Fields;

/// One composition of the answer `S` under way. Extracted from the request: its context, `?fields=` and validators.
///
/// `Composition` alone is for an answer without sections.
#[derive(Debug)]
pub struct Composition<S = ()> {
    context: RequestContext,
    fields: Fields,
    /// Whether the request changes something: its answer is used once, and never left out.
    is_command: bool,
    if_none_match: Option<HeaderValue>,
    /// Whether a part has failed: such an answer has no validator and is never stored.
    incomplete: AtomicBool,
    /// Whether a part is stale: its age says nothing about whether the answer has changed.
    any_stale: AtomicBool,
    screen: PhantomData<fn() -> S>,
}

/// The sections that a part feeds, the one that names it first: most often a single one.
pub trait Feeds {
    fn names(&self) -> &[&'static str];
}

impl Feeds for &'static str {
    fn names(&self) -> &[&'static str] {
        std::slice::from_ref(self)
    }
}

impl<const N: usize> Feeds for [&'static str; N] {
    fn names(&self) -> &[&'static str] {
        self
    }
}

impl<S> Composition<S> {
    /// The same sections once more, in another context: for a stream, which tells them again later.
    #[must_use]
    pub fn again(&self, context: RequestContext) -> Self {
        Self {
            context,
            fields: self.fields.clone(),
            is_command: self.is_command,
            if_none_match: None,
            incomplete: AtomicBool::new(false),
            any_stale: AtomicBool::new(false),
            screen: PhantomData,
        }
    }

    /// `body` as a stream tells it: without the sections that the client did not pick.
    pub fn shown<'a, B: Serialize>(&'a self, body: &'a B) -> impl Serialize {
        self.fields.shown(body)
    }

    #[must_use]
    pub fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Whether the client wants to see the section `name`. What it does not want is not fetched and not in the answer
    /// without anybody asking here; this is for work in between.
    #[must_use]
    pub fn picks(&self, name: &str) -> bool {
        self.fields.picks(name)
    }

    /// A part without which there is no answer: its failure is the answer's failure. It is fetched also when the
    /// client did not pick it, since the answer depends on it; it is then only not shown. When the request's time is over
    /// already, the call is not made.
    ///
    /// # Errors
    /// Whatever the call's error means to the BFF.
    pub async fn required<T, E, Fut>(
        &self,
        name: &'static str,
        call: impl FnOnce(RequestContext) -> Fut,
    ) -> Result<Required<T>, Error>
    where
        Fut: Future<Output = Result<T, E>>,
        E: Into<Error>,
    {
        let staleness: Arc<Staleness> = Arc::default();
        let (context, part) = self.context.begin_part(name, PartKind::Required);
        if context.deadline().has_passed() {
            part.finished(PartOutcome::Failed);
            return Err(GatewayError::DeadlineExceeded.into());
        }
        match call(context.noting(&staleness)).await {
            Ok(data) => {
                let stale = self.stale(&staleness);
                part.finished(match stale {
                    None => PartOutcome::Ok,
                    Some(_) => PartOutcome::Stale,
                });
                Ok(Required::new(data, stale))
            }
            Err(error) => {
                part.finished(PartOutcome::Failed);
                Err(error.into())
            }
        }
    }

    /// A part that the answer can do without. What was not picked is not fetched; what is late is given up in time for
    /// the rest of the answer to arrive within the request's deadline.
    ///
    /// When one call feeds several sections, all of them are named: it is made when any of them is picked.
    pub async fn optional<T, Fut>(
        &self,
        feeds: impl Feeds,
        call: impl FnOnce(RequestContext) -> Fut,
    ) -> Section<T>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        let Some(name) = self.wanted(&feeds) else {
            return Section::Omitted;
        };
        let staleness: Arc<Staleness> = Arc::default();
        let (context, part) = self.context.begin_part(name, PartKind::Optional);
        let result = attempt(context.noting(&staleness), call).await;
        let stale = self.stale(&staleness);
        part.finished(outcome_of(&result, stale.is_some()));
        match result {
            Ok(data) => match stale {
                None => Section::Ok(data),
                Some((age, reason)) => Section::Stale {
                    data,
                    age: Some(age),
                    reason: Some(reason),
                },
            },
            Err(reason) => self.unavailable(name, reason),
        }
    }

    /// An optional part that needs the data of another one. Without that data its own service is not asked, and it says
    /// `dependency_failed`.
    ///
    /// The other part feeds this one, too: its call names both, so that it is made when only this one is picked.
    pub async fn optional_from<'a, D, T, Fut>(
        &self,
        name: &'static str,
        dependency: &'a Section<D>,
        call: impl FnOnce(RequestContext, &'a D) -> Fut,
    ) -> Section<T>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        match dependency.data() {
            Some(data) => self.optional(name, |context| call(context, data)).await,
            None if !self.picks(name) => Section::Omitted,
            None => {
                if dependency.is_omitted() {
                    // The failure matrix finds it, which asks for each section alone.
                    tracing::error!(
                        section = name,
                        "what it needs was not asked for: that call has to name it, too"
                    );
                }
                self.unavailable(name, section::DEPENDENCY_FAILED)
            }
        }
    }

    /// An optional part with something to show in its place: a default, or what can be worked out without the service.
    ///
    /// The client is told the truth: such a section is `stale` with the reason of the failure and without an age, since no
    /// service has ever said this.
    pub async fn with_fallback<T, Fut>(
        &self,
        feeds: impl Feeds,
        call: impl FnOnce(RequestContext) -> Fut,
        fallback: impl FnOnce() -> T,
    ) -> Section<T>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        match self.optional(feeds, call).await {
            Section::Unavailable { reason } => Section::Stale {
                data: fallback(),
                age: None,
                reason: Some(reason),
            },
            section => section,
        }
    }

    /// One optional part for each key: the keys go out in batches, so many at a time, and every batch is a call. Each key
    /// is asked for once, however often it is given; all calls share the time of one optional part.
    pub async fn for_each<K, T, Items, Fut>(
        &self,
        feeds: impl Feeds,
        keys: impl IntoIterator<Item = K>,
        batches: Batches,
        call: impl Fn(RequestContext, Vec<K>) -> Fut,
    ) -> Each<K, T>
    where
        K: Clone + Eq + Hash,
        Items: IntoIterator<Item = (K, T)>,
        Fut: Future<Output = Result<Items, UpstreamError>>,
    {
        let Some(name) = self.wanted(&feeds) else {
            return Each::omitted();
        };
        let (call, whole) = (&call, &self.context);
        let each = Each::fetch(keys, batches, |batch| {
            async move {
                // It begins when it is its turn. What is stale has no place to say so.
                let (context, part) = whole.begin_part(name, PartKind::Optional);
                let result = attempt(context, |context| call(context, batch)).await;
                part.finished(outcome_of(&result, false));
                result
            }
        })
        .await;
        if each.is_incomplete() {
            self.incomplete.store(true, Ordering::Relaxed);
        }
        each
    }

    /// Runs parts at the same time, and gives back what each came to.
    ///
    /// When a required part fails, the optional ones are dropped where they are; a block that begins with a required part counts as
    /// one to its end. A failure that is about the request itself
    /// (404, 409, 422 …) is the answer at once. A service's failure waits a moment, the reserve of optional parts, for
    /// the other required parts: one of them may have a refusal, which says more. Otherwise the first in the tuple speaks.
    /// So the answer does not hang on which of two calls ended a little earlier.
    ///
    /// # Errors
    /// The failure of a required part.
    pub fn all<P: Parts>(
        &self,
        parts: P,
    ) -> impl Future<Output = Result<P::Kept, Error>> + Send + use<P, S> {
        parts.run(self.context.optional_reserve())
    }

    /// The name under which a part is fetched; `None` when nobody wants any of the sections that it feeds.
    fn wanted(&self, feeds: &impl Feeds) -> Option<&'static str> {
        let names = feeds.names();
        names.iter().copied().find(|name| self.picks(name))
    }

    /// The age and the reason of a part's data, when it is not what its service says now.
    fn stale(&self, staleness: &Staleness) -> Option<(u64, &'static str)> {
        let stale = staleness.get();
        if stale.is_some() {
            self.any_stale.store(true, Ordering::Relaxed);
        }
        stale
    }

    fn unavailable<T>(&self, name: &'static str, reason: &'static str) -> Section<T> {
        self.incomplete.store(true, Ordering::Relaxed);
        tracing::debug!(
            section = name,
            reason,
            "a part of a composition is unavailable"
        );
        Section::Unavailable { reason }
    }
}

/// One call for an optional part, within its time; a call that is late already is not made.
async fn attempt<T, Fut>(
    context: RequestContext,
    call: impl FnOnce(RequestContext) -> Fut,
) -> Result<T, &'static str>
where
    Fut: Future<Output = Result<T, UpstreamError>>,
{
    let deadline = context.deadline();
    if deadline.has_passed() {
        return Err("timeout");
    }
    match tokio::time::timeout_at(deadline.at(), call(context)).await {
        Ok(Ok(data)) => Ok(data),
        Ok(Err(error)) => Err(error.reason()),
        Err(_elapsed) => Err("timeout"),
    }
}

fn outcome_of<T>(result: &Result<T, &'static str>, stale: bool) -> PartOutcome {
    match result {
        Ok(_) if stale => PartOutcome::Stale,
        Ok(_) => PartOutcome::Ok,
        Err(reason) => PartOutcome::Unavailable(reason),
    }
}

/// A field that may come in several lines, as one (RFC 9110, 5.3).
fn whole(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.clone();
    lines.try_fold(first, |whole, line| {
        let joined = [whole.as_bytes(), b", ", line.as_bytes()].concat();
        HeaderValue::from_bytes(&joined).ok()
    })
}

/// 400 when `?fields=` picks a section that the screen does not have.
impl<S: JsonSchema + 'static, State: Send + Sync> FromRequestParts<State> for Composition<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, state: &State) -> Result<Self, Error> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        Ok(Self {
            context,
            fields: Fields::of::<S>(parts.uri.query())?,
            is_command: !parts.method.is_safe(),
            if_none_match: whole(&parts.headers, &IF_NONE_MATCH),
            incomplete: AtomicBool::new(false),
            any_stale: AtomicBool::new(false),
            screen: PhantomData,
        })
    }
}

/// The guide, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/composition.md")]
struct Guide;

#[cfg(test)]
mod tests;
