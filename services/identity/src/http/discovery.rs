//! What clients and resource servers read before anything else: the provider's metadata (OpenID Connect Discovery 1.0,
//! RFC 8414) and its public keys (RFC 7517). Not here: the keys' life (`keys.rs`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use super::authorize::OPENID_SCOPES;
use crate::client::Grant;
use crate::directory;
use crate::keys::SigningAlgorithm;
use crate::provider::Provider;

/// Short enough that a rotation is noticed without asking for an unknown `kid`.
const CACHE: &str = "public, max-age=60";

const CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "sid",
    "roles",
    "restaurant_ids",
    "name",
    "given_name",
    "family_name",
    "email",
    "email_verified",
];

#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    revocation_endpoint: String,
    end_session_endpoint: String,
    scopes_supported: Vec<&'static str>,
    claims_supported: &'static [&'static str],
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 3],
    subject_types_supported: [&'static str; 1],
    prompt_values_supported: [&'static str; 3],
    id_token_signing_alg_values_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    /// Left out it would mean true.
    request_uri_parameter_supported: bool,
    backchannel_logout_supported: bool,
    /// Whether logout tokens have a `sid`.
    backchannel_logout_session_supported: bool,
}

pub(super) async fn configuration(State(provider): State<Arc<Provider>>) -> impl IntoResponse {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    let client_authentication = ["client_secret_basic", "client_secret_post", "none"];
    let mut scopes = OPENID_SCOPES.to_vec();
    scopes.extend(
        directory::scopes()
            .into_iter()
            .filter(|scope| !OPENID_SCOPES.contains(scope)),
    );
    let metadata = Metadata {
        issuer: &provider.issuer,
        authorization_endpoint: at("/authorize"),
        token_endpoint: at("/token"),
        userinfo_endpoint: at("/userinfo"),
        jwks_uri: at("/jwks.json"),
        revocation_endpoint: at("/revoke"),
        end_session_endpoint: at("/end-session"),
        scopes_supported: scopes,
        claims_supported: CLAIMS,
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: Grant::ALL.map(Grant::name),
        subject_types_supported: ["public"],
        prompt_values_supported: ["none", "login", "select_account"],
        id_token_signing_alg_values_supported: SigningAlgorithm::ALL.map(SigningAlgorithm::name),
        token_endpoint_auth_methods_supported: client_authentication,
        revocation_endpoint_auth_methods_supported: client_authentication,
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        claims_parameter_supported: false,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        backchannel_logout_supported: true,
        backchannel_logout_session_supported: true,
    };
    ([(CACHE_CONTROL, CACHE)], Json(metadata)).into_response()
}

pub(super) async fn jwks(State(provider): State<Arc<Provider>>) -> impl IntoResponse {
    let published = provider.keys.current().published();
    ([(CACHE_CONTROL, CACHE)], Json(published))
}
