//! When a restaurant is open: intervals of its local week, possibly past midnight. What the time is in its zone is for
//! those who ask whether it is open now.

use chrono::Weekday;
use serde::{Deserialize, Serialize};

use super::Violations;

#[cfg(test)]
mod tests;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
/// Far more than anybody needs: a few breaks on each day.
const MOST_INTERVALS: usize = 50;

/// Valid opening hours: intervals that do not overlap. Read from JSON only where they were stored by us; what comes from
/// outside is an [`IntervalDraft`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OpeningHours(Vec<Interval>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Interval {
    /// The day on which it begins, `MONDAY` to `SUNDAY`.
    day: String,
    /// `00:00` to `23:59`.
    opens: String,
    /// `00:00` to `24:00`. At or before `opens`, it is the next day's.
    closes: String,
}

/// One interval as somebody sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntervalDraft {
    pub(crate) day: String,
    pub(crate) opens: String,
    pub(crate) closes: String,
}

impl OpeningHours {
    /// Checks every interval and all of them together; `at` is the pointer to the list in the draft.
    pub(super) fn parse(drafts: Vec<IntervalDraft>, at: &str, violations: &mut Violations) -> Self {
        if drafts.is_empty() {
            violations.add(at, "must not be empty");
        }
        if drafts.len() > MOST_INTERVALS {
            violations.add(at, format!("must be at most {MOST_INTERVALS} intervals"));
        }
        let mut spans = Vec::new();
        for (index, draft) in drafts.iter().enumerate() {
            let at = format!("{at}/{index}");
            let day = weekday(&draft.day);
            if day.is_none() {
                violations.add(format!("{at}/day"), "must be MONDAY to SUNDAY");
            }
            let opens = minutes(&draft.opens).filter(|minutes| *minutes < DAY);
            if opens.is_none() {
                violations.add(format!("{at}/opens"), "must be a time 00:00 to 23:59");
            }
            let closes = minutes(&draft.closes);
            if closes.is_none() {
                violations.add(format!("{at}/closes"), "must be a time 00:00 to 24:00");
            }
            let (Some(day), Some(opens), Some(closes)) = (day, opens, closes) else {
                continue;
            };
            if opens == closes {
                violations.add(
                    format!("{at}/closes"),
                    "must not be the time of opening; a whole day is 00:00 to 24:00",
                );
                continue;
            }
            spans.push((span(day, opens, closes), index));
        }
        check_overlaps(spans, at, violations);
        Self(
            drafts
                .into_iter()
                .map(|draft| Interval {
                    day: draft.day,
                    opens: draft.opens,
                    closes: draft.closes,
                })
                .collect(),
        )
    }
}

/// Minutes of the week from Monday 00:00; the end is exclusive and may lie in the following week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: u32,
    end: u32,
}

fn span(day: Weekday, opens: u32, closes: u32) -> Span {
    let start = day.num_days_from_monday() * DAY + opens;
    let length = if closes > opens {
        closes - opens
    } else {
        closes + DAY - opens
    };
    Span {
        start,
        end: start + length,
    }
}

fn check_overlaps(mut spans: Vec<(Span, usize)>, at: &str, violations: &mut Violations) {
    spans.sort_unstable();
    let overlap = |violations: &mut Violations, one: usize, other: usize| {
        let (earlier, later) = (one.min(other), one.max(other));
        violations.add(
            format!("{at}/{later}"),
            format!("must not overlap with entry {earlier}"),
        );
    };
    // Sorted by their start, any two that overlap imply two neighbours that do; the last one's neighbour is the first, a
    // week later.
    for pair in spans.windows(2) {
        if let [(one, index), (next, other)] = pair
            && one.end > next.start
        {
            overlap(violations, *index, *other);
        }
    }
    if let ([(first, other), ..], [.., (last, index)]) = (&spans[..], &spans[..])
        && spans.len() > 1
        && last.end > first.start + WEEK
    {
        overlap(violations, *index, *other);
    }
}

/// `HH:MM`, `24:00` included.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<u32>().ok())?
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY).then_some(total)
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MONDAY" => Weekday::Mon,
        "TUESDAY" => Weekday::Tue,
        "WEDNESDAY" => Weekday::Wed,
        "THURSDAY" => Weekday::Thu,
        "FRIDAY" => Weekday::Fri,
        "SATURDAY" => Weekday::Sat,
        "SUNDAY" => Weekday::Sun,
        _ => return None,
    })
}
