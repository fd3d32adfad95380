//! The text of a scrape: OpenMetrics 1.0 with exemplars, or the plain Prometheus format 0.0.4, whichever the scraper
//! likes better. Figures come from `registry.rs` and, at the moment of the scrape, from `scrape.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::ACCEPT;

use super::family::{Family, Kind};
use super::histogram::{BOUNDS, Exemplar, Histogram};
use super::registry::{Labels, Registry, Series, written};

/// In which format a scrape is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Plain,
}

impl Format {
    /// What `Accept` prefers of the two; plain text when it says nothing.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let mut open_metrics = 0.0_f32;
        let mut plain = 0.0_f32;
        let ranges = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1.0;
            let mut version = None;
            for parameter in parts {
                match parameter.split_once('=').map(|(k, v)| (k.trim(), v.trim())) {
                    Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value.trim_matches('"')),
                    _ => {}
                }
            }
            match essence.as_str() {
                "application/openmetrics-text" if version.is_none_or(|v| v == "1.0.0") => {
                    open_metrics = open_metrics.max(quality);
                }
                "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain {
            Self::OpenMetrics
        } else {
            Self::Plain
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Labels as they are written, and values.
type Samples = Vec<(String, f64)>;

/// Figures that are read when somebody asks.
#[derive(Default)]
pub(crate) struct Scrape {
    families: BTreeMap<&'static str, (&'static Family, Samples)>,
}

impl Scrape {
    pub(crate) fn put(&mut self, family: &'static Family, labels: Labels<'_>, value: f64) {
        self.families
            .entry(family.name)
            .or_insert_with(|| (family, Vec::new()))
            .1
            .push((written(labels), value));
    }
}

/// Everything in `registry` and `scrape`, by name.
pub(crate) fn render(format: Format, registry: &Registry, scrape: Scrape) -> String {
    enum Body {
        Held(BTreeMap<String, Series>),
        Read(Samples),
    }
    let held = registry
        .snapshot()
        .into_iter()
        .map(|(name, (family, series))| (name, (family, Body::Held(series))));
    let read = scrape
        .families
        .into_iter()
        .map(|(name, (family, samples))| (name, (family, Body::Read(samples))));
    let families: BTreeMap<_, _> = held.chain(read).collect();

    let mut text = Text {
        format,
        out: String::with_capacity(64 * 1024),
    };
    for (family, body) in families.into_values() {
        text.head(family);
        match body {
            Body::Held(series) => {
                for (labels, series) in series {
                    text.series(family, &labels, &series);
                }
            }
            Body::Read(samples) => {
                for (labels, value) in samples {
                    text.sample(family.name, &labels, value);
                }
            }
        }
    }
    if format == Format::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    text.out
}

// Writing to a string does not fail: what `write!` returns is looked at by nobody here.
struct Text {
    format: Format,
    out: String,
}

impl Text {
    fn head(&mut self, family: &Family) {
        // OpenMetrics gives the family's name, to which samples add what their kind needs.
        let (name, kind) = match (self.format, family.kind) {
            (Format::Plain, Kind::Info) => (family.name, Kind::Gauge),
            (Format::Plain, kind) => (family.name, kind),
            (Format::OpenMetrics, kind @ Kind::Counter) => {
                (family.name.trim_end_matches("_total"), kind)
            }
            (Format::OpenMetrics, kind @ Kind::Info) => {
                (family.name.trim_end_matches("_info"), kind)
            }
            (Format::OpenMetrics, kind) => (family.name, kind),
        };
        let _ = writeln!(self.out, "# HELP {name} {}", family.help);
        let _ = writeln!(self.out, "# TYPE {name} {}", kind.as_str());
        if self.format == Format::OpenMetrics
            && let Some(unit) = family.unit()
        {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    fn series(&mut self, family: &Family, labels: &str, series: &Series) {
        match series {
            Series::Counter(counter) => self.sample(family.name, labels, counter.value()),
            Series::Level(level) => self.sample(family.name, labels, level.value()),
            Series::Gauge(gauge) => self.sample(family.name, labels, gauge.value()),
            Series::Histogram(histogram) => self.histogram(family.name, labels, histogram),
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.out, "{name} {value}")
        } else {
            writeln!(self.out, "{name}{{{labels}}} {value}")
        };
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let buckets = histogram.buckets();
        let exemplars = histogram.exemplars();
        let comma = if labels.is_empty() { "" } else { "," };
        let mut so_far = 0;
        let all = buckets.counts.iter().zip(&exemplars).enumerate();
        for (index, (count, exemplar)) in all {
            so_far += count;
            let bound = BOUNDS.get(index).map_or("+Inf", |(_, text)| *text);
            let _ = write!(
                self.out,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {so_far}"
            );
            if self.format == Format::OpenMetrics
                && let Some(exemplar) = exemplar
            {
                self.exemplar(exemplar);
            }
            self.out.push('\n');
        }
        let sum = buckets.sum().as_secs_f64();
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, so_far);
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        let _ = write!(
            self.out,
            " # {{trace_id=\"{:032x}\"}} {} {:.3}",
            exemplar.trace_id,
            exemplar.took.as_secs_f64(),
            since_epoch(exemplar.at).as_secs_f64(),
        );
    }
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::time::Instant;

    use super::super::family::{BUILD, CONNECTIONS, REQUEST_SECONDS, REQUESTS};
    use super::*;

    fn rendered(format: Format) -> String {
        let registry = Registry::new(1);
        registry
            .counter(&REQUESTS, &[("route", "a"), ("class", "2xx")])
            .increment(3);
        registry.level(&CONNECTIONS, &[]).up();
        registry
            .traced_histogram(&REQUEST_SECONDS, &[("route", "a")])
            .observe_traced(Duration::from_millis(2), Instant::now(), 0xabc);
        let mut scrape = Scrape::default();
        scrape.put(&BUILD, &[("version", "1")], 1.0);
        render(format, &registry, scrape)
    }

    #[test]
    fn plain_text_has_no_exemplars_and_names_as_samples_have_them() {
        let text = rendered(Format::Plain);
        assert!(
            text.contains("# TYPE gateway_requests_total counter\n"),
            "{text}"
        );
        assert!(text.contains("gateway_requests_total{route=\"a\",class=\"2xx\"} 3\n"));
        assert!(
            text.contains("# TYPE gateway_build_info gauge\ngateway_build_info{version=\"1\"} 1\n")
        );
        assert!(text.contains("gateway_connections 1\n"));
        assert!(text.contains("le=\"0.0025\"} 1\n"));
        assert!(text.contains("le=\"+Inf\"} 1\n"));
        assert!(text.contains("gateway_request_duration_seconds_sum{route=\"a\"} 0.002\n"));
        assert!(!text.contains("trace_id") && !text.contains("EOF") && !text.contains("# UNIT"));
    }

    #[test]
    fn openmetrics_has_exemplars_units_and_an_end() {
        let text = rendered(Format::OpenMetrics);
        assert!(text.contains("# TYPE gateway_requests counter\n"), "{text}");
        assert!(text.contains("gateway_requests_total{route=\"a\",class=\"2xx\"} 3\n"));
        assert!(text.contains("# TYPE gateway_build info\ngateway_build_info{version=\"1\"} 1\n"));
        assert!(text.contains("# UNIT gateway_request_duration_seconds seconds\n"));
        let line = text
            .lines()
            .find(|line| line.contains("le=\"0.0025\""))
            .unwrap();
        let trace = format!("{:032x}", 0xabc);
        assert!(
            line.contains(&format!("}} 1 # {{trace_id=\"{trace}\"}} 0.002 ")),
            "{line}"
        );
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn the_scraper_chooses_the_format() {
        for (accept, expected) in [
            (None, Format::Plain),
            (Some("*/*"), Format::Plain),
            (Some("text/plain"), Format::Plain),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            // As Prometheus asks.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.2, text/plain;q=0.5"),
                Format::Plain,
            ),
            (
                Some("application/openmetrics-text; version=0.0.1"),
                Format::Plain,
            ),
            (Some("application/openmetrics-text;q=0"), Format::Plain),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Format::wanted(&headers), expected, "{accept:?}");
        }
    }
}
