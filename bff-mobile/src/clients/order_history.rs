//! order-history: the views that are fed by events: a consumer's orders, and the restaurants that can deliver somewhere.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, segment, with_parameters};
use gateway_core::error::UpstreamError;
use gateway_core::events::ChangeEvent;
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::tags;
use crate::values::{Address, Location, Money, Page, Timestamp};

/// How many events are asked for at once; an order has a dozen in its life.
const EVENTS: u32 = 100;

#[derive(Clone)]
pub(crate) struct OrderHistoryClient {
    upstream: UpstreamClient,
}

/// Which of a consumer's orders; `None` restricts nothing.
#[derive(Debug, Default)]
pub(crate) struct OrderSearch<'a> {
    /// Those that are under way, or those that have ended.
    pub(crate) active: Option<bool>,
    pub(crate) status: Option<&'a str>,
    pub(crate) keyword: Option<&'a str>,
    pub(crate) since: Option<&'a str>,
    pub(crate) cursor: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastOrder {
    pub(crate) id: String,
    pub(crate) restaurant_id: String,
    pub(crate) restaurant_name: String,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) total: Money,
    pub(crate) line_items: Vec<PastLineItem>,
    pub(crate) ticket_state: Option<String>,
    pub(crate) ticket_version: Option<i64>,
    pub(crate) delivery_state: Option<String>,
    pub(crate) delivery_version: Option<i64>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastLineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

/// Which restaurants: those that deliver to a place at a time.
#[derive(Debug)]
pub(crate) struct RestaurantSearch<'a> {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
    /// Metres.
    pub(crate) radius: f64,
    /// RFC 3339; now when absent.
    pub(crate) at: Option<&'a str>,
    pub(crate) cuisine: Option<&'a str>,
    pub(crate) cursor: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AvailableRestaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: Option<Location>,
    pub(crate) cuisine: String,
    /// Metres from the place that was asked for.
    pub(crate) distance: f64,
    pub(crate) open_until: Option<Timestamp>,
    pub(crate) order_minimum: Option<Money>,
}

/// What the feed of events has told of one order, up to a position.
#[derive(Debug, Deserialize)]
pub(crate) struct Passage {
    items: Vec<Logged>,
    /// Up to here the feed was looked through.
    pub(crate) position: u64,
    /// Whether there is more after that.
    pub(crate) more: bool,
    /// That what came in between cannot be told any more.
    pub(crate) reset: bool,
}

#[derive(Debug, Deserialize)]
struct Logged {
    position: u64,
    event: Box<RawValue>,
}

impl Passage {
    /// What can be read of them. An envelope that is none is a fault of the service; the others are worth telling.
    pub(crate) fn events(&self) -> impl Iterator<Item = ChangeEvent> {
        self.items.iter().filter_map(|logged| {
            let position = logged.position;
            match ChangeEvent::parse(logged.event.get().to_owned().into()) {
                Ok(event) => Some(ChangeEvent {
                    position: Some(position),
                    ..event
                }),
                Err(error) => {
                    tracing::warn!(position, %error, "an event of an order is none, and not told");
                    None
                }
            }
        })
    }
}

impl OrderHistoryClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("order-history")?,
        })
    }

    /// A consumer's orders, newest first.
    pub(crate) async fn orders(
        &self,
        context: RequestContext,
        consumer_id: &str,
        search: &OrderSearch<'_>,
        limit: u32,
    ) -> Result<Page<PastOrder>, UpstreamError> {
        let all = format!(
            "/orders?consumerId={}&pageSize={limit}",
            query_value(consumer_id)
        );
        let active = search.active.map(|active| active.to_string());
        let found = with_parameters(
            all,
            [
                ("active", active.as_deref()),
                ("status", search.status),
                ("keyword", search.keyword),
                ("since", search.since),
                ("cursor", search.cursor),
            ],
        );
        self.upstream.get(context, found).json_answer().await
    }

    /// What happened to an order after a position in the feed of events, or a part of it.
    pub(crate) async fn events(
        &self,
        context: RequestContext,
        order_id: &str,
        since: u64,
    ) -> Result<Passage, UpstreamError> {
        let path = format!(
            "/orders/{}/events?since={since}&pageSize={EVENTS}",
            segment(order_id)
        );
        self.upstream
            .get(context, path)
            // It is not stored; who reads it after an event does not join who asked before.
            .tagged(tags::followed(order_id))
            .json_answer()
            .await
    }

    /// Where the feed of events ends now.
    pub(crate) async fn end_of_events(
        &self,
        context: RequestContext,
        order_id: &str,
    ) -> Result<u64, UpstreamError> {
        let path = format!("/orders/{}/events", segment(order_id));
        let passage: Passage = self
            .upstream
            .get(context, path)
            .tagged(tags::followed(order_id))
            .json_answer()
            .await?;
        Ok(passage.position)
    }

    /// The restaurants that deliver to a place, nearest first.
    pub(crate) async fn available_restaurants(
        &self,
        context: RequestContext,
        search: &RestaurantSearch<'_>,
        limit: u32,
    ) -> Result<Page<AvailableRestaurant>, UpstreamError> {
        let RestaurantSearch {
            lat, lng, radius, ..
        } = search;
        let all =
            format!("/restaurants/available?lat={lat}&lng={lng}&radius={radius}&pageSize={limit}");
        let found = with_parameters(
            all,
            [
                ("at", search.at),
                ("cuisine", search.cuisine),
                ("cursor", search.cursor),
            ],
        );
        // Whether one is open changes with the time of day, of which no event tells.
        self.upstream
            .get(context.for_everybody(), found)
            .cached(Lifetime::seconds(5))
            .tagged([tags::RESTAURANTS])
            .json_answer()
            .await
    }
}
