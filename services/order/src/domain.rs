//! The order as a domain model: what may be ordered, what an order is, which moves it allows.
//! Not here: HTTP, databases, messages; everything in this folder is plain values and functions.

mod line_items;
mod order;
mod restaurant;

pub(crate) use line_items::{LineItem, PricedItems, PricingError, Selection, SelectionFault};
pub(crate) use order::{NewOrder, Order, OrderError, OrderEvent, OrderState};
pub(crate) use restaurant::Restaurant;
