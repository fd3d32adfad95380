//! What partners' servers are told of their orders, with real services, real receivers, and processes that are killed.

mod delivery;
mod durable;
mod libraries;

use anyhow::{Context, Result, ensure};
use ftgo_tests::system::eventually;
use ftgo_tests::{Answer, System};
use reqwest::Method;
use serde_json::{Value, json};

/// Pauses that a test can wait for, as many attempts as it takes, and a plan that does not get in the way.
const QUICK: &str = r#"
[webhooks]
first_retry = "40ms"
max_retry = "200ms"
attempts = 1000
[plans.starter]
rate = "1000/s"
burst = 1000
daily = 1000000
"#;

/// A partner at one gateway.
struct Partner<'a> {
    system: &'a System,
    base: String,
    credential: String,
}

struct Webhook {
    id: String,
    secret: String,
}

impl Partner<'_> {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let request = self.system.http.request(method, &url);
        let mut request = request.bearer_auth(&self.credential);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.system.http.send(request).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.send(Method::GET, path, None).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(answer.body)
    }

    async fn post(&self, path: &str) -> Result<Answer> {
        self.send(Method::POST, path, None).await
    }

    async fn add(&self, webhook: Value) -> Result<Webhook> {
        let answer = self
            .send(Method::POST, "/v2/webhooks", Some(webhook))
            .await?;
        ensure!(answer.status == 201, "{answer:?}");
        let text = |name: &str| answer.body[name].as_str().map(str::to_owned);
        let id = text("id").context("no id")?;
        let location = format!("/v2/webhooks/{id}");
        ensure!(
            answer.header("location") == Some(location.as_str()),
            "{answer:?}"
        );
        let secret = text("secret").context("no secret")?;
        Ok(Webhook { id, secret })
    }

    /// Places an order; its id.
    async fn place(&self, key: &str) -> Result<String> {
        let url = format!("{}/v2/orders", self.base);
        let request = self.system.http.request(Method::POST, &url);
        let request = request
            .bearer_auth(&self.credential)
            .header("idempotency-key", key)
            .json(&order());
        let answer = self.system.http.send(request).await?;
        ensure!(answer.status == 202, "{answer:?}");
        let id = answer.body["orderId"].as_str().context("no orderId")?;
        Ok(id.to_owned())
    }
}

fn order() -> Value {
    json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}],
    })
}

/// What happens from now on is heard by the gateway whose operators' address is `admin`.
async fn hears(system: &System, admin: &str) -> Result<()> {
    let url = format!("{admin}/ready");
    eventually("the gateway listens to the feed", async || {
        let ready: Value = system.http.get_raw(&url).await?.json().await?;
        let checks = ready["checks"].as_array().context("no checks")?;
        let feed = checks.iter().find(|check| check["name"] == "event feed");
        Ok((feed.context("no feed")?["ok"] == true).then_some(()))
    })
    .await
}
