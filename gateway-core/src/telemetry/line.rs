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

use crate::digits::push_number;

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
        let mut text = LINE.take();
        text.clear();
        write_line(&mut text, event);
        let written = writer.write_str(&text);
        if text.capacity() <= KEPT {
            LINE.set(text);
        }
        written
    }
}

/// A longer line gives its memory back.
const KEPT: usize = 4 << 10;

thread_local! {
    /// The memory of the line before.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
    /// The second that was written last, as text: a calendar is asked once in a second.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [b' '; 19])) };
}

fn write_line(text: &mut String, event: &Event<'_>) {
    let metadata = event.metadata();
    text.push_str("{\"timestamp\":\"");
    push_time(text, SystemTime::now());
    text.push_str("\",\"level\":\"");
    text.push_str(metadata.level().as_str());
    text.push('"');
    event.record(&mut Fields(text));
    text.push_str(",\"target\":\"");
    push_escaped(text, metadata.target());
    text.push_str("\"}\n");
}

/// RFC 3339 in UTC, with microseconds.
fn push_time(text: &mut String, now: SystemTime) {
    // A clock before 1970 is wrong by more than a line of the log can say.
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, mut second) = SECOND.get();
    if seconds != since.as_secs() {
        let whole = DateTime::<Utc>::from(UNIX_EPOCH + Duration::from_secs(since.as_secs()));
        let formatted = whole.format("%Y-%m-%dT%H:%M:%S").to_string();
        // Years have four digits until the year 10000.
        if formatted.len() == second.len() {
            second.copy_from_slice(formatted.as_bytes());
            SECOND.set((since.as_secs(), second));
        }
    }
    let mut fraction = *b".000000Z";
    let mut micros = since.subsec_micros();
    for digit in fraction[1..7].iter_mut().rev() {
        *digit += (micros % 10) as u8;
        micros /= 10;
    }
    // Digits and the marks between them are always text.
    text.push_str(str::from_utf8(&second).unwrap_or_default());
    text.push_str(str::from_utf8(&fraction).unwrap_or_default());
}

/// Writes fields as members.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        let Self(text) = self;
        text.push_str(",\"");
        // Names stand in the source: none has a character that would have to be escaped. `r#type` is Rust's way to write it, not
        // the field's name.
        let name = field.name();
        text.push_str(name.strip_prefix("r#").unwrap_or(name));
        text.push_str("\":");
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push('"');
        push_escaped(self.0, value);
        self.0.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push('"');
        // What cannot be shown is shown as far as it can be.
        let _ = write!(Escaping(self.0), "{value:?}");
        self.0.push('"');
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        push_number(self.0, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        if value < 0 {
            self.0.push('-');
        }
        push_number(self.0, value.unsigned_abs());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.0.push_str(if value { "true" } else { "false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        push_float(self.0, value);
    }
}

fn push_float(text: &mut String, value: f64) {
    if let Some(thousandths) = whole_thousandths(value) {
        push_thousandths(text, thousandths);
    } else if value.is_finite() {
        // Writing to a string does not fail.
        let _ = write!(text, "{value}");
    } else {
        // JSON has no other word for it.
        text.push_str("null");
    }
}

/// `value` in thousandths, if it is positive and has no more than three decimals, as times in milliseconds have: they are
/// written without the search for the shortest decimals.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "within the bound all of them are whole numbers that both types have"
)]
fn whole_thousandths(value: f64) -> Option<u64> {
    const BOUND: f64 = 1e12;
    if !(0.0..BOUND).contains(&value) || value.is_sign_negative() {
        return None;
    }
    let thousandths = (value * 1e3).round() as u64;
    (thousandths as f64 / 1e3 == value).then_some(thousandths)
}

/// `1.25` for 1250.
fn push_thousandths(text: &mut String, thousandths: u64) {
    push_number(text, thousandths / 1000);
    let mut rest = thousandths % 1000;
    if rest == 0 {
        return;
    }
    text.push('.');
    while rest > 0 {
        push_number(text, rest / 100);
        rest = rest % 100 * 10;
    }
}

/// Escapes what is written through it.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// The inside of a JSON string (RFC 8259, section 7).
fn push_escaped(text: &mut String, value: &str) {
    let mut plain = 0;
    while let Some(next) = first_escaped(&value.as_bytes()[plain..]) {
        let at = plain + next;
        let byte = value.as_bytes()[at];
        // Every byte that is escaped is a character of its own.
        text.push_str(&value[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            control => {
                let _ = write!(text, "\\u{control:04x}");
            }
        }
    }
    text.push_str(&value[plain..]);
}

/// Where the first byte is that cannot stand in a JSON string as it is. Hardly a value has one: that is found out by looks at
/// eight bytes at once.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    /// A high bit for each byte that is `byte`, and perhaps for bytes after it.
    fn equal(word: u64, byte: u8) -> u64 {
        below(word ^ (ONES * u64::from(byte)), 1)
    }
    /// The same for each byte that is less than `bound`.
    fn below(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(ONES * u64::from(bound)) & !word
    }
    let has_one = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        (below(word, b' ') | equal(word, b'"') | equal(word, b'\\')) & HIGH != 0
    };
    // The last word may have bytes in common with the one before it.
    let is_plain = bytes
        .last_chunk()
        .is_some_and(|last| !bytes.as_chunks().0.iter().any(has_one) && !has_one(last));
    if is_plain {
        return None;
    }
    let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    bytes.iter().position(is_escaped)
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
    fn what_has_to_be_escaped_is_found_wherever_it_stands() {
        for length in 0..20 {
            for place in 0..length {
                for escaped in ['"', '\\', '\n', '\u{0}', '\u{1f}'] {
                    let mut text = vec!['é'; length];
                    text[place] = escaped;
                    let value = text.into_iter().collect::<String>();
                    let mut written = String::from("\"");
                    push_escaped(&mut written, &value);
                    written.push('"');
                    assert_eq!(serde_json::from_str::<String>(&written).unwrap(), value);
                }
            }
            let plain = " !~\u{7f}".repeat(length);
            let mut written = String::new();
            push_escaped(&mut written, &plain);
            assert_eq!(written, plain);
        }
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        let millis = (0..20_000).map(|micros| f64::from(micros) / 1e3);
        let others = [
            1e9,
            999_999_999_999.999,
            1e12,
            1e300,
            0.000_1,
            1.0005,
            -1.5,
            -0.0,
        ];
        for value in millis.chain(others) {
            let mut text = String::new();
            push_float(&mut text, value);
            assert_eq!(text, value.to_string());
        }
    }

    #[test]
    fn the_second_that_is_kept_is_the_right_one() {
        for seconds in [1_893_520_800, 1_893_520_800, 1_893_520_801, 1_893_520_799] {
            let now = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(42);
            let mut text = String::new();
            push_time(&mut text, now);
            let read = DateTime::parse_from_rfc3339(&text).unwrap();
            assert_eq!(SystemTime::from(read), now);
        }
    }
}
