//! A caller sees and touches its own orders only: another's do not exist for it. Neither through a BFF nor, with what a
//! BFF says of it, at a service itself; and without that no service answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use ftgo_runner::gateway_key::GatewayKey;
use ftgo_runner::service::Service;
use ftgo_tests::bff::gateway_key;
use ftgo_tests::system::eventually;
use ftgo_tests::{Client, System};
use gateway_core::auth::internal_token::X_INTERNAL_TOKEN;
use gateway_core::auth::{ApiKeyPrincipal, Principal, TokenPrincipal};
use reqwest::{Method, Response};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn anothers_order_does_not_exist() -> Result<()> {
    let system = System::start().await?;
    let owner = system.token("consumer-1").await?;
    let stranger = system.token("consumer-2").await?;
    let id = system.approved_order(&owner).await?;

    let details = system
        .http
        .get(&system.mobile_url(&format!("/orders/{id}")), &stranger)
        .await?;
    let nothing = system
        .http
        .get(&system.mobile_url("/orders/no-such-order"), &stranger)
        .await?;
    assert_eq!(details.status, 404);
    assert_eq!(nothing.status, 404);
    // Nothing tells the two apart but the id that the stranger sent.
    assert_eq!(details.body["type"], nothing.body["type"]);
    assert_eq!(details.body["title"], nothing.body["title"]);
    assert_eq!(details.body["detail"], nothing.body["detail"]);

    for action in ["cancel", "revise"] {
        let body = json!({"lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}]});
        let touched = system
            .http
            .post(
                &system.mobile_url(&format!("/orders/{id}/{action}")),
                &stranger,
                &body,
            )
            .await?;
        assert_eq!(touched.status, 404, "{action}");
    }
    system.order_becomes(&owner, &id, "APPROVED").await?;

    let listed = system
        .http
        .get(&system.mobile_url("/orders"), &stranger)
        .await?;
    assert_eq!(listed.body["items"], json!([]));

    let web = system.token("consumer-2").await?;
    let query =
        json!({"query": "query($id: ID!) { order(id: $id) { id } }", "variables": {"id": id}});
    let answer = system
        .http
        .post(&system.web_url("/graphql"), &web, &query)
        .await?;
    assert!(answer.body["data"]["order"].is_null(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_has_no_orders_to_read() -> Result<()> {
    let system = System::start().await?;
    let courier = system.token("courier-1").await?;
    let answer = system
        .http
        .get(&system.mobile_url("/orders"), &courier)
        .await?;
    assert_eq!(answer.status, 403);
    Ok(())
}

fn person(subject: &str, role: &str, restaurants: &str) -> Principal {
    let restaurants =
        (!restaurants.is_empty()).then(|| ("restaurant_ids".to_owned(), restaurants.to_owned()));
    Principal::Token(Arc::new(TokenPrincipal {
        issuer: "http://issuer.example".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        scopes: Vec::new(),
        roles: vec![role.to_owned()],
        attributes: restaurants.into_iter().collect::<BTreeMap<_, _>>(),
        expires_at: u64::MAX,
        token_id: None,
    }))
}

fn consumer(subject: &str) -> Principal {
    person(subject, "consumer", "")
}

/// What a BFF would tell `service` of `principal`.
fn token(principal: &Principal, service: Service) -> Result<String> {
    let token = gateway_key()
        .signer()
        .for_principal(principal, service.name())?;
    token.context("nobody in particular")
}

/// A call past the BFFs.
struct Direct<'a> {
    system: &'a System,
    service: Service,
}

impl Direct<'_> {
    async fn call(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: Option<&Value>,
    ) -> Result<Response> {
        let url = format!("http://{}{path}", self.system.address(self.service)?);
        let request = self.system.http.request(method, &url);
        let request = request.header(header.0, header.1);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Ok(request.send().await?)
    }

    async fn get(&self, path: &str, principal: &Principal) -> Result<Response> {
        let token = token(principal, self.service)?;
        let header = ("x-internal-token", token.as_str());
        self.call(Method::GET, path, header, None).await
    }

    async fn post(&self, path: &str, principal: &Principal, body: &Value) -> Result<Response> {
        let token = token(principal, self.service)?;
        let header = ("x-internal-token", token.as_str());
        self.call(Method::POST, path, header, Some(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_service_checks_again_whose_order_it_is() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let id = system.approved_order(&bearer).await?;
    let orders = Direct {
        system: &system,
        service: Service::Order,
    };
    let (owner, stranger) = (consumer("consumer-1"), consumer("consumer-2"));

    let path = format!("/orders/{id}");
    assert_eq!(orders.get(&path, &owner).await?.status(), 200);
    let hidden = orders.get(&path, &stranger).await?;
    assert_eq!(hidden.status(), 404);
    let nothing = orders.get("/orders/no-such-order", &stranger).await?;
    assert_eq!(hidden.text().await?, nothing.text().await?);

    let by_ids = format!("/orders?ids={id}");
    let own: Value = orders.get(&by_ids, &owner).await?.json().await?;
    assert_eq!(own["items"][0]["id"], id.as_str());
    let others: Value = orders.get(&by_ids, &stranger).await?.json().await?;
    assert_eq!(others["items"], json!([]));

    let restaurant = system.open_restaurant(&bearer).await?;
    let mut order = System::order_for(&restaurant);
    order["consumerId"] = "consumer-1".into();
    for action in ["cancel", "revise"] {
        let path = format!("/orders/{id}/{action}");
        let touched = orders.post(&path, &stranger, &order).await?;
        assert_eq!(touched.status(), 404, "{action}");
    }
    assert_eq!(
        orders.post("/orders", &stranger, &order).await?.status(),
        403
    );
    assert_eq!(orders.post("/orders", &owner, &order).await?.status(), 202);
    let sagas = orders.get(&format!("/sagas/{id}"), &owner).await?;
    assert_eq!(sagas.status(), 403);
    system.order_becomes(&bearer, &id, "APPROVED").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_answers_but_to_a_gateway() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let id = system.approved_order(&bearer).await?;
    let owner = consumer("consumer-1");
    let forged = GatewayKey::generate()?
        .signer()
        .for_principal(&owner, "order")?
        .context("a token")?;
    let bearer_header = format!("Bearer {bearer}");
    let elsewhere = token(&owner, Service::Kitchen)?;
    for (service, path) in [
        (Service::Order, format!("/orders/{id}")),
        (Service::Order, "/orders?ids=x".to_owned()),
        (Service::Kitchen, format!("/tickets/{id}")),
        (Service::Delivery, format!("/deliveries/{id}")),
        (Service::Consumer, "/consumers/consumer-1".to_owned()),
        (
            Service::OrderHistory,
            "/orders?consumerId=consumer-1".to_owned(),
        ),
        (Service::OrderHistory, "/events".to_owned()),
    ] {
        let direct = Direct {
            system: &system,
            service,
        };
        for header in [
            ("accept", "*/*"),
            ("authorization", bearer_header.as_str()),
            ("x-internal-token", bearer.as_str()),
            ("x-internal-token", forged.as_str()),
        ] {
            let refused = direct.call(Method::GET, &path, header, None).await?;
            assert_eq!(refused.status(), 401, "{service} {path} {header:?}");
        }
        if service != Service::Kitchen {
            let header = ("x-internal-token", elsewhere.as_str());
            let refused = direct.call(Method::GET, &path, header, None).await?;
            assert_eq!(
                refused.status(),
                401,
                "{service} {path}: a token for the kitchen"
            );
        }
        let health = direct
            .call(Method::GET, "/health/ready", ("accept", "*/*"), None)
            .await?;
        assert_eq!(health.status(), 200, "{service}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_and_move_the_tickets_of_their_own_restaurants() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let id = system.approved_order(&bearer).await?;
    let tickets = Direct {
        system: &system,
        service: Service::Kitchen,
    };
    let path = format!("/tickets/{id}");
    let ticket: Value = tickets
        .get(&path, &consumer("consumer-1"))
        .await?
        .json()
        .await?;
    let restaurant = ticket["restaurantId"].as_str().context("no restaurant")?;
    let own = person("staff-1", "staff", restaurant);
    let other = person("staff-2", "staff", "restaurant-0");

    // Nor is it another consumer's to read, alone or among others.
    let stranger = consumer("consumer-2");
    assert_eq!(tickets.get(&path, &stranger).await?.status(), 404);
    for (caller, seen) in [
        (&own, 1),
        (&consumer("consumer-1"), 1),
        (&stranger, 0),
        (&other, 0),
    ] {
        let listed = tickets.get(&format!("/tickets?ids={id}"), caller).await?;
        let listed: Value = listed.json().await?;
        assert_eq!(
            listed["items"].as_array().map(Vec::len),
            Some(seen),
            "{caller:?}"
        );
    }

    let list = format!("/tickets?restaurantId={restaurant}");
    assert_eq!(tickets.get(&path, &own).await?.status(), 200);
    assert_eq!(tickets.get(&path, &other).await?.status(), 404);
    assert_eq!(tickets.get(&list, &own).await?.status(), 200);
    assert_eq!(tickets.get(&list, &other).await?.status(), 404);
    assert_eq!(
        tickets.get(&list, &consumer("consumer-1")).await?.status(),
        404
    );

    let accept = format!("{path}/accept");
    let ready_by = json!({"readyBy": "2099-01-01T00:00:00Z"});
    for nobody in [&other, &consumer("consumer-1")] {
        let refused = tickets.post(&accept, nobody, &ready_by).await?;
        assert_eq!(refused.status(), 404, "{nobody:?}");
    }
    assert_eq!(tickets.post(&accept, &own, &ready_by).await?.status(), 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_is_written_by_those_whose_restaurant_it_is() -> Result<()> {
    let system = System::start().await?;
    let restaurants = Direct {
        system: &system,
        service: Service::Restaurant,
    };
    let path = "/restaurants/restaurant-1";
    let owner = person("staff-1", "staff", "restaurant-0 restaurant-1");
    let found = restaurants.get(path, &owner).await?;
    let version = found.headers()["etag"].to_str()?.to_owned();
    let menu = found.json::<Value>().await?["menu"].clone();
    let write = async |path: &str, principal: &Principal, menu: &Value| -> Result<u16> {
        let token = token(principal, Service::Restaurant)?;
        let url = format!("http://{}{path}/menu", system.address(Service::Restaurant)?);
        let request = system
            .http
            .request(Method::PUT, &url)
            .header(X_INTERNAL_TOKEN, token)
            .header("if-match", &version);
        Ok(request.json(menu).send().await?.status().as_u16())
    };

    let partner = |restaurants: &str| {
        let attributes = [("consumer", "consumer-3"), ("restaurant_ids", restaurants)];
        Principal::ApiKey(Arc::new(ApiKeyPrincipal {
            key_id: "k_test".to_owned(),
            owner: "partner-1".to_owned(),
            scopes: vec!["menus:write".to_owned()],
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }))
    };
    let mut changed = menu.clone();
    changed["items"][0]["name"] = "Stolen".into();
    for nobody in [
        person("staff-2", "staff", "restaurant-2"),
        person("staff-3", "staff", ""),
        // An id that begins like another, and a role alone.
        person("staff-4", "staff", "restaurant-10 restaurant"),
        consumer("consumer-1"),
        person("courier-1", "courier", ""),
        partner("restaurant-2"),
        partner(""),
    ] {
        assert_eq!(write(path, &nobody, &changed).await?, 404, "{nobody:?}");
        // Whether it exists makes no difference, nor whether the menu is one.
        let elsewhere = "/restaurants/no-such-restaurant";
        assert_eq!(
            write(elsewhere, &nobody, &changed).await?,
            404,
            "{nobody:?}"
        );
        assert_eq!(write(path, &nobody, &json!({})).await?, 404, "{nobody:?}");
    }
    let untouched = restaurants.get(path, &owner).await?.json::<Value>().await?;
    assert_eq!(untouched["menu"], menu);
    // The same menu is no new version, so both find the one that they know.
    assert_eq!(write(path, &owner, &menu).await?, 200);
    assert_eq!(write(path, &partner("restaurant-1"), &menu).await?, 200);
    assert_eq!(
        write("/restaurants/no-such-restaurant", &owner, &menu).await?,
        404
    );

    let nobody = restaurants
        .call(
            Method::PUT,
            &format!("{path}/menu"),
            ("if-match", &version),
            Some(&menu),
        )
        .await?;
    assert_eq!(nobody.status(), 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_its_consumers_its_couriers_and_its_restaurants() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let id = system.approved_order(&bearer).await?;
    let deliveries = Direct {
        system: &system,
        service: Service::Delivery,
    };
    let kitchen = Direct {
        system: &system,
        service: Service::Kitchen,
    };
    let path = format!("/deliveries/{id}");
    let owner = consumer("consumer-1");
    let delivery: Value = deliveries.get(&path, &owner).await?.json().await?;
    let restaurant = delivery["restaurantId"].as_str().context("no restaurant")?;
    let staff = person("staff-1", "staff", restaurant);
    let couriers = ["courier-1", "courier-2", "courier-3"].map(|id| person(id, "courier", ""));

    // The kitchen promises, a courier is found.
    let ready_by = json!({"readyBy": "2099-01-01T00:00:00Z"});
    let accept = format!("/tickets/{id}/accept");
    assert_eq!(
        kitchen.post(&accept, &staff, &ready_by).await?.status(),
        200
    );
    let assigned = eventually("a courier is on it", async || {
        let delivery: Value = deliveries.get(&path, &owner).await?.json().await?;
        Ok(delivery["courier"]["id"].as_str().map(str::to_owned))
    })
    .await?;

    let strangers = [
        consumer("consumer-2"),
        person("staff-2", "staff", "restaurant-0"),
    ];
    let others = couriers
        .iter()
        .filter(|courier| courier.subject() != Some(&assigned));
    for nobody in others.chain(&strangers) {
        assert_eq!(
            deliveries.get(&path, nobody).await?.status(),
            404,
            "{nobody:?}"
        );
        let listed = deliveries
            .get(&format!("/deliveries?ids={id}"), nobody)
            .await?;
        assert_eq!(
            listed.json::<Value>().await?["items"],
            json!([]),
            "{nobody:?}"
        );
    }
    let own = person(&assigned, "courier", "");
    for somebody in [&owner, &staff, &own] {
        assert_eq!(
            deliveries.get(&path, somebody).await?.status(),
            200,
            "{somebody:?}"
        );
    }

    // A courier speaks for itself alone, whichever way it asks.
    let other = couriers
        .iter()
        .find(|courier| courier.subject() != Some(&assigned));
    let other = other.context("another courier")?;
    let report = json!({"courierId": assigned});
    for action in ["pickup", "dropoff"] {
        for nobody in [other, &owner, &staff] {
            let refused = deliveries
                .post(&format!("{path}/{action}"), nobody, &report)
                .await?;
            assert_eq!(refused.status(), 404, "{action} {nobody:?}");
        }
    }
    let available = json!({"available": true});
    let place = json!({"lat": 37.8, "lng": -122.27});
    for (method, what, body) in [
        (Method::POST, "availability", &available),
        (Method::PUT, "location", &place),
    ] {
        let path = format!("/couriers/{assigned}/{what}");
        for (caller, status) in [(other, 404), (&owner, 404), (&staff, 404), (&own, 200)] {
            let token = token(caller, Service::Delivery)?;
            let header = ("x-internal-token", token.as_str());
            let answer = deliveries
                .call(method.clone(), &path, header, Some(body))
                .await?;
            assert_eq!(answer.status(), status, "{what} {caller:?}");
        }
    }
    let plan = format!("/couriers/{assigned}/plan");
    assert_eq!(deliveries.get(&plan, other).await?.status(), 404);
    assert_eq!(deliveries.get(&plan, &own).await?.status(), 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_their_own_records_bills_and_histories() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let id = system.approved_order(&bearer).await?;
    let (owner, stranger) = (consumer("consumer-1"), consumer("consumer-2"));
    for (service, path, refusal) in [
        (Service::Consumer, "/consumers/consumer-1", 404),
        (Service::Consumer, "/consumers/consumer-1/addresses", 404),
        (Service::OrderHistory, "/orders?consumerId=consumer-1", 403),
        (Service::Delivery, "/couriers/courier-1/plan", 404),
    ] {
        let direct = Direct {
            system: &system,
            service,
        };
        let own = if service == Service::Delivery {
            person("courier-1", "courier", "")
        } else {
            owner.clone()
        };
        assert_eq!(direct.get(path, &own).await?.status(), 200, "{path}");
        assert_eq!(
            direct.get(path, &stranger).await?.status(),
            refusal,
            "{path}"
        );
    }

    let ours = token(&owner, Service::Accounting)?;
    let theirs = token(&stranger, Service::Accounting)?;
    let misdirected = token(&owner, Service::Order)?;
    for (token, status) in [
        (Some(&ours), "0"),
        (Some(&theirs), "5"),
        (Some(&misdirected), "16"),
        (None, "16"),
    ] {
        let answered = bill(&system, &id, token.map(String::as_str)).await?;
        assert_eq!(answered, status, "{token:?}");
    }
    Ok(())
}

/// The gRPC status of `GetBill`.
async fn bill(system: &System, order: &str, token: Option<&str>) -> Result<String> {
    let http = reqwest::Client::builder().http2_prior_knowledge().build()?;
    let url = format!(
        "http://{}/ftgo.accounting.v1.Accounting/GetBill",
        system.address(Service::Accounting)?
    );
    // One message: not compressed, its length, and in it field 1, a text.
    let length = u8::try_from(order.len())?;
    let mut message = vec![0, 0, 0, 0, length + 2, 0x0a, length];
    message.extend_from_slice(order.as_bytes());
    let mut request = http
        .post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header(X_INTERNAL_TOKEN, token);
    }
    let response = request.body(message).send().await?;
    // A failure has nothing but its status, which then comes with the head.
    let status = response.headers().get("grpc-status");
    Ok(status.map_or(Ok("0"), |status| status.to_str())?.to_owned())
}

/// A service refuses a token that it cannot believe: an answer shows that it never got this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_internal_token_never_reaches_a_service() -> Result<()> {
    let system = System::start().await?;
    let url = system.web_url("/api/restaurants/restaurant-1");
    let stranger = token(&consumer("consumer-2"), Service::Order)?;
    for forged in ["forged", stranger.as_str()] {
        let request = system.http.request(Method::GET, &url);
        let answer = system
            .http
            .send(request.header(X_INTERNAL_TOKEN, forged))
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    let owner = system.token("consumer-1").await?;
    let id = system.approved_order(&owner).await?;
    let request = system
        .http
        .request(Method::GET, &system.mobile_url(&format!("/orders/{id}")));
    let answer = system
        .http
        .send(
            request
                .bearer_auth(&owner)
                .header(X_INTERNAL_TOKEN, &stranger),
        )
        .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["order"]["data"]["id"], id.as_str());
    assert_eq!(answer.body["bill"]["status"], "ok", "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_subject_is_refused_by_every_worker_at_once() -> Result<()> {
    let system = System::start().await?;
    let bearer = system.token("consumer-1").await?;
    let url = system.mobile_url("/orders");
    // Requests on connections of their own get to both workers, which know the token from then on.
    for _ in 0..4 {
        let answer = Client::new()?.get(&url, &bearer).await?;
        assert_eq!(answer.status, 200);
    }
    let issuer = format!("http://{}", system.address(Service::Identity)?);
    let told = system
        .http
        .post_raw(
            &format!("http://{}/revocations", system.mobile.admin_address()),
            &json!({"issuer": issuer, "sub": "consumer-1"}),
        )
        .await?;
    assert_eq!(told.status(), 204);
    for _ in 0..4 {
        let answer = Client::new()?.get(&url, &bearer).await?;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let other = system.token("consumer-2").await?;
    assert_eq!(system.http.get(&url, &other).await?.status, 200);
    Ok(())
}
