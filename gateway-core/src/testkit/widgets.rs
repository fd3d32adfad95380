//! A small app about widgets, for tests of gateway-core itself: a screen, a command, a list, and one whose service is dead.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Key, Seen, Service, Setup};
use crate::App;
use crate::compose::{self, Composition, Required, Section};
use crate::config::Config;
use crate::error::Error;
use crate::extract::JsonBody;
use crate::route::Routes;
use crate::upstream::{UnknownUpstream, UpstreamClient, Upstreams};

#[derive(Clone)]
struct Clients {
    widgets: UpstreamClient,
    stock: UpstreamClient,
    dead: UpstreamClient,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Widget {
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct WidgetScreen {
    widget: Required<Widget>,
    stock: Section<Value>,
}

async fn show(
    page: Composition<WidgetScreen>,
    State(clients): State<Clients>,
) -> Result<compose::Answer<WidgetScreen>, Error> {
    let (widget, stock) = page
        .all((
            page.required("widget", |call| {
                clients.widgets.get(call, "/widgets/1").json_answer()
            }),
            page.optional("stock", |call| {
                clients.stock.get(call, "/stock/1").json_answer()
            }),
        ))
        .await?;
    Ok(page.answer(WidgetScreen { widget, stock }))
}

async fn buy(
    page: Composition,
    State(clients): State<Clients>,
    JsonBody(body): JsonBody<Value>,
) -> Result<compose::Answer<Value>, Error> {
    let call = page.context().for_required("purchase");
    let bought: Value = clients
        .widgets
        .post(call, "/purchases", &body)
        .json_answer()
        .await?;
    Ok(page.answer(bought))
}

/// Wrong on purpose: it does not wait for what it was asked to look at.
async fn buy_in_haste(
    page: Composition,
    State(clients): State<Clients>,
) -> Result<compose::Answer<Value>, Error> {
    let nothing = serde_json::json!({});
    let (_, bought) = page
        .all((
            page.required("stock", |call| {
                clients.stock.get(call, "/stock/1").json_answer::<Value>()
            }),
            page.required("purchase", |call| {
                let purchase = clients.widgets.post(call, "/purchases", &nothing);
                purchase.json_answer::<Value>()
            }),
        ))
        .await?;
    Ok(page.answer(Value::clone(&bought)))
}

#[derive(Serialize, JsonSchema)]
struct Tower {
    stock: Section<Value>,
    makers: Section<Value>,
}

/// Wrong on purpose: the makers need the stock, whose call does not say so.
async fn tower(page: Composition<Tower>, State(clients): State<Clients>) -> compose::Answer<Tower> {
    let stock = page.optional("stock", |call| {
        clients.stock.get(call, "/stock/1").json_answer()
    });
    let stock: Section<Value> = stock.await;
    let makers = page.optional_from("makers", &stock, |call, _| {
        clients.widgets.get(call, "/makers").json_answer()
    });
    let makers = makers.await;
    page.answer(Tower { stock, makers })
}

async fn makers(
    page: Composition,
    State(clients): State<Clients>,
) -> Result<compose::Answer<Value>, Error> {
    let call = page.context().for_required("makers");
    let makers = clients.widgets.get(call, "/makers").json_answer();
    Ok(page.answer(makers.await?))
}

async fn dead(
    page: Composition,
    State(clients): State<Clients>,
) -> Result<compose::Answer<Value>, Error> {
    let call = page.context().for_required("dead");
    Ok(page.answer(clients.dead.get(call, "/").json_answer().await?))
}

fn routes(upstreams: &Upstreams, _: &Config) -> Result<Routes, UnknownUpstream> {
    Ok(Routes::new()
        .get("widget", "/widgets/1", show)
        .post("buy", "/purchases", buy)
        .post("buy-in-haste", "/purchases/hasty", buy_in_haste)
        .get("tower", "/tower", tower)
        .get("makers", "/makers", makers)
        .get("dead", "/dead", dead)
        .with_state(Clients {
            widgets: upstreams.client("widgets")?,
            stock: upstreams.client("stock")?,
            dead: upstreams.client("dead")?,
        }))
}

fn usual(seen: &Seen) -> Answer {
    match seen.call.as_str() {
        "GET /widgets/1" => Answer::ok(&json!({"name": "a widget"})),
        "GET /makers" => Answer::ok(&json!([])),
        "GET /stock/1" => Answer::ok(&json!(5)),
        "POST /purchases" => Answer::ok(&json!({"bought": seen.body["widget"]})),
        _ => Answer::refused(404, "not-found", json!({})),
    }
}

pub(crate) const SETUP: Setup = Setup {
    app: App {
        name: "widgets",
        routes,
        tags: crate::events::no_tags,
        tables: &[],
        announce: None,
    },
    config: &[
        "[server]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [policies.widget]\naccess = \"authenticated\"\n[policies.buy]\naccess = \"authenticated\"\n\
         [policies.buy-in-haste]\naccess = \"authenticated\"\n[policies.tower]\naccess = \"authenticated\"\n\
         [policies.makers]\naccess = \"authenticated\"\n[policies.dead]\naccess = \"authenticated\"\n\
         [upstreams.dead]\naddress = \"http://127.0.0.1:1\"\n\
         [upstreams.widgets]\naddress = \"http://127.0.0.1:1\"\n\
         [upstreams.stock]\naddress = \"http://127.0.0.1:1\"\n",
    ],
    services: &[Service::Json("widgets"), Service::Json("stock")],
    key_prefix: "widget",
    keys: &[Key {
        owner: "somebody",
        scopes: &[],
        attributes: &[],
    }],
    usual,
};
