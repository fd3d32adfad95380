//! Takes one past order from nothing to its outcome, by what each service says about it now: so it can be interrupted
//! anywhere and taken up again. Which orders there are is `plan`'s, what is sent is `api`'s.

use std::cmp::Reverse;
use std::collections::HashMap;

use futures_util::future::try_join_all;
use rust_decimal::Decimal;

use crate::demo::seed::api::{Api, ApiError, Line, MenuItem, Restaurant, TicketStep};
use crate::demo::seed::plan::{self, Outcome, PastOrder};
use crate::demo::seed::{SeedError, until};

/// Orders above it are rejected by accounting.
const ACCOUNT_LIMIT: Decimal = Decimal::ONE_THOUSAND;
/// What the order service takes in one line.
const MAX_QUANTITY: u32 = 100;

pub(super) type Menus = HashMap<&'static str, Restaurant>;

pub(super) async fn menus(api: &Api) -> Result<Menus, SeedError> {
    let all = plan::RESTAURANTS.map(async |id| {
        let restaurant = api.restaurant(id).await.map_err(failed("reading a menu"))?;
        Ok::<_, SeedError>((id, restaurant))
    });
    Ok(try_join_all(all).await?.into_iter().collect())
}

/// Answers the order's key and id.
pub(super) async fn to_its_outcome(
    api: &Api,
    menus: &Menus,
    order: &PastOrder,
) -> Result<(String, String), SeedError> {
    let id = placed(api, menus, order).await?;
    let state = settled(api, &id).await?;
    match (order.outcome, state.as_str()) {
        (Outcome::Rejected, "REJECTED") | (Outcome::Cancelled, "CANCELLED") => {}
        (Outcome::Cancelled, "APPROVED") => {
            api.cancel(&id)
                .await
                .map_err(failed("cancelling an order"))?;
            let state = settled(api, &id).await?;
            if state != "CANCELLED" {
                return Err(unexpected(order, &id, state));
            }
        }
        (Outcome::Rejected | Outcome::Cancelled, _) => return Err(unexpected(order, &id, state)),
        (_, "APPROVED") => {
            cook(api, order, &id).await?;
            deliver(api, order, &id).await?;
        }
        // Somebody using the demo between two interrupted starts may have done that; it is theirs.
        (_, "CANCELLED") => {}
        (_, _) => return Err(unexpected(order, &id, state)),
    }
    Ok((order.key.clone(), id))
}

async fn placed(api: &Api, menus: &Menus, order: &PastOrder) -> Result<String, SeedError> {
    let lines = menus
        .get(order.restaurant)
        .and_then(|restaurant| match order.outcome {
            Outcome::Rejected => above(ACCOUNT_LIMIT, &restaurant.menu.items),
            _ => a_meal(restaurant, order.dish),
        })
        .ok_or(SeedError::Menu {
            restaurant: order.restaurant,
        })?;
    // A restaurant seeded a moment ago reaches the order service's replica by an event.
    until(
        "a seeded restaurant in the order service",
        async || match api.place(order, &lines).await {
            Ok(id) => Ok(Some(id)),
            Err(ApiError::Status { status: 404, .. }) => Ok(None),
            Err(source) => Err(failed("placing an order")(source)),
        },
    )
    .await
}

/// The state of the order once no saga works on it.
async fn settled(api: &Api, id: &str) -> Result<String, SeedError> {
    until("the end of an order's saga", async || {
        let state = api
            .order_state(id)
            .await
            .map_err(failed("reading an order"))?;
        Ok((!state.ends_with("_PENDING")).then_some(state))
    })
    .await
}

/// Moves the ticket as far as the outcome wants it.
async fn cook(api: &Api, order: &PastOrder, id: &str) -> Result<(), SeedError> {
    let wanted = match order.outcome {
        Outcome::Rejected | Outcome::Cancelled | Outcome::Approved => return Ok(()),
        Outcome::Accepted => "ACCEPTED",
        Outcome::Preparing => "PREPARING",
        Outcome::ReadyForPickup => "READY_FOR_PICKUP",
        Outcome::OnTheWay | Outcome::Delivered => "PICKED_UP",
    };
    loop {
        let state = api
            .ticket_state(id)
            .await
            .map_err(failed("reading a ticket"))?;
        let step = match state.as_str() {
            state if state == wanted => return Ok(()),
            "AWAITING_ACCEPTANCE" => TicketStep::Accept,
            "ACCEPTED" => TicketStep::Preparing,
            "PREPARING" => TicketStep::Ready,
            "READY_FOR_PICKUP" => {
                // The kitchen hands it over to a courier, so there has to be one.
                courier(api, id).await?;
                TicketStep::PickedUp
            }
            // Further than planned: by hand, after an interrupted start.
            _ => return Ok(()),
        };
        api.advance_ticket(id, step)
            .await
            .map_err(failed("moving a ticket"))?;
    }
}

/// Moves the delivery as far as the outcome wants it.
async fn deliver(api: &Api, order: &PastOrder, id: &str) -> Result<(), SeedError> {
    if order.outcome == Outcome::Approved {
        return Ok(());
    }
    let (courier, state) = courier(api, id).await?;
    let on_the_way = matches!(order.outcome, Outcome::OnTheWay | Outcome::Delivered);
    if on_the_way && state == "SCHEDULED" {
        api.pick_up(id, &courier)
            .await
            .map_err(failed("picking up a delivery"))?;
    }
    if order.outcome == Outcome::Delivered && state != "DELIVERED" {
        api.drop_off(id, &courier)
            .await
            .map_err(failed("dropping off a delivery"))?;
    }
    Ok(())
}

/// The courier on the delivery, and its state, once there is one.
async fn courier(api: &Api, id: &str) -> Result<(String, String), SeedError> {
    until("a courier for a delivery", async || {
        let delivery = api
            .delivery(id)
            .await
            .map_err(failed("reading a delivery"))?;
        Ok(delivery.and_then(|delivery| Some((delivery.courier?.id, delivery.state))))
    })
    .await
}

/// Two dishes of the menu, as many as the restaurant's minimum wants.
fn a_meal(restaurant: &Restaurant, dish: usize) -> Option<Vec<Line>> {
    let items = &restaurant.menu.items;
    let first = items.get(dish % items.len().max(1))?;
    let second = items.get((dish + 1) % items.len())?;
    let mut lines = vec![Line::of(first, 1 + u32::try_from(dish % 2).ok()?)];
    if second.id != first.id {
        lines.push(Line::of(second, 1));
    }
    let others: Decimal = if lines.len() > 1 {
        second.price.amount
    } else {
        Decimal::ZERO
    };
    while first.price.amount * Decimal::from(lines[0].quantity) + others
        < restaurant.order_minimum.amount
    {
        lines[0].quantity += 1;
        if lines[0].quantity > MAX_QUANTITY {
            return None;
        }
    }
    Some(lines)
}

/// As few of the dearest dishes as cost more than `limit` together.
fn above(limit: Decimal, menu: &[MenuItem]) -> Option<Vec<Line>> {
    let mut dearest_first: Vec<&MenuItem> = menu.iter().collect();
    dearest_first.sort_by_key(|item| Reverse(item.price.amount));
    let mut lines = Vec::new();
    let mut total = Decimal::ZERO;
    for item in dearest_first {
        let mut line = Line::of(item, 0);
        while line.quantity < MAX_QUANTITY && total <= limit {
            line.quantity += 1;
            total += item.price.amount;
        }
        if line.quantity > 0 {
            lines.push(line);
        }
    }
    (total > limit).then_some(lines)
}

fn failed(doing: &'static str) -> impl Fn(ApiError) -> SeedError {
    move |source| SeedError::Api { doing, source }
}

fn unexpected(order: &PastOrder, id: &str, state: String) -> SeedError {
    SeedError::Unexpected {
        order: id.to_owned(),
        consumer: order.consumer,
        state,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use rust_decimal::Decimal;
    use serde_json::json;

    use super::{ACCOUNT_LIMIT, MAX_QUANTITY, a_meal, above};
    use crate::demo::seed::api::{Line, Restaurant};

    fn restaurant(prices: &[&str], minimum: &str) -> Restaurant {
        let items: Vec<_> = prices
            .iter()
            .enumerate()
            .map(|(n, amount)| json!({"id": format!("item-{n}"), "price": {"amount": amount, "currency": "USD"}}))
            .collect();
        serde_json::from_value(json!({
            "orderMinimum": {"amount": minimum, "currency": "USD"}, "menu": {"items": items}
        }))
        .unwrap()
    }

    fn total(restaurant: &Restaurant, lines: &[Line]) -> Decimal {
        lines
            .iter()
            .map(|line| {
                let item = restaurant
                    .menu
                    .items
                    .iter()
                    .find(|item| item.id == line.menu_item_id)
                    .unwrap();
                item.price.amount * Decimal::from(line.quantity)
            })
            .sum()
    }

    #[test]
    fn a_meal_meets_the_minimum_with_any_dish_and_stays_far_below_the_limit() {
        let restaurant = restaurant(&["3.50", "12.00", "61.70"], "20.00");
        for dish in 0..7 {
            let cost = total(&restaurant, &a_meal(&restaurant, dish).unwrap());
            assert!(
                cost >= restaurant.order_minimum.amount && cost < ACCOUNT_LIMIT,
                "{dish}: {cost}"
            );
        }
        assert_eq!(
            a_meal(&self::restaurant(&["4.00"], "9.00"), 3).unwrap()[0].quantity,
            3
        );
    }

    #[test]
    fn a_rejected_order_is_above_the_limit_within_what_a_line_may_hold() {
        let restaurant = restaurant(&["4.00", "7.00", "0.50"], "10.00");
        let lines = above(ACCOUNT_LIMIT, &restaurant.menu.items).unwrap();
        assert!(total(&restaurant, &lines) > ACCOUNT_LIMIT);
        assert!(lines.iter().all(|line| line.quantity <= MAX_QUANTITY));
        assert_eq!(
            above(
                ACCOUNT_LIMIT,
                &self::restaurant(&["1.00"], "1.00").menu.items
            ),
            None
        );
    }

    #[test]
    fn a_restaurant_without_a_menu_has_no_meal() {
        assert_eq!(a_meal(&restaurant(&[], "1.00"), 0), None);
    }
}
