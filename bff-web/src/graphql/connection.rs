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
    // What was shown last is looked for as far as one call reaches: who knows what has come before it since.
    let asked = match start.shown {
        None => wanted,
        Some(_) => MAX_PAGE,
    };
    let page = fetch(start.page.as_deref(), asked).await.map_err(refused)?;

    let count = page.items.len();
    let skipped = match &start.shown {
        None => 0,
        // When it is not on the list any more, its place is what is left of it.
        Some(Shown(index, last)) => {
            let found = page.items.iter().position(|item| id(item) == last);
            found.map_or(*index, |found| found + 1).min(count)
        }
    };
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// What `first` things behind `after` of `list` are, and the cursor of each. A service's cursor is the last thing's name.
    async fn page(list: &[&str], first: i32, after: Option<&str>) -> (Vec<String>, Vec<String>) {
        let fetch = async |cursor: Option<&str>, size: usize| {
            let begin = cursor.map_or(0, |last| {
                1 + list.iter().position(|id| *id == last).unwrap()
            });
            let items: Vec<_> = list[begin..]
                .iter()
                .take(size)
                .map(|id| (*id).to_owned())
                .collect();
            let more = begin + items.len() < list.len();
            let next_cursor = items.last().filter(|_| more).cloned();
            Ok(Page { items, next_cursor })
        };
        let after = after.map(str::to_owned);
        let connected = connect(Some(first), after, fetch, |id| id.as_str(), |id| id).await;
        let edges = connected.ok().unwrap().edges.into_iter();
        edges.map(|edge| (edge.node, edge.cursor)).unzip()
    }

    #[tokio::test]
    async fn a_cursor_stays_one_while_its_list_changes() {
        let (shown, cursors) = page(&["c", "d", "e", "f"], 3, None).await;
        assert_eq!(shown, ["c", "d", "e"]);
        let behind_c = Some(cursors[0].as_str());
        // More has come before it than was ever shown.
        let longer = ["x", "y", "z", "a", "b", "c", "d", "e", "f"];
        assert_eq!(page(&longer, 2, behind_c).await.0, ["d", "e"]);
        // The page's last edge goes on with the service's own cursor.
        assert_eq!(page(&longer, 2, Some(&cursors[2])).await.0, ["f"]);
        // It has left the list: what has moved up to its place follows.
        assert_eq!(page(&["d", "e", "f"], 2, behind_c).await.0, ["d", "e"]);
        assert_eq!(page(&[], 2, behind_c).await.0, [""; 0]);
    }
}
