//! The time, in the precision that this service keeps. How times are shown or compared is not here.

use chrono::{DateTime, SubsecRound, Utc};

/// Now, in whole milliseconds: what a person or a client can still tell apart.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
