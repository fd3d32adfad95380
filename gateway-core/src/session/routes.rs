//! The routes of sessions, for a BFF's column of routes: `login`, `callback`, `user`, `logout` and `backchannel` below the
//! path `/bff`. What each does is beside.

use std::collections::BTreeMap;
use std::future::ready;
use std::pin::Pin;

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde_json::Value;

use super::Sessions;
use super::record::Session;
use crate::RequestContext;
use crate::error::{ClientError, Error};
use crate::extract::read_body;
use crate::route::Routes;

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

/// Who has signed in, for the person's own pages.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    sub: &'a str,
    roles: &'a [String],
    scopes: &'a [String],
    /// When the session ends, however it is used.
    ends_at: Option<String>,
    /// What the provider says of the person.
    claims: &'a BTreeMap<String, Value>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// The routes of [`Sessions`], with the names `session-login`, `session-callback`, `session-user`, `session-logout` and
    /// `session-backchannel`. Without sessions nothing is found there.
    ///
    /// * `GET /bff/login?returnUrl=`: 303 to the provider, and a cookie for this login.
    /// * `GET /bff/callback`: 303 to `returnUrl`, and the session's cookie. 400 when the login cannot be finished.
    /// * `GET /bff/user`: who has signed in; 401 when nobody has.
    /// * `POST /bff/logout`: ends the session; `{"logoutUrl"}` says where the provider ends its own.
    /// * `POST /bff/backchannel`: the provider's logout tokens.
    pub fn sessions(self, sessions: Option<&Sessions>) -> Self {
        self.get(
            "session-login",
            "/bff/login",
            with(sessions, |sessions, context, request| async move {
                let query = request.uri().query().unwrap_or_default();
                let deadline = context.deadline();
                sessions.login(request.headers(), query, deadline).await
            }),
        )
        .get(
            "session-callback",
            "/bff/callback",
            with(sessions, |sessions, context, request| async move {
                let query = request.uri().query().unwrap_or_default();
                let deadline = context.deadline();
                sessions.callback(request.headers(), query, deadline).await
            }),
        )
        .get(
            "session-user",
            "/bff/user",
            with(sessions, |sessions, context, request| async move {
                let session = sessions.find(request.headers(), context.deadline());
                let session = session.await?.ok_or(ClientError::Unauthenticated)?;
                Ok(show(&session))
            }),
        )
        .post(
            "session-logout",
            "/bff/logout",
            with(sessions, |sessions, context, request| async move {
                sessions.logout(request.headers(), context.deadline()).await
            }),
        )
        .post(
            "session-backchannel",
            "/bff/backchannel",
            with(sessions, |sessions, context, request| async move {
                let form = form(request).await?;
                sessions.backchannel(&form, context.deadline()).await
            }),
        )
    }
}

/// A handler that does `work` with the sessions there are; without any, there is nothing at its path.
fn with<W, F>(
    sessions: Option<&Sessions>,
    work: W,
) -> impl Fn(RequestContext, Request) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>
+ Clone
+ Send
+ Sync
+ 'static
where
    W: Fn(Sessions, RequestContext, Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Error>> + Send + 'static,
{
    let sessions = sessions.cloned();
    move |context, request| match sessions.clone() {
        Some(sessions) => Box::pin(work(sessions, context, request)),
        None => Box::pin(ready(Err(Error::not_found()))),
    }
}

fn show(session: &Session) -> Response {
    let record = &session.record;
    let ends = i64::try_from(record.ends)
        .ok()
        .and_then(|ends| DateTime::from_timestamp(ends, 0));
    let user = User {
        sub: &record.name,
        roles: &record.roles,
        scopes: &record.scopes,
        ends_at: ends.map(|ends| ends.to_rfc3339_opts(SecondsFormat::Secs, true)),
        claims: &record.claims,
    };
    let mut response = Json(user).into_response();
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, value);
    response
}

async fn form(request: Request) -> Result<String, Error> {
    let (parts, body) = request.into_parts();
    let media_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|found| found.trim().eq_ignore_ascii_case(FORM)) {
        return Err(ClientError::UnsupportedMediaType { expected: FORM }.into());
    }
    let body = read_body(&parts, body).await?;
    String::from_utf8(body.to_vec()).map_err(|_| Error::bad_request("The body is not text."))
}
