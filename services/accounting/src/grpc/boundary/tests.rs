//! `grpc-timeout` as the protocol defines it. The boundary on the wire is tested with the methods.

use std::time::Duration;

use super::parse_timeout;

#[test]
fn every_unit_is_read() {
    for (value, expected) in [
        ("2H", Duration::from_secs(7200)),
        ("3M", Duration::from_secs(180)),
        ("4S", Duration::from_secs(4)),
        ("250m", Duration::from_millis(250)),
        ("9u", Duration::from_micros(9)),
        ("99999999n", Duration::from_nanos(99_999_999)),
    ] {
        assert_eq!(parse_timeout(value), Some(expected), "{value}");
    }
}

#[test]
fn anything_else_is_not() {
    for value in [
        "",
        "m",
        "1",
        "1s",
        "-1m",
        "+1m",
        "1.5S",
        "123456789m",
        " 1m",
        "1é",
    ] {
        assert_eq!(parse_timeout(value), None, "{value}");
    }
}
