//! What a client is told, in the format of server-sent events (WHATWG HTML, 9.2.6). When it is told, is `body.rs`'s.

use std::fmt::Write;

use bytes::Bytes;
use serde::Serialize;

/// Messages that go out together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Messages {
    text: String,
}

impl Messages {
    /// Adds a message with `data` as JSON. With a position, whoever has seen the message comes back after it.
    ///
    /// # Errors
    /// When `data` has no JSON form.
    pub fn add(
        &mut self,
        name: &str,
        position: Option<u64>,
        data: &impl Serialize,
    ) -> Result<(), serde_json::Error> {
        let data = serde_json::to_string(data)?;
        // A name is a line: what ends one would begin a field.
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        // Writing to a string does not fail.
        let _ = match position {
            Some(position) => write!(self.text, "event: {name}\nid: {position}\ndata: {data}\n\n"),
            None => write!(self.text, "event: {name}\ndata: {data}\n\n"),
        };
        Ok(())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What a stream begins with: how long to wait with coming back, in milliseconds, then these messages.
    pub(super) fn first(&self, retry: u64, position: u64) -> Bytes {
        let text = &self.text;
        // No message, but it says where the stream stands: a client that loses it before its first event goes on from here.
        format!("retry: {retry}\nid: {position}\n\n{text}").into()
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.text.into()
    }
}

/// The last message of a stream, and why it is the last: a word of ours.
pub(crate) fn end(reason: &str) -> Bytes {
    format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n").into()
}

/// Tells that nothing is wrong, and where the stream stands: no message, but a client that comes back does so after it.
pub(super) fn heartbeat(position: Option<u64>) -> Bytes {
    match position {
        Some(position) => format!(": heartbeat\nid: {position}\n\n").into(),
        None => Bytes::from_static(b": heartbeat\n\n"),
    }
}
