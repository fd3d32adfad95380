//! Line items: what a consumer selects, and the same with names and prices.
//! Not here: the order minimum, which is the order's rule.

use std::collections::HashMap;

use ftgo_chassis::{Money, MoneyError};
use serde::{Deserialize, Serialize};

use super::restaurant::MenuItem;

/// What a consumer asks for: 1 to 50 lines, each of a menu item of its own, each 1 to 100 times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection(Vec<Selected>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) menu_item_id: String,
    pub(crate) quantity: u32,
}

/// Why lines are no selection. `line` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionFault {
    #[error("at least one line item is needed")]
    Empty,
    #[error("at most {} line items fit into one order", Selection::MAX_LINES)]
    TooMany,
    #[error("the quantity must be from 1 to {}", Selection::MAX_QUANTITY)]
    Quantity { line: usize },
    #[error("the menu item is already listed in line item {earlier}")]
    Repeated { line: usize, earlier: usize },
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LineItem {
    pub(crate) menu_item_id: String,
    pub(crate) name: String,
    /// Of one.
    pub(crate) price: Money,
    pub(crate) quantity: u32,
}

/// Lines and what they cost together; all prices are of one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PricedItems {
    line_items: Vec<LineItem>,
    total: Money,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum PricingError {
    #[error("line item {line} names a menu item that the restaurant does not offer")]
    NotOnMenu { line: usize },
    #[error("line item {line} cannot be added to the order's total")]
    Amount { line: usize, source: MoneyError },
}

impl Selection {
    pub(crate) const MAX_LINES: usize = 50;
    pub(crate) const MAX_QUANTITY: u32 = 100;

    /// Checks lines of (menu item id, quantity). All faults are reported, except that of too many lines only that one.
    pub(crate) fn new(lines: Vec<(String, i64)>) -> Result<Selection, Vec<SelectionFault>> {
        match lines.len() {
            0 => return Err(vec![SelectionFault::Empty]),
            1..=Selection::MAX_LINES => {}
            _ => return Err(vec![SelectionFault::TooMany]),
        }
        let mut faults = Vec::new();
        let mut seen = HashMap::new();
        let mut selected = Vec::with_capacity(lines.len());
        for (line, (menu_item_id, quantity)) in lines.into_iter().enumerate() {
            if let Some(earlier) = seen.insert(menu_item_id.clone(), line) {
                faults.push(SelectionFault::Repeated { line, earlier });
            }
            match u32::try_from(quantity) {
                Ok(quantity @ 1..=Selection::MAX_QUANTITY) => selected.push(Selected {
                    menu_item_id,
                    quantity,
                }),
                Ok(_) | Err(_) => faults.push(SelectionFault::Quantity { line }),
            }
        }
        if faults.is_empty() {
            Ok(Selection(selected))
        } else {
            Err(faults)
        }
    }

    pub(crate) fn menu_item_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|selected| selected.menu_item_id.as_str())
    }

    /// Names and prices the selection in the currency of `minimum`; `find` knows the menu.
    pub(crate) fn price<'a>(
        &self,
        minimum: Money,
        find: impl Fn(&str) -> Option<&'a MenuItem>,
    ) -> Result<PricedItems, PricingError> {
        let mut line_items = Vec::with_capacity(self.0.len());
        let mut total = minimum
            .checked_mul(0)
            .map_err(|source| PricingError::Amount { line: 0, source })?;
        for (line, selected) in self.0.iter().enumerate() {
            let item = find(&selected.menu_item_id).ok_or(PricingError::NotOnMenu { line })?;
            let cost = item.price.checked_mul(selected.quantity);
            let sum = cost.and_then(|cost| total.checked_add(cost));
            total = sum.map_err(|source| PricingError::Amount { line, source })?;
            line_items.push(LineItem {
                menu_item_id: item.id.clone(),
                name: item.name.clone(),
                price: item.price,
                quantity: selected.quantity,
            });
        }
        Ok(PricedItems { line_items, total })
    }
}

impl LineItem {
    /// The offer that the line took up.
    pub(crate) fn offer(&self) -> MenuItem {
        MenuItem {
            id: self.menu_item_id.clone(),
            name: self.name.clone(),
            price: self.price,
        }
    }
}

impl PricedItems {
    pub(crate) fn line_items(&self) -> &[LineItem] {
        &self.line_items
    }

    pub(crate) fn total(&self) -> Money {
        self.total
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use ftgo_chassis::{Money, MoneyError};

    use super::{PricingError, Selection, SelectionFault};
    use crate::domain::restaurant::MenuItem;

    fn lines(lines: &[(&str, i64)]) -> Vec<(String, i64)> {
        lines
            .iter()
            .map(|(id, quantity)| ((*id).to_owned(), *quantity))
            .collect()
    }

    fn item(id: &str, price: Money) -> MenuItem {
        MenuItem {
            id: id.to_owned(),
            name: format!("Dish {id}"),
            price,
        }
    }

    #[test]
    fn a_selection_has_lines_of_different_items_and_sensible_quantities() {
        let fault = |given: &[(&str, i64)]| Selection::new(lines(given)).unwrap_err();
        assert_eq!(fault(&[]), [SelectionFault::Empty]);
        for quantity in [0, -1, 101, i64::MAX, i64::MIN] {
            assert_eq!(
                fault(&[("a", 1), ("b", quantity)]),
                [SelectionFault::Quantity { line: 1 }]
            );
        }
        let several = fault(&[("a", 0), ("b", 1), ("a", 101)]);
        let repeated = SelectionFault::Repeated {
            line: 2,
            earlier: 0,
        };
        assert_eq!(
            several,
            [
                SelectionFault::Quantity { line: 0 },
                repeated,
                SelectionFault::Quantity { line: 2 }
            ]
        );
        assert!(Selection::new(lines(&[("a", 1), ("b", 100)])).is_ok());
    }

    #[test]
    fn fifty_lines_are_the_most() {
        let given =
            |count: usize| Selection::new((0..count).map(|id| (id.to_string(), 1)).collect());
        assert!(given(50).is_ok());
        assert_eq!(given(51).unwrap_err(), [SelectionFault::TooMany]);
    }

    #[test]
    fn prices_and_names_come_from_the_menu_and_add_up_exactly() {
        let menu = [item("a", Money::usd(1010)), item("b", Money::usd(1))];
        let selection = Selection::new(lines(&[("b", 3), ("a", 2)])).unwrap();
        let priced = selection
            .price(Money::usd(0), |id| menu.iter().find(|item| item.id == id))
            .unwrap();
        assert_eq!(priced.total(), Money::usd(2023));
        let names: Vec<&str> = priced
            .line_items()
            .iter()
            .map(|line| line.name.as_str())
            .collect();
        assert_eq!(names, ["Dish b", "Dish a"]);
    }

    #[test]
    fn an_item_that_is_not_on_the_menu_is_named() {
        let menu = [item("a", Money::usd(100))];
        let selection = Selection::new(lines(&[("a", 1), ("z", 1)])).unwrap();
        let result = selection.price(Money::usd(0), |id| menu.iter().find(|item| item.id == id));
        assert_eq!(result, Err(PricingError::NotOnMenu { line: 1 }));
    }

    #[test]
    fn currencies_do_not_mix_nor_do_amounts_overflow() {
        let menu = [
            item("dollars", Money::usd(100)),
            item("euros", Money::parse("1.00", "EUR").unwrap()),
            item("palace", Money::parse("900000000000", "USD").unwrap()),
        ];
        let price = |id: &str, quantity: i64| {
            let selection = Selection::new(lines(&[("dollars", 1), (id, quantity)])).unwrap();
            selection.price(Money::usd(1000), |id| {
                menu.iter().find(|item| item.id == id)
            })
        };
        let mixed = price("euros", 1);
        assert!(
            matches!(
                mixed,
                Err(PricingError::Amount {
                    line: 1,
                    source: MoneyError::Mismatch(..)
                })
            ),
            "{mixed:?}"
        );
        let large = price("palace", 2);
        assert!(
            matches!(
                large,
                Err(PricingError::Amount {
                    line: 1,
                    source: MoneyError::Overflow
                })
            ),
            "{large:?}"
        );
    }
}
