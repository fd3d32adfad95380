//! Order's own copy of the restaurants, fed by restaurant.events, and waiting for what has not arrived yet.
//! Not here: what the terms of a restaurant mean (`domain`).

use std::pin::pin;
use std::time::Duration;

use ftgo_messaging::{HandlerError, Message};
use sqlx::types::Json;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::domain::Restaurant;

pub(crate) const RESTAURANT_EVENTS: &str = "restaurant.events";

/// How long a request waits for a restaurant or a menu item that may be on its way. An event takes some milliseconds from commit
/// to commit, and a relay that has missed its signal looks every 250.
const PATIENCE: Duration = Duration::from_millis(400);

/// The replica's rows are in order's database; this is what wakes those who wait for one.
#[derive(Debug)]
pub(crate) struct Replica {
    changed: Notify,
    patience: Duration,
}

impl Default for Replica {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

impl Replica {
    pub(crate) fn with_patience(patience: Duration) -> Self {
        Self {
            changed: Notify::new(),
            patience,
        }
    }

    /// Takes over what the event says, unless something newer is known already. Both events carry the whole restaurant.
    pub(crate) async fn apply(
        &self,
        tx: &mut SqliteConnection,
        event: &Message,
    ) -> Result<(), HandlerError> {
        if !matches!(
            event.kind.as_str(),
            "RestaurantCreated" | "RestaurantMenuRevised"
        ) {
            return Ok(());
        }
        let version = event
            .aggregateversion
            .ok_or_else(|| HandlerError::permanent("a restaurant without a version"))?;
        let restaurant: Restaurant = event.decode()?;
        sqlx::query(
            "INSERT INTO restaurant_replica (id, version, document) VALUES (?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, document = excluded.document \
             WHERE excluded.version > restaurant_replica.version",
        )
        .bind(&event.subject)
        .bind(version)
        .bind(Json(restaurant))
        .execute(tx)
        .await?;
        Ok(())
    }

    /// To be called after a transaction with [`Replica::apply`] has committed.
    pub(crate) fn committed(&self) {
        self.changed.notify_waiters();
    }

    /// The restaurant as soon as it is known and `suffices`. A restaurant or menu item that was created a moment ago
    /// may not have arrived, so that its absence is not believed at once; in the end the answer is what there is.
    pub(crate) async fn wait_for(
        &self,
        readers: &SqlitePool,
        id: &str,
        suffices: impl Fn(&Restaurant) -> bool,
    ) -> Result<Option<Restaurant>, sqlx::Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, or a change right after it would be missed.
            changed.as_mut().enable();
            let found = find(readers, id).await?;
            if found.as_ref().is_some_and(&suffices) {
                return Ok(found);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return Ok(found);
            }
        }
    }
}

async fn find(readers: &SqlitePool, id: &str) -> Result<Option<Restaurant>, sqlx::Error> {
    let document: Option<Json<Restaurant>> =
        sqlx::query_scalar("SELECT document FROM restaurant_replica WHERE id = ?")
            .bind(id)
            .fetch_optional(readers)
            .await?;
    Ok(document.map(|Json(restaurant)| restaurant))
}
