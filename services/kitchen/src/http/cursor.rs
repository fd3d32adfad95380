//! Where the next page of tickets begins, as an opaque text. How pages are cut is the store's business.

use ftgo_chassis::ServiceError;

/// A position as a cursor. The letter in front makes a number that somebody guessed a bad cursor.
pub(super) fn write(position: i64) -> String {
    format!("t{position:x}")
}

/// The position in a cursor.
///
/// # Errors
/// `BadRequest` (400) when it is none of ours.
pub(super) fn read(cursor: &str) -> Result<i64, ServiceError> {
    let position = cursor
        .strip_prefix('t')
        .and_then(|digits| i64::from_str_radix(digits, 16).ok())
        .filter(|position| write(*position) == cursor && *position > 0);
    position.ok_or_else(|| ServiceError::BadRequest("the cursor is not one of ours".to_owned()))
}
