//! GraphiQL, served from this binary: no other host is asked for anything, and the page's policy would not allow it.
//! The vendored files are under `assets/graphiql/`, fetched by `scripts/vendor-graphiql.sh`.

use std::hash::{DefaultHasher, Hasher};
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use gateway_core::error::Error;
use gateway_core::extract::PathParam;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use uuid::Uuid;

const PAGE: &str = include_str!("../assets/graphiql.html");

struct Asset {
    file: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static ASSETS: [Asset; 6] = [
    Asset {
        file: "react.production.min.js",
        media_type: JAVASCRIPT,
        bytes: include_bytes!("../assets/graphiql/react.production.min.js"),
    },
    Asset {
        file: "react-dom.production.min.js",
        media_type: JAVASCRIPT,
        bytes: include_bytes!("../assets/graphiql/react-dom.production.min.js"),
    },
    Asset {
        file: "graphiql.min.js",
        media_type: JAVASCRIPT,
        bytes: include_bytes!("../assets/graphiql/graphiql.min.js"),
    },
    Asset {
        file: "graphiql.min.css",
        media_type: CSS,
        bytes: include_bytes!("../assets/graphiql/graphiql.min.css"),
    },
    Asset {
        file: "page.js",
        media_type: JAVASCRIPT,
        bytes: include_bytes!("../assets/graphiql-page.js"),
    },
    Asset {
        file: "page.css",
        media_type: CSS,
        bytes: include_bytes!("../assets/graphiql-page.css"),
    },
];

/// Names what all assets contain: it is in their address, so that they may be kept forever.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ASSETS.iter().for_each(|asset| hasher.write(asset.bytes));
    format!("{:016x}", hasher.finish())
});

/// The page around GraphiQL. Its dialogs add one style element, which needs a nonce; nothing else may be inline.
pub(crate) async fn page() -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let mut html = PAGE.replace("{nonce}", &nonce);
    for asset in &ASSETS {
        html = html.replace(
            &format!("{{{}}}", asset.file),
            &format!("/graphiql/{}/{}", *VERSION, asset.file),
        );
    }
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; font-src 'self' data:; \
         img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = html.into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// One of the page's files.
pub(crate) async fn asset(
    PathParam((version, file)): PathParam<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.file == file && version == *VERSION)
        .ok_or_else(Error::not_found)?;
    let etag = format!("\"{}\"", *VERSION);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| {
            // A compressed answer's tag is weak (`W/`); the comparison is, too.
            tags.split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}
