//! API composition: one answer made of several upstream calls, as ordinary async Rust with a few verbs.
//!
//! The answer's struct is the declaration: a [`Required`] part decides the status, a [`Section`] may fail, and on the
//! wire both are sections. Independent parts run in one `try_join!`; a dependency is an `await`.
//!
//! ```
//! # use axum::extract::State;
//! # use axum::response::Response;
//! # use futures_util::try_join;
//! # use gateway_core::RequestContext;
//! # use gateway_core::compose::{Composition, Required, Screen, Section};
//! # use gateway_core::error::Error;
//! # use gateway_core::extract::PathParam;
//! # use gateway_core::upstream::UpstreamError;
//! # #[derive(serde::Serialize)] struct Widget { maker: String }
//! # #[derive(serde::Serialize)] struct Maker;
//! # #[derive(serde::Serialize)] struct Stock;
//! # #[derive(Clone)] struct Clients;
//! # impl Clients {
//! #     async fn widget(&self, _: RequestContext, _: &str) -> Result<Widget, UpstreamError> { Ok(Widget { maker: String::new() }) }
//! #     async fn maker(&self, _: RequestContext, _: &str) -> Result<Maker, UpstreamError> { Ok(Maker) }
//! #     async fn stock(&self, _: RequestContext, _: &str) -> Result<Stock, UpstreamError> { Ok(Stock) }
//! # }
//! #[derive(serde::Serialize)]
//! struct WidgetScreen {
//!     widget: Required<Widget>,
//!     #[serde(skip_serializing_if = "Section::is_omitted")]
//!     stock: Section<Stock>,
//!     #[serde(skip_serializing_if = "Section::is_omitted")]
//!     maker: Section<Maker>,
//! }
//!
//! impl Screen for WidgetScreen {
//!     const SECTIONS: &'static [&'static str] = &["widget", "stock", "maker"];
//! }
//!
//! async fn show(
//!     page: Composition,
//!     State(clients): State<Clients>,
//!     PathParam(id): PathParam<String>,
//! ) -> Result<Response, Error> {
//!     let page = page.of::<WidgetScreen>()?;
//!     let ((widget, maker), stock) = try_join!(
//!         async {
//!             let widget = page.required("widget", |call| clients.widget(call, &id)).await?;
//!             let maker = page.optional("maker", |call| clients.maker(call, &widget.maker)).await;
//!             Ok::<_, Error>((widget, maker))
//!         },
//!         async { Ok(page.optional("stock", |call| clients.stock(call, &id)).await) },
//!     )?;
//!     Ok(page.answer(&WidgetScreen { widget, stock, maker }))
//! }
//! ```
//!
//! Nothing here knows HTTP paths or services; how a failure becomes a status is `problem.rs`.

mod answer;
mod section;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::HeaderValue;
use http::header::IF_NONE_MATCH;
use http::request::Parts;

pub use section::{Required, Section};

use crate::context::{RequestContext, Staleness};
use crate::error::Error;
use crate::upstream::UpstreamError;

/// An answer that is composed of sections.
pub trait Screen: serde::Serialize {
    /// The names of the sections as they are on the wire: what `?fields=` may pick.
    const SECTIONS: &'static [&'static str];
}

/// One composition under way. Extracted from the request: its context, `?fields=` and validators.
#[derive(Debug)]
pub struct Composition {
    context: RequestContext,
    fields: Option<Vec<String>>,
    if_none_match: Option<HeaderValue>,
    /// Whether a part has failed: such an answer has no validator and is never stored.
    incomplete: AtomicBool,
    /// Whether a part is stale: its age says nothing about whether the answer has changed.
    stale: AtomicBool,
}

impl Composition {
    /// Checks `?fields=` against the sections of `S`.
    ///
    /// # Errors
    /// 400 when a field is picked that the screen does not have.
    pub fn of<S: Screen>(self) -> Result<Self, Error> {
        let unknown = self
            .fields
            .iter()
            .flatten()
            .find(|field| !S::SECTIONS.contains(&field.as_str()));
        match unknown {
            Some(field) => Err(Error::bad_request(format!(
                "fields: there is no section {field:?}; there are {}.",
                S::SECTIONS.join(", ")
            ))),
            None => Ok(self),
        }
    }

    #[must_use]
    pub fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Whether the client wants to see the section `name`.
    #[must_use]
    pub fn picks(&self, name: &str) -> bool {
        self.fields
            .as_ref()
            .is_none_or(|fields| fields.iter().any(|field| field == name))
    }

    /// A part without which there is no answer: its failure is the answer's failure. It is fetched also when the
    /// client did not pick it, since the answer depends on it; it is then only not shown.
    ///
    /// # Errors
    /// Whatever the call's error means to the BFF.
    pub async fn required<T, E, Fut>(
        &self,
        name: &'static str,
        call: impl FnOnce(RequestContext) -> Fut,
    ) -> Result<Required<T>, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let staleness: Arc<Staleness> = Arc::default();
        let data = call(self.context.for_required(name).noting(&staleness)).await?;
        Ok(Required::new(data, self.age(&staleness), self.picks(name)))
    }

    /// A part that the answer can do without. What was not picked is not fetched; what is late is given up in time for
    /// the rest of the answer to arrive within the request's deadline.
    pub async fn optional<T, Fut>(
        &self,
        name: &'static str,
        call: impl FnOnce(RequestContext) -> Fut,
    ) -> Section<T>
    where
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        if !self.picks(name) {
            return Section::Omitted;
        }
        let staleness: Arc<Staleness> = Arc::default();
        let context = self.context.for_optional(name).noting(&staleness);
        let deadline = context.deadline();
        if deadline.has_passed() {
            return self.unavailable(name, "timeout");
        }
        match tokio::time::timeout_at(deadline.at(), call(context)).await {
            Ok(Ok(data)) => match self.age(&staleness) {
                None => Section::Ok(data),
                Some(age) => Section::Stale { data, age },
            },
            Ok(Err(error)) => self.unavailable(name, error.reason()),
            Err(_elapsed) => self.unavailable(name, "timeout"),
        }
    }

    fn age(&self, staleness: &Staleness) -> Option<u64> {
        let age = staleness.age();
        if age.is_some() {
            self.stale.store(true, Ordering::Relaxed);
        }
        age
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

impl<S: Send + Sync> FromRequestParts<S> for Composition {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        let fields = parts.uri.query().and_then(fields);
        Ok(Self {
            context,
            fields,
            if_none_match: parts.headers.get(IF_NONE_MATCH).cloned(),
            incomplete: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        })
    }
}

/// The names in `fields=a,b`. Section names need no decoding, but for an encoded comma.
fn fields(query: &str) -> Option<Vec<String>> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fields="))?;
    let value = value.replace("%2C", ",").replace("%2c", ",");
    Some(
        value
            .split(',')
            .filter(|field| !field.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests;
