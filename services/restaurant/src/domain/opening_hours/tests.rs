//! Which opening hours are valid, over midnight and over the end of the week.

use ftgo_chassis::FieldError;

use super::{IntervalDraft, OpeningHours};
use crate::domain::Violations;

fn parse(intervals: &[(&str, &str, &str)]) -> Result<OpeningHours, Vec<FieldError>> {
    let drafts = intervals
        .iter()
        .map(|(day, opens, closes)| IntervalDraft {
            day: (*day).into(),
            opens: (*opens).into(),
            closes: (*closes).into(),
        })
        .collect();
    let mut violations = Violations::default();
    let hours = OpeningHours::parse(drafts, "/openingHours", &mut violations);
    violations.into_result(hours)
}

#[track_caller]
fn assert_invalid(intervals: &[(&str, &str, &str)], pointers: &[&str]) {
    let found: Vec<_> = parse(intervals)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|violation| violation.pointer)
        .collect();
    assert_eq!(found, pointers);
}

#[test]
fn whole_days_may_follow_one_another() {
    let days = [
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
        "SUNDAY",
    ];
    assert!(parse(&days.map(|day| (day, "00:00", "24:00"))).is_ok());
}

#[test]
fn an_interval_may_pass_midnight_also_at_the_end_of_the_week() {
    assert!(
        parse(&[
            ("SUNDAY", "18:00", "02:00"),
            ("MONDAY", "02:00", "10:00"),
            ("FRIDAY", "18:00", "00:00"),
            ("SATURDAY", "00:00", "01:00"),
        ])
        .is_ok()
    );
}

#[test]
fn words_and_times_are_checked() {
    assert_invalid(
        &[
            ("monday", "08:00", "12:00"),
            ("MONDAY", "24:00", "24:01"),
            ("TUESDAY", "8:00", "12:60"),
            ("WEDNESDAY", "+8:00", "aa:bb"),
        ],
        &[
            "/openingHours/0/day",
            "/openingHours/1/opens",
            "/openingHours/1/closes",
            "/openingHours/2/opens",
            "/openingHours/2/closes",
            "/openingHours/3/opens",
            "/openingHours/3/closes",
        ],
    );
}

#[test]
fn there_is_an_interval_and_it_is_not_empty() {
    assert_invalid(&[], &["/openingHours"]);
    assert_invalid(&[("MONDAY", "08:00", "08:00")], &["/openingHours/0/closes"]);
}

#[test]
fn intervals_do_not_overlap() {
    assert_invalid(
        &[("MONDAY", "08:00", "12:00"), ("MONDAY", "11:59", "13:00")],
        &["/openingHours/1"],
    );
    assert_invalid(
        &[("TUESDAY", "01:00", "05:00"), ("MONDAY", "20:00", "02:00")],
        &["/openingHours/1"],
    );
    assert_invalid(
        &[("SUNDAY", "20:00", "02:00"), ("MONDAY", "01:00", "03:00")],
        &["/openingHours/1"],
    );
}
