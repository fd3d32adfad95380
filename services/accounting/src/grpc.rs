//! The gRPC surface: requests in, rows of the projections out, and the statuses that callers get. Transport, health and
//! metrics are the chassis'; rules are the domain's. Who acts for a consumer sees that consumer's accounts and bills; to
//! them others' do not exist.

mod boundary;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use chrono::{DateTime, SecondsFormat, Utc};
use ftgo_chassis::{Caller, Money};
use ftgo_messaging::Database;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::domain::account::{Command, Rejection};
use crate::proto;
use crate::proto::accounting_server::{Accounting, AccountingServer};
use crate::store::{self, AccountRow, BillRow, StoreError};

#[cfg(test)]
mod tests;

/// As many as the other services take in `?ids=`; keeps a call's work bounded.
const MOST_IDS: usize = 200;

/// The `Accounting` service and the standard health service, for the chassis to serve.
pub(crate) async fn routes(database: Database) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<AccountingServer<AccountingService>>()
        .await;
    let accounting = AccountingServer::new(AccountingService { database });
    // Of a router without tonic's fallback: what is not gRPC is the chassis' to answer.
    Routes::from(Router::new())
        .add_service(accounting)
        .add_service(health)
        .into_axum_router()
        .route_layer(middleware::from_fn(boundary::enforce))
}

struct AccountingService {
    database: Database,
}

#[tonic::async_trait]
impl Accounting for AccountingService {
    async fn get_account(
        &self,
        request: Request<proto::GetAccountRequest>,
    ) -> Result<Response<proto::Account>, Status> {
        use proto::get_account_request::Key;
        let caller = caller(&request)?;
        let key = match request.into_inner().key {
            Some(Key::AccountId(id)) => AccountKey::Account(id),
            Some(Key::ConsumerId(id)) => AccountKey::Consumer(id),
            None => {
                return Err(Status::invalid_argument(
                    "account_id or consumer_id is required",
                ));
            }
        };
        let account = self.account(key).await?;
        if !caller.is_consumer(&account.consumer_id) {
            return Err(no_account());
        }
        Ok(Response::new(account.into()))
    }

    async fn get_bill(
        &self,
        request: Request<proto::GetBillRequest>,
    ) -> Result<Response<proto::Bill>, Status> {
        let caller = caller(&request)?;
        let order_id = not_empty("order_id", request.into_inner().order_id)?;
        let bill = store::bill(self.database.read(), &order_id)
            .await
            .map_err(database_failed)?
            .filter(|bill| caller.is_consumer(&bill.consumer_id))
            .ok_or_else(|| Status::not_found("the order has no bill"))?;
        Ok(Response::new(bill.into()))
    }

    async fn list_bills(
        &self,
        request: Request<proto::ListBillsRequest>,
    ) -> Result<Response<proto::ListBillsResponse>, Status> {
        let caller = caller(&request)?;
        let order_ids = request.into_inner().order_ids;
        if order_ids.len() > MOST_IDS {
            return Err(Status::invalid_argument(format!(
                "order_ids takes at most {MOST_IDS} ids, not {}",
                order_ids.len()
            )));
        }
        if order_ids.iter().any(String::is_empty) {
            return Err(Status::invalid_argument("order_ids contains an empty id"));
        }
        let mut found: HashMap<String, BillRow> = store::bills(self.database.read(), &order_ids)
            .await
            .map_err(database_failed)?
            .into_iter()
            .filter(|bill| caller.is_consumer(&bill.consumer_id))
            .map(|bill| (bill.order_id.clone(), bill))
            .collect();
        // Removing keeps an id that was asked for twice from being answered twice.
        let bills = order_ids
            .iter()
            .filter_map(|order_id| found.remove(order_id))
            .map(proto::Bill::from)
            .collect();
        Ok(Response::new(proto::ListBillsResponse { bills }))
    }

    async fn set_account_status(
        &self,
        request: Request<proto::SetAccountStatusRequest>,
    ) -> Result<Response<proto::Account>, Status> {
        use proto::set_account_status_request::Key;
        if !caller(&request)?.is_internal() {
            return Err(Status::permission_denied("the caller may not do this"));
        }
        let request = request.into_inner();
        let key = match request.key {
            Some(Key::AccountId(id)) => AccountKey::Account(id),
            Some(Key::ConsumerId(id)) => AccountKey::Consumer(id),
            None => {
                return Err(Status::invalid_argument(
                    "account_id or consumer_id is required",
                ));
            }
        };
        let command = match request.status.as_str() {
            "ACTIVE" => Command::Enable,
            "DISABLED" => Command::Disable,
            _ => return Err(Status::invalid_argument("status is ACTIVE or DISABLED")),
        };
        let account = self.account(key).await?;
        self.change(&account.id, command).await?;
        let changed = self.account(AccountKey::Account(account.id)).await?;
        Ok(Response::new(changed.into()))
    }
}

/// Who the chassis has found out is calling.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    // Never "nobody has checked, so everything is allowed".
    caller.ok_or_else(|| Status::unauthenticated("the call was not checked"))
}

fn no_account() -> Status {
    Status::not_found("there is no such account")
}

enum AccountKey {
    Account(String),
    Consumer(String),
}

impl AccountingService {
    async fn account(&self, key: AccountKey) -> Result<AccountRow, Status> {
        let reader = self.database.read();
        let found = match key {
            AccountKey::Account(id) => {
                store::account_by_id(reader, &not_empty("account_id", id)?).await
            }
            AccountKey::Consumer(id) => {
                store::account_by_consumer(reader, &not_empty("consumer_id", id)?).await
            }
        };
        found.map_err(database_failed)?.ok_or_else(no_account)
    }

    async fn change(&self, account_id: &str, command: Command) -> Result<(), Status> {
        let mut tx = self.database.write().await.map_err(database_failed)?;
        store::execute(&mut tx, account_id, command, Utc::now())
            .await
            .map_err(store_failed)?
            .map_err(|rejection| rejected(&rejection))?;
        tx.commit().await.map_err(database_failed)
    }
}

impl From<AccountRow> for proto::Account {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            consumer_id: row.consumer_id,
            status: row.status,
            order_limit: Some(money(row.order_limit)),
            version: row.version,
            created_at: timestamp(row.created_at),
        }
    }
}

impl From<BillRow> for proto::Bill {
    fn from(row: BillRow) -> Self {
        Self {
            order_id: row.order_id,
            account_id: row.account_id,
            consumer_id: row.consumer_id,
            amount: Some(money(row.amount)),
            state: row.state,
            authorized_at: timestamp(row.authorized_at),
            updated_at: timestamp(row.updated_at),
        }
    }
}

fn money(money: Money) -> proto::Money {
    proto::Money {
        amount: money.amount().to_string(),
        currency: money.currency().to_string(),
    }
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn not_empty(field: &str, id: String) -> Result<String, Status> {
    if id.is_empty() {
        return Err(Status::invalid_argument(format!("{field} is empty")));
    }
    Ok(id)
}

fn rejected(rejection: &Rejection) -> Status {
    match rejection {
        Rejection::NotOpened => Status::not_found(rejection.to_string()),
        Rejection::Disabled
        | Rejection::LimitExceeded { .. }
        | Rejection::CurrencyMismatch { .. }
        | Rejection::InvalidAmount(_)
        | Rejection::AlreadyAuthorized(_)
        | Rejection::AlreadyReversed
        | Rejection::NotAuthorized => Status::failed_precondition(rejection.to_string()),
    }
}

fn store_failed(error: StoreError) -> Status {
    match error {
        StoreError::Conflict { .. } => Status::aborted("the account was changed meanwhile"),
        StoreError::Database(error) => database_failed(error),
        StoreError::Encoding { .. } => internal(error),
    }
}

fn database_failed(error: sqlx::Error) -> Status {
    match error {
        // Nothing was done; the caller may come again.
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
            Status::unavailable("the database is busy or closing")
        }
        error => internal(error),
    }
}

/// The cause goes to the log and stays in the status' source: [`boundary`] tells our faults from tonic's by it.
fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "a gRPC call failed"
    );
    let mut status = Status::internal("an error inside accounting");
    status.set_source(Arc::new(error));
    status
}
