//! Pages of services as connections (GraphQL Cursor Connections): every edge has a cursor, although a service has one
//! for each page only. What is on the page is the service's to say.

use async_graphql::OutputType;
use async_graphql::connection::{Connection, Edge, EmptyFields};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::error::{Error, UpstreamError};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::clients::Page;

const DEFAULT_PAGE: usize = 20;
/// What services give at most in one page.
const MAX_PAGE: usize = 100;

/// Where a page starts. Opaque to clients.
#[derive(Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Position {
    /// The service's cursor of a page; its first page when absent.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// The last thing of that page that was shown, when it was not the page's last.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    shown: Option<Shown>,
}

/// A thing on a page: which one it was, and what it was called. New things may have moved it down since.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shown(usize, String);

impl Position {
    fn encode(&self) -> String {
        // Strings and numbers: this cannot fail.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(cursor: &str) -> Result<Self, Error> {
        let position = URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position.ok_or_else(bad_cursor)
    }
}

fn bad_cursor() -> Error {
    Error::bad_request("after: is not a cursor of this list.")
}

/// What a field with `first` costs, for each field of an element.
pub(super) fn size(first: Option<i32>) -> usize {
    first
        .and_then(|first| usize::try_from(first).ok())
        .unwrap_or(DEFAULT_PAGE)
        .min(MAX_PAGE)
}

/// `first` things of a list behind `after`. `fetch` gets a service's page by its cursor and size, `id` tells things of
/// a list apart, `node` makes the node of one.
pub(super) async fn connect<T, N: OutputType>(
    first: Option<i32>,
    after: Option<String>,
    fetch: impl AsyncFnOnce(Option<&str>, usize) -> Result<Page<T>, UpstreamError>,
    id: impl Fn(&T) -> &str,
    node: impl Fn(T) -> N,
) -> Result<Connection<String, N>, Failure> {
    if first.is_some_and(|first| !(1..=MAX_PAGE as i64).contains(&i64::from(first))) {
        return Err(Error::bad_request(format!("first: has to be from 1 to {MAX_PAGE}.")).into());
    }
    let wanted = size(first);
    let start = after
        .as_deref()
        .map(Position::decode)
        .transpose()?
        .unwrap_or_default();
    let skipped = start
        .shown
        .as_ref()
        .map_or(0, |Shown(index, _)| index.saturating_add(1));
    let asked = skipped.saturating_add(wanted).min(MAX_PAGE);
    let page = fetch(start.page.as_deref(), asked).await.map_err(refused)?;

    let skipped = match &start.shown {
        None => 0,
        Some(Shown(_, last)) => {
            1 + page
                .items
                .iter()
                .position(|item| id(item) == last)
                .ok_or_else(bad_cursor)?
        }
    };
    let count = page.items.len();
    let shown = count.saturating_sub(skipped).min(wanted);
    let has_more = skipped + shown < count || page.next_cursor.is_some();
    let mut connection = Connection::new(after.is_some(), has_more);
    for (index, item) in page.items.into_iter().enumerate().skip(skipped).take(shown) {
        let position = match &page.next_cursor {
            Some(next) if index + 1 == count => Position {
                page: Some(next.clone()),
                shown: None,
            },
            _ => Position {
                page: start.page.clone(),
                shown: Some(Shown(index, id(&item).to_owned())),
            },
        };
        connection.edges.push(Edge::with_additional_fields(
            position.encode(),
            node(item),
            EmptyFields,
        ));
    }
    Ok(connection)
}

/// A service refuses parameters and cursors that it does not understand: they are the client's.
fn refused(error: UpstreamError) -> Error {
    match error.refusal() {
        Some(refusal) if refusal.status == StatusCode::BAD_REQUEST => Error::bad_request(
            refusal
                .detail
                .as_deref()
                .unwrap_or("A parameter is not understood."),
        ),
        _ => Error::Upstream(error),
    }
}
