//! How much time a request gets: its route's deadline, or less when the client asks for less (`Request-Timeout`).

use std::time::Duration;

use http::HeaderMap;

use crate::error::Error;

const REQUEST_TIMEOUT: &str = "request-timeout";

/// The time for this request; the header's value is in milliseconds.
pub(super) fn budget(headers: &HeaderMap, route: Duration) -> Result<Duration, Error> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(route);
    };
    let millis = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .filter(|millis| *millis > 0)
        .ok_or_else(|| {
            Error::bad_request("Request-Timeout has to be a positive number of milliseconds.")
        })?;
    Ok(route.min(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn with(value: &'static str) -> Result<Duration, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_TIMEOUT, http::HeaderValue::from_static(value));
        budget(&headers, Duration::from_secs(3))
    }

    #[test]
    fn a_client_can_only_shorten_it() {
        assert_eq!(
            budget(&HeaderMap::new(), Duration::from_secs(3)).unwrap(),
            Duration::from_secs(3)
        );
        assert_eq!(with("250").unwrap(), Duration::from_millis(250));
        assert_eq!(with("99999").unwrap(), Duration::from_secs(3));
        for bad in ["0", "-1", "1s", ""] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
