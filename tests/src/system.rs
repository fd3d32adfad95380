//! The whole system in one process: FTGO's real services on databases of their own, and the BFFs in front of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ftgo_chassis::traces::Collector;
use ftgo_runner::service::Service;
use ftgo_runner::system::{Ftgo, Options};
use gateway_core::RunningGateway;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::bff::{self, Bff};
use crate::client::{Answer, Client};
use crate::web::Web;

/// How long a condition may take to come true before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// FTGO with its BFFs. Everything ends when it is dropped.
pub struct System {
    pub services: Ftgo,
    pub mobile: RunningGateway,
    pub web: RunningGateway,
    pub public: RunningGateway,
    pub http: Client,
    _data: TempDir,
}

impl System {
    /// Services seeded, trusting the BFFs alone, and with fault switchboards, BFFs ready, the seeded restaurants known everywhere.
    pub async fn start() -> Result<Self> {
        Self::start_as(None, "").await
    }

    /// The same, and everybody tells the collector at `endpoint` of traces that callers want to have recorded.
    pub async fn start_traced(endpoint: &str) -> Result<Self> {
        let traces =
            format!("[tracing]\nendpoint = \"{endpoint}\"\nsample = \"0%\"\ntimeout = \"2s\"\n");
        Self::start_as(Some(Collector::at(endpoint)), &traces).await
    }

    /// The same, with `more` laid over the configuration of every BFF.
    pub async fn start_with(more: &str) -> Result<Self> {
        Self::start_as(None, more).await
    }

    async fn start_as(collector: Option<Collector>, more: &str) -> Result<Self> {
        gateway_core::install_crypto();
        let data = tempfile::tempdir()?;
        // Identity has to know where browsers reach bff-web before either of them runs.
        let (listener, origin) = Web::reserve()?;
        let options = Options {
            web_origins: vec![origin.clone()],
            faults: true,
            seed: true,
            trust: Some(bff::gateway_key().trust()),
            collector,
            ..Options::new(data.path())
        };
        let services = Ftgo::start(options).await?;
        let addresses = services.addresses();
        let start = |bff| bff::start(bff, &addresses, more);
        let system = Self {
            mobile: start(Bff::Mobile)?,
            web: bff::start_web(&addresses, listener, &origin, more)?,
            public: start(Bff::Public)?,
            http: Client::new()?,
            services,
            _data: data,
        };
        for gateway in [&system.mobile, &system.web, &system.public] {
            system.ready(gateway).await?;
        }
        system.restaurants_are_visible().await?;
        Ok(system)
    }

    pub fn address(&self, service: Service) -> Result<SocketAddr> {
        self.services
            .address(service)
            .with_context(|| format!("{service} is not running"))
    }

    /// Another gateway before the same services, with `more` in its configuration, once it is ready.
    pub async fn gateway(&self, bff: Bff, more: &str) -> Result<RunningGateway> {
        let gateway = bff::start(bff, &self.services.addresses(), more)?;
        self.ready(&gateway).await?;
        Ok(gateway)
    }

    async fn ready(&self, gateway: &RunningGateway) -> Result<()> {
        let url = format!("http://{}/ready", gateway.admin_address());
        eventually("the gateway is ready", async || {
            Ok((self.http.get_raw(&url).await?.status() == 200).then_some(()))
        })
        .await
    }

    async fn restaurants_are_visible(&self) -> Result<()> {
        let url = format!(
            "http://{}/restaurants/available?lat=37.80&lng=-122.27&radius=50000",
            self.address(Service::OrderHistory)?
        );
        eventually("seeded restaurants are listed", async || {
            let page: Value = self.http.get_raw(&url).await?.json().await?;
            let count = page["items"].as_array().map_or(0, Vec::len);
            Ok((count >= 3).then_some(()))
        })
        .await
    }

    /// A token for `subject`, from the identity provider; `more` are further query parameters.
    pub async fn token_with(&self, subject: &str, more: &str) -> Result<String> {
        let url = format!(
            "http://{}/dev/token?sub={subject}{more}",
            self.address(Service::Identity)?
        );
        let answer: Value = self
            .http
            .get_raw(&url)
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(answer["access_token"]
            .as_str()
            .context("no access_token")?
            .to_owned())
    }

    pub async fn token(&self, subject: &str) -> Result<String> {
        self.token_with(subject, "").await
    }

    pub fn mobile_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.mobile.address())
    }

    pub fn web_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web.address())
    }

    pub fn public_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public.address())
    }

    /// A restaurant that is open, as the mobile BFF shows it.
    pub async fn open_restaurant(&self, token: &str) -> Result<Value> {
        let page = self
            .http
            .get(
                &self.mobile_url("/restaurants?lat=37.80&lng=-122.27"),
                token,
            )
            .await?;
        let id = page.body["items"][0]["id"]
            .as_str()
            .context("no open restaurant")?
            .to_owned();
        Ok(self
            .http
            .get(&self.mobile_url(&format!("/restaurants/{id}")), token)
            .await?
            .body)
    }

    /// An order body that fits `restaurant`: five of its first dish.
    pub fn order_for(restaurant: &Value) -> Value {
        json!({
            "restaurantId": restaurant["id"],
            "deliveryAddress": {"street1": "1 Main Library", "city": "Oakland", "state": "CA", "zip": "94612"},
            "lineItems": [{"menuItemId": restaurant["menu"]["items"][0]["id"], "quantity": 5}],
        })
    }

    /// Places an order through the mobile BFF; its id.
    pub async fn place(&self, token: &str) -> Result<String> {
        let restaurant = self.open_restaurant(token).await?;
        let answer = self
            .http
            .post(
                &self.mobile_url("/orders"),
                token,
                &Self::order_for(&restaurant),
            )
            .await?;
        if answer.status != 202 {
            bail!("the order was not accepted: {answer:?}");
        }
        Ok(answer.body["orderId"]
            .as_str()
            .context("no orderId")?
            .to_owned())
    }

    /// Waits until the order's state is `state`, as the mobile BFF shows it.
    pub async fn order_becomes(&self, token: &str, id: &str, state: &str) -> Result<Answer> {
        let url = self.mobile_url(&format!("/orders/{id}"));
        eventually(&format!("order {id} is {state}"), async || {
            let answer = self.http.get(&url, token).await?;
            Ok((answer.body["order"]["data"]["state"] == state).then_some(answer))
        })
        .await
    }

    /// An order that is APPROVED and whose details are complete.
    pub async fn approved_order(&self, token: &str) -> Result<String> {
        let id = self.place(token).await?;
        self.order_becomes(token, &id, "APPROVED").await?;
        let url = self.mobile_url(&format!("/orders/{id}"));
        eventually("all sections are there", async || {
            let answer = self.http.get(&url, token).await?;
            let complete = SECTIONS
                .iter()
                .all(|section| answer.body[section]["status"] == "ok");
            Ok(complete.then_some(()))
        })
        .await?;
        Ok(id)
    }

    /// Makes `service` misbehave: `rules` as its fault switchboard takes them.
    pub async fn fault(&self, service: Service, rules: &Value) -> Result<()> {
        let url = format!("http://{}/faults", self.address(service)?);
        self.http.put_raw(&url, rules).await?.error_for_status()?;
        Ok(())
    }

    pub async fn no_faults(&self, service: Service) -> Result<()> {
        let url = format!("http://{}/faults", self.address(service)?);
        self.http.delete_raw(&url).await?.error_for_status()?;
        Ok(())
    }
}

/// The sections of the mobile order details.
pub const SECTIONS: [&str; 5] = ["order", "ticket", "delivery", "bill", "restaurant"];

/// Looks until there is something to see, or fails after [`PATIENCE`].
pub async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() > give_up {
            bail!("did not come true in {PATIENCE:?}: {what}");
        }
        sleep(LOOK_AGAIN).await;
    }
}
