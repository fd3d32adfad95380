//! What all lists share: the size of a page, and the page as JSON. Not here: what a cursor means (`cursor.rs`).

use ftgo_chassis::ServiceError;
use serde::Serialize;

const DEFAULT_PAGE_SIZE: usize = 20;
const LARGEST_PAGE_SIZE: usize = 100;

/// A page on the wire: `{"items":[…],"nextCursor":"…"|null}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// The `pageSize` of a request.
pub(super) fn page_size(requested: Option<usize>) -> Result<usize, ServiceError> {
    match requested {
        None => Ok(DEFAULT_PAGE_SIZE),
        Some(size @ 1..=LARGEST_PAGE_SIZE) => Ok(size),
        Some(_) => Err(ServiceError::BadRequest(format!(
            "pageSize: between 1 and {LARGEST_PAGE_SIZE}"
        ))),
    }
}
