//! Checks of the table `tracing`: where traces go, and how many. What is done with it is `telemetry/traces.rs`.

use http::Uri;

use super::check::Check;
use crate::config::TracingConfig;
use crate::config::raw::RawTracing;

/// Where collectors take spans (OTLP, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

pub(super) fn tracing(raw: RawTracing, check: &mut Check<'_>) -> TracingConfig {
    check.that(raw.queue <= 1 << 20, "tracing.queue", || {
        "has to be at most 1048576: requests wait in memory".to_owned()
    });
    TracingConfig {
        endpoint: endpoint(&raw.endpoint, check),
        ratio: raw.sample.0.0,
        service: raw.service.filter(|name| !name.is_empty()),
        timeout: check.positive(raw.timeout, "tracing.timeout"),
        queue: check.at_least_one(raw.queue, "tracing.queue"),
    }
}

/// The base URL of a collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it, with the path for traces.
fn endpoint(base: &str, check: &mut Check<'_>) -> Option<String> {
    const KEY: &str = "tracing.endpoint";
    if base.is_empty() {
        return None;
    }
    match base.parse::<Uri>() {
        Ok(url) => {
            let http = matches!(url.scheme_str(), Some("http" | "https"));
            check.that(http && url.authority().is_some(), KEY, || {
                "has to be an http or https URL, such as \"http://127.0.0.1:4318\"".to_owned()
            });
            check.that(url.query().is_none(), KEY, || "has no query".to_owned());
            check.no_credentials(&url, KEY);
        }
        Err(error) => check.fault(KEY, format!("not a URL: {error}")),
    }
    let base = base.trim_end_matches('/');
    Some(if base.ends_with(PATH) {
        base.to_owned()
    } else {
        format!("{base}{PATH}")
    })
}
