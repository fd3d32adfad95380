//! Opaque page cursors: where a page ended, in base64url, marked with the list it belongs to. Not here: what a list is
//! ordered by.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A cursor that this service never made for this list.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one of this list")]
pub(crate) struct InvalidCursor;

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    /// The list; a cursor of one list means nothing to another.
    l: String,
    /// The place in it.
    p: T,
}

/// The text of a cursor at `place` of `list`.
pub(crate) fn encode(list: &str, place: &impl Serialize) -> Result<String, serde_json::Error> {
    let envelope = Envelope {
        l: list.to_owned(),
        p: place,
    };
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&envelope)?))
}

/// The place that a cursor of `list` stands for.
pub(crate) fn decode<T: DeserializeOwned>(list: &str, cursor: &str) -> Result<T, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(|_| InvalidCursor)?;
    if envelope.l == list {
        Ok(envelope.p)
    } else {
        Err(InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{decode, encode};

    #[test]
    fn a_cursor_comes_back_only_where_it_was_made() {
        let cursor = encode("orders", &(42_i64, "order-1")).unwrap();
        assert_eq!(
            decode::<(i64, String)>("orders", &cursor).unwrap(),
            (42, "order-1".to_owned())
        );
        assert!(decode::<(i64, String)>("restaurants", &cursor).is_err());
        assert!(decode::<(f64, i64)>("orders", &cursor).is_err());
        for other in ["", "x", "%%%", "bnVsbA"] {
            assert!(decode::<(i64, String)>("orders", other).is_err(), "{other}");
        }
    }
}
