//! Signing out at the provider (RP-Initiated Logout 1.0). Not here: the client's own session, which the client has ended
//! before it sends the browser here, and how others are told (`backchannel.rs`).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{HeaderValue, LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::client_authentication::form;
use super::page;
use super::parameters::{Parameters, Repeated};
use super::same_origin::is_same_origin;
use crate::provider::{Provider, now};
use crate::session;
use crate::token::{self, VerifiedHint};

/// A request whose every part has been checked.
struct EndSessionRequest<'a> {
    /// The ID token that shows whose session the client means.
    hint: Option<VerifiedHint>,
    return_to: Option<Url>,
    state: Option<&'a str>,
}

pub(super) async fn show(
    State(provider): State<Arc<Provider>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let request = match read(&provider, &parameters) {
        Ok(request) => request,
        Err(reason) => return page::refused(StatusCode::BAD_REQUEST, &reason),
    };
    if request.hint.is_some() {
        return end(&provider, &headers, request).await;
    }
    // Any page could have sent the browser here: the person decides.
    page::confirm_sign_out(
        &parameters.without(&[]).collect::<Vec<_>>(),
        request.return_to.as_ref().map(Url::as_str),
    )
}

pub(super) async fn confirm(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(parameters) = form(&headers, &body) else {
        return page::refused(StatusCode::BAD_REQUEST, "The request is not a form.");
    };
    match read(&provider, &parameters) {
        Ok(request) if request.hint.is_some() || is_same_origin(&headers) => {
            end(&provider, &headers, request).await
        }
        Ok(_) => page::refused(StatusCode::FORBIDDEN, "The form was sent by another site."),
        Err(reason) => page::refused(StatusCode::BAD_REQUEST, &reason),
    }
}

fn read<'a>(
    provider: &Provider,
    parameters: &'a Parameters,
) -> Result<EndSessionRequest<'a>, String> {
    let get = |name: &'static str| {
        parameters
            .get(name)
            .map_err(|fault: Repeated| fault.to_string())
    };
    let hint = get("id_token_hint")?
        .map(|token| token::verify_hint(&provider.keys.current(), &provider.issuer, token))
        .transpose()
        .map_err(|_| "The id_token_hint is not a token of this provider.".to_owned())?;
    let named = get("client_id")?;
    if let (Some(hint), Some(named)) = (&hint, named)
        && hint.aud != named
    {
        return Err("The id_token_hint was issued to another client.".to_owned());
    }
    let client = hint
        .as_ref()
        .map(|hint| hint.aud.as_str())
        .or(named)
        .and_then(|id| provider.client(id));
    let return_to = match get("post_logout_redirect_uri")? {
        None => None,
        Some(uri) => Some(
            client
                .filter(|client| client.may_return_to(uri))
                .and_then(|_| Url::parse(uri).ok())
                .ok_or_else(|| {
                    "The post_logout_redirect_uri is not registered for this client.".to_owned()
                })?,
        ),
    };
    Ok(EndSessionRequest {
        hint,
        return_to,
        state: get("state")?,
    })
}

/// Ends the hinted session and this browser's own. They are the same unless somebody signed in anew in between; a hint about
/// another person leaves this browser's session alone.
async fn end(provider: &Provider, headers: &HeaderMap, request: EndSessionRequest<'_>) -> Response {
    if let Err(error) = end_sessions(provider, headers, request.hint.as_ref()).await {
        tracing::error!(error = %error, "signing out failed");
        return page::refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Signing out did not work.",
        );
    }
    let mut response = match request.return_to {
        Some(mut url) => {
            if let Some(state) = request.state {
                url.query_pairs_mut().append_pair("state", state);
            }
            match HeaderValue::try_from(String::from(url)) {
                Ok(location) => (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response(),
                Err(_) => page::signed_out(),
            }
        }
        None => page::signed_out(),
    };
    if let Ok(cookie) = HeaderValue::try_from(session::clear_cookie(&provider.issuer)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

async fn end_sessions(
    provider: &Provider,
    headers: &HeaderMap,
    hint: Option<&VerifiedHint>,
) -> Result<(), sqlx::Error> {
    let database = &provider.database;
    if let Some(hint) = hint {
        let ended = session::end(database, &hint.sid, &hint.sub, now()).await?;
        provider.outbox.tell(ended);
    }
    let own = session::find(database, headers, now()).await?;
    if let Some(own) = own.filter(|own| hint.is_none_or(|hint| hint.sub == own.sub)) {
        let ended = session::end(database, &own.sid, &own.sub, now()).await?;
        provider.outbox.tell(ended);
    }
    Ok(())
}
