//! The restaurants that can be ordered from at a place and time: the view, fed by restaurant events, and the query
//! `findAvailableRestaurants` over it. Not here: the arithmetic of opening hours.

use chrono::{DateTime, Utc};
use ftgo_chassis::address::Address;
use ftgo_chassis::geo::GeoPoint;
use ftgo_chassis::money::Money;
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use crate::cursor::{self, InvalidCursor};
use crate::events::RestaurantSnapshot;
use crate::opening_hours::{OpenUntil, OpeningHours, OpeningHoursError};

/// Metres of one degree of latitude, a little less than it is anywhere: a box made with it never leaves anything out.
const METRES_PER_DEGREE: f64 = 110_500.0;

/// A restaurant as the list shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AvailableRestaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: GeoPoint,
    pub(crate) cuisine: String,
    /// Metres from where was asked.
    pub(crate) distance: f64,
    /// `None` when it never closes.
    pub(crate) open_until: Option<DateTime<Utc>>,
    pub(crate) order_minimum: Money,
}

/// Which restaurants to find.
#[derive(Clone, Debug)]
pub(crate) struct AvailabilityFilter {
    pub(crate) near: GeoPoint,
    /// Metres.
    pub(crate) radius: f64,
    /// Open at this instant.
    pub(crate) at: DateTime<Utc>,
    /// Exactly this cuisine, whatever the case.
    pub(crate) cuisine: Option<String>,
}

/// The last restaurant of a page. The instant goes along, so that a list without `at` doesn't change its mind about who
/// is open between two pages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AvailabilityPlace {
    distance: f64,
    id: String,
    pub(crate) at: DateTime<Utc>,
}

impl AvailabilityPlace {
    /// The list's mark in its cursors.
    const LIST: char = 'r';
    /// What RFC 3339 can write, in milliseconds: the years 0 to 9999.
    const MOMENTS: (i64, i64) = (-62_167_219_200_000, 253_402_300_799_999);

    pub(crate) fn cursor(&self) -> String {
        let at = self.at.timestamp_millis().cast_unsigned();
        cursor::encode(Self::LIST, &[at, self.distance.to_bits()], &self.id)
    }

    pub(crate) fn read(cursor: &str) -> Result<Self, InvalidCursor> {
        let ([at, distance], id) = cursor::decode(Self::LIST, cursor)?;
        let (first, last) = Self::MOMENTS;
        let at = at.cast_signed().clamp(first, last);
        Ok(Self {
            distance: f64::from_bits(distance),
            id,
            at: DateTime::from_timestamp_millis(at).ok_or(InvalidCursor)?,
        })
    }
}

/// Some restaurants, and where the next page begins if there is one.
#[derive(Debug)]
pub(crate) struct AvailabilityPage {
    pub(crate) items: Vec<AvailableRestaurant>,
    pub(crate) next: Option<AvailabilityPlace>,
}

/// Why a restaurant could not be stored or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestaurantError {
    #[error("the restaurants' storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("the restaurant {id} has hours that can't be read")]
    Hours {
        id: String,
        #[source]
        source: OpeningHoursError,
    },
    #[error("the restaurant {id} has no JSON form")]
    Json {
        id: String,
        #[source]
        source: serde_json::Error,
    },
}

/// Takes over a restaurant's snapshot unless a newer one is there.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    restaurant: &RestaurantSnapshot,
    version: i64,
) -> Result<(), RestaurantError> {
    let id = &restaurant.restaurant_id;
    let json = |source| RestaurantError::Json {
        id: id.clone(),
        source,
    };
    // Refused here rather than at every query.
    OpeningHours::parse(&restaurant.time_zone, &restaurant.opening_hours).map_err(|source| {
        RestaurantError::Hours {
            id: id.clone(),
            source,
        }
    })?;
    sqlx::query(
        "INSERT INTO restaurant_view (id, name, address, order_minimum, cuisine, cuisine_key, lat, lng, time_zone,
             opening_hours, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address,
             order_minimum = excluded.order_minimum, cuisine = excluded.cuisine, cuisine_key = excluded.cuisine_key,
             lat = excluded.lat, lng = excluded.lng, time_zone = excluded.time_zone,
             opening_hours = excluded.opening_hours, version = excluded.version
         WHERE excluded.version >= restaurant_view.version",
    )
    .bind(id)
    .bind(&restaurant.name)
    .bind(serde_json::to_string(&restaurant.address).map_err(json)?)
    .bind(serde_json::to_string(&restaurant.order_minimum).map_err(json)?)
    .bind(&restaurant.cuisine)
    .bind(restaurant.cuisine.to_lowercase())
    .bind(restaurant.location.lat)
    .bind(restaurant.location.lng)
    .bind(&restaurant.time_zone)
    .bind(serde_json::to_string(&restaurant.opening_hours).map_err(json)?)
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct StoredRestaurant {
    id: String,
    name: String,
    address: String,
    order_minimum: String,
    cuisine: String,
    lat: f64,
    lng: f64,
    time_zone: String,
    opening_hours: String,
}

/// One page of the restaurants within the radius that are open, nearest first.
pub(crate) async fn find(
    pool: &SqlitePool,
    filter: &AvailabilityFilter,
    after: Option<&AvailabilityPlace>,
    page_size: usize,
) -> Result<AvailabilityPage, RestaurantError> {
    let (south, north, west, east) = bounding_box(filter.near, filter.radius);
    let rows = sqlx::query_as::<_, StoredRestaurant>(
        "SELECT id, name, address, order_minimum, cuisine, lat, lng, time_zone, opening_hours FROM restaurant_view
         WHERE lat BETWEEN ?1 AND ?2 AND lng BETWEEN ?3 AND ?4 AND (?5 IS NULL OR cuisine_key = ?5)",
    )
    .bind(south)
    .bind(north)
    .bind(west)
    .bind(east)
    .bind(filter.cuisine.as_ref().map(|cuisine| cuisine.to_lowercase()))
    .fetch_all(pool)
    .await?;

    let mut near = rows
        .into_iter()
        .map(|row| {
            let location = GeoPoint {
                lat: row.lat,
                lng: row.lng,
            };
            (filter.near.distance(location), row)
        })
        .filter(|(distance, row)| {
            *distance <= filter.radius
                && after.is_none_or(|place| {
                    (*distance, row.id.as_str()) > (place.distance, place.id.as_str())
                })
        })
        .collect::<Vec<_>>();
    near.sort_by(|(left, left_row), (right, right_row)| {
        left.total_cmp(right)
            .then_with(|| left_row.id.cmp(&right_row.id))
    });

    let mut items = Vec::with_capacity(page_size.min(near.len()));
    for (distance, row) in near {
        let Some(open_until) = row.open_until(filter.at)? else {
            continue;
        };
        if items.len() == page_size {
            let next = items
                .last()
                .map(|last: &AvailableRestaurant| AvailabilityPlace {
                    distance: last.distance,
                    id: last.id.clone(),
                    at: filter.at,
                });
            return Ok(AvailabilityPage { items, next });
        }
        items.push(row.shown(distance, open_until)?);
    }
    Ok(AvailabilityPage { items, next: None })
}

impl StoredRestaurant {
    fn open_until(&self, at: DateTime<Utc>) -> Result<Option<OpenUntil>, RestaurantError> {
        let published = serde_json::from_str::<Vec<_>>(&self.opening_hours)
            .map_err(|source| self.unreadable(source))?;
        let hours = OpeningHours::parse(&self.time_zone, &published).map_err(|source| {
            RestaurantError::Hours {
                id: self.id.clone(),
                source,
            }
        })?;
        Ok(hours.open_until(at))
    }

    fn shown(
        self,
        distance: f64,
        open_until: OpenUntil,
    ) -> Result<AvailableRestaurant, RestaurantError> {
        Ok(AvailableRestaurant {
            address: serde_json::from_str(&self.address)
                .map_err(|source| self.unreadable(source))?,
            order_minimum: serde_json::from_str(&self.order_minimum)
                .map_err(|source| self.unreadable(source))?,
            id: self.id,
            name: self.name,
            location: GeoPoint {
                lat: self.lat,
                lng: self.lng,
            },
            cuisine: self.cuisine,
            distance,
            open_until: match open_until {
                OpenUntil::Instant(instant) => Some(instant),
                OpenUntil::Always => None,
            },
        })
    }

    fn unreadable(&self, source: serde_json::Error) -> RestaurantError {
        RestaurantError::Json {
            id: self.id.clone(),
            source,
        }
    }
}

/// South, north, west and east of all that can be within `radius` metres, in degrees. Near a pole or the date line the box
/// goes all the way round; the distance decides in the end.
fn bounding_box(near: GeoPoint, radius: f64) -> (f64, f64, f64, f64) {
    let half_height = radius / METRES_PER_DEGREE;
    let (south, north) = (near.lat - half_height, near.lat + half_height);
    let narrowest = south.abs().max(north.abs()).to_radians().cos();
    let half_width = half_height / narrowest;
    let (west, east) = (near.lng - half_width, near.lng + half_width);
    if south < -90.0 || north > 90.0 || west < -180.0 || east > 180.0 {
        return (south, north, -180.0, 180.0);
    }
    (south, north, west, east)
}

#[cfg(test)]
mod tests;
