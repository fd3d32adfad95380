//! A point on the map and the distance between two. Roads are not considered.

use serde::{Deserialize, Serialize};

/// Mean radius of the earth in metres (IUGG).
const EARTH_RADIUS: f64 = 6_371_008.8;

/// A position in degrees (WGS 84). Read from JSON it is always within ±90 and ±180.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Degrees")]
pub struct GeoPoint {
    pub lat: f64,
    pub lng: f64,
}

#[derive(Deserialize)]
struct Degrees {
    lat: f64,
    lng: f64,
}

/// Not a point on the earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lat must be within -90 and 90, lng within -180 and 180")]
pub struct GeoPointError;

impl GeoPoint {
    /// # Errors
    /// When it is not a point on the earth.
    pub fn new(lat: f64, lng: f64) -> Result<GeoPoint, GeoPointError> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lng) {
            Ok(GeoPoint { lat, lng })
        } else {
            Err(GeoPointError)
        }
    }

    /// The great-circle distance in metres (haversine formula).
    pub fn distance(self, other: GeoPoint) -> f64 {
        let (lat1, lat2) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((lat2 - lat1) / 2.0).sin();
        let half_lng = ((other.lng - self.lng).to_radians() / 2.0).sin();
        let chord = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lng * half_lng;
        2.0 * EARTH_RADIUS * chord.sqrt().min(1.0).asin()
    }
}

impl TryFrom<Degrees> for GeoPoint {
    type Error = GeoPointError;

    fn try_from(degrees: Degrees) -> Result<GeoPoint, GeoPointError> {
        GeoPoint::new(degrees.lat, degrees.lng)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::GeoPoint;

    #[test]
    fn distances_are_in_metres() {
        let oakland = GeoPoint::new(37.8044, -122.2712).unwrap();
        let san_francisco = GeoPoint::new(37.7749, -122.4194).unwrap();
        let distance = oakland.distance(san_francisco);
        assert!((13_000.0..13_600.0).contains(&distance), "{distance}");
        assert_eq!(oakland.distance(oakland), 0.0);
        let pole = GeoPoint::new(90.0, 0.0).unwrap();
        let other_pole = GeoPoint::new(-90.0, 0.0).unwrap();
        assert!((pole.distance(other_pole) - 20_015_115.0).abs() < 10.0);
    }

    #[test]
    fn only_points_on_the_earth_are_read() {
        for text in [
            r#"{"lat":91,"lng":0}"#,
            r#"{"lat":0,"lng":-181}"#,
            r#"{"lat":0}"#,
        ] {
            assert!(serde_json::from_str::<GeoPoint>(text).is_err(), "{text}");
        }
        let point: GeoPoint = serde_json::from_str(r#"{"lat":37.8,"lng":-122.27}"#).unwrap();
        assert_eq!(
            point,
            GeoPoint {
                lat: 37.8,
                lng: -122.27
            }
        );
    }
}
