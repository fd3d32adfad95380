//! The circuit breaker, as its service sees it.

use std::time::Duration;

use super::service::Service;
use super::{TIME, World, a_caller, reason, until};
use crate::upstream::GrpcMethod;

const SETTINGS: &str = r#"
[upstreams.widgets.retry]
retries = 0
[upstreams.widgets.breaker]
min_calls = 10
open = "400ms"
max_open = "400ms"
probes = 3
min_timeout = "50ms"
"#;

async fn open(world: &World) {
    for _ in 0..10 {
        let _ = world.get("/500").await;
    }
    assert_eq!(world.status().breaker.state, "open");
}

#[tokio::test]
async fn while_it_is_open_the_service_sees_nothing_and_then_exactly_the_probes() {
    let service = Service::start().await;
    let world = World::of(&[&service], &SETTINGS.replace("400ms", "2s"));
    open(&world).await;
    assert_eq!(service.seen("/500"), 10);
    // With time to make the calls while it is open.
    while world
        .status()
        .breaker
        .open_for
        .is_some_and(|rest| rest > 1.0)
    {
        assert_eq!(reason(world.get("/ok").await), "open_circuit");
        assert_eq!(reason(world.post("/ok").await), "open_circuit");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(service.seen("/ok"), 0, "it was called while open");

    until(|| world.status().breaker.open_for == Some(0.0)).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let context = a_caller(TIME);
            tokio::spawn(world.client().get(context, "/held").send())
        })
        .collect();
    until(|| service.seen("/held") == 3).await;
    assert_eq!(reason(world.get("/ok").await), "open_circuit");
    service.release();
    let mut passed = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => passed += 1,
            Err(error) => assert_eq!(error.reason(), "open_circuit"),
        }
    }
    assert_eq!((passed, service.seen("/held")), (3, 3));
    assert_eq!(world.status().breaker.state, "closed");
    assert_eq!(service.seen("/ok"), 0);
    world.get("/ok").await.unwrap();
}

#[tokio::test]
async fn a_service_that_refuses_works() {
    let service = Service::start().await;
    let world = World::of(&[&service], SETTINGS);
    for path in ["/404", "/409", "/422", "/429", "/501"] {
        for _ in 0..20 {
            let refused = world.get(path).await.unwrap_err();
            assert!(refused.refusal().is_some());
        }
        assert_eq!(service.seen(path), 20);
    }
    assert_eq!(world.status().breaker.failures, 0);
}

#[tokio::test]
async fn resets_timeouts_and_refused_connections_open_it() {
    let service = Service::start().await;
    // Over HTTP/2 a connection outlives what becomes of its streams.
    for (protocol, path, time) in [
        ("http1", "/reset", TIME),
        ("http2", "/reset", TIME),
        ("http1", "/hang", Duration::from_millis(60)),
        ("http2", "/hang", Duration::from_millis(60)),
    ] {
        let world = World::of(
            &[&service],
            &format!("protocol = \"{protocol}\"\n{SETTINGS}"),
        );
        // On a busy machine an attempt may begin so late that it does not count.
        for failures in 0..10 {
            while world.status().breaker.failures == failures {
                assert_eq!(world.status().breaker.state, "closed");
                let _ = world.get_within(path, time).await;
            }
        }
        assert_eq!(
            reason(world.get("/ok").await),
            "open_circuit",
            "{protocol} {path}"
        );
    }
    let dead = Service::dead().await;
    let world = World::of(&[&dead], SETTINGS);
    for _ in 0..10 {
        assert_eq!(reason(world.get("/ok").await), "unreachable");
    }
    assert_eq!(reason(world.get("/ok").await), "open_circuit");
}

/// However short it is: the operators know their service.
#[tokio::test]
async fn attempts_that_had_all_the_time_that_is_set_for_them_count() {
    let service = Service::start().await;
    let settings = SETTINGS.replace("50ms", "5s");
    let short = "connect_timeout = \"100ms\"\ntimeout = \"100ms\"\n";
    let world = World::of(&[&service], &format!("{short}{settings}"));
    for _ in 0..10 {
        assert_eq!(reason(world.get("/hang").await), "timeout");
    }
    assert_eq!(reason(world.get("/ok").await), "open_circuit");
}

#[tokio::test]
async fn calls_that_were_given_up_do_not_count() {
    let service = Service::start().await;
    // Ten milliseconds that a busy machine makes longer stay less than this.
    let settings = SETTINGS.replace("50ms", "5s");
    let world = World::of(&[&service], &settings);
    for number in 1..=20 {
        let context = a_caller(TIME);
        let call = tokio::spawn(world.client().get(context, "/hang").send());
        until(|| service.seen("/hang") == number).await;
        call.abort();
        assert!(call.await.is_err());
    }
    // A client that asks for hardly any time opens it for nobody.
    for _ in 0..20 {
        let late = world.get_within("/hang", Duration::from_millis(10)).await;
        assert_eq!(reason(late), "timeout");
    }
    let breaker = world.status().breaker;
    assert_eq!((breaker.state, breaker.failures), ("closed", 0));

    // A probe that is given up makes room for another.
    open(&world).await;
    until(|| world.status().breaker.open_for == Some(0.0)).await;
    let before = service.seen("/hang");
    let probes: Vec<_> = (0..3)
        .map(|_| {
            let context = a_caller(TIME);
            tokio::spawn(world.client().get(context, "/hang").send())
        })
        .collect();
    until(|| service.seen("/hang") == before + 3).await;
    assert_eq!(reason(world.get("/ok").await), "open_circuit");
    for probe in probes {
        probe.abort();
        assert!(probe.await.is_err());
    }
    for _ in 0..3 {
        world.get("/ok").await.unwrap();
    }
    assert_eq!(world.status().breaker.state, "closed");
}

#[tokio::test]
async fn a_grpc_service_that_had_hardly_any_time_says_nothing_of_itself() {
    let service = Service::start().await;
    let text = format!(
        "[upstreams.widgets]\naddress = {}\nprotocol = \"grpc\"\n{SETTINGS}",
        service.quoted_url()
    );
    let world = World::new(&text);
    let client = world.upstreams.grpc("widgets").unwrap();
    // That the time is over.
    let method = GrpcMethod::<(), ()>::new("/grpc/4");
    for (budget, state) in [(Duration::from_millis(45), "closed"), (TIME, "open")] {
        for _ in 0..10 {
            let call = client.read(a_caller(budget), &method, &());
            assert!(call.answer().await.is_err());
        }
        assert_eq!(world.status().breaker.state, state, "{budget:?}");
    }
}

#[tokio::test]
async fn grpc_services_are_judged_by_their_codes() {
    let service = Service::start().await;
    let text = format!(
        "[upstreams.widgets]\naddress = {}\nprotocol = \"grpc\"\n{SETTINGS}",
        service.quoted_url()
    );
    for (code, state) in [
        (5, "closed"),
        (3, "closed"),
        (9, "closed"),
        (12, "closed"),
        (14, "open"),
        (4, "open"),
        (8, "open"),
        (13, "open"),
    ] {
        let world = World::new(&text);
        let client = world.upstreams.grpc("widgets").unwrap();
        for _ in 0..10 {
            let context = a_caller(TIME);
            let method = GrpcMethod::<(), ()>::new(format!("/grpc/{code}").leak());
            let failed = client.read(context, &method, &()).answer().await;
            assert!(failed.is_err());
        }
        assert_eq!(world.status().breaker.state, state, "{code}");
        assert_eq!(service.seen(&format!("/grpc/{code}")), 10);
    }
}
