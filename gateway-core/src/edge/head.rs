//! HEAD is GET without the body (RFC 9110, 9.3.2): composed routes answer the GET, and its body is left out at the end.
//! Proxied routes forward HEAD as it is.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{Method, Request};
use http_body::Body as _;

pub(super) fn as_get(mut request: Request<Body>) -> Request<Body> {
    if request.method() == Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    request
}

/// The headers of `response`, with the length that its body has, and no body.
pub(super) fn without_body(mut response: Response) -> Response {
    if let Some(length) = response
        .body()
        .size_hint()
        .exact()
        .filter(|length| *length > 0)
    {
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_stays_and_the_body_goes() {
        let response = without_body(Response::new(Body::from("four")));
        assert_eq!(response.headers()[CONTENT_LENGTH], "4");
        assert!(response.body().is_end_stream());
        assert!(
            !without_body(Response::new(Body::empty()))
                .headers()
                .contains_key(CONTENT_LENGTH)
        );
    }
}
