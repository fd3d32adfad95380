//! Which endpoint is taken, by load and by health.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::config;
use crate::metrics::Metrics;

const NOW: Millis = Millis(1_000);

fn endpoints(count: usize) -> Endpoints {
    let text = r#"[upstreams.widgets]
        address = "http://127.0.0.1:1"
        [upstreams.widgets.ejection]
        failures = 2
        base = "1s""#;
    let config = config::from_text(&[text]).unwrap();
    let config = &config.upstreams["widgets"];
    let metrics = Metrics::new(1).upstream("widgets");
    let all = (0..count)
        .map(|number| {
            let address = format!("http://10.0.0.{number}:80").parse().unwrap();
            let place = Place::of(&address).unwrap();
            let pool = Pool::new(config, 1, &metrics.connects);
            Arc::new(Endpoint::new(place, pool, config, Millis(0)))
        })
        .collect();
    Endpoints::new(all)
}

/// How often each is taken.
fn taken(endpoints: &Endpoints, now: Millis) -> Vec<usize> {
    let mut taken = vec![0; endpoints.all().len()];
    for _ in 0..3_000 {
        let picked = endpoints.pick(now, None).unwrap();
        let index = endpoints.all().iter().position(|e| Arc::ptr_eq(e, picked));
        taken[index.unwrap()] += 1;
    }
    taken
}

#[test]
fn addresses_are_dialled_as_they_are_and_names_looked_up() {
    let dial = |text: &str| Place::of(&text.parse().unwrap()).unwrap().dial;
    assert_eq!(
        dial("http://10.0.0.7:8101"),
        Dial::Socket("10.0.0.7:8101".parse().unwrap())
    );
    assert_eq!(
        dial("http://[::1]"),
        Dial::Socket("[::1]:80".parse().unwrap())
    );
    assert_eq!(
        dial("http://widgets.example:81"),
        Dial::Name("widgets.example".to_owned(), 81)
    );
}

#[test]
fn the_less_loaded_of_two_is_taken() {
    let endpoints = endpoints(3);
    for endpoint in endpoints.all() {
        endpoint.load.observe(Duration::from_millis(10), NOW);
    }
    endpoints.all()[0]
        .load
        .observe(Duration::from_millis(200), NOW);
    let taken = taken(&endpoints, NOW);
    // It is in two of three pairs and loses in both.
    assert_eq!(taken[0], 0);
    assert!(taken[1] > 1_000 && taken[2] > 1_000, "{taken:?}");
}

#[test]
fn without_a_difference_all_are_taken() {
    let taken = taken(&endpoints(4), NOW);
    assert!(taken.iter().all(|count| *count > 400), "{taken:?}");
}

#[test]
fn another_than_the_last_is_taken_if_there_is_one() {
    let endpoints = endpoints(2);
    let last = &endpoints.all()[0];
    for _ in 0..100 {
        let picked = endpoints.pick(NOW, Some(last)).unwrap();
        assert!(!Arc::ptr_eq(picked, last));
    }
    let alone = self::endpoints(1);
    assert!(alone.pick(NOW, alone.all().first()).is_some());
}

#[test]
fn those_left_out_are_not_taken_until_their_time_is_over() {
    let endpoints = endpoints(3);
    let bad = &endpoints.all()[1];
    assert!(!bad.ejection.failed(NOW));
    assert!(bad.ejection.failed(NOW));
    assert_eq!(endpoints.eject(bad, 0.5, NOW), Some(Duration::from_secs(1)));
    assert_eq!(taken(&endpoints, NOW)[1], 0);
    assert!(taken(&endpoints, NOW.after(Duration::from_secs(1)))[1] > 0);
}

#[test]
fn never_more_are_left_out_than_configured_and_never_all() {
    let four = endpoints(4);
    let out = four
        .all()
        .iter()
        .filter(|endpoint| four.eject(endpoint, 0.5, NOW).is_some())
        .count();
    assert_eq!(out, 2);
    let two = endpoints(2);
    let out = two
        .all()
        .iter()
        .filter(|endpoint| two.eject(endpoint, 1.0, NOW).is_some())
        .count();
    assert_eq!(out, 1);
    let alone = endpoints(1);
    assert_eq!(alone.eject(&alone.all()[0], 1.0, NOW), None);
}

#[test]
fn with_too_few_left_health_is_not_believed() {
    let endpoints = endpoints(4);
    for endpoint in &endpoints.all()[..3] {
        endpoint.ejection.leave_out(NOW);
    }
    assert!(endpoints.panics(NOW));
    let taken = taken(&endpoints, NOW);
    assert!(taken.iter().all(|count| *count > 0), "{taken:?}");
}
