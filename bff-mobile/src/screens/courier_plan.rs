//! The courier's plan: what to do next, what is carried, and where it comes from, in one round trip. Whether the courier
//! works, and what they report, is `courier.rs`.

use axum::extract::State;
use gateway_core::compose::{Answer, Batches, Composition, Section};
use gateway_core::error::Error;
use schemars::JsonSchema;
use serde::Serialize;

use super::courier::DeliveryReport;
use super::order_details::RestaurantView;
use crate::caller;
use crate::clients::Clients;
use crate::clients::delivery::Action;
use crate::values::Location;

/// No courier has as many deliveries at once; services refuse longer lists.
const BATCHES: Batches = Batches {
    size: 100,
    at_once: 2,
};

/// What a courier does next.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CourierPlan {
    courier_id: String,
    /// Whether the courier takes new deliveries.
    available: bool,
    location: Option<Location>,
    /// In the order of time.
    actions: Vec<Action>,
    /// The deliveries of the actions, with what is carried.
    deliveries: Section<Vec<DeliveryReport>>,
    /// The restaurants of the deliveries.
    restaurants: Section<Vec<RestaurantView>>,
}

pub(crate) async fn show(
    page: Composition<CourierPlan>,
    State(clients): State<Clients>,
) -> Result<Answer<CourierPlan>, Error> {
    let courier = caller::courier(page.context())?;
    let call = page.context().for_required("plan");
    let plan = clients.deliveries.plan(call, courier).await?;
    let delivery_ids = once_each(plan.actions.iter().map(|action| &action.delivery_id));
    let restaurant_ids = once_each(plan.actions.iter().map(|action| &action.restaurant_id));
    let deliveries = async {
        let each = page.for_each("deliveries", delivery_ids.clone(), BATCHES, |call, ids| {
            clients.deliveries.deliveries(call, ids)
        });
        each.await.whole()
    };
    let restaurants = async {
        let each = page.for_each(
            "restaurants",
            restaurant_ids.clone(),
            BATCHES,
            |call, ids| clients.restaurants.restaurants(call, ids),
        );
        each.await.whole()
    };
    let (deliveries, restaurants) = page.all((deliveries, restaurants)).await?;
    Ok(page.answer(CourierPlan {
        courier_id: plan.courier_id,
        available: plan.available,
        location: plan.location,
        actions: plan.actions,
        deliveries: deliveries.map(|mut found| {
            let in_order = delivery_ids.iter().filter_map(|id| found.remove(id));
            in_order.map(DeliveryReport::from).collect()
        }),
        restaurants: restaurants.map(|mut found| {
            let in_order = restaurant_ids.iter().filter_map(|id| found.remove(id));
            in_order.map(RestaurantView::from).collect()
        }),
    }))
}

/// The ids in the order in which they come first.
fn once_each<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for id in ids {
        if !once.contains(id) {
            once.push(id.clone());
        }
    }
    once
}
