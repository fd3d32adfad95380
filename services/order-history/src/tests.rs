//! The service over real sockets, fed through the real transport. Not here: the tables of the pure parts and the views'
//! queries, which stand beside their code.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod feed;
mod lists;
mod order_events;

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{InProcessTransport, Message, Transport};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{SUBSCRIPTION, Settings, start_with};

/// A service of the test's own, its transport, and a client.
struct History {
    service: RunningService,
    transport: Arc<InProcessTransport>,
    client: Client,
    folder: TempDir,
}

impl History {
    async fn start() -> Self {
        History::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let transport = InProcessTransport::new(&[SUBSCRIPTION]);
        History {
            service: start_in(folder.path(), transport.clone(), settings).await,
            client: http_client(),
            transport,
            folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address())
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// Returns when the service has committed the message.
    async fn offer(&self, message: &Message) {
        self.transport.offer(message).await.unwrap();
    }
}

async fn start_in(
    folder: &Path,
    transport: Arc<InProcessTransport>,
    settings: Settings,
) -> RunningService {
    let environment = Environment {
        address: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.to_owned(),
        transport: Some(transport),
        faults: false,
        seed: false,
        trust: None,
        collector: None,
    };
    let service = start_with(environment, settings).await.unwrap();
    // attached by a task of its own
    let health = format!("http://{}/health/live", service.address());
    assert_eq!(
        http_client().get(health).send().await.unwrap().status(),
        200
    );
    service
}

fn http_client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        assert!(installed.is_ok());
    });
    Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

fn event(topic: &str, kind: &str, subject: &str, version: i64, data: Value) -> Message {
    Message::event(
        topic,
        &format!("{topic}.events"),
        kind,
        subject,
        version,
        data,
    )
    .unwrap()
}

fn order_event(kind: &str, id: &str, version: i64, state: &str) -> Message {
    let data = json!({
        "orderId": id, "consumerId": "consumer-1", "restaurantId": "restaurant-1", "restaurantName": "Ajanta",
        "state": state, "lineItems": [{"menuItemId": "i-1", "name": "Vindaloo", "quantity": 5}],
        "total": {"amount": "61.70", "currency": "USD"},
        "createdAt": "2026-11-22T12:00:00Z", "updatedAt": "2026-11-22T12:00:00Z",
    });
    event("order", kind, id, version, data)
}

fn ticket_event(kind: &str, id: &str, version: i64, state: &str) -> Message {
    let data = json!({"ticketId": id, "orderId": id, "state": state});
    event("ticket", kind, id, version, data)
}

fn delivery_event(kind: &str, id: &str, version: i64, state: &str) -> Message {
    let data = json!({"deliveryId": id, "orderId": id, "state": state});
    event("delivery", kind, id, version, data)
}

fn courier_location(courier: &str, lat: f64) -> Message {
    let data = json!({"courierId": courier, "location": {"lat": lat, "lng": -122.27}, "orderIds": ["o-1"]});
    event("delivery", "CourierLocationChanged", courier, 1, data)
}
