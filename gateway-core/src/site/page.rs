//! HTML pages whose scripts and styles carry a nonce (CSP Level 3, 2.3.1): what somebody smuggles into a page has none and
//! does nothing. Which parts a page needs is in its policy, which is the BFF's.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::error::{Error, GatewayError};

const PLACE: &str = "{nonce}";

/// A page in the binary, and what the browser may do for it.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// With `{nonce}` where an element's `nonce` belongs.
    pub html: &'static str,
    /// The value of `Content-Security-Policy`, with `{nonce}` where a nonce belongs.
    pub policy: &'static str,
}

impl Page {
    /// The page with a nonce of this answer's own. It is asked for anew each time: it has no validator, since a stored
    /// page's nonce would not be the one that a later answer's policy names.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn answer(&self) -> Result<Response, Error> {
        let mut bytes = [0; 18];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| GatewayError::Bug("no random bytes for a nonce".to_owned()))?;
        let nonce = STANDARD.encode(bytes);
        let policy = HeaderValue::try_from(self.policy.replace(PLACE, &nonce))
            .map_err(|_| GatewayError::Bug("a page's policy is no header value".to_owned()))?;
        let mut response = Body::from(self.html.replace(PLACE, &nonce)).into_response();
        let headers = response.headers_mut();
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, html);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use http::HeaderMap;
    use http_body_util::BodyExt;

    use super::Page;

    const PAGE: Page = Page {
        html: "<script nonce=\"{nonce}\"></script><style nonce=\"{nonce}\"></style>",
        policy: "script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'",
    };

    async fn answer() -> (HeaderMap, String) {
        let (head, body) = PAGE.answer().unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_policy_names_the_nonce_of_the_page_and_no_other_pages() {
        let (headers, html) = answer().await;
        let nonce = html.split('"').nth(1).unwrap();
        assert_eq!(nonce.len(), 24);
        let expected = format!("script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'");
        assert_eq!(headers["content-security-policy"], *expected);
        assert_eq!(html.matches(nonce).count(), 2);
        assert!(!html.contains('{'), "{html}");
        assert_ne!(answer().await.1, html);
    }

    #[tokio::test]
    async fn a_page_is_asked_for_each_time_and_never_confirmed() {
        let (headers, _) = answer().await;
        assert_eq!(headers["cache-control"], "no-cache");
        assert!(!headers.contains_key("etag"));
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    }
}
