//! The surface of deliveries and couriers: the routes, and how refusals of the domain become answers. What happens on
//! each route stands in `http/deliveries` and `http/couriers`.
//!
//! Couriers act for themselves only. A delivery does not know whose order it is for, so that one whose id somebody knows
//! can be read: the gateway has checked the order, whose id is the delivery's.

mod couriers;
mod deliveries;
mod document;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use ftgo_chassis::ServiceError;
use ftgo_messaging::Database;
use tokio::sync::Notify;

use crate::delivery::DeliveryError;
use crate::dispatch::DispatchError;
use crate::events::PublishError;

pub use document::document;

#[derive(Clone)]
struct Surface {
    database: Database,
    /// Told of courier locations that could not be announced at once.
    moved: Arc<Notify>,
}

pub fn routes(database: Database, moved: Arc<Notify>) -> Router {
    Router::new()
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/deliveries/{id}/pickup", post(deliveries::pick_up))
        .route("/deliveries/{id}/dropoff", post(deliveries::drop_off))
        .route(
            "/couriers/{id}/availability",
            post(couriers::set_availability),
        )
        .route("/couriers/{id}/location", put(couriers::set_location))
        .route("/couriers/{id}/plan", get(couriers::plan))
        .with_state(Surface { database, moved })
}

impl From<DeliveryError> for ServiceError {
    fn from(error: DeliveryError) -> ServiceError {
        let code = match &error {
            DeliveryError::IllegalMove { .. } | DeliveryError::NotReadyToSchedule => {
                "ILLEGAL_DELIVERY_STATE"
            }
            DeliveryError::NotAssigned { .. } => "COURIER_NOT_ASSIGNED",
        };
        ServiceError::conflict(code, error.to_string())
    }
}

impl From<PublishError> for ServiceError {
    fn from(error: PublishError) -> ServiceError {
        ServiceError::internal(error)
    }
}

impl From<DispatchError> for ServiceError {
    fn from(error: DispatchError) -> ServiceError {
        match error {
            DispatchError::Database(error) => error.into(),
            DispatchError::Refused(_) | DispatchError::Publish(_) => ServiceError::internal(error),
        }
    }
}
