//! The bytes of one client's connection, between the socket and hyper: framing is checked before hyper sees it, timers
//! stand where hyper has none, and an answer that hyper makes up by itself is held back. What is answered instead is
//! `refusal.rs`; in which order all this happens is `connection.rs`.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::activity::{Activity, Timer};
use super::framing::{Fault, Framing};

/// What hyper gets in place of what is at fault. It is no part of any head, and it ends the head, so that hyper refuses at
/// once (and answers only then the requests before it, in their order).
const POISON: &[u8] = b"\0\r\n\r\n";

/// An answer that hyper makes up is shorter.
const LONGEST_OWN_HEAD: usize = 256;

/// A connection that nothing has come on for so long after its last answer does without hyper, and hyper's buffers, until
/// something does.
const RESTS_AFTER: Duration = Duration::from_millis(500);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) body: Duration,
}

/// Why the connection is at its end, if it is for another reason than hyper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Fault(Fault),
    HeadTimeout,
    IdleTimeout,
    /// It is idle, and goes on with another hyper when something comes.
    Rests,
    /// The client does not take its answer.
    WriteTimeout,
}

/// What the client is expected to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    FirstByte,
    Request,
    /// The rest of the head after so many heads.
    Head(u64),
    /// The rest of the body after so many heads, of a request that has been answered already.
    RestOfBody(u64),
}

#[derive(Debug)]
pub(super) struct ClientIo<S> {
    stream: S,
    /// Read before hyper was there.
    early: Bytes,
    /// `None` when it is not HTTP/1, or not any more.
    framing: Option<Framing>,
    patience: Patience,
    activity: Arc<Activity>,
    awaited: Option<(Awaited, Instant)>,
    /// The number of the request that is being answered, and since when.
    busy: Option<(usize, Instant)>,
    read_timer: Timer,
    write_stalled: Option<Instant>,
    write_timer: Timer,
    poison: &'static [u8],
    held: Vec<u8>,
    ended: Option<Ended>,
    end_of_input: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    /// HTTP/1 with its framing checked; `early` has been read already.
    pub(super) fn http1(
        stream: S,
        early: Bytes,
        max_target: usize,
        patience: Patience,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            framing: Some(Framing::new(max_target)),
            ..Self::opaque(stream, early, patience, activity)
        }
    }

    /// Anything else: only writing is watched.
    pub(super) fn opaque(
        stream: S,
        early: Bytes,
        patience: Patience,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            stream,
            early,
            framing: None,
            patience,
            activity,
            awaited: None,
            busy: None,
            read_timer: Timer::default(),
            write_stalled: None,
            write_timer: Timer::default(),
            poison: b"",
            held: Vec::new(),
            ended: None,
            end_of_input: false,
        }
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Whether the client has sent all it will ever send.
    pub(super) fn end_of_input(&self) -> bool {
        self.end_of_input
    }

    /// The status of the answer that hyper made up and that is being held back; it is forgotten.
    pub(super) fn take_held(&mut self) -> Option<u16> {
        let held = std::mem::take(&mut self.held);
        std::str::from_utf8(held.get(9..12)?).ok()?.parse().ok()
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    fn pending_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(framing) = &self.framing else {
            return Poll::Pending;
        };
        let idle_since = self.activity.idle_since();
        let awaited = if framing.in_body() {
            Awaited::RestOfBody(framing.heads())
        } else if framing.in_head() {
            Awaited::Head(framing.heads())
        } else if self.activity.served() > 0 || framing.heads() > 0 {
            Awaited::Request
        } else {
            Awaited::FirstByte
        };
        let Some(idle_since) = idle_since else {
            // The client is waiting, not we; or we are for a body, whose progress is `BodyInProgress`'s. The task may not be polled for
            // reading when that is over, so the timer goes on, and finds out then how long it has been over: soon after a short
            // answer, and seldom during a long one.
            self.awaited = None;
            let (now, number) = (Instant::now(), self.activity.served());
            if self.busy.is_none_or(|(with, _)| with != number) {
                self.busy = Some((number, now));
            }
            let so_far = self.busy.map_or(Duration::ZERO, |(_, since)| now - since);
            let again = so_far.max(RESTS_AFTER).min(self.patience.idle);
            let _ = self.read_timer.passed(now + again, cx);
            return Poll::Pending;
        };
        let since = match self.awaited {
            // The last answer may have come in between.
            Some((same, since)) if same == awaited => since.max(idle_since),
            _ => {
                let since = match awaited {
                    Awaited::FirstByte | Awaited::Request => idle_since,
                    Awaited::Head(_) | Awaited::RestOfBody(_) => Instant::now(),
                };
                self.awaited = Some((awaited, since));
                since
            }
        };
        let (limit, ended) = match awaited {
            Awaited::FirstByte => (self.patience.header, Ended::IdleTimeout),
            // What is left of the last answer is still hyper's.
            Awaited::Request
                if self.write_stalled.is_none() && RESTS_AFTER < self.patience.idle =>
            {
                (RESTS_AFTER, Ended::Rests)
            }
            Awaited::Request => (self.patience.idle, Ended::IdleTimeout),
            Awaited::Head(_) => (self.patience.header, Ended::HeadTimeout),
            // However it goes on: no deadline of a request ends it any more.
            Awaited::RestOfBody(_) => (self.patience.body, Ended::IdleTimeout),
        };
        if self.read_timer.passed(since + limit, cx) {
            self.ended = Some(ended);
            // As if the client had closed: hyper ends without a word.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Checks what has been put into `buf` after `before`.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> Poll<io::Result<()>> {
        let Some(framing) = &mut self.framing else {
            return Poll::Ready(Ok(()));
        };
        let Err(broken) = framing.scan(&buf.filled()[before..]) else {
            return Poll::Ready(Ok(()));
        };
        self.ended = Some(Ended::Fault(broken.fault));
        buf.set_filled(before + broken.after);
        if broken.fault.in_body() {
            return if broken.after == 0 {
                Poll::Ready(Err(malformed()))
            } else {
                Poll::Ready(Ok(()))
            };
        }
        self.poison = POISON;
        self.give_poison(buf);
        Poll::Ready(Ok(()))
    }

    fn give_poison(&mut self, buf: &mut ReadBuf<'_>) {
        let (now, later) = self.poison.split_at(self.poison.len().min(buf.remaining()));
        buf.put_slice(now);
        self.poison = later;
    }

    fn pending_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.write_stalled.get_or_insert_with(Instant::now);
        if self.write_timer.passed(since + self.patience.body, cx) {
            self.ended = Some(Ended::WriteTimeout);
            return Poll::Ready(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read its answer",
            ));
        }
        Poll::Pending
    }

    fn watched<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(result) => {
                self.write_stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.pending_write(cx).map(Err),
        }
    }

    /// Whether what hyper writes next may be a head. A body can say whatever looks like one, and does not end one of its own accord; but
    /// a head that cannot be read is answered behind what was sent before.
    fn may_be_head(&self) -> bool {
        self.framing.is_some()
            && (!self.activity.writes_body() || matches!(self.ended, Some(Ended::Fault(_))))
    }

    /// Sends what was held back: it was not hyper's own, or there is more after it.
    fn release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.held);
            match ready!(self.watched(polled, cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => {
                    self.held.drain(..sent);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed chunked body")
}

/// Where in `bytes` the head begins that hyper has made up by itself, if it ends with one: a 4xx without a body, and
/// without the request id that every answer of ours has.
fn own_head(bytes: &[u8]) -> Option<usize> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let window = bytes.len().saturating_sub(LONGEST_OWN_HEAD);
    let at = window + memchr::memmem::rfind(&bytes[window..], b"HTTP/1.")?;
    let head = &bytes[at..];
    let has = |text: &[u8]| memchr::memmem::find(head, text).is_some();
    (head.get(9) == Some(&b'4') && has(b"content-length: 0\r\n") && !has(b"x-request-id"))
        .then_some(at)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(ended) = this.ended
            && this.framing.is_some()
        {
            if !this.poison.is_empty() {
                this.give_poison(buf);
                return Poll::Ready(Ok(()));
            }
            return match ended {
                // What comes after it is nobody's business.
                Ended::Fault(fault) if !fault.in_body() => Poll::Pending,
                Ended::Fault(_) => Poll::Ready(Err(malformed())),
                Ended::HeadTimeout | Ended::IdleTimeout | Ended::Rests | Ended::WriteTimeout => {
                    Poll::Ready(Ok(()))
                }
            };
        }
        let before = buf.filled().len();
        if this.early.is_empty() {
            if Pin::new(&mut this.stream).poll_read(cx, buf)?.is_pending() {
                return this.pending_read(cx);
            }
            this.end_of_input |= buf.filled().len() == before && buf.remaining() > 0;
        } else {
            let taken = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..taken]);
            this.early.advance(taken);
            if this.early.is_empty() {
                // Its memory, too.
                this.early = Bytes::new();
            }
        }
        this.check(buf, before)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.release(cx))?;
        let mut bytes = bytes;
        if this.may_be_head() {
            if let Some(at) = own_head(bytes) {
                if at == 0 {
                    this.held.extend_from_slice(bytes);
                    return Poll::Ready(Ok(bytes.len()));
                }
                bytes = &bytes[..at];
            }
            if bytes.starts_with(b"HTTP/1.1 101 ") {
                this.framing = None;
            }
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watched(polled, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(cx, only);
        }
        // A head that hyper has made up is never followed by anything.
        let this = self.get_mut();
        ready!(this.release(cx))?;
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watched(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        // hyper flushes when it has written all it has.
        if polled.is_ready() {
            this.activity.sent_all();
        }
        this.watched(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.framing.is_some() {
            // HTTP/1 is shut down in `connection.rs`, which may have something to say first.
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watched(polled, cx)
    }
}
