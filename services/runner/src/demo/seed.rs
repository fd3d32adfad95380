//! The demo's past orders: placed over HTTP like anybody's, driven to the state they rest in, and seen in the views of
//! order-history before the demo goes on. Consumers, restaurants and couriers are seeded by their own services.

mod api;
mod drive;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, interval};

use crate::demo::files::{self, Files, FilesError};
use crate::demo::ports::Offset;
use crate::demo::progress::Progress;
use crate::demo::seed::api::{Api, ApiError};
use crate::demo::seed::plan::{Outcome, PastOrder};
use crate::gateway_key::GatewayKey;

/// Orders in progress at once: enough to keep two cores busy, few enough to keep each of them quick.
const CONCURRENT: usize = 12;

/// Until a seeded change is there, wherever it has to travel.
const BOUND: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(20);

/// Where consumers of the demo look for restaurants.
const CITY: (f64, f64) = (37.80, -122.27);
const CITY_RADIUS_METRES: u32 = 20_000;
const OPEN_RESTAURANTS: usize = 3;

/// Why the past orders are not there.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("seeding: {doing}")]
    Api {
        doing: &'static str,
        #[source]
        source: ApiError,
    },
    #[error("seeding: {awaited} did not happen within {} s; see logs/services.log", BOUND.as_secs())]
    NotInTime { awaited: String },
    #[error("seeding: order {order} of {consumer} is {state}, which its plan does not foresee")]
    Unexpected {
        order: String,
        consumer: &'static str,
        state: String,
    },
    #[error("seeding: {restaurant} has no menu that an order could be made of")]
    Menu { restaurant: &'static str },
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// What was seeded: for the lines that people paste, and to know at the next start that it is done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seeded {
    plan: u32,
    /// By consumer, in the order of the plan.
    orders: BTreeMap<String, Vec<String>>,
    /// An order of consumer-1 that is on its way.
    pub(crate) under_way: String,
}

impl Seeded {
    /// An order of `consumer`'s, the newest first.
    pub(crate) fn newest_of(&self, consumer: &str) -> Option<&str> {
        self.orders.get(consumer)?.last().map(String::as_str)
    }
}

/// A bearer token of the development identity provider for `subject`, valid for a working day.
pub(crate) async fn token_of(
    subject: &str,
    key: &GatewayKey,
    offset: Offset,
) -> Result<String, SeedError> {
    Api::new(key, offset)
        .token(subject)
        .await
        .map_err(|source| SeedError::Api {
            doing: "asking for a token",
            source,
        })
}

/// Places the past orders that are not there yet and waits until order-history shows all of them, and open
/// restaurants. Everything in it can be repeated: an interrupted start is completed by the next one.
pub(crate) async fn past_orders(
    files: &Files,
    key: &GatewayKey,
    offset: Offset,
    progress: &Progress,
) -> Result<Seeded, SeedError> {
    let api = Api::new(key, offset);
    let marker = files.seed_marker();
    let done = files::read(&marker)?
        .and_then(|text| serde_json::from_str::<Seeded>(&text).ok())
        .filter(|seeded| seeded.plan == plan::VERSION);

    let seeded = match done {
        Some(seeded) => {
            visible(&api, &seeded).await?;
            progress.step("past orders and open restaurants are in order-history's views");
            seeded
        }
        None => {
            restaurants_visible(&api).await?;
            progress.step("open restaurants are in order-history's views");
            let seeded = place(&api, progress).await?;
            visible(&api, &seeded).await?;
            progress.step("past orders are in order-history's views");
            let text = serde_json::to_string_pretty(&seeded).unwrap_or_default();
            files::write_private(&marker, &text)?;
            seeded
        }
    };
    Ok(seeded)
}

async fn place(api: &Api, progress: &Progress) -> Result<Seeded, SeedError> {
    let orders = plan::past_orders();
    let menus = drive::menus(api).await?;
    let mut placed = BTreeMap::new();
    // The ones still going on are placed last, so that they head the lists, which show the newest first.
    let (under_way, settled): (Vec<&PastOrder>, Vec<&PastOrder>) = orders
        .iter()
        .partition(|order| order.outcome.is_under_way());
    for wave in [settled, under_way] {
        let wave = wave
            .into_iter()
            .map(|order| drive::to_its_outcome(api, &menus, order));
        let ids: Vec<(String, String)> = stream::iter(wave)
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        placed.extend(ids);
        progress.step(&format!("{} of {} past orders", placed.len(), orders.len()));
    }

    let mut seeded = Seeded {
        plan: plan::VERSION,
        ..Seeded::default()
    };
    for order in &orders {
        let Some(id) = placed.get(&order.key) else {
            continue;
        };
        if order.consumer == plan::SHOWN_CONSUMER && order.outcome == Outcome::OnTheWay {
            seeded.under_way.clone_from(id);
        }
        seeded
            .orders
            .entry(order.consumer.to_owned())
            .or_default()
            .push(id.clone());
    }
    Ok(seeded)
}

async fn visible(api: &Api, seeded: &Seeded) -> Result<(), SeedError> {
    restaurants_visible(api).await?;
    for (consumer, orders) in &seeded.orders {
        until(
            &format!("the orders of {consumer} in order-history"),
            async || {
                let shown = api
                    .shown_orders(consumer)
                    .await
                    .map_err(|source| SeedError::Api {
                        doing: "reading order-history",
                        source,
                    })?;
                Ok(orders.iter().all(|id| shown.contains(id)).then_some(()))
            },
        )
        .await?;
    }
    Ok(())
}

async fn restaurants_visible(api: &Api) -> Result<(), SeedError> {
    until("open restaurants in order-history", async || {
        let shown = api
            .shown_restaurants(CITY, CITY_RADIUS_METRES)
            .await
            .map_err(|source| SeedError::Api {
                doing: "reading order-history",
                source,
            })?;
        Ok((shown >= OPEN_RESTAURANTS).then_some(()))
    })
    .await
}

/// Asks again until there is an answer, within the bound.
async fn until<T>(
    awaited: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>, SeedError>,
) -> Result<T, SeedError> {
    let give_up = Instant::now() + BOUND;
    let mut pace = interval(INTERVAL);
    while Instant::now() < give_up {
        pace.tick().await;
        if let Some(found) = probe().await? {
            return Ok(found);
        }
    }
    Err(SeedError::NotInTime {
        awaited: awaited.to_owned(),
    })
}
