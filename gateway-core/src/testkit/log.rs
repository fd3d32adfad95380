//! The access log as tests see it: the lines that were written for a request.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use serde_json::Value;

/// The lines of the whole test process, by request id.
static LINES: Mutex<Option<HashMap<String, Vec<Value>>>> = Mutex::new(None);

fn lines() -> MutexGuard<'static, Option<HashMap<String, Vec<Value>>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to listen; more than once does no harm.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::INFO)
            .with_writer(|| Log)
            .finish();
        // In a process whose log is somebody else's no line is ever found, and its tests say so.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}

/// The access log's lines for a request.
pub(crate) fn access_lines(request_id: &str) -> Vec<Value> {
    let lines = lines();
    let known = lines.as_ref().and_then(|lines| lines.get(request_id));
    known.cloned().unwrap_or_default()
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(line) = serde_json::from_slice::<Value>(bytes)
            && line["target"] == "access"
            && let Some(id) = line["request_id"].as_str()
        {
            let id = id.to_owned();
            let mut lines = lines();
            lines
                .get_or_insert_default()
                .entry(id)
                .or_default()
                .push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
