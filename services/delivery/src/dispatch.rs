//! The occasions on which couriers are given deliveries and locations are announced: each a step inside a transaction
//! of its caller, and the two background loops that repeat them. Who is chosen is decided in `scheduling`.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ftgo_messaging::Database;
use sqlx::SqliteConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::courier::{Courier, LOCATION_INTERVAL};
use crate::delivery::DeliveryError;
use crate::events::{self, PublishError};
use crate::scheduling::{self, NearestAvailable};
use crate::store::{couriers, deliveries};

/// The strategy of this company.
const STRATEGY: NearestAvailable = NearestAvailable;

/// How many waiting deliveries one transaction looks at: the others' turn comes with the next occasion.
const BATCH: u32 = 50;

/// The safety net under the occasions. What waits is found again by looking, never lost with a message.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Why nothing was dispatched. The transaction has to be given up.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("a delivery that waits for a courier refused one")]
    Refused(#[from] DeliveryError),
    #[error("an event could not be published")]
    Publish(#[from] PublishError),
}

/// Gives couriers to the deliveries that wait for one, the most urgent first. That there is nobody is no error: they go
/// on waiting. Answers how many were scheduled.
pub async fn schedule_waiting(
    tx: &mut SqliteConnection,
    now: DateTime<Utc>,
) -> Result<usize, DispatchError> {
    let mut candidates = couriers::candidates(&mut *tx).await?;
    if candidates.is_empty() {
        return Ok(0);
    }
    let mut waiting = deliveries::waiting_for_courier(&mut *tx, BATCH).await?;
    let scheduled = scheduling::schedule_waiting(&STRATEGY, &mut waiting, &mut candidates, now)?;
    for (index, event) in &scheduled {
        if let Some(delivery) = waiting.get(*index) {
            deliveries::save(tx, delivery).await?;
            events::publish(tx, *event, delivery).await?;
        }
    }
    Ok(scheduled.len())
}

/// Announces the courier's location if that is due, and saves the courier.
pub async fn save_and_announce(
    tx: &mut SqliteConnection,
    courier: &mut Courier,
    now: DateTime<Utc>,
) -> Result<(), DispatchError> {
    let announcement = courier.announce(now);
    couriers::save(tx, courier).await?;
    if let Some(announcement) = announcement {
        let under_way = deliveries::under_way(&mut *tx, &courier.id).await?;
        events::publish_location(tx, courier, announcement, &under_way).await?;
    }
    Ok(())
}

/// Looks for waiting deliveries and free couriers every few seconds, until `shutdown`.
pub async fn retry_waiting(database: Database, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(RETRY_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = retry_waiting_once(&database).await {
            let error: &dyn Error = &error;
            tracing::warn!(error, "waiting deliveries were not scheduled");
        }
    }
}

async fn retry_waiting_once(database: &Database) -> Result<(), DispatchError> {
    // Most of the time nobody waits, and then the writer is left alone.
    if deliveries::waiting_for_courier(database.read(), 1)
        .await?
        .is_empty()
    {
        return Ok(());
    }
    let mut tx = database.write().await?;
    let scheduled = schedule_waiting(&mut tx, clock::now()).await?;
    tx.commit().await?;
    if scheduled > 0 {
        tracing::info!(scheduled, "waiting deliveries found a courier");
    }
    Ok(())
}

/// Announces the last location of every burst, until `shutdown`. `moved` is told of each location that could not be
/// announced at once; one that is left then is announced by the next process.
pub async fn announce_locations(
    database: Database,
    moved: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let interval = LOCATION_INTERVAL.to_std().unwrap_or_default();
    // The process before this one may have left some.
    moved.notify_one();
    loop {
        let burst_is_over = async {
            moved.notified().await;
            // Who moves meanwhile leaves another notification, so nobody's last location is forgotten.
            tokio::time::sleep(interval).await;
        };
        tokio::select! {
            () = burst_is_over => {}
            () = shutdown.cancelled() => return,
        }
        let all_announced = match announce_locations_once(&database).await {
            Ok(all) => all,
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::warn!(error, "courier locations were not announced");
                false
            }
        };
        if !all_announced {
            moved.notify_one();
        }
    }
}

/// Answers whether nobody is left, which clocks that are set or slewed can prevent.
async fn announce_locations_once(database: &Database) -> Result<bool, DispatchError> {
    if couriers::to_announce(database.read()).await?.is_empty() {
        return Ok(true);
    }
    let mut tx = database.write().await?;
    let now = clock::now();
    let mut all = true;
    for mut courier in couriers::to_announce(&mut *tx).await? {
        save_and_announce(&mut tx, &mut courier, now).await?;
        all &= !courier.announcement_due;
    }
    tx.commit().await?;
    Ok(all)
}
