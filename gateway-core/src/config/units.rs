//! Units in text: durations ("250ms"), sizes ("1MiB"), shares ("10%") and rates ("50/s").
//! Whether a value makes sense for its key is checked in `config/validate.rs`.

use std::time::Duration;

/// Milliseconds in each unit of a duration, longest name first so that `ms` is not read as `s`.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Bytes in each unit of a size, longest name first.
const SIZES: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// `250ms`, `3s`, `5m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    quantity(text, &DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                r#"`{text}` is not a duration; write a number and a unit: "250ms", "3s", "5m", "2h" or "1d""#
            )
        })
}

/// `512B`, `16KiB`, `1MiB`, `2GiB`; in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    quantity(text, &SIZES).ok_or_else(|| {
        format!(
            r#"`{text}` is not a size; write a number and a unit: "512B", "16KiB", "1MiB" or "2GiB""#
        )
    })
}

/// `10%` is 0.1; from 0 % to 100 %.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim_end().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!(r#"`{text}` is not a share; write "10%""#))
}

/// `50/s`, `1000/m`, `20/10s`: how many, and in which time.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), String> {
    let parse = || {
        let (count, window) = text.split_once('/')?;
        let window = window.trim();
        let window = if window.starts_with(|first: char| first.is_ascii_digit()) {
            quantity(window, &DURATIONS)?
        } else {
            quantity(&format!("1{window}"), &DURATIONS)?
        };
        Some((count.trim().parse().ok()?, Duration::from_millis(window)))
    };
    parse().ok_or_else(|| {
        format!(
            r#"`{text}` is not a rate; write a number of requests and a time: "50/s", "1000/m" or "20/10s""#
        )
    })
}

/// `duration` backwards, in the largest unit that is exact.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    quantity_text(millis, &DURATIONS)
}

/// `size` backwards.
pub(super) fn size_text(bytes: u64) -> String {
    quantity_text(bytes, &SIZES)
}

/// `share` backwards.
pub(super) fn share_text(share: f64) -> String {
    // Three digits are more than anybody writes; binary fractions would show theirs.
    format!("{}%", (share * 1e5).round() / 1e3)
}

/// `rate` backwards.
pub(super) fn rate_text(requests: u32, window: Duration) -> String {
    let window = duration_text(window);
    let window = window
        .strip_prefix('1')
        .filter(|unit| unit.starts_with(|first: char| first.is_ascii_alphabetic()))
        .unwrap_or(&window);
    format!("{requests}/{window}")
}

fn quantity_text(number: u64, units: &[(&str, u64)]) -> String {
    let exact = units
        .iter()
        .filter(|(_, factor)| number >= *factor && number.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor);
    match exact.or_else(|| units.iter().min_by_key(|(_, factor)| *factor)) {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, duration_text, rate, rate_text, share, share_text, size, size_text};

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2 h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("1d"), Ok(Duration::from_hours(24)));
        for wrong in [
            "",
            "3",
            "s",
            "-1s",
            "1.5s",
            "3 seconds",
            "3S",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_means_what_was_written() {
        for text in ["0ms", "250ms", "3s", "90s", "5m", "2h", "1d"] {
            assert_eq!(duration(text).map(duration_text), Ok(text.to_owned()));
        }
        for text in ["0B", "512B", "8KiB", "3MiB", "2GiB"] {
            assert_eq!(size(text).map(size_text), Ok(text.to_owned()));
        }
        for text in ["0%", "10%", "12.5%", "100%"] {
            assert_eq!(share(text).map(share_text), Ok(text.to_owned()));
        }
        for text in ["50/s", "1000/m", "20/10s", "7/100ms"] {
            let shown = rate(text).map(|(requests, window)| rate_text(requests, window));
            assert_eq!(shown, Ok(text.to_owned()));
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("8KiB"), Ok(8 * 1024));
        assert_eq!(size("1MiB"), Ok(1024 * 1024));
        assert_eq!(size("2GiB"), Ok(2 * 1024 * 1024 * 1024));
        for wrong in ["", "1", "1MB", "1 mib", "-1B"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_at_most_the_whole() {
        assert_eq!(share("10%"), Ok(0.1));
        assert_eq!(share("12.5 %"), Ok(0.125));
        for wrong in ["", "%", "10", "101%", "-1%", "NaN%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_of_requests_in_a_time() {
        assert_eq!(rate("50/s"), Ok((50, Duration::from_secs(1))));
        assert_eq!(rate("1000 / m"), Ok((1000, Duration::from_mins(1))));
        assert_eq!(rate("20/10s"), Ok((20, Duration::from_secs(10))));
        for wrong in ["", "50", "/s", "50/", "50/second", "-1/s", "4294967296/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
