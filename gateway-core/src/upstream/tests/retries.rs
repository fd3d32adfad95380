//! What is sent again, how often, and what never is.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::service::Service;
use super::{TIME, World, reason, until};
use crate::context::RequestContext;
use crate::upstream::UpstreamErrorKind;

const NO_BREAKER: &str = "[upstreams.widgets.breaker]\nenabled = false\n";

#[tokio::test]
async fn a_read_is_repeated_and_a_command_never() {
    let service = Service::start().await;
    let world = World::of(&[&service], NO_BREAKER);
    for path in ["/once", "/break-once"] {
        assert_eq!(world.get(path).await.unwrap().status, 200, "{path}");
        assert_eq!(service.seen(path), 2, "{path}");
    }
    for path in ["/busy", "/reset", "/502", "/504"] {
        let before = service.seen(path);
        assert!(world.post(path).await.is_err());
        assert_eq!(service.seen(path), before + 1, "{path}");
    }
    // What says nothing of a moment later is not repeated either.
    for path in ["/500", "/501", "/404", "/429"] {
        assert!(world.get(path).await.is_err());
        assert_eq!(service.seen(path), 1, "{path}");
    }
    assert!(world.get("/busy").await.is_err());
    assert_eq!(service.seen("/busy"), 1 + 3);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_repeated_elsewhere() {
    let (well, ill) = (Service::start().await, Service::start().await);
    ill.is_slow(Duration::from_secs(60));
    let world = World::of(
        &[&well, &ill],
        "timeout = \"500ms\"\nconnect_timeout = \"400ms\"\n",
    );
    for _ in 0..20 {
        world.get("/ok").await.unwrap();
    }
    assert_eq!(well.seen("/ok"), 20);
}

#[tokio::test]
async fn a_service_says_when_to_come_back() {
    let service = Service::start().await;
    let world = World::of(&[&service], "");
    let began = Instant::now();
    assert_eq!(world.get("/later").await.unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(service.seen("/later"), 2);
    // Not within the deadline: then it is not waited for.
    let other = Service::start().await;
    let world = World::of(&[&other], "");
    let began = Instant::now();
    let late = world
        .get_within("/much-later", Duration::from_secs(20))
        .await;
    assert_eq!(reason(late), "upstream_error");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(other.seen("/much-later"), 1);
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let service = Service::start().await;
    let world = World::of(
        &[&service],
        &format!("{NO_BREAKER}[upstreams.widgets.retry]\nretries = 5\nmin_per_second = 1\n"),
    );
    let began = Instant::now();
    let calls = stream::iter(0..300).map(|_| world.get("/busy"));
    let failed: Vec<_> = calls.buffer_unordered(50).map(reason).collect().await;
    assert_eq!(failed, ["upstream_error"; 300]);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let (seen, allowed) = (service.seen("/busy"), 300 + 10 + 60 + seconds);
    assert!(seen > 310 && seen <= allowed, "{seen} of {allowed}");
}

#[tokio::test]
async fn a_slow_answer_is_overtaken_by_a_second_attempt() {
    let (well, ill) = (Service::start().await, Service::start().await);
    ill.is_slow(Duration::from_secs(60));
    // Longer than a busy machine keeps the one that is well waiting.
    let world = World::of(&[&well, &ill], "hedge_after = \"500ms\"\n");
    for _ in 0..20 {
        let context = RequestContext::for_tests(TIME);
        let call = world.client().get(context.clone(), "/body");
        assert_eq!(&call.send().await.unwrap().body[..], b"a body");
        // Who reads the record sees both, and which one counted.
        let outcomes: Vec<_> = context.calls().iter().map(|call| call.outcome).collect();
        assert!(
            outcomes == ["ok"] || outcomes == ["cancelled", "ok"],
            "{outcomes:?}"
        );
    }
    assert_eq!(well.seen("/body"), 20);
    assert_eq!(world.status().breaker.failures, 0);
    assert_eq!(world.status().in_flight, 0);
    // A command is never made twice.
    well.is_slow(Duration::from_millis(100));
    let world = World::of(&[&well], "hedge_after = \"30ms\"\n");
    world.post("/ok").await.unwrap();
    assert_eq!(well.seen("/ok"), 1);
    world.get("/ok").await.unwrap();
    assert_eq!(well.seen("/ok"), 1 + 2);
}

#[tokio::test]
async fn a_second_attempt_that_gets_no_answer_takes_nothing_from_the_first() {
    let (busy, broken) = (Service::start().await, Service::start().await);
    busy.is_slow(Duration::from_millis(100));
    broken.is_slow(Duration::from_millis(200));
    broken.fails(true);
    // Whichever is the first.
    for _ in 0..6 {
        let settings = "hedge_after = \"30ms\"\n[upstreams.widgets.retry]\nretries = 0\n[upstreams.widgets.breaker]\nenabled = false\n";
        let world = World::of(&[&busy, &broken], settings);
        let error = world.get("/busy-or-reset").await.unwrap_err();
        assert!(
            matches!(&error.kind, UpstreamErrorKind::Status(refusal) if refusal.status == 503),
            "{error:?}"
        );
    }
    assert!(broken.seen("/busy-or-reset") > 0);
}

#[tokio::test]
async fn who_waits_for_the_next_attempt_has_not_begun_it() {
    let service = Service::start().await;
    let world = World::of(
        &[&service],
        "[upstreams.widgets.retry]\nbackoff = \"5s\"\nmax_backoff = \"5s\"\n",
    );
    let context = RequestContext::for_tests(TIME);
    let call = world.client().get(context.clone(), "/busy").send();
    let call = tokio::spawn(call);
    until(|| !context.calls().is_empty()).await;
    call.abort();
    let _ = call.await;
    let outcomes: Vec<_> = context.calls().iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes, ["upstream_error"]);
    assert_eq!(service.seen("/busy"), 1);
}
