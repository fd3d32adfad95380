//! The framing of HTTP/1 requests as they are on the wire (RFC 9112, 2 and 6): where heads and bodies begin and end, and
//! what two readers could frame differently. It keeps no request and answers none: that is `client_io.rs` and hyper.

use memchr::memchr;

use crate::error::ClientError;

/// So much of a line that came in pieces is kept: enough for every line whose text matters here.
const KEPT: usize = 1024;

/// A chunk's size with its extensions may have so many bytes; nobody uses extensions but attackers.
const CHUNK_LINE: usize = 256;

/// What a request line has besides its target.
const LINE_SLACK: usize = 64;

/// Why a request is not framed as it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    LengthAndCoding,
    ContentLength,
    TransferCoding,
    UnknownCoding,
    BareLineFeed,
    Folded,
    TargetTooLong,
    Chunk,
}

impl Fault {
    pub(super) fn error(self) -> ClientError {
        let detail = match self {
            Self::TargetTooLong => return ClientError::UriTooLong,
            Self::UnknownCoding => return ClientError::UnknownTransferCoding,
            Self::LengthAndCoding => "Content-Length and Transfer-Encoding exclude each other.",
            Self::ContentLength => "A request has one Content-Length, in digits.",
            Self::TransferCoding => "The one transfer coding of a request is chunked.",
            Self::BareLineFeed => "Lines end with CR LF.",
            Self::Folded => "Header fields are not folded over lines.",
            Self::Chunk => "The chunked body is malformed.",
        };
        ClientError::BadRequest(detail.to_owned())
    }

    /// Whether the fault is in a body: its head has gone to hyper already.
    pub(super) fn in_body(self) -> bool {
        self == Self::Chunk
    }
}

/// A fault, and how many of the scanned bytes come before what is at fault.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) fault: Fault,
    pub(super) after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between requests, or in the request line.
    RequestLine,
    Fields,
    /// So many bytes of a body with a length are left.
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
}

/// Follows one connection's requests.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    pieces: Pieces,
    length: Option<u64>,
    chunked: bool,
    heads: u64,
    longest_line: usize,
}

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
struct Pieces {
    text: Vec<u8>,
    length: usize,
    last: u8,
}

impl Pieces {
    fn push(&mut self, bytes: &[u8]) {
        let room = KEPT - self.text.len();
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.length = 0;
        self.last = 0;
    }
}

/// A whole line without its end.
struct Line<'a> {
    /// Its beginning, if it is longer than what is kept.
    text: &'a [u8],
    length: usize,
    /// It ended with CR LF, not with LF alone.
    proper: bool,
}

impl Framing {
    /// `max_target` is the longest target that can be read at all; a longer one is 414.
    pub(super) fn new(max_target: usize) -> Self {
        Self {
            state: State::RequestLine,
            pieces: Pieces::default(),
            length: None,
            chunked: false,
            heads: 0,
            longest_line: max_target + LINE_SLACK,
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn in_head(&self) -> bool {
        match self.state {
            State::RequestLine => self.pieces.length > 0,
            State::Fields => true,
            State::Sized(_)
            | State::ChunkSize
            | State::ChunkData(_)
            | State::ChunkEnd
            | State::Trailers => false,
        }
    }

    /// Whether a body has begun and not ended.
    pub(super) fn in_body(&self) -> bool {
        !matches!(self.state, State::RequestLine | State::Fields)
    }

    /// How many heads have ended so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Follows the framing through the next `bytes` of the connection. Nothing may be scanned after a fault.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.state {
                State::Sized(left) => {
                    let (taken, left) = skip(rest.len(), left);
                    at += taken;
                    self.state = match left {
                        0 => State::RequestLine,
                        left => State::Sized(left),
                    };
                }
                State::ChunkData(left) => {
                    let (taken, left) = skip(rest.len(), left);
                    at += taken;
                    self.state = match left {
                        0 => State::ChunkEnd,
                        left => State::ChunkData(left),
                    };
                }
                State::RequestLine
                | State::Fields
                | State::ChunkSize
                | State::ChunkEnd
                | State::Trailers => {
                    at += self
                        .line(rest)
                        .map_err(|fault| Broken { fault, after: at })?;
                }
            }
        }
        Ok(())
    }

    /// Takes one line, or the piece of it that has come. Returns how many bytes that was.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.pieces.push(bytes);
            self.bounded(self.pieces.length)?;
            return Ok(bytes.len());
        };
        let raw = &bytes[..end];
        if self.pieces.length == 0 {
            let proper = raw.last() == Some(&b'\r');
            let length = raw.len() - usize::from(proper);
            self.whole(&Line {
                text: &raw[..length],
                length,
                proper,
            })?;
        } else {
            let mut pieces = std::mem::take(&mut self.pieces);
            pieces.push(raw);
            let proper = pieces.last == b'\r';
            let length = pieces.length - usize::from(proper);
            self.whole(&Line {
                text: &pieces.text[..length.min(pieces.text.len())],
                length,
                proper,
            })?;
            pieces.clear();
            self.pieces = pieces;
        }
        Ok(end + 1)
    }

    /// How long a line may become, ended or not. The length of a head as a whole is hyper's to bound.
    fn bounded(&self, length: usize) -> Result<(), Fault> {
        match self.state {
            State::RequestLine if length > self.longest_line => Err(Fault::TargetTooLong),
            State::ChunkSize if length > CHUNK_LINE => Err(Fault::Chunk),
            State::ChunkEnd if length > 1 => Err(Fault::Chunk),
            _ => Ok(()),
        }
    }

    fn whole(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        self.bounded(line.length)?;
        if !line.proper {
            return Err(if self.in_body() {
                Fault::Chunk
            } else {
                Fault::BareLineFeed
            });
        }
        match self.state {
            // RFC 9112, 2.2: empty lines before a request are ignored.
            State::RequestLine if line.length == 0 => {}
            State::RequestLine => {
                self.length = None;
                self.chunked = false;
                self.state = State::Fields;
            }
            State::Fields if line.length == 0 => {
                self.heads += 1;
                self.state = match self.length {
                    _ if self.chunked => State::ChunkSize,
                    Some(length) if length > 0 => State::Sized(length),
                    Some(_) | None => State::RequestLine,
                };
            }
            State::Fields => self.field(line)?,
            State::ChunkSize => {
                self.state = match chunk_size(line.text).ok_or(Fault::Chunk)? {
                    0 => State::Trailers,
                    size => State::ChunkData(size),
                };
            }
            State::ChunkEnd if line.length == 0 => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(Fault::Chunk),
            State::Trailers if line.length == 0 => self.state = State::RequestLine,
            State::Trailers | State::Sized(_) | State::ChunkData(_) => {}
        }
        Ok(())
    }

    fn field(&mut self, line: &Line<'_>) -> Result<(), Fault> {
        let text = line.text;
        // Most lines are done after a look at their first byte.
        match text.first() {
            Some(b' ' | b'\t') => return Err(Fault::Folded),
            Some(b'c' | b'C' | b't' | b'T') => {}
            Some(_) | None => return Ok(()),
        }
        if let Some(value) = value_of(text, b"content-length") {
            if self.chunked {
                return Err(Fault::LengthAndCoding);
            }
            let length = (text.len() == line.length)
                .then(|| digits(value))
                .flatten()
                .ok_or(Fault::ContentLength)?;
            // RFC 9110, 8.6: repeated values may be refused, also equal ones.
            if self.length.replace(length).is_some() {
                return Err(Fault::ContentLength);
            }
        } else if let Some(value) = value_of(text, b"transfer-encoding") {
            if self.length.is_some() {
                return Err(Fault::LengthAndCoding);
            }
            if self.chunked || text.len() != line.length {
                return Err(Fault::TransferCoding);
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(unknown_coding(value));
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// How many of `here` bytes belong to a body of which `left` are left, and what is left then.
fn skip(here: usize, left: u64) -> (usize, u64) {
    match usize::try_from(left) {
        Ok(left) if left <= here => (left, 0),
        _ => (here, left - here as u64),
    }
}

/// The value of the field, if the line is a field of that (lower-case) name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| trim(value))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// RFC 9112, 6.3: without chunked at the end nobody knows where the body ends (400); a coding before it is only not
/// known here (501).
fn unknown_coding(value: &[u8]) -> Fault {
    let mut codings = value.rsplit(|byte| *byte == b',').map(trim);
    let last_is_chunked = codings
        .next()
        .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let once = !codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if last_is_chunked && once {
        Fault::UnknownCoding
    } else {
        Fault::TransferCoding
    }
}

/// `1*HEXDIG` and perhaps an extension (RFC 9112, 7.1), which is ignored.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (size, extension) = line.split_at(end);
    let plain = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    match trim(extension) {
        [] => {}
        [b';', rest @ ..] if rest.iter().all(plain) => {}
        _ => return None,
    }
    if size.len() > 16 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
