//! What clients can ask of the order service: the table of routes and what its actions share.
//! Not here: health, metrics and the like, which every service has from the chassis.

mod cancel;
mod document;
mod error;
mod place;
mod read;
mod revise;
mod selection;

use std::sync::Arc;

use ::http::StatusCode;
use axum::Router;
use axum::routing::{get, post};
use chrono::{DateTime, SubsecRound as _, Utc};
use ftgo_chassis::idempotency::{Attempt, IdempotencyKey, StoredResponse, begin};
use ftgo_chassis::{Caller, ServiceError};
use ftgo_messaging::Database;
use ftgo_messaging::crash::{self, Side};
use ftgo_messaging::saga::Orchestrator;
use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use crate::NAME;
use crate::domain::{Order, OrderState};
use crate::replica::Replica;

pub(crate) use document::document;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) replica: Arc<Replica>,
    pub(crate) orchestrator: Arc<Orchestrator>,
}

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/orders", post(place::place).get(read::list))
        .route("/orders/{id}", get(read::one))
        .route("/orders/{id}/cancel", post(cancel::cancel))
        .route("/orders/{id}/revise", post(revise::revise))
        .route("/sagas/{id}", get(read::sagas))
        .with_state(app)
}

impl App {
    /// The answer that was given to this request before, if any.
    async fn earlier_answer(
        &self,
        operation: &str,
        key: &IdempotencyKey,
        request: &impl Serialize,
    ) -> Result<Option<StoredResponse>, ServiceError> {
        let mut connection = self.database.read().acquire().await?;
        match begin(&mut connection, operation, key, request).await? {
            Attempt::Repeated(answer) => Ok(Some(answer)),
            Attempt::First(_) => Ok(None),
        }
    }

    /// Commits, with a crash point (`order.<saga>.before-commit`, `.after-commit`) on either side.
    async fn commit(
        &self,
        tx: Transaction<'static, Sqlite>,
        saga: &str,
    ) -> Result<(), ServiceError> {
        crash::point(NAME, saga, Side::Before);
        tx.commit().await?;
        crash::point(NAME, saga, Side::After);
        Ok(())
    }
}

/// The order, if there is one and it is the caller's: another's is as one that does not exist.
fn own(caller: &Caller, order: Option<Order>) -> Result<Order, ServiceError> {
    order
        .filter(|order| caller.is_consumer(order.consumer_id()))
        .ok_or(ServiceError::NotFound)
}

/// 202 with the state that the request has brought the order into. A saga finishes the work.
fn accepted(order: &Order) -> Result<StoredResponse, ServiceError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Accepted<'a> {
        order_id: &'a str,
        state: OrderState,
    }
    let body = Accepted {
        order_id: order.id(),
        state: order.state(),
    };
    let answer = StoredResponse::new(StatusCode::ACCEPTED, &body)?;
    Ok(answer.location(format!("/orders/{}", order.id())))
}

/// In the precision in which times are shown, so that an answer and what is read later are the same.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
