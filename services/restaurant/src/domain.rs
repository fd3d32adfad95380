//! The model of the restaurant service: the restaurant with its opening hours and its versioned menu, and what makes them
//! valid; pure and synchronous. No database, message or HTTP type is known here.

pub(crate) mod menu;
pub(crate) mod opening_hours;
pub(crate) mod restaurant;
mod violations;

pub(crate) use violations::Violations;
