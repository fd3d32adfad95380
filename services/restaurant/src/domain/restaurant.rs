//! The restaurant: who and where it is, when it is open, and what it sells in which version. Storage and messages are not
//! here.

use chrono::{DateTime, SubsecRound, Utc};
use chrono_tz::Tz;
use ftgo_chassis::{Address, FieldError, GeoPoint, Money};
use serde::{Deserialize, Serialize};

use super::Violations;
use super::menu::{Menu, MenuDraft};
use super::opening_hours::{IntervalDraft, OpeningHours};

#[cfg(test)]
mod tests;

const LONGEST_NAME: usize = 200;

/// A restaurant. Its JSON form is the resource that readers get and that events carry; it is never read back from JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restaurant {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: GeoPoint,
    pub(crate) cuisine: String,
    /// IANA name, for example `America/Los_Angeles`: the zone of `opening_hours`.
    pub(crate) time_zone: String,
    pub(crate) opening_hours: OpeningHours,
    pub(crate) order_minimum: Money,
    pub(crate) menu: Menu,
    /// 1 when created, one more with every revision of the menu.
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
}

/// A restaurant as somebody sent it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestaurantDraft {
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) location: GeoPoint,
    pub(crate) cuisine: String,
    pub(crate) time_zone: String,
    pub(crate) opening_hours: Vec<IntervalDraft>,
    pub(crate) order_minimum: Money,
    /// May come later, with the first revision.
    #[serde(default)]
    pub(crate) menu: MenuDraft,
}

impl Restaurant {
    /// A new restaurant at version 1.
    ///
    /// # Errors
    /// Everything that is wrong with the draft, with pointers into it.
    pub(crate) fn create(
        id: String,
        draft: RestaurantDraft,
        now: DateTime<Utc>,
    ) -> Result<Self, Vec<FieldError>> {
        let mut violations = Violations::default();
        violations.check_text("/name", &draft.name, LONGEST_NAME);
        violations.add_all(draft.address.check("/address"));
        violations.check_text("/cuisine", &draft.cuisine, LONGEST_NAME);
        if draft.time_zone.parse::<Tz>().is_err() {
            violations.add(
                "/timeZone",
                "must be an IANA time zone, for example America/Los_Angeles",
            );
        }
        let opening_hours =
            OpeningHours::parse(draft.opening_hours, "/openingHours", &mut violations);
        if draft.order_minimum.is_negative() {
            violations.add("/orderMinimum", "must not be negative");
        }
        let menu = Menu::parse(
            draft.menu,
            draft.order_minimum.currency(),
            "/menu",
            &mut violations,
        );
        violations.into_result(Self {
            id,
            name: draft.name,
            address: draft.address,
            location: draft.location,
            cuisine: draft.cuisine,
            time_zone: draft.time_zone,
            opening_hours,
            order_minimum: draft.order_minimum,
            menu,
            version: 1,
            created_at: now.trunc_subsecs(3),
        })
    }

    /// Replaces the menu. The same menu again is no revision: false, and the version stays.
    ///
    /// # Errors
    /// Everything that is wrong with the draft, with pointers into it; the menu is then as it was.
    pub(crate) fn revise_menu(&mut self, draft: MenuDraft) -> Result<bool, Vec<FieldError>> {
        let mut violations = Violations::default();
        let menu = Menu::parse(draft, self.order_minimum.currency(), "", &mut violations);
        let menu = violations.into_result(menu)?;
        if menu == self.menu {
            return Ok(false);
        }
        self.menu = menu;
        self.version += 1;
        Ok(true)
    }
}
