//! The metrics of the process in Prometheus' text format. What is counted is decided where it happens.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds of all histograms, in seconds.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// None when somebody else's recorder was there first.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once for the process. It fails quietly when there is another one already, as in tests.
pub fn install() {
    handle();
}

/// The samples of one service, and those that belong to none. Services that share a process share the recorder; a
/// sample names its service by the label `service`.
pub fn render(service: &str) -> String {
    let Some(handle) = handle() else {
        return "# The recorder of this process is not the chassis'.\n".to_owned();
    };
    let own = format!("service=\"{service}\"");
    let mut text = String::new();
    for line in handle.render().lines() {
        if line.starts_with('#') || line.contains(&own) || !line.contains("service=\"") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Moves recorded values into their histograms; without it they pile up until somebody asks for the metrics.
pub(crate) fn upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

fn handle() -> Option<&'static PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets(&SECONDS)
                .ok()?
                .build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            Some(handle)
        })
        .as_ref()
}
