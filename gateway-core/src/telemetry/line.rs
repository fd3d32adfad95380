//! One event as one line of JSON, written as it is visited: a request's line costs no tree, no map and no copy.
//! Where lines go is `telemetry.rs`; what is in them, who writes the event.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `{"timestamp":…,"level":…,<the event's fields in their order>,"target":…}`
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        write_time(&mut writer, SystemTime::now())?;
        let metadata = event.metadata();
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        let mut fields = Fields {
            writer,
            outcome: Ok(()),
        };
        event.record(&mut fields);
        let Fields {
            mut writer,
            outcome,
        } = fields;
        outcome?;
        writer.write_str(",\"target\":\"")?;
        write_escaped(&mut writer, metadata.target())?;
        writer.write_str("\"}\n")
    }
}

thread_local! {
    /// The second that was written last, as text: a calendar is asked once in a second.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [b' '; 19])) };
}

/// RFC 3339 in UTC, with microseconds.
fn write_time(writer: &mut impl Write, now: SystemTime) -> fmt::Result {
    // A clock before 1970 is wrong by more than this line can say.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, mut text) = SECOND.get();
    if seconds != since.as_secs() {
        let whole = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(since.as_secs()));
        let formatted = whole.format("%Y-%m-%dT%H:%M:%S").to_string();
        if formatted.len() != text.len() {
            return write!(writer, "{formatted}Z");
        }
        text.copy_from_slice(formatted.as_bytes());
        SECOND.set((since.as_secs(), text));
    }
    writer.write_str(std::str::from_utf8(&text).unwrap_or_default())?;
    write!(writer, ".{:06}Z", since.subsec_micros())
}

/// Writes fields as members. A failure of one ends the line.
struct Fields<'a> {
    writer: Writer<'a>,
    outcome: fmt::Result,
}

impl Fields<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.outcome.is_ok() {
            self.outcome = self
                .name(field.name())
                .and_then(|()| value(&mut self.writer));
        }
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        self.writer.write_str(",\"")?;
        // `r#type` is Rust's way to write it, not the field's name.
        write_escaped(&mut self.writer, name.strip_prefix("r#").unwrap_or(name))?;
        self.writer.write_str("\":")
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write_escaped(writer, value)?;
            writer.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write!(Escaping(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |writer| {
            if value.is_finite() {
                write!(writer, "{value}")
            } else {
                // JSON has no other word for it.
                writer.write_str("null")
            }
        });
    }
}

/// Escapes what is written through it.
struct Escaping<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text)
    }
}

/// The inside of a JSON string (RFC 8259, section 7).
fn write_escaped(writer: &mut impl Write, text: &str) -> fmt::Result {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        // Every byte that is escaped is a character of its own.
        writer.write_str(&text[plain..at])?;
        plain = at + 1;
        match byte {
            b'"' => writer.write_str("\\\"")?,
            b'\\' => writer.write_str("\\\\")?,
            b'\n' => writer.write_str("\\n")?,
            b'\r' => writer.write_str("\\r")?,
            b'\t' => writer.write_str("\\t")?,
            control => write!(writer, "\\u{control:04x}")?,
        }
    }
    writer.write_str(&text[plain..])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(event: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(JsonLine)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), event);
        let written = kept.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        let text = line(|| {
            tracing::info!(
                target: "widgets",
                count = 3_u64,
                below = -3_i64,
                ratio = 0.25,
                nonsense = f64::NAN,
                good = true,
                absent = None::<u64>,
                shown = %"a \"b\"",
                debugged = ?Some("x\ty"),
                r#type = "bolt",
                hostile = "\u{1}\n\\\"}{ é",
                "it happened"
            );
        });
        assert!(
            text.ends_with("}\n") && text.matches('\n').count() == 1,
            "{text}"
        );
        let mut value: Value = serde_json::from_str(&text).unwrap();
        let timestamp = value["timestamp"].take();
        assert_eq!(
            value,
            json!({
                "timestamp": null, "level": "INFO", "message": "it happened", "count": 3, "below": -3, "ratio": 0.25,
                "nonsense": null, "good": true, "shown": "a \"b\"", "debugged": "Some(\"x\\ty\")", "type": "bolt",
                "hostile": "\u{1}\n\\\"}{ é", "target": "widgets",
            })
        );
        let timestamp = timestamp.as_str().unwrap().to_owned();
        assert_eq!(timestamp.len(), "2030-01-01T18:00:00.000000Z".len());
        assert!(DateTime::parse_from_rfc3339(&timestamp).is_ok());
    }

    #[test]
    fn the_second_that_is_kept_is_the_right_one() {
        for seconds in [1_893_520_800, 1_893_520_800, 1_893_520_801, 1_893_520_799] {
            let now = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(42);
            let mut text = String::new();
            write_time(&mut text, now).unwrap();
            let read = DateTime::parse_from_rfc3339(&text).unwrap();
            assert_eq!(SystemTime::from(read), now);
        }
    }
}
