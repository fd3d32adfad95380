//! The services' HTTP surfaces as the seed uses them: paths, narrow bodies, statuses. When each is called is `drive`'s.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{SecondsFormat, TimeDelta, Utc};
use gateway_core::auth::internal_token::{InternalTokenSigner, SigningError, X_INTERNAL_TOKEN};
use reqwest::{Method, RequestBuilder, StatusCode};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::form_urlencoded;

use crate::demo::ports::Offset;
use crate::demo::seed::plan::PastOrder;
use crate::gateway_key::GatewayKey;
use crate::service::Service;

/// How long the kitchen of the demo takes, from the start of the demo on.
const KITCHEN_TIME: TimeDelta = TimeDelta::minutes(25);
const PAGE_SIZE: u32 = 100;
const TOKEN_SECONDS: u32 = 8 * 60 * 60;

/// An answer that the seed can't go on with.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the service does not answer")]
    Transport(#[from] reqwest::Error),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("the service answers {status}: {detail}")]
    Status { status: u16, detail: String },
}

/// The services at their demo ports.
pub(super) struct Api {
    client: reqwest::Client,
    signer: Arc<InternalTokenSigner>,
    offset: Offset,
}

/// What an order says in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) menu_item_id: String,
    pub(super) quantity: u32,
}

impl Line {
    pub(super) fn of(item: &MenuItem, quantity: u32) -> Line {
        Line {
            menu_item_id: item.id.clone(),
            quantity,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Restaurant {
    pub(super) order_minimum: Price,
    pub(super) menu: Menu,
}

#[derive(Debug, Deserialize)]
pub(super) struct Menu {
    pub(super) items: Vec<MenuItem>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MenuItem {
    pub(super) id: String,
    pub(super) price: Price,
}

#[derive(Debug, Deserialize)]
pub(super) struct Price {
    #[serde(with = "rust_decimal::serde::str")]
    pub(super) amount: Decimal,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delivery {
    pub(super) state: String,
    pub(super) courier: Option<Identified>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Identified {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
struct InState {
    state: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    order_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Identified>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Token {
    access_token: String,
}

/// What the kitchen does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum TicketStep {
    Accept,
    Preparing,
    Ready,
    PickedUp,
}

impl Api {
    pub(super) fn new(key: &GatewayKey, offset: Offset) -> Api {
        Api {
            client: reqwest::Client::new(),
            signer: key.signer(),
            offset,
        }
    }

    /// A request to a service in the demo's own name: the seed plays many people's parts.
    fn request(
        &self,
        method: Method,
        service: Service,
        path: &str,
    ) -> Result<RequestBuilder, ApiError> {
        let token = self.signer.for_itself(service.name())?;
        Ok(self
            .client
            .request(method, self.offset.url(service.port(), path))
            .header(X_INTERNAL_TOKEN, token))
    }

    fn get(&self, service: Service, path: &str) -> Result<RequestBuilder, ApiError> {
        self.request(Method::GET, service, path)
    }

    fn post(&self, service: Service, path: &str) -> Result<RequestBuilder, ApiError> {
        self.request(Method::POST, service, path)
    }

    /// The id of the order, which the same key always has.
    pub(super) async fn place(
        &self,
        order: &PastOrder,
        lines: &[Line],
    ) -> Result<String, ApiError> {
        let request = self
            .post(Service::Order, "/orders")?
            .header("Idempotency-Key", &order.key)
            .json(&json!({
                "consumerId": order.consumer,
                "restaurantId": order.restaurant,
                "deliveryAddress": {
                    "street1": order.street, "city": "Oakland", "state": "CA", "zip": order.zip
                },
                "lineItems": lines,
            }));
        Ok(answer::<Placed>(request).await?.order_id)
    }

    pub(super) async fn order_state(&self, id: &str) -> Result<String, ApiError> {
        let request = self.get(Service::Order, &format!("/orders/{id}"))?;
        Ok(answer::<InState>(request).await?.state)
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<(), ApiError> {
        done(self.post(Service::Order, &format!("/orders/{id}/cancel"))?).await
    }

    pub(super) async fn restaurant(&self, id: &str) -> Result<Restaurant, ApiError> {
        answer(self.get(Service::Restaurant, &format!("/restaurants/{id}"))?).await
    }

    pub(super) async fn ticket_state(&self, id: &str) -> Result<String, ApiError> {
        let request = self.get(Service::Kitchen, &format!("/tickets/{id}"))?;
        Ok(answer::<InState>(request).await?.state)
    }

    pub(super) async fn advance_ticket(&self, id: &str, step: TicketStep) -> Result<(), ApiError> {
        let path = match step {
            TicketStep::Accept => "accept",
            TicketStep::Preparing => "preparing",
            TicketStep::Ready => "ready",
            TicketStep::PickedUp => "picked-up",
        };
        let request = self.post(Service::Kitchen, &format!("/tickets/{id}/{path}"))?;
        done(match step {
            TicketStep::Accept => request.json(&json!({ "readyBy": ready_by() })),
            TicketStep::Preparing | TicketStep::Ready | TicketStep::PickedUp => request,
        })
        .await
    }

    /// `None` until the delivery service has heard of the order.
    pub(super) async fn delivery(&self, id: &str) -> Result<Option<Delivery>, ApiError> {
        let request = self.get(Service::Delivery, &format!("/deliveries/{id}"))?;
        match answer(request).await {
            Ok(delivery) => Ok(Some(delivery)),
            Err(ApiError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn pick_up(&self, id: &str, courier: &str) -> Result<(), ApiError> {
        self.courier_does(id, "pickup", courier).await
    }

    pub(super) async fn drop_off(&self, id: &str, courier: &str) -> Result<(), ApiError> {
        self.courier_does(id, "dropoff", courier).await
    }

    async fn courier_does(&self, id: &str, action: &str, courier: &str) -> Result<(), ApiError> {
        let request = self
            .post(Service::Delivery, &format!("/deliveries/{id}/{action}"))?
            .json(&json!({ "courierId": courier }));
        done(request).await
    }

    /// All orders of the consumer that order-history shows.
    pub(super) async fn shown_orders(&self, consumer: &str) -> Result<HashSet<String>, ApiError> {
        let mut shown = HashSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let page_size = PAGE_SIZE.to_string();
            let mut query = vec![("consumerId", consumer), ("pageSize", page_size.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let path = format!("/orders{}", encoded(&query));
            let page: Page = answer(self.get(Service::OrderHistory, &path)?).await?;
            shown.extend(page.items.into_iter().map(|order| order.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(shown);
            }
        }
    }

    /// How many open restaurants order-history shows there.
    pub(super) async fn shown_restaurants(
        &self,
        (lat, lng): (f64, f64),
        radius_metres: u32,
    ) -> Result<usize, ApiError> {
        let query = [
            ("lat", lat.to_string()),
            ("lng", lng.to_string()),
            ("radius", radius_metres.to_string()),
        ];
        let path = format!("/restaurants/available{}", encoded(&query));
        let page: Page = answer(self.get(Service::OrderHistory, &path)?).await?;
        Ok(page.items.len())
    }

    pub(super) async fn token(&self, subject: &str) -> Result<String, ApiError> {
        let query = [("sub", subject), ("expires_in", &TOKEN_SECONDS.to_string())];
        let path = format!("/dev/token{}", encoded(&query));
        let token: Token = answer(self.get(Service::Identity, &path)?).await?;
        Ok(token.access_token)
    }
}

/// On a whole second, as a person would promise it.
fn ready_by() -> String {
    (Utc::now() + KITCHEN_TIME).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A query string with its question mark.
fn encoded(query: &[(&str, impl AsRef<str>)]) -> String {
    let mut encoded = form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
    encoded.extend_pairs(query);
    encoded.finish()
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ApiError> {
    Ok(succeeded(request).await?.json().await?)
}

async fn done(request: RequestBuilder) -> Result<(), ApiError> {
    succeeded(request).await.map(drop)
}

async fn succeeded(request: RequestBuilder) -> Result<reqwest::Response, ApiError> {
    let response = request.send().await?;
    let status: StatusCode = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(ApiError::Status {
        status: status.as_u16(),
        detail: response.text().await?,
    })
}
