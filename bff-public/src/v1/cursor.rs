//! Cursors of version 1, whose form was promised with its answers: order-history has another one by now. A list's meaning is its
//! own; here one text becomes the other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use gateway_core::error::{ClientError, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// What cursors of this version look like; one that was left out may be empty.
pub(super) const PATTERN: &str = "^(eyJsIjoicmVzdGF1cmFudHMiLCJwIjp7[A-Za-z0-9_-]+)?$";
/// What they all begin with: the list's name, in base64url.
const BEGIN: &str = "eyJsIjoicmVzdGF1cmFudHMiLCJwIjp7";
/// What those of order-history begin with.
const LIST: char = 'r';

#[derive(Serialize, Deserialize)]
struct Promised {
    l: String,
    p: Place,
}

#[derive(Serialize, Deserialize)]
struct Place {
    /// As it is written: reading it as a number could change its last digit.
    distance: Box<RawValue>,
    id: String,
    at: DateTime<Utc>,
}

/// order-history's cursor for one of this version; anything else is order-history's to judge.
///
/// # Errors
/// 422 for what looks like a cursor and is none.
pub(super) fn read(cursor: &str) -> Result<String, Error> {
    if !cursor.starts_with(BEGIN) {
        return Ok(cursor.to_owned());
    }
    parse(cursor).ok_or_else(|| {
        let detail = "cursor: is no cursor of this list.".to_owned();
        ClientError::ParametersDisagree(detail).into()
    })
}

fn parse(cursor: &str) -> Option<String> {
    let json = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let Promised { p, .. } = serde_json::from_slice(&json).ok()?;
    let distance: f64 = p.distance.get().parse().ok()?;
    let numbers = [p.at.timestamp_millis().cast_unsigned(), distance.to_bits()];
    let numbers = numbers.map(|number| format!("{number:016x}"));
    let id = p.id.bytes().map(|byte| format!("{byte:02x}"));
    let digits = numbers.into_iter().chain(id);
    // An id has to be there.
    (!p.id.is_empty()).then(|| std::iter::once(LIST.to_string()).chain(digits).collect())
}

/// The cursor of this version for one of order-history's.
pub(super) fn shown(cursor: String) -> String {
    write(&cursor).unwrap_or(cursor)
}

fn write(cursor: &str) -> Option<String> {
    let digits = cursor.strip_prefix(LIST)?;
    let number = |from: usize| u64::from_str_radix(digits.get(from..from + 16)?, 16).ok();
    let at = DateTime::from_timestamp_millis(number(0)?.cast_signed())?;
    let id = digits.get(32..)?;
    let bytes = (0..id.len())
        .step_by(2)
        .map(|from| u8::from_str_radix(id.get(from..from + 2)?, 16).ok());
    let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let promised = Promised {
        l: "restaurants".to_owned(),
        p: Place {
            distance: to_raw_value(&f64::from_bits(number(16)?)).ok()?,
            id: String::from_utf8(bytes.collect::<Option<_>>()?).ok()?,
            at: at.parse().ok()?,
        },
    };
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&promised).ok()?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use gateway_core::error::{ClientError, Error};

    use super::{read, shown};

    /// As it was promised: `{"l":"restaurants","p":{"distance":697.4007061097825,"id":"restaurant-3","at":"2030-01-01T20:00:00Z"}}`.
    const PROMISED: &str = "eyJsIjoicmVzdGF1cmFudHMiLCJwIjp7ImRpc3RhbmNlIjo2OTcuNDAwNzA2MTA5NzgyNSwiaWQiOiJyZXN0YXVyYW50LTMiLCJhdCI6IjIw\
                            MzAtMDEtMDFUMjA6MDA6MDBaIn19";

    #[test]
    fn a_cursor_goes_there_and_comes_back() {
        let now = read(PROMISED).unwrap();
        let bits = 697.400_706_109_782_5_f64.to_bits();
        let id = "72657374617572616e742d33";
        assert_eq!(
            now,
            format!("r{:016x}{bits:016x}{id}", 1_893_528_000_000_u64)
        );
        assert_eq!(shown(now), PROMISED);
    }

    #[test]
    fn what_is_no_cursor_is_passed_on_or_refused() {
        for other in ["made-up", "", "r00", "eyJ"] {
            assert_eq!(read(other).unwrap(), other);
            assert_eq!(shown(other.to_owned()), other);
        }
        for broken in [&PROMISED[..40], &format!("{PROMISED}AAAA")] {
            let refused = read(broken);
            let Err(Error::Client(ClientError::ParametersDisagree(_))) = refused else {
                panic!("{refused:?}");
            };
        }
    }
}
