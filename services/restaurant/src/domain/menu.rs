//! A menu: items that can be told apart and have a price. Which menu was valid when is the restaurant's business.

use std::collections::HashMap;

use ftgo_chassis::{Currency, Money};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Violations;

#[cfg(test)]
mod tests;

const MOST_ITEMS: usize = 500;
const LONGEST_ID: usize = 100;
const LONGEST_NAME: usize = 200;
const LONGEST_DESCRIPTION: usize = 2000;
/// So that a total of many items stays far from the ends of a decimal.
const HIGHEST_PRICE: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

/// A valid menu. Read from JSON only where it was stored by us; what comes from outside is a [`MenuDraft`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Menu {
    items: Vec<MenuItem>,
}

/// A menu as somebody sent it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MenuDraft {
    pub(crate) items: Vec<MenuItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MenuItem {
    /// Unique in its menu. The same dish keeps its id over revisions, so that orders can be revised.
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    /// More than zero; that it has at most two decimals is the type's rule.
    pub(crate) price: Money,
}

impl Menu {
    #[cfg(test)]
    pub(crate) fn items(&self) -> &[MenuItem] {
        &self.items
    }

    /// Checks every item; `at` is the pointer to the menu in the draft, `currency` the restaurant's.
    pub(super) fn parse(
        draft: MenuDraft,
        currency: Currency,
        at: &str,
        violations: &mut Violations,
    ) -> Self {
        if draft.items.len() > MOST_ITEMS {
            violations.add(
                format!("{at}/items"),
                format!("must be at most {MOST_ITEMS} items"),
            );
        }
        let mut first_with = HashMap::new();
        for (index, item) in draft.items.iter().enumerate() {
            let at = format!("{at}/items/{index}");
            violations.check_text(format!("{at}/id"), &item.id, LONGEST_ID);
            if let Some(first) = first_with.insert(item.id.as_str(), index) {
                violations.add(
                    format!("{at}/id"),
                    format!("must be unique, item {first} has the same id"),
                );
            }
            violations.check_text(format!("{at}/name"), &item.name, LONGEST_NAME);
            if item.description.chars().count() > LONGEST_DESCRIPTION {
                violations.add(
                    format!("{at}/description"),
                    format!("must be at most {LONGEST_DESCRIPTION} characters"),
                );
            }
            check_price(item.price, currency, &format!("{at}/price"), violations);
        }
        Self { items: draft.items }
    }
}

fn check_price(price: Money, currency: Currency, at: &str, violations: &mut Violations) {
    if price.amount() <= Decimal::ZERO {
        violations.add(at, "must be more than zero");
    } else if price.amount() > HIGHEST_PRICE {
        violations.add(at, format!("must be at most {HIGHEST_PRICE}"));
    }
    if price.currency() != currency {
        violations.add(
            at,
            format!("must be in {currency}, the currency of orderMinimum"),
        );
    }
}
