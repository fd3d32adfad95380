//! When a restaurant is open: weekly hours in its own time zone, laid over real instants. Not here: where the hours come
//! from and who asks.

use std::str::FromStr;

use chrono::Datelike;
use chrono::{DateTime, Days, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Minutes of a day that has no change of the clock.
const DAY: u16 = 24 * 60;

/// One line of the weekly hours as restaurants publish it: `{"day":"FRIDAY","opens":"18:00","closes":"02:00"}`. A closing
/// time that is not after the opening time is on the next day; `24:00` is the end of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedHours {
    pub(crate) day: String,
    pub(crate) opens: String,
    pub(crate) closes: String,
}

/// Hours that can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpeningHoursError {
    #[error("`{0}` is not a day of the week")]
    Day(String),
    #[error("`{0}` is not a time of day")]
    Time(String),
    #[error("`{0}` is not a time zone")]
    TimeZone(String),
}

/// The weekly hours of one restaurant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpeningHours {
    time_zone: Tz,
    periods: Vec<Period>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    day: Weekday,
    /// Minutes after midnight of that day; `closes` may be beyond its end.
    opens: u16,
    closes: u16,
}

/// What a restaurant that is open can say about its closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenUntil {
    Instant(DateTime<Utc>),
    /// It doesn't close within a week.
    Always,
}

impl OpeningHours {
    pub(crate) fn parse(
        time_zone: &str,
        published: &[PublishedHours],
    ) -> Result<Self, OpeningHoursError> {
        let time_zone = Tz::from_str(time_zone)
            .map_err(|_| OpeningHoursError::TimeZone(time_zone.to_owned()))?;
        let periods = published
            .iter()
            .map(|hours| {
                let day = Weekday::from_str(&hours.day)
                    .map_err(|_| OpeningHoursError::Day(hours.day.clone()))?;
                let opens = minutes(&hours.opens)?;
                let closes = minutes(&hours.closes)?;
                if opens == DAY {
                    return Err(OpeningHoursError::Time(hours.opens.clone()));
                }
                let closes = if closes <= opens {
                    closes + DAY
                } else {
                    closes
                };
                Ok(Period { day, opens, closes })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(OpeningHours { time_zone, periods })
    }

    /// Until when it is open, if it is open at `instant`. Periods that touch or overlap count as one.
    pub(crate) fn open_until(&self, instant: DateTime<Utc>) -> Option<OpenUntil> {
        let today = instant.with_timezone(&self.time_zone).date_naive();
        // A period of yesterday can last until today, and a chain of touching periods is followed for a week.
        let first = today.checked_sub_days(Days::new(2))?;
        let mut openings = (0..11)
            .filter_map(|offset| first.checked_add_days(Days::new(offset)))
            .flat_map(|date| {
                self.periods
                    .iter()
                    .filter(move |period| period.day == date.weekday())
                    .filter_map(move |period| self.opening(date, *period))
            })
            .collect::<Vec<_>>();
        openings.sort_unstable();
        let mut end: Option<DateTime<Utc>> = None;
        for (opens, closes) in openings {
            match end {
                None if opens <= instant && instant < closes => end = Some(closes),
                Some(so_far) if opens <= so_far => end = Some(so_far.max(closes)),
                None | Some(_) => {}
            }
        }
        let end = end?;
        Some(if end - instant >= Duration::days(7) {
            OpenUntil::Always
        } else {
            OpenUntil::Instant(end)
        })
    }

    fn opening(&self, date: NaiveDate, period: Period) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let opens = self.instant(date, period.opens, Occurrence::First)?;
        let closes = self.instant(date, period.closes, Occurrence::Last)?;
        // An hour that the clock skips holds no opening.
        (opens < closes).then_some((opens, closes))
    }

    /// The instant when the wall clock shows `minutes` after midnight of `date`. When the clock is set back that happens
    /// twice: people come at the first and are thrown out at the last. When it is set forward over that time, the moment
    /// of the change counts.
    fn instant(
        &self,
        date: NaiveDate,
        minutes: u16,
        occurrence: Occurrence,
    ) -> Option<DateTime<Utc>> {
        let date = date.checked_add_days(Days::new(u64::from(minutes / DAY)))?;
        let local = date.and_time(NaiveTime::MIN) + Duration::minutes(i64::from(minutes % DAY));
        (0..=i64::from(DAY)).find_map(|skipped| {
            let local = local + Duration::minutes(skipped);
            match self.time_zone.from_local_datetime(&local) {
                LocalResult::Single(instant) => Some(instant.to_utc()),
                LocalResult::Ambiguous(first, last) => Some(match occurrence {
                    Occurrence::First => first.to_utc(),
                    Occurrence::Last => last.to_utc(),
                }),
                LocalResult::None => None,
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Occurrence {
    First,
    Last,
}

/// Reads `HH:MM` from `00:00` to `24:00`.
fn minutes(text: &str) -> Result<u16, OpeningHoursError> {
    let fault = || OpeningHoursError::Time(text.to_owned());
    let (hours, rest) = text.split_once(':').ok_or_else(fault)?;
    let two_digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    match (two_digits(hours), two_digits(rest)) {
        (Some(24), Some(0)) => Ok(DAY),
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        _ => Err(fault()),
    }
}

#[cfg(test)]
mod tests;
