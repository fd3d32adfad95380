//! Tables of hours and instants. 2026-11-22 is a Sunday; Oakland is on UTC-8 in winter and on UTC-7 in summer.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use chrono::{DateTime, Utc};

use super::{OpenUntil, OpeningHours, OpeningHoursError, PublishedHours};

const OAKLAND: &str = "America/Los_Angeles";

fn published(lines: &[(&str, &str, &str)]) -> Vec<PublishedHours> {
    lines
        .iter()
        .map(|(day, opens, closes)| PublishedHours {
            day: (*day).to_owned(),
            opens: (*opens).to_owned(),
            closes: (*closes).to_owned(),
        })
        .collect()
}

fn hours(time_zone: &str, lines: &[(&str, &str, &str)]) -> OpeningHours {
    OpeningHours::parse(time_zone, &published(lines)).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// `until` is empty for closed.
fn assert_table(hours: &OpeningHours, table: &[(&str, &str)]) {
    for (instant, until) in table {
        let expected = (!until.is_empty()).then(|| OpenUntil::Instant(at(until)));
        assert_eq!(hours.open_until(at(instant)), expected, "at {instant}");
    }
}

#[test]
fn an_ordinary_day_opens_sharp_and_closes_sharp() {
    let hours = hours(OAKLAND, &[("SUNDAY", "11:00", "21:30")]);
    assert_table(
        &hours,
        &[
            ("2026-11-22T10:59:59-08:00", ""),
            ("2026-11-22T11:00:00-08:00", "2026-11-22T21:30:00-08:00"),
            ("2026-11-22T21:29:59.999-08:00", "2026-11-22T21:30:00-08:00"),
            ("2026-11-22T21:30:00-08:00", ""),
            ("2026-11-23T12:00:00-08:00", ""),
            ("2026-11-29T12:00:00-08:00", "2026-11-29T21:30:00-08:00"),
        ],
    );
}

#[test]
fn the_day_is_that_of_the_restaurant() {
    let lines = [("MONDAY", "08:00", "12:00")];
    // Monday morning in Auckland is Sunday in Oakland.
    let instant = at("2026-11-22T12:00:00-08:00");
    assert!(
        hours("Pacific/Auckland", &lines)
            .open_until(instant)
            .is_some()
    );
    assert!(hours(OAKLAND, &lines).open_until(instant).is_none());
}

#[test]
fn hours_past_midnight_belong_to_the_evening_before() {
    let hours = hours(OAKLAND, &[("SATURDAY", "18:00", "02:00")]);
    assert_table(
        &hours,
        &[
            ("2026-11-21T01:00:00-08:00", ""),
            ("2026-11-21T23:59:59-08:00", "2026-11-22T02:00:00-08:00"),
            ("2026-11-22T00:00:00-08:00", "2026-11-22T02:00:00-08:00"),
            ("2026-11-22T01:59:59-08:00", "2026-11-22T02:00:00-08:00"),
            ("2026-11-22T02:00:00-08:00", ""),
            ("2026-11-22T18:00:00-08:00", ""),
        ],
    );
}

#[test]
fn the_end_of_the_day_joins_the_beginning_of_the_next() {
    let hours = hours(
        OAKLAND,
        &[
            ("FRIDAY", "17:00", "24:00"),
            ("SATURDAY", "00:00", "03:00"),
            ("SATURDAY", "12:00", "15:00"),
            ("SATURDAY", "14:00", "24:00"),
        ],
    );
    assert_table(
        &hours,
        &[
            ("2026-11-20T23:59:59-08:00", "2026-11-21T03:00:00-08:00"),
            ("2026-11-21T00:00:00-08:00", "2026-11-21T03:00:00-08:00"),
            ("2026-11-21T03:00:00-08:00", ""),
            ("2026-11-21T12:30:00-08:00", "2026-11-22T00:00:00-08:00"),
            ("2026-11-22T00:00:00-08:00", ""),
        ],
    );
}

#[test]
fn round_the_clock_has_no_end() {
    const WEEK: [&str; 7] = [
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
        "SUNDAY",
    ];
    for closes in ["24:00", "00:00"] {
        let lines = WEEK.map(|day| (day, "00:00", closes));
        let hours = hours(OAKLAND, &lines);
        for hour in 0..24 * 8 {
            let instant = at("2026-11-22T00:00:00Z") + chrono::Duration::hours(hour);
            assert_eq!(hours.open_until(instant), Some(OpenUntil::Always));
        }
    }
    // closed for one hour of the week
    let mut lines = WEEK.map(|day| (day, "00:00", "24:00"));
    lines[0] = ("MONDAY", "01:00", "24:00");
    assert_eq!(
        hours(OAKLAND, &lines).open_until(at("2026-11-23T01:00:00-08:00")),
        Some(OpenUntil::Instant(at("2026-11-30T00:00:00-08:00")))
    );
}

#[test]
fn the_night_when_the_clock_goes_forward() {
    // 2026-03-08: 02:00 PST becomes 03:00 PDT.
    let night = hours(OAKLAND, &[("SATURDAY", "20:00", "04:00")]);
    assert_table(
        &night,
        &[
            ("2026-03-08T01:59:59-08:00", "2026-03-08T04:00:00-07:00"),
            ("2026-03-08T03:59:59-07:00", "2026-03-08T04:00:00-07:00"),
            ("2026-03-08T04:00:00-07:00", ""),
        ],
    );
    // A time that the clock skips is the moment of the change.
    let closes_inside = hours(OAKLAND, &[("SATURDAY", "20:00", "02:30")]);
    let opens_inside = hours(OAKLAND, &[("SUNDAY", "02:30", "06:00")]);
    let never = hours(OAKLAND, &[("SUNDAY", "02:10", "02:50")]);
    assert_table(
        &closes_inside,
        &[
            ("2026-03-08T01:59:59-08:00", "2026-03-08T03:00:00-07:00"),
            ("2026-03-08T03:00:00-07:00", ""),
        ],
    );
    assert_table(
        &opens_inside,
        &[
            ("2026-03-08T01:59:59-08:00", ""),
            ("2026-03-08T03:00:00-07:00", "2026-03-08T06:00:00-07:00"),
        ],
    );
    assert_table(&never, &[("2026-03-08T03:00:00-07:00", "")]);
}

#[test]
fn the_night_when_the_clock_goes_back() {
    // 2026-11-01: 02:00 PDT becomes 01:00 PST; 01:30 happens twice.
    let night = hours(OAKLAND, &[("SATURDAY", "20:00", "01:30")]);
    assert_table(
        &night,
        &[
            ("2026-11-01T01:45:00-07:00", "2026-11-01T01:30:00-08:00"),
            ("2026-11-01T01:29:59-08:00", "2026-11-01T01:30:00-08:00"),
            ("2026-11-01T01:30:00-08:00", ""),
        ],
    );
    let morning = hours(OAKLAND, &[("SUNDAY", "01:30", "09:00")]);
    assert_table(
        &morning,
        &[
            ("2026-11-01T01:29:59-07:00", ""),
            ("2026-11-01T01:30:00-07:00", "2026-11-01T09:00:00-08:00"),
            ("2026-11-01T01:00:00-08:00", "2026-11-01T09:00:00-08:00"),
        ],
    );
}

#[test]
fn a_day_that_a_country_skips_has_no_opening() {
    // Samoa went from the 29th to the 31st of December 2011; the 30th would have been a Friday.
    let hours = hours("Pacific/Apia", &[("FRIDAY", "08:00", "20:00")]);
    let change = at("2011-12-30T10:00:00Z");
    assert!(
        hours
            .open_until(change - chrono::Duration::seconds(1))
            .is_none()
    );
    assert!(
        hours
            .open_until(change + chrono::Duration::seconds(1))
            .is_none()
    );
}

#[test]
fn a_restaurant_without_hours_is_closed() {
    assert_table(&hours(OAKLAND, &[]), &[("2026-11-22T12:00:00Z", "")]);
}

#[test]
fn hours_that_cannot_be_read_are_named() {
    let parse = |zone: &str, line: (&str, &str, &str)| {
        OpeningHours::parse(zone, &published(&[line])).unwrap_err()
    };
    for (zone, line, fault) in [
        (
            "Mars/Base",
            ("MONDAY", "08:00", "09:00"),
            OpeningHoursError::TimeZone("Mars/Base".to_owned()),
        ),
        (
            OAKLAND,
            ("Feiertag", "08:00", "09:00"),
            OpeningHoursError::Day("Feiertag".to_owned()),
        ),
        (
            OAKLAND,
            ("MONDAY", "8:00", "09:00"),
            OpeningHoursError::Time("8:00".to_owned()),
        ),
        (
            OAKLAND,
            ("MONDAY", "08:00", "24:01"),
            OpeningHoursError::Time("24:01".to_owned()),
        ),
        (
            OAKLAND,
            ("MONDAY", "24:00", "09:00"),
            OpeningHoursError::Time("24:00".to_owned()),
        ),
        (
            OAKLAND,
            ("MONDAY", "+8:00", "09:00"),
            OpeningHoursError::Time("+8:00".to_owned()),
        ),
    ] {
        assert_eq!(parse(zone, line), fault);
    }
}
