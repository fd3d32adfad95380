//! The system as a whole: real services, real databases in a temporary folder, real sockets on port 0.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Ftgo, Options, SystemError};
use crate::control;
use crate::service::Service;

async fn started(options: impl FnOnce(Options) -> Options) -> (TempDir, Ftgo) {
    gateway_core::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let ftgo = Ftgo::start(options(Options::new(folder.path())))
        .await
        .unwrap();
    (folder, ftgo)
}

async fn is_ready(address: SocketAddr) -> bool {
    let url = format!("http://{address}/health/ready");
    reqwest::get(url)
        .await
        .is_ok_and(|response| response.status().is_success())
}

#[tokio::test]
async fn all_services_start_on_addresses_of_their_own_and_a_stopped_one_comes_back_at_its_address()
{
    let (_folder, ftgo) = started(|options| options).await;
    assert_eq!(ftgo.addresses().len(), Service::ALL.len());
    let kitchen = ftgo.address(Service::Kitchen).unwrap();
    assert!(is_ready(kitchen).await);

    ftgo.stop_service(Service::Kitchen).await.unwrap();
    ftgo.stop_service(Service::Kitchen).await.unwrap();
    assert!(!ftgo.is_running(Service::Kitchen).await.unwrap());
    assert!(!is_ready(kitchen).await);
    assert!(is_ready(ftgo.address(Service::Order).unwrap()).await);

    ftgo.start_service(Service::Kitchen).await.unwrap();
    assert_eq!(ftgo.address(Service::Kitchen), Some(kitchen));
    assert!(is_ready(kitchen).await);

    ftgo.shutdown().await;
    for address in ftgo.addresses().into_values() {
        drop(TcpListener::bind(address).unwrap());
    }
}

#[tokio::test]
async fn a_service_runs_alone() {
    let (_folder, ftgo) = started(|options| Options {
        only: Some(vec![Service::Restaurant]),
        ..options
    })
    .await;
    assert_eq!(
        ftgo.addresses().into_keys().collect::<Vec<_>>(),
        [Service::Restaurant]
    );
    assert!(is_ready(ftgo.address(Service::Restaurant).unwrap()).await);

    let refused = ftgo.start_service(Service::Order).await.unwrap_err();
    assert!(matches!(
        refused,
        SystemError::NotPartOfIt {
            service: Service::Order
        }
    ));
    ftgo.shutdown().await;
}

#[tokio::test]
async fn the_control_endpoint_lists_stops_and_starts_services() {
    let (_folder, ftgo) = started(|options| Options {
        only: Some(vec![Service::Consumer, Service::Restaurant]),
        ..options
    })
    .await;
    let ftgo = Arc::new(ftgo);
    let ended = CancellationToken::new();
    let address = control::serve(
        Arc::clone(&ftgo),
        "127.0.0.1:0".parse().unwrap(),
        ended.clone(),
    )
    .await
    .unwrap();
    let client = reqwest::Client::new();
    let post = async |path: &str| {
        let response = client
            .post(format!("http://{address}{path}"))
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };

    let (status, stopped) = post("/services/consumer/stop").await;
    assert_eq!((status, &stopped["running"]), (200, &json!(false)));
    let listed: Value = reqwest::get(format!("http://{address}/services"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(listed["items"][0]["name"], "consumer");
    assert_eq!(listed["items"][0]["running"], false);
    assert_eq!(listed["items"][1]["running"], true);

    let (status, started) = post("/services/consumer/start").await;
    assert_eq!((status, &started["running"]), (200, &json!(true)));
    assert_eq!(started["address"], stopped["address"]);

    assert_eq!(post("/services/oven/stop").await.0, 404);
    assert_eq!(post("/services/order/start").await.0, 404);

    ended.cancel();
    ftgo.shutdown().await;
}

#[tokio::test]
async fn the_control_endpoint_refuses_to_be_reachable_from_elsewhere() {
    let (_folder, ftgo) = started(|options| Options {
        only: Some(vec![]),
        ..options
    })
    .await;
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let refused = control::serve(Arc::new(ftgo), everywhere, CancellationToken::new()).await;
    assert!(matches!(
        refused,
        Err(control::ControlError::NotLoopback(_))
    ));
}

#[tokio::test]
async fn an_address_in_use_ends_the_start_and_what_had_started() {
    let (folder, first) = started(|options| Options {
        only: Some(vec![Service::Restaurant]),
        ..options
    })
    .await;
    let taken = first.address(Service::Restaurant).unwrap();
    first.stop_service(Service::Restaurant).await.unwrap();
    let squatter = TcpListener::bind(taken).unwrap();

    let refused = first.start_service(Service::Restaurant).await.unwrap_err();
    assert!(matches!(
        refused,
        SystemError::Start {
            service: Service::Restaurant,
            ..
        }
    ));

    drop(squatter);
    first.start_service(Service::Restaurant).await.unwrap();
    first.shutdown().await;
    drop(folder);
}
