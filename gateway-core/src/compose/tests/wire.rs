//! Composition over sockets: clients that go away in the middle, and services that are slow or dead beside one that is fine.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::testkit::widgets::SETUP;
use crate::testkit::{Answer, TestGateway, eventually};

/// The value of a line of `/metrics`, by what it starts with.
async fn metric(world: &TestGateway, line: &str) -> f64 {
    let url = format!("http://{}/metrics", world.gateway().admin_address());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    value
        .unwrap_or_else(|| panic!("no {line} in {text}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_client_that_goes_away_takes_every_read_with_it() {
    let world = TestGateway::start(&SETUP, |_| Some(Answer::never())).await;
    let request = world
        .get("/widgets/1")
        .header("connection", "close")
        .build()
        .unwrap();
    let tasks = r#"gateway_runtime_tasks{thread="worker-0"} "#;
    let idle = metric(&world, tasks).await;
    for round in 1..=3 {
        let mut client = TcpStream::connect(world.gateway().address()).await.unwrap();
        let mut head = String::from("GET /widgets/1 HTTP/1.1\r\nHost: widgets\r\n");
        let credentials = request.headers()["authorization"].to_str().unwrap();
        head.push_str(&format!("Authorization: {credentials}\r\n\r\n"));
        client.write_all(head.as_bytes()).await.unwrap();
        eventually("both services are asked", || world.under_way() == 2).await;
        assert_eq!(metric(&world, "gateway_requests_in_flight ").await, 1.0);
        assert!(metric(&world, tasks).await > idle);

        drop(client);
        // A service sees its connection close and drops what it was doing, far from the deadline of three seconds.
        let gone = Instant::now();
        eventually("both calls are given up", || world.under_way() == 0).await;
        assert!(
            gone.elapsed() < Duration::from_secs(2),
            "{:?}",
            gone.elapsed()
        );
        // No task is left of it: neither the client's connection nor those to services.
        for (line, none) in [("gateway_requests_in_flight ", 0.0), (tasks, idle)] {
            while metric(&world, line).await > none {
                assert!(gone.elapsed() < Duration::from_secs(10), "{line} stays");
            }
        }
        let cancelled = r#"gateway_upstream_calls_total{upstream="stock",outcome="cancelled"} "#;
        assert_eq!(metric(&world, cancelled).await, f64::from(round));
    }
}

#[tokio::test]
async fn a_command_runs_to_its_end_without_its_client() {
    let world = TestGateway::start(&SETUP, |seen| {
        let answer = Answer::ok(&serde_json::json!({}));
        (seen.call == "POST /purchases").then(|| answer.after(Duration::from_secs(2)))
    })
    .await;
    let buy = world.post("/purchases", &serde_json::json!({"widget": 1}));
    let client = tokio::spawn(buy.send());
    eventually("the service is asked", || world.under_way() == 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    eventually("the command has ended", || world.under_way() == 0).await;
    let ok = r#"gateway_upstream_calls_total{upstream="widgets",outcome="ok"} "#;
    while metric(&world, ok).await < 1.0 {}
}

/// Half of the answers came faster.
async fn median(world: &TestGateway, path: &str) -> Duration {
    let mut took = Vec::new();
    for _ in 0..60 {
        let began = Instant::now();
        let response = world.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

#[tokio::test]
async fn slow_and_dead_services_do_not_make_others_slower() {
    let mut last = String::new();
    // A machine that is busy with other things gets another try, with breakers that know nothing of the one before.
    for _ in 0..5 {
        // `stock` never answers: whoever shows it waits; the purchases' service is fast.
        let world = TestGateway::start(&SETUP, |seen| {
            (seen.call == "GET /stock/1").then(Answer::never)
        })
        .await;
        let before = median(&world, "/makers").await;
        let waiting: Vec<_> = (0..40)
            .map(|_| tokio::spawn(world.get("/widgets/1").send()))
            .collect();
        let dead: Vec<_> = (0..40)
            .map(|_| tokio::spawn(world.get("/dead").send()))
            .collect();
        // All for one call, since they read the same: they are counted where they wait.
        let in_flight = "gateway_requests_in_flight ";
        let patience = Instant::now() + Duration::from_secs(10);
        while metric(&world, in_flight).await < 40.0 {
            assert!(Instant::now() < patience, "40 requests never wait at once");
        }
        let during = median(&world, "/makers").await;
        let still = metric(&world, in_flight).await;
        for response in dead {
            assert_eq!(response.await.unwrap().unwrap().status(), 503);
        }
        for response in waiting {
            assert_eq!(response.await.unwrap().unwrap().status(), 200);
        }
        last = format!("{before:?} before, {during:?} during, {still} waiting at its end");
        if still >= 40.0 && during < before.mul_f64(1.5) + Duration::from_millis(2) {
            return;
        }
    }
    panic!("{last}");
}
