//! The control endpoint of a running system: lists the services, stops and starts each of them. For tests and
//! demonstrations on loopback only; the services' own surfaces are not here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ftgo_chassis::problem::ServiceError;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::system::{Ftgo, SystemError};

/// Why the control endpoint does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the control endpoint has no authentication and listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    #[error("the control endpoint can't listen on {address}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Serves `GET /services`, `POST /services/{name}/stop` and `POST /services/{name}/start` until `ended`.
/// Answers the address, which matters for port 0.
///
/// # Errors
///
/// An address that is not loopback, or not free.
pub async fn serve(
    ftgo: Arc<Ftgo>,
    address: SocketAddr,
    ended: CancellationToken,
) -> Result<SocketAddr, ControlError> {
    if !address.ip().is_loopback() {
        return Err(ControlError::NotLoopback(address));
    }
    let failed = |source| ControlError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        let served =
            axum::serve(listener, router(ftgo)).with_graceful_shutdown(ended.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the control endpoint ended");
        }
    });
    Ok(bound)
}

fn router(ftgo: Arc<Ftgo>) -> Router {
    Router::new()
        .route("/services", get(list))
        .route("/services/{name}/stop", post(stop))
        .route("/services/{name}/start", post(start))
        .with_state(ftgo)
}

#[derive(Serialize)]
struct ServiceView {
    name: &'static str,
    address: Option<SocketAddr>,
    running: bool,
}

#[derive(Serialize)]
struct Page {
    items: Vec<ServiceView>,
}

async fn list(State(ftgo): State<Arc<Ftgo>>) -> Result<Json<Page>, Refused> {
    let mut items = Vec::new();
    for service in ftgo.addresses().into_keys() {
        items.push(view(&ftgo, service).await?);
    }
    Ok(Json(Page { items }))
}

async fn stop(
    State(ftgo): State<Arc<Ftgo>>,
    Path(name): Path<String>,
) -> Result<Json<ServiceView>, Refused> {
    let service = named(&name)?;
    ftgo.stop_service(service).await?;
    Ok(Json(view(&ftgo, service).await?))
}

async fn start(
    State(ftgo): State<Arc<Ftgo>>,
    Path(name): Path<String>,
) -> Result<Json<ServiceView>, Refused> {
    let service = named(&name)?;
    ftgo.start_service(service).await?;
    Ok(Json(view(&ftgo, service).await?))
}

async fn view(ftgo: &Ftgo, service: Service) -> Result<ServiceView, SystemError> {
    Ok(ServiceView {
        name: service.name(),
        address: ftgo.address(service),
        running: ftgo.is_running(service).await?,
    })
}

fn named(name: &str) -> Result<Service, Refused> {
    name.parse().map_err(|_| Refused(ServiceError::NotFound))
}

/// A refused request, answered as problem details like in every service.
struct Refused(ServiceError);

impl From<SystemError> for Refused {
    fn from(error: SystemError) -> Refused {
        Refused(match error {
            SystemError::NotPartOfIt { .. } => ServiceError::NotFound,
            SystemError::Start { .. } => ServiceError::Internal(Box::new(error)),
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
