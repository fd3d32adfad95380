//! Numbers and addresses as text, for what is written for every request: `core::fmt` costs several times as much.
//! What the texts mean is their writers' business.

use std::net::IpAddr;
use std::time::Duration;

/// Decimal digits.
pub(crate) fn push_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Milliseconds with one decimal, rounded down: `12.3`.
pub(crate) fn push_millis(text: &mut String, duration: Duration) {
    let tenths = u64::try_from(duration.as_micros() / 100).unwrap_or(u64::MAX);
    push_number(text, tenths / 10);
    text.push('.');
    push_number(text, tenths % 10);
}

/// An address as it is usually written (RFC 5952 for IPv6).
pub(crate) fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push('.');
                }
                push_number(text, octet.into());
            }
        }
        IpAddr::V6(address) => text.push_str(&address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        write(&mut text);
        text
    }

    #[test]
    fn the_texts_are_those_of_the_standard_library() {
        for number in [0, 9, 10, 255, u64::MAX] {
            assert_eq!(
                written(|text| push_number(text, number)),
                number.to_string()
            );
        }
        for address in ["127.0.0.1", "255.0.10.9", "2001:db8::1"] {
            assert_eq!(
                written(|text| push_address(text, address.parse().unwrap())),
                address
            );
        }
    }

    #[test]
    fn milliseconds_have_one_decimal() {
        for (micros, expected) in [(0, "0.0"), (99, "0.0"), (100, "0.1"), (12_345, "12.3")] {
            let duration = Duration::from_micros(micros);
            assert_eq!(written(|text| push_millis(text, duration)), expected);
        }
    }
}
