//! When it is worth asking again how an order is doing. Who wants to know at once follows the order's events
//! (`order_events.rs`).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use gateway_core::compose::Section;

/// Sagas are done within a moment.
const SAGA: Duration = Duration::from_secs(1);
/// People who cook and drive are not.
const PEOPLE: Duration = Duration::from_secs(5);
/// For so long after its food was wanted, an order may be under way of whose ticket or delivery nothing can be seen.
const IN_DOUBT: TimeDelta = TimeDelta::hours(6);

/// What is known of how far an order is; sections that the client did not pick are omitted.
pub(super) struct Progress<'a> {
    pub(super) order: &'a str,
    /// When the food was wanted (RFC 3339).
    pub(super) wanted: &'a str,
    pub(super) ticket: Section<&'a str>,
    pub(super) delivery: Section<&'a str>,
}

impl Progress<'_> {
    /// `None` when nothing that the client has picked changes any more by itself: with `?fields=order`, an order that is
    /// approved stays so until somebody wants something else.
    pub(super) fn ask_again(&self, now: DateTime<Utc>) -> Option<Duration> {
        match self.order {
            "REJECTED" | "CANCELLED" => None,
            "APPROVED" => self.is_under_way(now).then_some(PEOPLE),
            _ => Some(SAGA),
        }
    }

    fn is_under_way(&self, now: DateTime<Utc>) -> bool {
        let delivered = |state: &str| matches!(state, "DELIVERED" | "CANCELLED");
        let handed_over =
            |state: &str| matches!(state, "PICKED_UP" | "CANCELLED" | "CREATE_CANCELLED");
        // The delivery ends last.
        match (&self.delivery, &self.ticket) {
            (Section::Omitted, Section::Omitted) => false,
            (Section::Omitted, Section::Unavailable { .. }) | (Section::Unavailable { .. }, _) => {
                self.is_recent(now)
            }
            (Section::Omitted, Section::Ok(ticket) | Section::Stale { data: ticket, .. }) => {
                !handed_over(ticket)
            }
            (Section::Ok(delivery) | Section::Stale { data: delivery, .. }, _) => {
                !delivered(delivery)
            }
        }
    }

    fn is_recent(&self, now: DateTime<Utc>) -> bool {
        let wanted = DateTime::parse_from_rfc3339(self.wanted);
        wanted.is_ok_and(|wanted| now < wanted.to_utc() + IN_DOUBT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OMITTED: Section<&str> = Section::Omitted;
    const UNAVAILABLE: Section<&str> = Section::Unavailable { reason: "timeout" };

    fn stale(data: &str) -> Section<&str> {
        Section::Stale {
            data,
            age: Some(9),
            reason: Some("timeout"),
        }
    }

    #[test]
    fn only_what_moves_is_asked_for_again() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let (recent, old) = ("1970-01-01T18:00:01Z", "1970-01-01T18:00:00Z");
        for (order, wanted, ticket, delivery, seconds) in [
            // A saga is at work, whatever was picked.
            ("APPROVAL_PENDING", old, OMITTED, OMITTED, Some(1)),
            ("CANCEL_PENDING", old, OMITTED, UNAVAILABLE, Some(1)),
            (
                "REVISION_PENDING",
                old,
                Section::Ok("PICKED_UP"),
                OMITTED,
                Some(1),
            ),
            ("REJECTED", recent, UNAVAILABLE, UNAVAILABLE, None),
            (
                "CANCELLED",
                recent,
                Section::Ok("PREPARING"),
                Section::Ok("SCHEDULED"),
                None,
            ),
            // The order alone.
            ("APPROVED", recent, OMITTED, OMITTED, None),
            // The kitchen's part alone.
            ("APPROVED", old, Section::Ok("PREPARING"), OMITTED, Some(5)),
            ("APPROVED", old, stale("PREPARING"), OMITTED, Some(5)),
            ("APPROVED", old, Section::Ok("PICKED_UP"), OMITTED, None),
            ("APPROVED", recent, UNAVAILABLE, OMITTED, Some(5)),
            ("APPROVED", old, UNAVAILABLE, OMITTED, None),
            // With the delivery, which tells of the end.
            (
                "APPROVED",
                old,
                Section::Ok("PICKED_UP"),
                Section::Ok("PICKED_UP"),
                Some(5),
            ),
            ("APPROVED", old, OMITTED, stale("SCHEDULED"), Some(5)),
            (
                "APPROVED",
                recent,
                UNAVAILABLE,
                Section::Ok("DELIVERED"),
                None,
            ),
            (
                "APPROVED",
                recent,
                Section::Ok("PICKED_UP"),
                UNAVAILABLE,
                Some(5),
            ),
            ("APPROVED", old, Section::Ok("PICKED_UP"), UNAVAILABLE, None),
            ("APPROVED", "no time", OMITTED, UNAVAILABLE, None),
        ] {
            let case = format!("{order} {wanted} {ticket:?} {delivery:?}");
            let progress = Progress {
                order,
                wanted,
                ticket,
                delivery,
            };
            let after = progress.ask_again(now).map(|after| after.as_secs());
            assert_eq!(after, seconds, "{case}");
        }
    }
}
