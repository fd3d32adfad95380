//! Endpoints that are found by name (DNS): looked up on the control runtime, again when the answer's time to live is over,
//! and handed to the workers. A lookup that fails changes nothing: the endpoints of the last answer stay.

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::Instant;

use super::endpoints::{Dial, Place};
use super::shared::Upstream;
use crate::config::DnsConfig;

/// The pause after the first lookup that failed; doubled for each further one, up to `max_refresh`.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Follows the name of `place` until nobody has the upstream any more.
pub(super) async fn follow(upstream: Weak<Upstream>, place: Place, dns: DnsConfig) {
    // What is an address already has been put where it belongs.
    let Dial::Name(host, port) = &place.dial else {
        return;
    };
    let mut resolver = None;
    let mut failures = 0;
    loop {
        // The system's own settings may not be there yet, or be being written.
        let found = match known_or_new(&mut resolver, &dns) {
            Ok(resolver) => lookup(resolver, host, *port).await,
            Err(error) => Err(error),
        };
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let pause = match found {
            Ok((addresses, valid_until)) => {
                failures = 0;
                if upstream.is_at(addresses.iter().map(|at| place.at(*at)).collect()) {
                    tracing::info!(
                        upstream = upstream.name,
                        name = host,
                        ?addresses,
                        "the upstream is at these addresses"
                    );
                }
                valid_until
                    .saturating_duration_since(Instant::now())
                    .clamp(dns.min_refresh, dns.max_refresh)
            }
            Err(error) => {
                tracing::warn!(
                    upstream = upstream.name,
                    name = host,
                    %error,
                    "a name was not found: the endpoints known before stay"
                );
                upstream.metrics.failed_lookups.increment(1);
                let pause = FIRST_PAUSE.saturating_mul(1 << failures);
                failures = (failures + 1).min(16);
                pause.min(dns.max_refresh)
            }
        };
        drop(upstream);
        tokio::time::sleep(pause).await;
    }
}

fn known_or_new<'a>(
    known: &'a mut Option<TokioResolver>,
    dns: &DnsConfig,
) -> Result<&'a TokioResolver, NetError> {
    Ok(match known {
        Some(known) => known,
        None => known.insert(resolver(dns)?),
    })
}

fn resolver(dns: &DnsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if dns.name_servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = dns.name_servers.iter().map(|server| name_server(*server));
        let config = ResolverConfig::from_name_servers(servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = dns.timeout;
    // We ask when the time is over: what is remembered beyond that would only be old.
    options.cache_size = 0;
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![
            connection(ConnectionConfig::udp()),
            connection(ConnectionConfig::tcp()),
        ],
    )
}

/// The addresses in an order of their own, so that the same ones are seen to be the same.
async fn lookup(
    resolver: &TokioResolver,
    host: &str,
    port: u16,
) -> Result<(Vec<SocketAddr>, Instant), NetError> {
    let found = resolver.lookup_ip(host).await?;
    let mut addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(NetError::from("no address"));
    }
    Ok((addresses, Instant::from_std(found.valid_until())))
}
