//! Which menus are valid, and what is said about those that are not.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ftgo_chassis::{Currency, FieldError, Money};

use super::{Menu, MenuDraft, MenuItem};
use crate::domain::Violations;

fn item(id: &str, cents: i32) -> MenuItem {
    MenuItem {
        id: id.into(),
        name: format!("Dish {id}"),
        description: String::new(),
        price: Money::usd(cents),
    }
}

fn parse(items: Vec<MenuItem>) -> Result<Menu, Vec<FieldError>> {
    let mut violations = Violations::default();
    let menu = Menu::parse(MenuDraft { items }, Currency::USD, "/menu", &mut violations);
    violations.into_result(menu)
}

fn pointers(items: Vec<MenuItem>) -> Vec<String> {
    parse(items)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|violation| violation.pointer)
        .collect()
}

#[test]
fn items_stay_in_their_order() {
    let items = vec![item("b", 1_00), item("a", 2_00)];
    assert_eq!(
        parse(items.clone()).map(|menu| menu.items().to_vec()),
        Ok(items)
    );
}

#[test]
fn an_empty_menu_is_a_menu() {
    assert!(pointers(vec![]).is_empty());
}

#[test]
fn ids_are_unique() {
    assert_eq!(
        parse(vec![item("a", 1_00), item("b", 1_00), item("a", 2_00)]),
        Err(vec![FieldError::new(
            "/menu/items/2/id",
            "must be unique, item 0 has the same id"
        )])
    );
}

#[test]
fn names_and_ids_are_not_blank() {
    let nameless = MenuItem {
        name: " \t".into(),
        ..item("a", 1_00)
    };
    assert_eq!(
        pointers(vec![nameless, item("", 1_00)]),
        ["/menu/items/0/name", "/menu/items/1/id"]
    );
}

#[test]
fn prices_are_positive_and_not_absurd() {
    assert_eq!(
        pointers(vec![
            item("free", 0),
            item("gift", -1),
            item("castle", 10_000_001)
        ]),
        [
            "/menu/items/0/price",
            "/menu/items/1/price",
            "/menu/items/2/price"
        ]
    );
}

#[test]
fn prices_are_in_the_currency_of_the_minimum() {
    let mut euros = item("a", 1_00);
    euros.price = Money::parse("1.00", "EUR").unwrap();
    assert_eq!(pointers(vec![euros]), ["/menu/items/0/price"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let bad = MenuItem {
        name: String::new(),
        ..item("a", -1)
    };
    assert_eq!(
        pointers(vec![item("a", 1), bad]),
        [
            "/menu/items/1/id",
            "/menu/items/1/name",
            "/menu/items/1/price"
        ]
    );
}
