//! What people see in their browsers: the storefront and GraphiQL, out of this binary and under a policy that lets them ask
//! nobody else. Their sources are in `web/`; `make assets` builds them into `assets/`. What they ask is in `graphql`.

use axum::response::Response;
use gateway_core::error::Error;
use gateway_core::extract::PathParam;
use gateway_core::site::{Asset, Assets, Page};
use http::HeaderMap;

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Scripts and styles are those that carry the nonce, and text never becomes markup (Trusted Types).
static STOREFRONT: Page = Page {
    html: include_str!("../assets/storefront.html"),
    policy: "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
};

/// GraphiQL shows the schema's descriptions as markup, and has pictures in its style.
static GRAPHIQL: Page = Page {
    html: include_str!("../assets/graphiql.html"),
    policy: "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
};

/// The storefront, whichever of its views the path names: that is the page's business.
pub(crate) async fn storefront() -> Result<Response, Error> {
    STOREFRONT.answer()
}

/// GraphiQL.
pub(crate) async fn graphiql() -> Result<Response, Error> {
    GRAPHIQL.answer()
}

/// A file of one of the pages.
pub(crate) async fn asset(
    PathParam(file): PathParam<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    ASSETS.answer(&file, &headers)
}
