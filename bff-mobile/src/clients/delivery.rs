//! delivery: where an order's food is, and what the couriers who carry it do.

use gateway_core::RequestContext;
use gateway_core::cache::Lifetime;
use gateway_core::encode::{query_value, segment};
use gateway_core::error::{Error, UpstreamError};
use gateway_core::upstream::{UnknownUpstream, UpstreamClient, Upstreams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{of_command, of_lookup};
use crate::tags;
use crate::values::{Address, Location, Timestamp};

#[derive(Clone)]
pub(crate) struct DeliveryClient {
    upstream: UpstreamClient,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) version: i64,
    pub(crate) updated_at: Timestamp,
    /// Nobody yet, until the delivery is scheduled.
    pub(crate) courier: Option<Courier>,
    pub(crate) scheduled_pickup_time: Option<Timestamp>,
    pub(crate) scheduled_delivery_time: Option<Timestamp>,
    pub(crate) picked_up_at: Option<Timestamp>,
    pub(crate) delivered_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Courier {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Unknown until the courier has reported it.
    pub(crate) location: Option<Location>,
}

/// A delivery as the courier needs it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CarriedDelivery {
    pub(crate) id: String,
    pub(crate) order_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) state: String,
    pub(crate) pickup_address: Address,
    pub(crate) delivery_address: Address,
    pub(crate) line_items: Vec<CarriedItem>,
    pub(crate) scheduled_pickup_time: Option<Timestamp>,
    pub(crate) scheduled_delivery_time: Option<Timestamp>,
    pub(crate) picked_up_at: Option<Timestamp>,
    pub(crate) delivered_at: Option<Timestamp>,
}

/// Something that is carried.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CarriedItem {
    pub(crate) name: String,
    pub(crate) quantity: u32,
}

/// What a courier does next, in the order of time.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) courier_id: String,
    pub(crate) available: bool,
    pub(crate) location: Option<Location>,
    pub(crate) actions: Vec<Action>,
}

/// One thing to do, and when.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    /// `PICKUP` or `DROPOFF`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) delivery_id: String,
    pub(crate) order_id: String,
    pub(crate) restaurant_id: String,
    pub(crate) address: Address,
    #[schemars(extend("format" = "date-time"))]
    pub(crate) time: Timestamp,
}

/// Whether a courier works, and where they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CourierStatus {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) available: bool,
    pub(crate) location: Option<Location>,
}

#[derive(Debug, Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Debug, Serialize)]
struct Availability {
    available: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    courier_id: &'a str,
}

/// What a courier reports from the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Pickup,
    Dropoff,
}

impl DeliveryClient {
    pub(super) fn new(upstreams: &Upstreams) -> Result<Self, UnknownUpstream> {
        Ok(Self {
            upstream: upstreams.client("delivery")?,
        })
    }

    /// The delivery of an order; it has the order's id.
    pub(crate) async fn delivery(
        &self,
        context: RequestContext,
        order_id: &str,
    ) -> Result<Delivery, UpstreamError> {
        self.upstream
            .get(context, format!("/deliveries/{}", segment(order_id)))
            .cached(Lifetime::seconds(2))
            .tagged([tags::order(order_id), tags::location(order_id)])
            .json_answer()
            .await
    }

    /// What a courier does next.
    ///
    /// # Errors
    /// 404 when the service knows no such courier.
    pub(crate) async fn plan(
        &self,
        context: RequestContext,
        courier_id: &str,
    ) -> Result<Plan, Error> {
        self.upstream
            .get(context, format!("/couriers/{}/plan", segment(courier_id)))
            .json_answer()
            .await
            .map_err(of_lookup)
    }

    /// Deliveries by their ids; those that the caller may not see are not there.
    pub(crate) async fn deliveries(
        &self,
        context: RequestContext,
        ids: Vec<String>,
    ) -> Result<Vec<(String, CarriedDelivery)>, UpstreamError> {
        let tags: Vec<String> = ids.iter().map(|id| tags::order(id)).collect();
        let path = format!("/deliveries?ids={}", query_value(&ids.join(",")));
        let found: Items<CarriedDelivery> = self
            .upstream
            .get(context, path)
            .cached(Lifetime::seconds(2))
            .tagged(tags)
            .json_answer()
            .await?;
        let with_ids = found.items.into_iter();
        Ok(with_ids
            .map(|delivery| (delivery.id.clone(), delivery))
            .collect())
    }

    /// Checks that a delivery is this courier's.
    ///
    /// # Errors
    /// 404 also when it is another's: that it exists is nobody's business.
    pub(crate) async fn is_carried_by(
        &self,
        context: RequestContext,
        id: &str,
        courier_id: &str,
    ) -> Result<(), Error> {
        let delivery = self.delivery(context, id).await.map_err(of_lookup)?;
        match delivery.courier {
            Some(courier) if courier.id == courier_id => Ok(()),
            Some(_) | None => Err(Error::not_found()),
        }
    }

    pub(crate) async fn report(
        &self,
        context: RequestContext,
        id: &str,
        courier_id: &str,
        stop: Stop,
    ) -> Result<CarriedDelivery, Error> {
        let verb = match stop {
            Stop::Pickup => "pickup",
            Stop::Dropoff => "dropoff",
        };
        let path = format!("/deliveries/{}/{verb}", segment(id));
        self.upstream
            .post(context, path, &Report { courier_id })
            .tagged([tags::order(id)])
            .json_answer()
            .await
            .map_err(of_command)
    }

    pub(crate) async fn set_availability(
        &self,
        context: RequestContext,
        courier_id: &str,
        available: bool,
    ) -> Result<CourierStatus, Error> {
        let path = format!("/couriers/{}/availability", segment(courier_id));
        self.upstream
            .post(context, path, &Availability { available })
            .json_answer()
            .await
            .map_err(of_command)
    }

    pub(crate) async fn set_location(
        &self,
        context: RequestContext,
        courier_id: &str,
        location: Location,
    ) -> Result<CourierStatus, Error> {
        let path = format!("/couriers/{}/location", segment(courier_id));
        self.upstream
            .put(context, path, &location)
            .json_answer()
            .await
            .map_err(of_command)
    }
}
