//! `/v2/restaurants/{id}/menu`: a menu, for everybody to read, and for the partner to write whose restaurant it is. Nobody
//! writes over a version that they have not seen.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_core::RequestContext;
use gateway_core::error::Error;
use gateway_core::extract::{IfMatch, IfNoneMatch, LaterBody, PathParam};
use gateway_core::openapi::{Describe, Operation};
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ID, Money};
use crate::clients::restaurant::{Menu, MenuItem};
use crate::clients::{self, Clients};
use crate::partner;

/// A restaurant's menu.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MenuV2 {
    #[schemars(regex(pattern = ID))]
    restaurant_id: String,
    items: Vec<ItemV2>,
}

/// A menu to be written: all of it, in its order.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct NewMenuV2 {
    #[schemars(length(max = 500))]
    items: Vec<ItemV2>,
}

/// A dish.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ItemV2 {
    /// Unique in its menu; the same dish keeps it over revisions.
    #[schemars(length(min = 1, max = 100))]
    id: String,
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[serde(default)]
    #[schemars(length(max = 2000))]
    description: String,
    price: Money,
}

pub(crate) async fn show(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    known: IfNoneMatch,
) -> Result<Versioned<MenuV2>, Error> {
    let call = context.for_required("menu");
    let answer = Versioned::of(clients.restaurants.menu(call, &id).await?);
    Ok(answer.unless_known(&known))
}

pub(crate) async fn revise(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    expected: IfMatch,
    body: LaterBody<NewMenuV2>,
) -> Result<Versioned<MenuV2>, Error> {
    partner::writes_menu_of(&context, &id)?;
    let items = body.read().await?.items.into_iter();
    let items: Vec<MenuItem> = items.map(MenuItem::from).collect();
    let expected = expected.required()?;
    let call = context.for_required("menu");
    let menu = clients.restaurants.revise(call, &id, expected, &items);
    Ok(Versioned::of(menu.await?))
}

/// `T` with a strong validator. The route's policy switches compression off: it would weaken it.
pub(crate) struct Versioned<T> {
    body: T,
    etag: Option<HeaderValue>,
    is_known: bool,
}

impl Versioned<MenuV2> {
    fn of(menu: Menu) -> Self {
        Self {
            body: MenuV2 {
                restaurant_id: menu.restaurant_id,
                items: menu.items.into_iter().map(ItemV2::from).collect(),
            },
            etag: menu.etag,
            is_known: false,
        }
    }
}

impl<T> Versioned<T> {
    fn unless_known(self, known: &IfNoneMatch) -> Self {
        Self {
            is_known: self.etag.as_ref().is_some_and(|etag| known.has(etag)),
            ..self
        }
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = if self.is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Json(self.body).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Some(etag) = self.etag {
            headers.insert(ETAG, etag);
        }
        response
    }
}

impl<T: JsonSchema> Describe for Versioned<T> {
    fn describe(operation: &mut Operation<'_>) {
        let etag = json!({
            "ETag": {
                "description": "Strong: changes with every revision, and with nothing else.",
                "schema": {"type": "string"},
            },
        });
        operation.bare_answer(
            304,
            "Nothing has changed; an answer to reads alone.",
            etag.clone(),
        );
        operation.answer::<T>(200, "As asked.", etag);
    }
}

impl From<MenuItem> for ItemV2 {
    fn from(item: MenuItem) -> Self {
        Self {
            id: item.id,
            name: item.name,
            description: item.description,
            price: item.price.into(),
        }
    }
}

impl From<ItemV2> for MenuItem {
    fn from(item: ItemV2) -> Self {
        Self {
            id: item.id,
            name: item.name,
            description: item.description,
            price: clients::Money {
                amount: item.price.amount,
                currency: item.price.currency,
            },
        }
    }
}
