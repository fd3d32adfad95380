//! Endpoints that come and go: by DNS, by checks of their health, and those that are kept ready.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime::Handle;

use super::service::Service;
use super::{TIME, World, a_caller, of_worker, reason, until};
use crate::config;
use crate::metrics::Metrics;
use crate::upstream::SharedUpstreams;

/// A name server that gives the same addresses for every name, for a second; without any it does not answer.
struct NameServer {
    address: SocketAddr,
    answers: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl NameServer {
    async fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(addresses.to_vec()));
        let given = Arc::clone(&answers);
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let addresses = given.lock().unwrap().clone();
                if !addresses.is_empty() {
                    let answer = answer(&query[..length], &addresses);
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, answers }
    }

    fn now(&self, addresses: &[Ipv4Addr]) {
        *self.answers.lock().unwrap() = addresses.to_vec();
    }
}

/// RFC 1035, 4.1: the head and the question come back, then the records, if they are asked for.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += usize::from(query[end]) + 1;
    }
    let is_a = query[end + 1..end + 3] == [0, 1];
    let count = if is_a { addresses.len() } else { 0 };
    let mut answer = query[..end + 5].to_vec();
    answer[2..4].copy_from_slice(&[0x85, 0x80]);
    answer[6..12].copy_from_slice(&[0, u8::try_from(count).unwrap(), 0, 0, 0, 0]);
    for address in &addresses[..count] {
        // The question's name, type A, class IN, one second, four octets.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

#[tokio::test]
async fn a_change_in_dns_is_followed() {
    // Two addresses of this machine, at one port.
    let (first, second) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let one = Service::start().await;
    let other = Service::start_at(SocketAddr::new(IpAddr::V4(second), one.port())).await;
    let names = NameServer::start(&[first]).await;
    let world = World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://widgets.example:{}\"\ndiscovery = \"dns\"\nconnect_timeout = \"5s\"\n\
         [dns]\nname_servers = [\"{}\"]\nmin_refresh = \"50ms\"\nmax_refresh = \"100ms\"\ntimeout = \"200ms\"\n",
        one.port(),
        names.address
    ));
    world.shared.look_after(&Handle::current());
    // The first call waits for the first answer.
    world.get("/ok").await.unwrap();
    assert_eq!((one.seen("/ok"), other.seen("/ok")), (1, 0));
    assert_eq!(one.last_host(), format!("widgets.example:{}", one.port()));

    let addresses = || -> Vec<String> {
        let endpoints = world.status().endpoints;
        endpoints.into_iter().map(|e| e.address).collect()
    };
    names.now(&[first, second]);
    until(|| addresses().len() == 2).await;
    names.now(&[second]);
    until(|| addresses() == [format!("{second}:{}", one.port())]).await;
    world.get("/ok").await.unwrap();
    assert_eq!((one.seen("/ok"), other.seen("/ok")), (1, 1));

    // A name server that is gone changes nothing.
    names.now(&[]);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.get("/ok").await.unwrap();
    }
    assert_eq!(other.seen("/ok"), 21);
}

#[tokio::test]
async fn a_reload_does_not_forget_what_dns_has_said() {
    let service = Service::start().await;
    let names = NameServer::start(&[Ipv4Addr::LOCALHOST]).await;
    let text = |max_in_flight: u32| {
        format!(
            "[upstreams.widgets]\naddress = \"http://widgets.example:{}\"\ndiscovery = \"dns\"\nmax_in_flight = {max_in_flight}\n\
             [dns]\nname_servers = [\"{}\"]\nmin_refresh = \"50ms\"\nmax_refresh = \"100ms\"\ntimeout = \"200ms\"\n",
            service.port(),
            names.address
        )
    };
    let world = World::new(&text(100));
    world.shared.look_after(&Handle::current());
    until(|| world.status().endpoints.len() == 1).await;
    // From here on nobody answers.
    names.now(&[]);
    let metrics = Metrics::new(1);
    let config = config::from_text(&[&text(50)]).unwrap();
    let shared = SharedUpstreams::after(&world.shared, &config.upstreams, 1, &metrics);
    let upstreams = of_worker(0, &shared, &metrics);
    shared.look_after(&Handle::current());
    let call = upstreams
        .client("widgets")
        .unwrap()
        .get(a_caller(TIME), "/ok");
    assert_eq!(call.send().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_service_is_told_the_time_that_is_left_when_it_is_asked() {
    let service = Service::start().await;
    let names = NameServer::start(&[]).await;
    let world = World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://widgets.example:{}\"\ndiscovery = \"dns\"\nconnect_timeout = \"5s\"\n\
         [dns]\nname_servers = [\"{}\"]\nmin_refresh = \"50ms\"\nmax_refresh = \"100ms\"\ntimeout = \"200ms\"\n",
        service.port(),
        names.address
    ));
    world.shared.look_after(&Handle::current());
    let (budget, waits) = (Duration::from_secs(8), Duration::from_millis(400));
    let answered = async {
        tokio::time::sleep(waits).await;
        names.now(&[Ipv4Addr::LOCALHOST]);
    };
    let (response, ()) = tokio::join!(world.get_within("/ok", budget), answered);
    response.unwrap();
    let told = service.last_time();
    assert!(told <= budget - waits, "{told:?} of {budget:?}");
}

#[tokio::test]
async fn without_a_first_answer_calls_fail_in_time() {
    let names = NameServer::start(&[]).await;
    let world = World::new(&format!(
        "[upstreams.widgets]\naddress = \"http://widgets.example:1\"\ndiscovery = \"dns\"\nconnect_timeout = \"50ms\"\n\
         [dns]\nname_servers = [\"{}\"]\n",
        names.address
    ));
    world.shared.look_after(&Handle::current());
    assert_eq!(reason(world.get("/ok").await), "unreachable");
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_not_well_gets_no_calls() {
    let (well, ill) = (Service::start().await, Service::start().await);
    ill.fails(true);
    for protocol in ["http1", "http2"] {
        let world = World::of(
            &[&well, &ill],
            &format!(
                "protocol = \"{protocol}\"\n[upstreams.widgets.health]\npath = \"/maybe\"\ninterval = \"20ms\"\nunhealthy = 2\nhealthy = 2\n"
            ),
        );
        world.shared.look_after(&Handle::current());
        let state = || world.status().endpoints[1].state;
        until(|| state() == "down").await;
        let before = ill.seen("/ok");
        for _ in 0..30 {
            world.get("/ok").await.unwrap();
        }
        assert_eq!(ill.seen("/ok"), before);
        ill.fails(false);
        until(|| state() == "healthy").await;
        ill.fails(true);
        // Nobody asks any more when the upstream is gone.
        drop(world);
    }
}

#[tokio::test]
async fn grpc_services_are_asked_in_their_own_way() {
    let (well, ill) = (Service::start().await, Service::start().await);
    ill.fails(true);
    let world = World::of(
        &[&well, &ill],
        "protocol = \"grpc\"\n[upstreams.widgets.health]\npath = \"/\"\ninterval = \"20ms\"\n",
    );
    world.shared.look_after(&Handle::current());
    until(|| world.status().endpoints[1].state == "down").await;
    assert_eq!(world.status().endpoints[0].state, "healthy");
    ill.fails(false);
    until(|| world.status().endpoints[1].state == "healthy").await;
}

#[tokio::test]
async fn connections_are_kept_ready() {
    let service = Service::start().await;
    let world = World::of(&[&service], "warm = 3\n");
    world.upstreams.warm_up().await;
    assert_eq!(world.status().endpoints[0].idle_connections, 3);
    world.upstreams.warm_up().await;
    for _ in 0..10 {
        world.get("/ok").await.unwrap();
    }
    assert_eq!(service.connections(), 3);
    let multiplexed = Service::start().await;
    let world = World::of(&[&multiplexed], "warm = 3\nprotocol = \"http2\"\n");
    world.upstreams.warm_up().await;
    world.get("/ok").await.unwrap();
    assert_eq!(multiplexed.connections(), 1);
}
