//! How long ways take in the city. Deliberately rough, and no map: a straight line at the pace of a bicycle.

use chrono::{DateTime, TimeDelta, Utc};
use ftgo_chassis::GeoPoint;

/// From the restaurant to the door. Addresses carry no coordinates, so every way within the city counts the same.
pub const TO_THE_DOOR: TimeDelta = TimeDelta::minutes(20);

/// About 15 km/h, which leaves some room for streets not being straight lines.
const METRES_PER_SECOND: f64 = 4.0;

/// How long a courier takes from one point to another, in whole seconds.
#[must_use]
pub fn time_between(from: GeoPoint, to: GeoPoint) -> TimeDelta {
    let seconds = from.distance(to) / METRES_PER_SECOND;
    // At most half of the earth's circumference, 20 million metres: far within what fits.
    TimeDelta::seconds(seconds.ceil() as i64)
}

/// `time` and then some, but never beyond what RFC 3339 can write: the end of the year 9999.
#[must_use]
pub fn after(time: DateTime<Utc>, delay: TimeDelta) -> DateTime<Utc> {
    let end = DateTime::from_timestamp(LAST_SECOND_OF_9999, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    time.checked_add_signed(delay)
        .map_or(end, |later| later.min(end))
}

const LAST_SECOND_OF_9999: i64 = 253_402_300_799;
