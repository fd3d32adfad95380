//! Content coding of answers (RFC 9110, 8.4): which one a client likes best, which answers get it, and what it changes in
//! their heads. Composed and forwarded answers alike; the bytes are `compression/coded.rs`'s.

mod coded;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;

use super::client::Client;
use super::vary;
use crate::config::{Coding, CompressionConfig};
use coded::Coded;

/// Fields of a body that stays as it is: it is coded already, is a part, or something is said about its very bytes (RFC 9530).
fn keeps_its_bytes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-encoding"
            | "content-range"
            | "content-digest"
            | "repr-digest"
            | "digest"
            | "content-md5"
    )
}

/// What a client likes, in thousandths (RFC 9110, 12.4.2); 0 = not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    zstd: u16,
    brotli: u16,
    gzip: u16,
    /// No coding: as long as nothing is said of it, worse than any that is.
    identity: u16,
}

impl Accepted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut said = [None; 4];
        let mut any = None;
        let members = headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        for member in members {
            let mut parts = member.split(';');
            let name = parts.next().unwrap_or_default().trim();
            let Some(weight) = weight(parts) else {
                continue;
            };
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let place = if is("zstd") {
                &mut said[0]
            } else if is("br") {
                &mut said[1]
            } else if is("gzip") || is("x-gzip") {
                &mut said[2]
            } else if is("identity") {
                &mut said[3]
            } else if name == "*" {
                &mut any
            } else {
                continue;
            };
            *place = Some(weight);
        }
        let of = |said: Option<u16>| said.or(any).unwrap_or(0);
        Self {
            zstd: of(said[0]),
            brotli: of(said[1]),
            gzip: of(said[2]),
            identity: said[3].unwrap_or(0),
        }
    }

    /// What the client likes best; of several it likes equally, the first in `codings`.
    pub(crate) fn best(self, codings: &[Coding]) -> Option<Coding> {
        let mut best = None;
        let mut most = 0;
        for coding in codings {
            let weight = match coding {
                Coding::Zstd => self.zstd,
                Coding::Brotli => self.brotli,
                Coding::Gzip => self.gzip,
            };
            if weight > most && weight >= self.identity {
                (best, most) = (Some(*coding), weight);
            }
        }
        best
    }
}

/// `q=0.5` as 500; `None` for what is no weight.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    for parameter in parameters {
        let (name, value) = parameter.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        let value = value.trim();
        let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
        if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let thousandths = [100, 10, 1]
            .iter()
            .zip(decimals.bytes())
            .map(|(worth, digit)| worth * u16::from(digit - b'0'))
            .sum();
        return match (whole, thousandths) {
            ("0", thousandths) => Some(thousandths),
            ("1", 0) => Some(1000),
            _ => None,
        };
    }
    Some(1000)
}

/// Whether a route's answers may be coded for this client at all. When not, services are asked for none either.
pub(super) fn is_off(route: bool, client: &Client) -> bool {
    !route || client.may_measure()
}

/// Asks a service for an answer without a coding.
pub(super) fn ask_for_none(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// The answer as the client likes it. `is_head`: the body has been left out already, or will be.
pub(super) fn apply(
    mut response: Response,
    client: &Client,
    is_head: bool,
    config: &CompressionConfig,
) -> Response {
    if response.status() == StatusCode::NOT_MODIFIED {
        not_modified(response.headers_mut(), client, config);
        return response;
    }
    if !is_eligible(&response, is_head, config) {
        return response;
    }
    let headers = response.headers_mut();
    vary::add(headers, "accept-encoding");
    let Some(coding) = client.accepted.best(&config.codings) else {
        return response;
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    // The ranges of what is sent are not those of what the service has.
    headers.remove(ACCEPT_RANGES);
    weaken(headers);
    if is_head {
        return response.map(|_| Body::empty());
    }
    response.map(|body| Body::new(Coded::new(body, coding)))
}

fn is_eligible(response: &Response, is_head: bool, config: &CompressionConfig) -> bool {
    let headers = response.headers();
    let status = response.status();
    if config.codings.is_empty()
        || status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
        )
        || headers.keys().any(keeps_its_bytes)
        || !headers.get(CONTENT_TYPE).is_some_and(is_text)
        || must_stay(headers)
    {
        return false;
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let length = match announced {
        None if is_head && response.body().is_end_stream() => None,
        None => response.body().size_hint().exact(),
        announced => announced,
    };
    length.is_none_or(|length: u64| length >= config.min_bytes.max(1))
}

/// RFC 9111, 5.2.2.6.
fn must_stay(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether a media type is text in some form. Pictures, archives and the like are coded already, and an event stream is
/// read event by event.
fn is_text(value: &HeaderValue) -> bool {
    const WHOLE: [&str; 9] = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/x-ndjson",
        "application/graphql",
        "application/wasm",
        "application/x-www-form-urlencoded",
        "application/manifest+json",
        "image/svg+xml",
    ];
    let Ok(text) = value.to_str() else {
        return false;
    };
    let kind = text.split(';').next().unwrap_or_default().trim();
    let starts = |prefix: &str| {
        kind.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let ends = |suffix: &str| {
        kind.len()
            .checked_sub(suffix.len())
            .and_then(|at| kind.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    if kind.eq_ignore_ascii_case("text/event-stream") {
        return false;
    }
    starts("text/")
        || ends("+json")
        || ends("+xml")
        || WHOLE.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// What the answer would be that the client has already is not known, its media type for one: it is said of the stored one
/// only what holds in any case. A weak validator names a strong one's answer, too (RFC 9111, 4.3.4).
fn not_modified(headers: &mut HeaderMap, client: &Client, config: &CompressionConfig) {
    vary::add(headers, "accept-encoding");
    if client.accepted.best(&config.codings).is_some() {
        weaken(headers);
    }
}

/// Coded bytes are others: a strong validator would promise the same (RFC 9110, 8.8.3.3).
fn weaken(headers: &mut HeaderMap) {
    let weak = headers
        .get(ETAG)
        .filter(|etag| etag.as_bytes().starts_with(b"\""))
        .and_then(|etag| HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests;
