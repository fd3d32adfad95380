//! How the refusals of the domain look to a client. The statuses themselves are picked by the chassis.

use ftgo_chassis::ServiceError;
use ftgo_messaging::saga::SagaError;

use crate::domain::{OrderError, PricingError};
use crate::store::StoreError;

impl From<OrderError> for ServiceError {
    fn from(error: OrderError) -> ServiceError {
        let detail = error.to_string();
        match error {
            OrderError::IllegalMove { .. } => ServiceError::conflict("ILLEGAL_STATE", detail),
            OrderError::BelowMinimum { .. } => ServiceError::invalid("/lineItems", detail),
            OrderError::DeliveryTimePassed { .. } => ServiceError::invalid("/deliveryTime", detail),
            // An id in the body that names nothing is answered as one in the path.
            OrderError::Pricing(PricingError::NotOnMenu { .. }) => ServiceError::NotFound,
            OrderError::Pricing(PricingError::Amount { line, source }) => {
                ServiceError::invalid(format!("/lineItems/{line}"), format!("{detail}: {source}"))
            }
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> ServiceError {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Json(error) => error.into(),
            StoreError::Conflict { .. } => {
                ServiceError::conflict("CONCURRENT_CHANGE", error.to_string())
            }
        }
    }
}

/// A saga is started with data that the service itself has put together.
pub(super) fn not_started(error: SagaError) -> ServiceError {
    match error {
        SagaError::Database(error) => error.into(),
        error => ServiceError::internal(error),
    }
}
