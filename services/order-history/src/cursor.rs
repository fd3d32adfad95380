//! Page cursors: where a page ended, as a letter for the list and hexadecimal digits. Not here: what a list is ordered by.
//!
//! A list's cursors are all texts of one regular expression, which gateways publish: a letter, sixteen digits for each
//! number, and then the id, two digits for each byte. One that was made up is a place, too.

/// A cursor that this service never made for this list.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one of this list")]
pub(crate) struct InvalidCursor;

/// How many digits a number has.
const DIGITS: usize = 16;

/// The text of a cursor at the place of `list` that these numbers and this id make.
pub(crate) fn encode(list: char, numbers: &[u64], id: &str) -> String {
    let numbers = numbers.iter().map(|number| format!("{number:016x}"));
    let id = id.bytes().map(|byte| format!("{byte:02x}"));
    std::iter::once(list.to_string())
        .chain(numbers)
        .chain(id)
        .collect()
}

/// What [`encode`] has made the cursor of.
pub(crate) fn decode<const N: usize>(
    list: char,
    cursor: &str,
) -> Result<([u64; N], String), InvalidCursor> {
    let digits = cursor.strip_prefix(list).ok_or(InvalidCursor)?;
    let are_digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if !digits.bytes().all(are_digits) || digits.len() % 2 == 1 || digits.len() <= N * DIGITS {
        return Err(InvalidCursor);
    }
    let (head, id) = digits.split_at(N * DIGITS);
    let mut numbers = [0; N];
    for (index, number) in numbers.iter_mut().enumerate() {
        let digits = &head[index * DIGITS..(index + 1) * DIGITS];
        *number = u64::from_str_radix(digits, 16).map_err(|_| InvalidCursor)?;
    }
    let bytes = (0..id.len()).step_by(2);
    let bytes: Result<Vec<u8>, _> = bytes
        .map(|at| u8::from_str_radix(&id[at..at + 2], 16))
        .collect();
    let bytes = bytes.map_err(|_| InvalidCursor)?;
    // Bytes that are no text are no id: a place between ids.
    Ok((numbers, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{decode, encode};

    #[test]
    fn a_cursor_comes_back_only_where_it_was_made() {
        let cursor = encode('o', &[42], "order-1");
        assert_eq!(cursor, "o000000000000002a6f726465722d31");
        assert_eq!(
            decode::<1>('o', &cursor).unwrap(),
            ([42], "order-1".to_owned())
        );
        assert!(decode::<1>('r', &cursor).is_err());
        for other in [
            "",
            "o",
            "x",
            "%%%",
            "o000000000000002a",
            "o000000000000002a6",
            "o000000000000002A6f",
            "o+00000000000002a6f",
            "o000000000000002aä6f",
        ] {
            assert!(decode::<1>('o', other).is_err(), "{other}");
        }
    }

    #[test]
    fn every_number_and_every_id_comes_back() {
        let numbers = [u64::MAX, 0, 1.5_f64.to_bits()];
        let cursor = encode('r', &numbers, "Käse");
        assert_eq!(
            decode::<3>('r', &cursor).unwrap(),
            (numbers, "Käse".to_owned())
        );
        // Made up, and a place all the same.
        assert!(decode::<1>('r', &format!("r{}ff", "f".repeat(16))).is_ok());
    }
}
