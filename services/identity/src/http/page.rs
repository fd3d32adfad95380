//! The provider's pages: choosing who to be, signing out, and being told that a request is wrong. Plain HTML without
//! scripts; everything that comes from outside is escaped. Not here: what a choice leads to.

use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use url::Url;

use crate::directory::{self, Role, Subject};

const STYLESHEET: &str = include_str!("page.css");

/// What the sign-in page shows.
pub(super) struct SignIn<'a> {
    pub(super) client_name: &'a str,
    /// Where the browser goes afterwards.
    pub(super) redirect_uri: &'a str,
    /// Carried through to the form's target.
    pub(super) hidden: Vec<(&'a str, &'a str)>,
    /// Who is signed in, or whom the client hints at.
    pub(super) suggested: Option<&'a str>,
}

/// The page that lists the seeded people.
pub(super) fn sign_in(page: &SignIn<'_>) -> Response {
    let mut body = String::new();
    body.push_str("<h1>Who are you today?</h1><p>");
    push_escaped(&mut body, page.client_name);
    body.push_str(" asks you to sign in.</p><form method=\"post\" action=\"/authorize\">");
    push_hidden(&mut body, &page.hidden);
    for (title, role) in [
        ("Consumers", Role::Consumer),
        ("Couriers", Role::Courier),
        ("Restaurant staff", Role::Staff),
    ] {
        body.push_str("<h2>");
        body.push_str(title);
        body.push_str("</h2><ul>");
        for subject in directory::people().filter(|subject| subject.role == role) {
            push_person(&mut body, subject, page.suggested == Some(subject.sub));
        }
        body.push_str("</ul>");
    }
    body.push_str(
        "<p class=\"plain\"><button name=\"decision\" value=\"deny\">Don\u{2019}t sign in</button></p></form>",
    );
    html(
        StatusCode::OK,
        "Sign in",
        &body,
        &form_targets(page.redirect_uri),
    )
}

fn push_person(body: &mut String, subject: &Subject, suggested: bool) {
    body.push_str("<li><button name=\"sub\" value=\"");
    push_escaped(body, subject.sub);
    body.push('"');
    if suggested {
        body.push_str(" aria-current=\"true\" autofocus");
    }
    body.push_str("><strong>");
    push_escaped(body, &subject.name());
    body.push_str("</strong><span>");
    push_escaped(body, subject.sub);
    if let (Some(first), Some(last)) = (
        subject.restaurant_ids.first(),
        subject.restaurant_ids.last(),
    ) {
        push_escaped(body, &format!(" \u{b7} {first} to {last}"));
    }
    body.push_str("</span></button></li>");
}

/// The page that asks whether to sign out, for a request that doesn't prove to come from the person's own client.
pub(super) fn confirm_sign_out(hidden: &[(&str, &str)], return_to: Option<&str>) -> Response {
    let mut body = String::from(
        "<h1>Sign out?</h1><p>This ends your session here and what was granted under it.</p>\
         <form method=\"post\" action=\"/end-session\">",
    );
    push_hidden(&mut body, hidden);
    body.push_str("<p class=\"plain\"><button>Sign out</button></p></form>");
    let targets = return_to.map_or_else(|| "'self'".to_owned(), form_targets);
    html(StatusCode::OK, "Sign out", &body, &targets)
}

/// The page after signing out without an address to return to.
pub(super) fn signed_out() -> Response {
    let body = "<h1>You are signed out</h1><p>You can close this page.</p>";
    html(StatusCode::OK, "Signed out", body, "'none'")
}

/// The page for a request that can't be answered by a redirect, since its address can't be trusted.
pub(super) fn refused(status: StatusCode, reason: &str) -> Response {
    let mut body = String::from("<h1>This request is not right</h1><p>");
    push_escaped(&mut body, reason);
    body.push_str("</p><p>Go back to the application and try again.</p>");
    html(status, "Request refused", &body, "'none'")
}

/// The stylesheet of all pages: a file of its own, so that the policy can forbid inline styles.
pub(super) async fn stylesheet() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=3600"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, STYLESHEET)
}

fn html(status: StatusCode, title: &str, body: &str, form_action: &str) -> Response {
    let document = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title} \u{b7} FTGO</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/assets/identity.css\"></head><body><main>{body}\
         <footer>FTGO\u{2019}s identity provider for development: no passwords, no real people.</footer></main></body></html>"
    );
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; form-action {form_action}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers: [(HeaderName, HeaderValue); 6] = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::try_from(policy)
                .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
        ),
        // Not `no-referrer`: that would make the browser send our own form with `Origin: null`.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, document).into_response()
}

/// Chromium holds the redirect that answers a form against `form-action`, too; so the client's origin stands beside ours.
fn form_targets(redirect_uri: &str) -> String {
    match Url::parse(redirect_uri) {
        Ok(url) if url.origin().is_tuple() => {
            format!("'self' {}", url.origin().ascii_serialization())
        }
        Ok(url) => format!("'self' {}:", url.scheme()),
        Err(_) => "'self'".to_owned(),
    }
}

fn push_hidden(body: &mut String, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        body.push_str("<input type=\"hidden\" name=\"");
        push_escaped(body, name);
        body.push_str("\" value=\"");
        push_escaped(body, value);
        body.push_str("\">");
    }
}

/// Escapes for text and for quoted attributes.
fn push_escaped(body: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => body.push_str("&amp;"),
            '<' => body.push_str("&lt;"),
            '>' => body.push_str("&gt;"),
            '"' => body.push_str("&quot;"),
            '\'' => body.push_str("&#39;"),
            other => body.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{form_targets, push_escaped};

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut body = String::new();
        push_escaped(&mut body, "\"><script>alert('x')</script>&");
        assert_eq!(
            body,
            "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"
        );
    }

    #[test]
    fn the_forms_may_lead_back_to_the_client_only() {
        assert_eq!(
            form_targets("https://127.0.0.1:8080/bff/callback"),
            "'self' https://127.0.0.1:8080"
        );
        assert_eq!(
            form_targets("example.ftgo.app:/callback"),
            "'self' example.ftgo.app:"
        );
    }
}
