//! Who carries what: the strategy that chooses a courier, and its use on the deliveries that wait for one.
//! Pure: reading what waits, writing what was decided and the occasions for it are not here.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use ftgo_chassis::GeoPoint;

use crate::courier::Courier;
use crate::delivery::{Delivery, DeliveryError, DeliveryEvent};

/// A courier who could be chosen, and how many deliveries they are on already.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub courier: Courier,
    pub deliveries: usize,
}

/// How a courier is chosen for a pickup.
pub trait CourierStrategy {
    /// The index of the chosen candidate; `None` when nobody is suitable, and the delivery goes on waiting.
    fn choose(&self, pickup: GeoPoint, candidates: &[Candidate]) -> Option<usize>;
}

/// Nearest available courier first. Of several who are equally near, the one with the fewest deliveries, then the one
/// with the smallest id. Couriers who never said where they are cannot be near and are not chosen.
#[derive(Clone, Copy, Debug)]
pub struct NearestAvailable;

impl CourierStrategy for NearestAvailable {
    fn choose(&self, pickup: GeoPoint, candidates: &[Candidate]) -> Option<usize> {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.courier.available)
            .filter_map(|(index, candidate)| {
                let location = candidate.courier.location?;
                Some((index, candidate, location.distance(pickup)))
            })
            .min_by(|(_, a, a_metres), (_, b, b_metres)| {
                a_metres
                    .total_cmp(b_metres)
                    .then_with(|| a.deliveries.cmp(&b.deliveries))
                    .then_with(|| a.courier.id.cmp(&b.courier.id))
            })
            .map(|(index, _, _)| index)
    }
}

/// Gives a courier to each delivery that waits for one, in the given order, as far as there are suitable ones.
/// Deliveries that get nobody are left as they are. Answers which deliveries (by index) changed, with their event.
pub fn schedule_waiting(
    strategy: &impl CourierStrategy,
    waiting: &mut [Delivery],
    candidates: &mut [Candidate],
    now: DateTime<Utc>,
) -> Result<Vec<(usize, DeliveryEvent)>, DeliveryError> {
    let mut scheduled = Vec::new();
    for (index, delivery) in waiting.iter_mut().enumerate() {
        if !delivery.is_waiting_for_courier() {
            continue;
        }
        let Some(chosen) = strategy
            .choose(delivery.pickup_location, candidates)
            .and_then(|chosen| candidates.get_mut(chosen))
        else {
            continue;
        };
        let event = delivery.schedule(&chosen.courier, now)?;
        chosen.deliveries += 1;
        scheduled.push((index, event));
    }
    Ok(scheduled)
}
