//! The authorization endpoint (RFC 6749, 3.1; OpenID Connect Core, 3.1.2): reads the request, lets a person choose who to
//! be, and sends the browser back with a code or an error. Not here: the page itself (`page.rs`), what a code is worth
//! (`grants.rs`).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::client_authentication::form;
use super::page::{self, SignIn};
use super::parameters::{Parameters, Repeated};
use super::same_origin::is_same_origin;
use crate::client::{Client, Grant};
use crate::directory::{self, Role, Subject};
use crate::grants::{self, Authorization, CodeBinding};
use crate::provider::{Provider, now};
use crate::session::{self, BrowserSession};

/// The scopes that everybody may have beside those of their role. `offline_access` changes nothing: a client that may
/// refresh always gets a refresh token.
pub(super) const OPENID_SCOPES: &[&str] = &["openid", "profile", "email", "offline_access"];

/// Fields that the sign-in form adds to the request's own parameters.
const FORM_FIELDS: &[&str] = &["sub", "decision"];

/// A request whose every part has been checked.
struct AuthorizationRequest<'a> {
    client: &'a Client,
    redirect_uri: &'a str,
    state: Option<&'a str>,
    scopes: Vec<&'a str>,
    nonce: Option<&'a str>,
    code_challenge: &'a str,
    prompt: Prompt,
    /// Seconds since the person last chose.
    max_age: Option<i64>,
    login_hint: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompt {
    /// Must not show a page.
    None,
    /// The page is always shown: it costs one tap, and people who try things want to be somebody else.
    Ask,
}

/// Why a request is refused, and how the answer may travel.
enum Refusal {
    /// Client or address can't be trusted: the browser stays here.
    Page(String),
    /// RFC 6749, 4.1.2.1.
    Redirect {
        redirect_uri: String,
        state: Option<String>,
        error: &'static str,
        description: String,
    },
}

pub(super) async fn show(
    State(provider): State<Arc<Provider>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes());
    let request = match read(&provider, &parameters) {
        Ok(request) => request,
        Err(refusal) => return refusal.respond(&provider),
    };
    let session = match session::find(&provider.database, &headers, now()).await {
        Ok(session) => session,
        Err(error) => return request.failed(&provider, &error),
    };
    if request.prompt == Prompt::None {
        return without_page(&provider, &request, session).await;
    }
    page::sign_in(&SignIn {
        client_name: &request.client.name,
        redirect_uri: request.redirect_uri,
        hidden: parameters.without(FORM_FIELDS).collect(),
        suggested: request
            .login_hint
            .or(session.as_ref().map(|session| session.sub.as_str())),
    })
}

pub(super) async fn decide(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_same_origin(&headers) {
        return page::refused(StatusCode::FORBIDDEN, "The form was sent by another site.");
    }
    let Ok(parameters) = form(&headers, &body) else {
        return page::refused(StatusCode::BAD_REQUEST, "The request is not a form.");
    };
    let request = match read(&provider, &parameters) {
        Ok(request) => request,
        Err(refusal) => return refusal.respond(&provider),
    };
    if let Ok(Some("deny")) = parameters.get("decision") {
        return request
            .refusal("access_denied", "the person did not sign in")
            .respond(&provider);
    }
    let chosen = parameters
        .get("sub")
        .ok()
        .flatten()
        .and_then(directory::find)
        .filter(|subject| subject.role != Role::Partner);
    let Some(subject) = chosen else {
        return page::refused(
            StatusCode::BAD_REQUEST,
            "Nobody of that name is known here.",
        );
    };
    let started = session::start(&provider.database, &headers, subject.sub, now()).await;
    match started {
        Ok((session, secret)) => {
            let mut response = answer_with_code(&provider, &request, subject, &session).await;
            if let Ok(cookie) =
                HeaderValue::try_from(session::set_cookie(&secret, &provider.issuer))
            {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => request.failed(&provider, &error),
    }
}

/// `prompt=none`: a code for whoever is signed in, or an error that says that somebody must.
async fn without_page(
    provider: &Provider,
    request: &AuthorizationRequest<'_>,
    session: Option<BrowserSession>,
) -> Response {
    let fresh = session.filter(|session| {
        request
            .max_age
            .is_none_or(|max_age| now() - session.auth_time <= max_age)
    });
    let known = fresh.and_then(|session| Some((directory::find(&session.sub)?, session)));
    match known {
        Some((subject, session)) => answer_with_code(provider, request, subject, &session).await,
        None => request
            .refusal("login_required", "nobody is signed in")
            .respond(provider),
    }
}

async fn answer_with_code(
    provider: &Provider,
    request: &AuthorizationRequest<'_>,
    subject: &Subject,
    session: &BrowserSession,
) -> Response {
    let scope = request.granted(subject);
    if scope.is_empty() {
        return request
            .refusal(
                "invalid_scope",
                "this person may have nothing of what was asked for",
            )
            .respond(provider);
    }
    let authorization = Authorization {
        client_id: request.client.id.clone(),
        sub: subject.sub.to_owned(),
        scope,
        sid: session.sid.clone(),
        auth_time: session.auth_time,
    };
    let binding = CodeBinding {
        redirect_uri: request.redirect_uri,
        code_challenge: request.code_challenge,
        nonce: request.nonce,
    };
    match grants::issue_code(&provider.database, &authorization, &binding, now()).await {
        Ok(code) => {
            let answer = [("code", code.as_str())];
            redirect(provider, request.redirect_uri, &answer, request.state)
        }
        Err(error) => request.failed(provider, &error),
    }
}

impl AuthorizationRequest<'_> {
    /// What of the requested scope this person may have; all that the role has when nothing was requested.
    fn granted(&self, subject: &Subject) -> String {
        let allowed = subject.role.scopes();
        if self.scopes.is_empty() {
            return allowed.join(" ");
        }
        let granted = self
            .scopes
            .iter()
            .copied()
            .filter(|scope| allowed.contains(scope) || OPENID_SCOPES.contains(scope));
        granted.collect::<Vec<_>>().join(" ")
    }

    fn refusal(&self, error: &'static str, description: &str) -> Refusal {
        Refusal::Redirect {
            redirect_uri: self.redirect_uri.to_owned(),
            state: self.state.map(str::to_owned),
            error,
            description: description.to_owned(),
        }
    }

    fn failed(&self, provider: &Provider, cause: &dyn std::error::Error) -> Response {
        tracing::error!(error = %cause, cause = ?cause.source(), "authorization failed");
        self.refusal("server_error", "the request could not be completed")
            .respond(provider)
    }
}

impl Refusal {
    fn respond(self, provider: &Provider) -> Response {
        match self {
            Refusal::Page(reason) => page::refused(StatusCode::BAD_REQUEST, &reason),
            Refusal::Redirect {
                redirect_uri,
                state,
                error,
                description,
            } => {
                let answer = [("error", error), ("error_description", &description)];
                redirect(provider, &redirect_uri, &answer, state.as_deref())
            }
        }
    }
}

/// Checks a request. Client and address come first: until both are known to belong together no redirect is safe.
fn read<'a>(
    provider: &'a Provider,
    parameters: &'a Parameters,
) -> Result<AuthorizationRequest<'a>, Refusal> {
    let untrusted = |fault: Repeated| Refusal::Page(fault.to_string());
    let client = parameters
        .get("client_id")
        .map_err(untrusted)?
        .and_then(|id| provider.client(id))
        .filter(|client| client.may(Grant::AuthorizationCode))
        .ok_or_else(|| Refusal::Page("The client is not registered here.".to_owned()))?;
    let redirect_uri = parameters
        .get("redirect_uri")
        .map_err(untrusted)?
        .filter(|uri| client.may_redirect_to(uri))
        .ok_or_else(|| {
            Refusal::Page("The redirect_uri is not registered for this client.".to_owned())
        })?;

    let state = parameters.get("state");
    let refuse = |error: &'static str, description: String| Refusal::Redirect {
        redirect_uri: redirect_uri.to_owned(),
        state: state.as_ref().ok().copied().flatten().map(str::to_owned),
        error,
        description,
    };
    let get = |name: &'static str| {
        parameters
            .get(name)
            .map_err(|fault| refuse("invalid_request", fault.to_string()))
    };
    let invalid = |description: &str| refuse("invalid_request", description.to_owned());

    get("state")?;
    match get("response_type")? {
        Some("code") => {}
        Some(_) => {
            return Err(refuse(
                "unsupported_response_type",
                "only code is supported".to_owned(),
            ));
        }
        None => return Err(invalid("response_type is missing")),
    }
    if get("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(invalid("only response_mode=query is supported"));
    }
    for (name, error) in [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
    ] {
        if get(name)?.is_some() {
            return Err(refuse(error, format!("{name} is not supported")));
        }
    }
    if get("code_challenge_method")? != Some("S256") {
        return Err(invalid("PKCE with code_challenge_method=S256 is required"));
    }
    let code_challenge = get("code_challenge")?
        .filter(|challenge| is_s256_challenge(challenge))
        .ok_or_else(|| invalid("code_challenge must be the S256 digest in base64url"))?;
    let scopes = get("scope")?.map_or_else(Vec::new, |scope| scope.split(' ').collect());
    let known = directory::scopes();
    if let Some(unknown) = scopes
        .iter()
        .find(|scope| !known.contains(scope) && !OPENID_SCOPES.contains(scope))
    {
        let description = format!("the scope {} is unknown", printable(unknown));
        return Err(refuse("invalid_scope", description));
    }
    let max_age = get("max_age")?
        .map(|seconds| seconds.parse::<u32>().map(i64::from))
        .transpose()
        .map_err(|_| invalid("max_age must be a number of seconds"))?;
    Ok(AuthorizationRequest {
        client,
        redirect_uri,
        state: get("state")?,
        scopes,
        nonce: get("nonce")?,
        code_challenge,
        prompt: match get("prompt")? {
            Some("none") => Prompt::None,
            Some(prompt) if prompt.split(' ').any(|value| value == "none") => {
                return Err(invalid("prompt=none stands alone"));
            }
            Some(_) | None => Prompt::Ask,
        },
        max_age,
        login_hint: get("login_hint")?,
    })
}

/// A SHA-256 digest in base64url is 43 characters (RFC 7636, 4.2).
fn is_s256_challenge(challenge: &str) -> bool {
    challenge.len() == 43
        && challenge
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// `error_description` allows few characters (RFC 6749, appendix A.8).
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => '?',
            ' '..='~' => c,
            _ => '?',
        })
        .take(80)
        .collect()
}

/// Sends the browser back to the client. 303, so that a form's POST becomes a GET; `iss` against mix-up (RFC 9207).
fn redirect(
    provider: &Provider,
    redirect_uri: &str,
    answer: &[(&str, &str)],
    state: Option<&str>,
) -> Response {
    let Ok(mut url) = Url::parse(redirect_uri) else {
        return page::refused(StatusCode::BAD_REQUEST, "The redirect_uri is not a URI.");
    };
    {
        let mut pairs = url.query_pairs_mut();
        pairs.extend_pairs(answer);
        if let Some(state) = state {
            pairs.append_pair("state", state);
        }
        pairs.append_pair("iss", &provider.issuer);
    }
    match HeaderValue::try_from(String::from(url)) {
        Ok(location) => {
            let headers = [
                (LOCATION, location),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => page::refused(StatusCode::BAD_REQUEST, "The redirect_uri is not a URI."),
    }
}
