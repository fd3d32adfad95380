//! The format of server-sent events (WHATWG HTML, 9.2.6), read from pieces of any size and within bounds. What the events
//! mean is `events/feed.rs`'s.

use bytes::Bytes;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// `message` when the stream gave none.
    pub(super) name: String,
    pub(super) data: Bytes,
    /// The last id that the stream has given so far; empty when it has reset it.
    pub(super) last_id: Option<String>,
    /// Whether this event has given it.
    pub(super) has_id: bool,
}

/// An event or a line is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {max} bytes")]
pub(super) struct TooLarge {
    max: usize,
}

/// Takes a stream in, and gives its events.
pub(super) struct Parser {
    line: Vec<u8>,
    /// Whether the line before ended with a carriage return: a line feed then belongs to it.
    after_return: bool,
    at_start: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    id: Option<String>,
    has_id: bool,
    max: usize,
}

impl Parser {
    /// No line and no event's data may have more than `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            line: Vec::new(),
            after_return: false,
            at_start: true,
            name: String::new(),
            data: Vec::new(),
            has_data: false,
            id: None,
            has_id: false,
            max,
        }
    }

    /// Takes the next piece in; events that are complete with it go to `frames`.
    pub(super) fn feed(&mut self, piece: &[u8], frames: &mut Vec<Frame>) -> Result<(), TooLarge> {
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if self.after_return && first == b'\n' {
                self.after_return = false;
                rest = &rest[1..];
                continue;
            }
            self.after_return = false;
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + part.len() > self.max {
                return Err(TooLarge { max: self.max });
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else {
                return Ok(());
            };
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            frames.extend(self.take_line(&line)?);
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Frame>, TooLarge> {
        let mut line = line;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if self.data.len() + value.len() > self.max {
                    return Err(TooLarge { max: self.max });
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned());
                self.has_id = true;
            }
            // Comments, `retry`, and what nobody knows.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let has_id = std::mem::take(&mut self.has_id);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        Some(Frame {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data: Bytes::from(data),
            last_id: self.id.clone(),
            has_id,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{Frame, Parser, TooLarge};

    fn frame(name: &str, data: &str, last_id: Option<&str>, has_id: bool) -> Frame {
        Frame {
            name: name.to_owned(),
            data: data.to_owned().into(),
            last_id: last_id.map(str::to_owned),
            has_id,
        }
    }

    #[test]
    fn streams_are_read_whatever_their_pieces_and_line_ends_are() {
        let stream = "\u{feff}: hello\nevent: made\nid: 7\ndata: a\ndata:b\n\n\
                      data\n\nid\nevent: nothing\n\nretry: 5\nunknown: x\ndata:  c\n\nid: 8\0\ndata: d\n\ndata: cut";
        let expected = [
            frame("made", "a\nb", Some("7"), true),
            frame("message", "", Some("7"), false),
            frame("message", " c", Some(""), false),
            frame("message", "d", Some(""), false),
        ];
        for end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', end);
            for size in 1..stream.len() {
                let mut parser = Parser::new(1000);
                let mut frames = Vec::new();
                for piece in stream.as_bytes().chunks(size) {
                    parser.feed(piece, &mut frames).unwrap();
                }
                assert_eq!(frames, expected, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn lines_and_events_have_bounds() {
        let mut frames = Vec::new();
        let mut parser = Parser::new(8);
        assert_eq!(
            parser
                .feed(b"data: 12", &mut frames)
                .and_then(|()| parser.feed(b"3", &mut frames)),
            Err(TooLarge { max: 8 })
        );
        let mut parser = Parser::new(8);
        assert_eq!(
            parser.feed(b"data:12345\ndata:6789\n", &mut frames),
            Err(TooLarge { max: 8 })
        );
        assert!(frames.is_empty());
    }
}
