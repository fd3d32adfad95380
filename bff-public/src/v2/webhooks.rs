//! `/v2/webhooks`: where a partner wants to be told of what happens to its orders. What it is told is `announcements.rs`'s, how it gets
//! there gateway-core's.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use gateway_core::RequestContext;
use gateway_core::encode::segment;
use gateway_core::error::{ClientError, Error, FieldError};
use gateway_core::extract::{JsonBody, PathParam, QueryParams};
use gateway_core::openapi::{Describe, Operation};
use gateway_core::webhooks::{Delivery, DeliveryState, Endpoint, NewEndpoint};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ID, Page, Uncached, given, limit};
use crate::announcements;
use crate::clients::Clients;
use crate::partner;

/// What a cursor of deliveries looks like: which of the webhook's own deliveries a page ended with.
const DELIVERIES_CURSOR: &str = "^(d[1-9][0-9]{0,17})?$";

/// A webhook to be added.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewWebhookV2 {
    /// `https://`, and a public address.
    #[schemars(length(min = 1, max = 2048), extend("format" = "uri"))]
    #[schemars(example = "https://partner.example/ftgo")]
    url: String,
    /// The types of messages that are wanted; all when absent or empty.
    #[serde(default)]
    #[schemars(length(max = 50))]
    events: Vec<String>,
    /// Messages of one order one after another: the next one when the one before has arrived or was given up.
    #[serde(default)]
    ordered: bool,
}

/// A place where the partner is told of what happens to its orders.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WebhookV2 {
    #[schemars(regex(pattern = ID))]
    id: String,
    url: String,
    /// The types of messages that are wanted; all when empty.
    events: Vec<String>,
    ordered: bool,
    /// `ENABLED` or `DISABLED`: then nothing is sent.
    state: &'static str,
    /// Why it is disabled; `null` when it is not.
    disabled_reason: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
}

/// A webhook that was just added.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddedWebhookV2 {
    #[serde(flatten)]
    webhook: WebhookV2,
    /// `whsec_…`: what messages are signed with. It is shown only now.
    #[schemars(regex(pattern = "^whsec_[A-Za-z0-9+/]+=*$"))]
    secret: String,
}

/// Another secret.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RotatedV2 {
    /// `whsec_…`: it is shown only now.
    #[schemars(regex(pattern = "^whsec_[A-Za-z0-9+/]+=*$"))]
    secret: String,
    /// Until then messages have a signature with the former secret, too.
    #[schemars(extend("format" = "date-time"))]
    former_secret_until: String,
}

/// A message that is on its way.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueuedV2 {
    #[schemars(regex(pattern = ID))]
    message_id: String,
}

/// A message, and how far it has come.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryV2 {
    /// `webhook-id`, the same in every attempt.
    #[schemars(regex(pattern = ID))]
    message_id: String,
    r#type: String,
    /// `PENDING`, `DELIVERED` or `FAILED`: given up.
    state: &'static str,
    /// Made so far.
    attempts: u32,
    /// Of the last answer; `null` when there was none.
    last_status: Option<u16>,
    /// Why the last attempt failed; `null` when it did not.
    last_error: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    /// `null` when it is over.
    #[schemars(extend("format" = "date-time"))]
    next_attempt_at: Option<String>,
    /// `null` when it is not over.
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct DeliveriesQuery {
    /// Only those in this state: `PENDING`, `DELIVERED` or `FAILED`.
    #[schemars(regex(pattern = "^(PENDING|DELIVERED|FAILED)?$"))]
    state: Option<String>,
    /// The `nextCursor` of a page of the same search.
    #[schemars(regex(pattern = DELIVERIES_CURSOR))]
    cursor: Option<String>,
    /// The size of a page, 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

/// 201 with where the webhook is; stored by nobody, as there is a secret in it.
pub(crate) struct Created(AddedWebhookV2);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let location = format!("/v2/webhooks/{}", segment(&self.0.webhook.id));
        let mut response = (StatusCode::CREATED, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(LOCATION, location);
        }
        response
    }
}

impl Describe for Created {
    fn describe(operation: &mut Operation<'_>) {
        let location =
            json!({"description": "Where the webhook is.", "schema": {"type": "string"}});
        operation.answer::<AddedWebhookV2>(201, "It was added.", json!({"Location": location}));
    }
}

/// 202: it is on its way.
pub(crate) struct Queued(QueuedV2);

impl IntoResponse for Queued {
    fn into_response(self) -> Response {
        let no_store = HeaderValue::from_static("no-store");
        let headers = [(CACHE_CONTROL, no_store)];
        (StatusCode::ACCEPTED, headers, Json(self.0)).into_response()
    }
}

impl Describe for Queued {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer::<QueuedV2>(202, "It is on its way.", json!({}));
    }
}

/// 204.
pub(crate) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Describe for Done {
    fn describe(operation: &mut Operation<'_>) {
        operation.bare_answer(204, "It is done.", json!({}));
    }
}

pub(crate) async fn list(
    context: RequestContext,
    State(clients): State<Clients>,
) -> Result<Uncached<Page<WebhookV2>>, Error> {
    let webhooks = clients.webhooks.list(partner::known(&context)?).await?;
    Ok(Uncached::new(Page {
        items: webhooks.into_iter().map(WebhookV2::from).collect(),
        next_cursor: None,
    }))
}

pub(crate) async fn create(
    context: RequestContext,
    State(clients): State<Clients>,
    JsonBody(new): JsonBody<NewWebhookV2>,
) -> Result<Created, Error> {
    let partner = partner::known(&context)?;
    // Whom nothing concerns is told nothing.
    partner::consumer(&context)?;
    check(&new)?;
    let new = NewEndpoint {
        url: new.url,
        kinds: new.events,
        ordered: new.ordered,
    };
    let (endpoint, secret) = clients.webhooks.create(partner, new).await?;
    let webhook = endpoint.into();
    Ok(Created(AddedWebhookV2 { webhook, secret }))
}

/// All types that there are not, at once.
fn check(new: &NewWebhookV2) -> Result<(), Error> {
    let unknown = |kind: &&String| !announcements::kinds().any(|known| known == kind.as_str());
    let faults: Vec<FieldError> = new
        .events
        .iter()
        .enumerate()
        .filter(|(_, kind)| unknown(kind))
        .map(|(index, _)| FieldError {
            pointer: format!("/events/{index}"),
            detail: "is no type of message".to_owned(),
        })
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Unprocessable(faults).into())
    }
}

pub(crate) async fn show(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Uncached<WebhookV2>, Error> {
    let partner = partner::known(&context)?;
    let endpoint = clients.webhooks.endpoint(partner, &id).await?;
    Ok(Uncached::new(endpoint.into()))
}

pub(crate) async fn delete(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Done, Error> {
    let partner = partner::known(&context)?;
    clients.webhooks.delete(partner, &id).await?;
    Ok(Done)
}

pub(crate) async fn rotate(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Uncached<RotatedV2>, Error> {
    let partner = partner::known(&context)?;
    let (secret, until) = clients.webhooks.rotate(partner, &id).await?;
    Ok(Uncached::new(RotatedV2 {
        secret,
        former_secret_until: time(until),
    }))
}

pub(crate) async fn enable(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Uncached<WebhookV2>, Error> {
    let partner = partner::known(&context)?;
    clients.webhooks.enable(partner, &id).await?;
    let endpoint = clients.webhooks.endpoint(partner, &id).await?;
    Ok(Uncached::new(endpoint.into()))
}

pub(crate) async fn test(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
) -> Result<Queued, Error> {
    let partner = partner::known(&context)?;
    let at = time(SystemTime::now());
    let webhooks = &clients.webhooks;
    let message_id = webhooks
        .test(partner, &id, announcements::TEST, &at)
        .await?;
    Ok(Queued(QueuedV2 { message_id }))
}

pub(crate) async fn deliveries(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam(id): PathParam<String>,
    QueryParams(query): QueryParams<DeliveriesQuery>,
) -> Result<Uncached<Page<DeliveryV2>>, Error> {
    let partner = partner::known(&context)?;
    let limit = limit(query.limit)?;
    let state = match given(query.state.as_ref()) {
        Some(name) => Some(state(name)?),
        None => None,
    };
    let before = match given(query.cursor.as_ref()) {
        Some(cursor) => Some(place(cursor)?),
        None => None,
    };
    // One more tells whether there is another page.
    let mut found = clients
        .webhooks
        .deliveries(partner, &id, state, before, limit + 1)
        .await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| has_more);
    Ok(Uncached::new(Page {
        next_cursor: last.map(|delivery| format!("d{}", delivery.number)),
        items: found.into_iter().map(DeliveryV2::from).collect(),
    }))
}

fn state(name: &str) -> Result<DeliveryState, Error> {
    let states = [
        DeliveryState::Pending,
        DeliveryState::Delivered,
        DeliveryState::Failed,
    ];
    let found = states.into_iter().find(|state| shown(*state) == name);
    found.ok_or_else(|| Error::bad_request("state: has to be PENDING, DELIVERED or FAILED."))
}

fn place(cursor: &str) -> Result<i64, Error> {
    let digits = cursor.strip_prefix('d').filter(|digits| {
        let is_short = (1..=18).contains(&digits.len()) && !digits.starts_with('0');
        is_short && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let place = digits.and_then(|digits| digits.parse().ok());
    place.ok_or_else(|| Error::bad_request("cursor: is no cursor of this list."))
}

pub(crate) async fn replay(
    context: RequestContext,
    State(clients): State<Clients>,
    PathParam((id, message)): PathParam<(String, String)>,
) -> Result<Queued, Error> {
    let partner = partner::known(&context)?;
    clients.webhooks.replay(partner, &id, &message).await?;
    let message_id = message;
    Ok(Queued(QueuedV2 { message_id }))
}

fn shown(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "PENDING",
        DeliveryState::Delivered => "DELIVERED",
        DeliveryState::Failed => "FAILED",
    }
}

fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl From<Endpoint> for WebhookV2 {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            created_at: time(endpoint.created_at()),
            id: endpoint.id,
            url: endpoint.url,
            events: endpoint.kinds,
            ordered: endpoint.ordered,
            state: match endpoint.disabled {
                None => "ENABLED",
                Some(_) => "DISABLED",
            },
            disabled_reason: endpoint.disabled,
        }
    }
}

impl From<Delivery> for DeliveryV2 {
    fn from(delivery: Delivery) -> Self {
        Self {
            state: shown(delivery.state()),
            created_at: time(delivery.created_at()),
            next_attempt_at: delivery.next_at().map(time),
            ended_at: delivery.ended_at().map(time),
            message_id: delivery.message,
            r#type: delivery.kind,
            attempts: delivery.attempts,
            last_status: delivery.status,
            last_error: delivery.fault,
        }
    }
}
