//! The routes of the identity provider. Not here: what the endpoints decide (`http/*`), and health, metrics and limits
//! (the chassis).

mod authorize;
mod client_authentication;
mod dev;
mod discovery;
mod end_session;
mod oauth_error;
mod page;
mod parameters;
mod revoke;
mod same_origin;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use ftgo_chassis::openapi::{Document, Operation, schema_ref};
use serde_json::json;

use crate::provider::Provider;

/// The provider's own routes.
pub(crate) fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(discovery::configuration),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(discovery::configuration),
        )
        .route("/jwks.json", get(discovery::jwks))
        .route("/authorize", get(authorize::show).post(authorize::decide))
        .route("/token", post(token::exchange))
        .route("/revoke", post(revoke::revoke))
        .route(
            "/userinfo",
            get(userinfo::userinfo).post(userinfo::userinfo),
        )
        .route(
            "/end-session",
            get(end_session::show).post(end_session::confirm),
        )
        .route("/assets/identity.css", get(page::stylesheet))
        .route("/dev/token", get(dev::token))
        .route("/dev/keys/rotate", post(dev::rotate))
        .route("/dev/sessions/end", post(dev::end_sessions))
        .with_state(provider)
}

/// What the routes look like from outside, at `/openapi.json`.
pub(crate) fn document() -> Document {
    let text = json!({"type": "string"});
    Document::new(crate::NAME)
        .schema(
            "Token",
            json!({
                "type": "object",
                "required": ["access_token", "token_type", "expires_in", "scope"],
                "properties": {
                    "access_token": text, "token_type": {"const": "Bearer"}, "expires_in": {"type": "integer"},
                    "scope": text, "refresh_token": text, "id_token": text,
                },
            }),
        )
        .operation(
            Operation::get("/.well-known/openid-configuration", "Metadata (OpenID Connect Discovery)")
                .response(json!({"type": "object"})),
        )
        .operation(
            Operation::get("/.well-known/oauth-authorization-server", "Metadata (RFC 8414)")
                .response(json!({"type": "object"})),
        )
        .operation(
            Operation::get("/jwks.json", "Public keys (RFC 7517)").response(json!({"type": "object"})),
        )
        .operation(
            Operation::get("/authorize", "The page to sign in on")
                .query("client_id", true, "A registered client")
                .query("redirect_uri", true, "As registered")
                .query("response_type", true, "code")
                .query("code_challenge", true, "PKCE (RFC 7636)")
                .query("code_challenge_method", true, "S256")
                .query("scope", false, "Separated by spaces")
                .query("state", false, "Comes back unchanged")
                .query("nonce", false, "Goes into the ID token")
                .query("prompt", false, "none, login or select_account")
                .query("max_age", false, "Seconds since the last choice")
                .query("login_hint", false, "Who is suggested"),
        )
        .operation(Operation::post("/authorize", "The choice made on that page").status(303))
        .operation(Operation::post("/token", "Codes, refresh tokens and client credentials for tokens").response(schema_ref("Token")))
        .operation(Operation::post("/revoke", "Ends a refresh token (RFC 7009)"))
        .operation(Operation::get("/userinfo", "Who an access token speaks for").response(json!({"type": "object"})))
        .operation(Operation::post("/userinfo", "The same").response(json!({"type": "object"})))
        .operation(
            Operation::get("/end-session", "Signs out (RP-Initiated Logout)")
                .query("id_token_hint", false, "Whose session")
                .query("client_id", false, "Whose address to return to")
                .query("post_logout_redirect_uri", false, "As registered")
                .query("state", false, "Comes back unchanged"),
        )
        .operation(Operation::post("/end-session", "The same").status(303))
        .operation(
            Operation::get("/dev/token", "A token for a seeded subject, without proof")
                .query("sub", true, "For example consumer-1")
                .query("aud", false, "Separated by commas")
                .query("scope", false, "Separated by spaces")
                .query("expires_in", false, "Seconds; negative for an expired token")
                .query("alg", false, "RS256 or ES256")
                .response(schema_ref("Token")),
        )
        .operation(
            Operation::post("/dev/sessions/end", "Ends all sessions of a person; clients are told")
                .query("sub", true, "For example consumer-1")
                .response(json!({"type": "object"})),
        )
        .operation(
            Operation::post("/dev/keys/rotate", "A new key of each kind")
                .query("withdraw", false, "true: the former keys disappear at once")
                .response(json!({"type": "object"})),
        )
}
