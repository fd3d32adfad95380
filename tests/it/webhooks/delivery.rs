//! What arrives, when, and where it may not go.

use anyhow::Result;
use ftgo_tests::System;
use ftgo_tests::bff::{Bff, partner_key};
use ftgo_tests::process::BffProcess;
use ftgo_tests::receiver::{Receiver, Reply};
use ftgo_tests::system::eventually;
use gateway_core::RunningGateway;
use reqwest::Method;
use serde_json::json;

use super::{Partner, QUICK, hears};

/// Partner 1 at `gateway`.
pub(super) fn first<'a>(system: &'a System, gateway: &RunningGateway) -> Partner<'a> {
    Partner {
        system,
        base: format!("http://{}", gateway.address()),
        credential: partner_key().secret.clone(),
    }
}

/// FTGO, and a gateway for partners that hears of everything from now on.
pub(super) async fn start() -> Result<(System, RunningGateway)> {
    let system = System::start().await?;
    let gateway = system.gateway(Bff::Public, QUICK).await?;
    hears(&system, &format!("http://{}", gateway.admin_address())).await?;
    Ok((system, gateway))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_is_told_of_its_orders_alone_and_until_it_has_taken_it() -> Result<()> {
    let (system, gateway) = start().await?;
    let receiver = Receiver::start().await?;
    let partner = first(&system, &gateway);
    let all = partner.add(json!({"url": receiver.url("/all")})).await?;
    let kinds = json!(["order.approved"]);
    let some = json!({"url": receiver.url("/some"), "events": kinds, "ordered": true});
    partner.add(some).await?;
    let other = Partner {
        credential: system.token("partner-2").await?,
        ..first(&system, &gateway)
    };
    let others = other.add(json!({"url": receiver.url("/other")})).await?;
    receiver.answer("/all", Reply::Status(503));

    let order = partner.place("one").await?;
    let failed = receiver.wait("/all", 3).await?;
    assert!(
        failed
            .iter()
            .all(|one| one.is_signed_with(&all.secret).unwrap_or_default())
    );
    receiver.answer("/all", Reply::Status(200));
    let approved = eventually("the approval arrives", async || {
        let mut received = receiver.at("/all").into_iter();
        Ok(received.rfind(|one| one.body.contains("order.approved")))
    })
    .await?;
    let body = approved.json()?;
    let data = json!({"orderId": order, "state": "APPROVED"});
    assert_eq!(
        (&body["type"], &body["data"]),
        (&json!("order.approved"), &data)
    );
    assert!(body["timestamp"].is_string(), "{body}");
    assert_eq!(approved.header("content-type"), "application/json");
    // Every attempt has the message's id.
    for one in receiver.at("/all") {
        let same = receiver.at("/all");
        let bodies = same.iter().filter(|other| other.id() == one.id());
        assert!(bodies.into_iter().all(|other| other.body == one.body));
    }
    let some = receiver.wait("/some", 1).await?;
    assert_eq!(some[0].id(), approved.id());
    assert_eq!(some.len(), 1, "{some:?}");

    let path = format!("/v2/webhooks/{}", all.id);
    eventually("everything is delivered", async || {
        let log = partner
            .get(&format!("{path}/deliveries?state=PENDING"))
            .await?;
        Ok(log["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await?;
    // Everything was written down for those whom it concerns, in the same transaction: nothing is on its way to others.
    let log = format!("/v2/webhooks/{}/deliveries", others.id);
    let log = other.get(&log).await?;
    assert_eq!(log["items"], json!([]), "{log}");
    assert!(receiver.at("/other").is_empty());
    let log = partner.get(&format!("{path}/deliveries?limit=1")).await?;
    assert_eq!(log["items"][0]["state"], "DELIVERED", "{log}");
    // It is the last of its own: what others have had says nothing.
    let next = log["nextCursor"].as_str().unwrap_or_default();
    let all_of_it = partner.get(&format!("{path}/deliveries?limit=100")).await?;
    let count = all_of_it["items"].as_array().map_or(0, Vec::len);
    assert_eq!(next, format!("d{count}"), "{all_of_it}");
    let page = format!("{path}/deliveries?limit=1&cursor={next}");
    assert_eq!(partner.get(&page).await?["items"][0], all_of_it["items"][1]);
    // As it was before.
    let former = format!("{path}/deliveries?cursor=2");
    assert_eq!(partner.send(Method::GET, &former, None).await?.status, 400);

    // Whose it is not sees nothing of it.
    for (method, tail) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::GET, "/deliveries"),
        (Method::POST, "/rotate"),
        (Method::POST, "/test"),
        (Method::POST, "/enable"),
    ] {
        let answer = other.send(method, &format!("{path}{tail}"), None).await?;
        assert_eq!(answer.status, 404, "{tail}: {answer:?}");
    }
    let list = other.get("/v2/webhooks").await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(partner.send(Method::DELETE, &path, None).await?.status, 204);
    assert_eq!(partner.send(Method::GET, &path, None).await?.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_overlap_messages_are_replayed_and_a_gone_endpoint_is_left_alone() -> Result<()> {
    let (system, gateway) = start().await?;
    let receiver = Receiver::start().await?;
    let partner = first(&system, &gateway);
    let webhook = partner.add(json!({"url": receiver.url("/hook")})).await?;
    let path = format!("/v2/webhooks/{}", webhook.id);
    let rotated = partner.post(&format!("{path}/rotate")).await?;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new = rotated.body["secret"].as_str().unwrap_or_default();
    // The secret that messages are verified with until then would be gone.
    let refused = partner.post(&format!("{path}/rotate")).await?;
    assert_eq!(refused.status, 409, "{refused:?}");

    let test = partner.post(&format!("{path}/test")).await?;
    assert_eq!(test.status, 202, "{test:?}");
    let received = receiver.wait("/hook", 1).await?;
    assert_eq!(test.body["messageId"], received[0].id());
    assert_eq!(received[0].json()?["type"], "webhook.test");
    for secret in [new, &webhook.secret] {
        assert!(received[0].is_signed_with(secret)?, "{received:?}");
    }
    let message = received[0].id();
    let replay = partner
        .post(&format!("{path}/deliveries/{message}/replay"))
        .await?;
    assert_eq!(replay.status, 202, "{replay:?}");
    let received = receiver.wait("/hook", 2).await?;
    assert_eq!(received[1].id(), message);
    assert_eq!(received[1].body, received[0].body);

    receiver.answer("/hook", Reply::Status(410));
    partner.post(&format!("{path}/test")).await?;
    eventually("the webhook is disabled", async || {
        let webhook = partner.get(&path).await?;
        Ok((webhook["state"] == "DISABLED" && webhook["disabledReason"].is_string()).then_some(()))
    })
    .await?;
    for path in ["test".to_owned(), format!("deliveries/{message}/replay")] {
        let refused = partner
            .post(&format!("/v2/webhooks/{}/{path}", webhook.id))
            .await?;
        assert_eq!(refused.status, 409, "{path}: {refused:?}");
    }
    let log = partner
        .get(&format!("{path}/deliveries?state=PENDING"))
        .await?;
    assert_eq!(log["items"], json!([]), "{log}");
    receiver.answer("/hook", Reply::Status(204));
    let enabled = partner.post(&format!("{path}/enable")).await?;
    assert_eq!(enabled.body["state"], "ENABLED", "{enabled:?}");
    let before = receiver.at("/hook").len();
    partner.post(&format!("{path}/test")).await?;
    receiver.wait("/hook", before + 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_delays_nobody_and_redirects_lead_nowhere() -> Result<()> {
    let (system, gateway) = start().await?;
    let receiver = Receiver::start().await?;
    let partner = first(&system, &gateway);
    let other = Partner {
        credential: system.token("partner-2").await?,
        ..first(&system, &gateway)
    };
    receiver.answer("/slow", Reply::Never);
    receiver.answer("/moved", Reply::Redirect("/elsewhere"));
    let slow = other.add(json!({"url": receiver.url("/slow")})).await?;
    for _ in 0..6 {
        other
            .post(&format!("/v2/webhooks/{}/test", slow.id))
            .await?;
    }
    // As many as may be under way to one endpoint.
    receiver.wait("/slow", 4).await?;
    partner.add(json!({"url": receiver.url("/quick")})).await?;
    partner.add(json!({"url": receiver.url("/moved")})).await?;
    partner.place("one").await?;
    receiver.wait("/quick", 2).await?;
    receiver.wait("/moved", 3).await?;
    assert_eq!(receiver.at("/slow").len(), 4);
    assert!(receiver.at("/elsewhere").is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_orders_may_not_say_where_they_are_told() -> Result<()> {
    let (system, gateway) = start().await?;
    let partner = first(&system, &gateway);
    let hook = json!({"url": "http://127.0.0.1:9/"});
    let webhook = partner.add(hook.clone()).await?;
    let path = format!("/v2/webhooks/{}", webhook.id);
    let reader = Partner {
        credential: system.token_with("partner-1", "&scope=orders:read").await?,
        ..first(&system, &gateway)
    };
    let writer = Partner {
        credential: system
            .token_with("partner-1", "&scope=webhooks:write")
            .await?,
        ..first(&system, &gateway)
    };
    for path in ["/v2/webhooks", &path, &format!("{path}/deliveries")] {
        reader.get(path).await?;
        let refused = writer.send(Method::GET, path, None).await?;
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
    }
    for (method, tail) in [
        (Method::POST, "/rotate"),
        (Method::POST, "/enable"),
        (Method::POST, "/test"),
        (Method::POST, "/deliveries/msg_x/replay"),
        (Method::DELETE, ""),
    ] {
        let refused = reader.send(method, &format!("{path}{tail}"), None).await?;
        assert_eq!(refused.status, 403, "{tail}: {refused:?}");
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("webhooks:write"), "{challenge}");
    }
    // Whoever adds one is told of orders: that takes both.
    for partner in [&reader, &writer] {
        let refused = partner
            .send(Method::POST, "/v2/webhooks", Some(hook.clone()))
            .await?;
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    assert_eq!(writer.post(&format!("{path}/rotate")).await?.status, 200);
    assert_eq!(writer.send(Method::DELETE, &path, None).await?.status, 204);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_told_nothing() -> Result<()> {
    let system = System::start().await?;
    let (receiver, proxy) = (Receiver::start().await?, Receiver::start().await?);
    let url = proxy.url("");
    let environment = [
        ("HTTP_PROXY", url.as_str()),
        ("http_proxy", &url),
        ("ALL_PROXY", &url),
        ("NO_PROXY", ""),
        ("no_proxy", ""),
    ];
    let services = system.services.addresses();
    let bff = BffProcess::start_in(Bff::Public, &services, QUICK, &environment).await?;
    let partner = Partner {
        system: &system,
        base: bff.base.clone(),
        credential: partner_key().secret.clone(),
    };
    let webhook = partner.add(json!({"url": receiver.url("/hook")})).await?;
    partner
        .post(&format!("/v2/webhooks/{}/test", webhook.id))
        .await?;
    receiver.wait("/hook", 1).await?;
    assert_eq!(proxy.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_inside_are_refused() -> Result<()> {
    let system = System::start().await?;
    let partner = first(&system, &system.public);
    let faults = async |partner: &Partner<'_>, urls: &[&str]| -> Result<()> {
        for url in urls {
            let body = json!({"url": url});
            let answer = partner
                .send(Method::POST, "/v2/webhooks", Some(body))
                .await?;
            assert_eq!(answer.status, 422, "{url}: {answer:?}");
            assert_eq!(answer.body["errors"][0]["pointer"], "/url", "{url}");
            let detail = answer.body["errors"][0]["detail"].as_str();
            let plain = detail.is_some_and(|detail| detail.contains("is not allowed"));
            assert!(plain || *url == "x", "{url}: {answer:?}");
        }
        Ok(())
    };
    #[rustfmt::skip]
    let inside = [
        "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://100.64.0.1/", "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/", "https://0x0a000001/", "http://192.168.0.1/", "https://0.0.0.0/", "ftp://127.0.0.1/", "x",
    ];
    faults(&partner, &inside).await?;
    let production = "[webhooks]\nallow_loopback = false\n";
    let strict = system.gateway(Bff::Public, production).await?;
    let strict = first(&system, &strict);
    let loopback = [
        "http://127.0.0.1:9/",
        "https://127.0.0.1:9/",
        "https://localhost/",
        "https://[::1]/",
        "http://example.com/",
    ];
    faults(&strict, &loopback).await?;
    let answer = partner
        .send(
            Method::POST,
            "/v2/webhooks",
            Some(json!({"url": "https://127.0.0.1/", "events": ["x"]})),
        )
        .await?;
    assert_eq!(
        answer.body["errors"][0]["pointer"], "/events/0",
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_missed_that_failed_too_often_is_replayed() -> Result<()> {
    let system = System::start().await?;
    let impatient = "[webhooks]\nfirst_retry = \"10ms\"\nattempts = 2\ndisable_after = 2\n";
    let gateway = system.gateway(Bff::Public, impatient).await?;
    let receiver = Receiver::start().await?;
    let partner = first(&system, &gateway);
    let webhook = partner.add(json!({"url": receiver.url("/hook")})).await?;
    let path = format!("/v2/webhooks/{}", webhook.id);
    receiver.answer("/hook", Reply::Status(500));
    for _ in 0..2 {
        partner.post(&format!("{path}/test")).await?;
    }
    eventually("the webhook is disabled", async || {
        Ok((partner.get(&path).await?["state"] == "DISABLED").then_some(()))
    })
    .await?;
    assert_eq!(receiver.count(), 4);
    let log = partner
        .get(&format!("{path}/deliveries?state=FAILED"))
        .await?;
    let missed = log["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(missed.len(), 2, "{log}");
    assert_eq!(
        (&missed[0]["attempts"], &missed[0]["lastStatus"]),
        (&json!(2), &json!(500))
    );

    receiver.answer("/hook", Reply::Status(204));
    partner.post(&format!("{path}/enable")).await?;
    for one in &missed {
        let message = one["messageId"].as_str().unwrap_or_default();
        let replay = format!("{path}/deliveries/{message}/replay");
        assert_eq!(partner.post(&replay).await?.status, 202);
    }
    let received = receiver.wait("/hook", 6).await?;
    for one in &missed {
        let times = received
            .iter()
            .filter(|other| one["messageId"] == other.id());
        assert_eq!(times.count(), 3, "{received:?}");
    }
    Ok(())
}
