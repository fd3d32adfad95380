//! A body in a content coding, as it comes: what is there is sent before more is waited for. Whether a body is coded is
//! decided in `edge/compression.rs`.
//!
//! Encoders that write into memory, and no stream of one: trailers pass, an error of the body stays what it was, and it is
//! seen here when to flush.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use crate::config::Coding;

/// Chosen for answers that are made anew for each request: a bit larger than they could be, and soon there.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_QUALITY: u32 = 4;
/// 512 KiB: the encoder's memory grows with it.
const BROTLI_WINDOW: u32 = 19;
const GZIP_LEVEL: u32 = 5;
const BROTLI_BUFFER: usize = 4 << 10;

/// The most that is coded before other tasks have their turn.
const AT_ONCE: usize = 64 << 10;

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    /// What has been coded since the last time.
    fn take(&mut self) -> Bytes {
        let output = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(output).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}

pub(super) struct Coded {
    body: Body,
    coding: Coding,
    /// Made for the first piece, gone after the last.
    encoder: Option<Encoder>,
    /// Came and has not been coded yet.
    left: Bytes,
    /// Something is in the encoder that has not come out.
    unflushed: bool,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Coded {
    pub(super) fn new(body: Body, coding: Coding) -> Self {
        Self {
            body,
            coding,
            encoder: None,
            left: Bytes::new(),
            unflushed: false,
            trailers: None,
            ended: false,
        }
    }

    fn encoder(&mut self) -> io::Result<&mut Encoder> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.coding)?,
        };
        Ok(self.encoder.insert(encoder))
    }

    /// Codes a part of what is left.
    fn code(&mut self) -> io::Result<Bytes> {
        let piece = self.left.split_to(self.left.len().min(AT_ONCE));
        self.unflushed = true;
        let encoder = self.encoder()?;
        encoder.writer().write_all(&piece)?;
        Ok(encoder.take())
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        self.unflushed = false;
        let encoder = self.encoder()?;
        encoder.writer().flush()?;
        Ok(encoder.take())
    }

    /// The last bytes; a body of none has an end, too.
    fn finish(&mut self) -> io::Result<Bytes> {
        self.ended = true;
        self.encoder()?;
        self.encoder
            .take()
            .map_or(Ok(Bytes::new()), Encoder::finish)
    }
}

impl HttpBody for Coded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            let coded = if this.ended {
                return Poll::Ready(
                    this.trailers
                        .take()
                        .map(|fields| Ok(Frame::trailers(fields))),
                );
            } else if !this.left.is_empty() {
                this.code()
            } else {
                match Pin::new(&mut this.body).poll_frame(cx) {
                    Poll::Pending if this.unflushed => this.flush(),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => this.finish(),
                    Poll::Ready(Some(Err(error))) => {
                        // Without its end nobody takes it for the whole.
                        this.ended = true;
                        this.encoder = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            this.left = data;
                            continue;
                        }
                        Err(frame) => {
                            this.trailers = frame.into_trailers().ok();
                            this.finish()
                        }
                    },
                }
            };
            match coded {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => {
                    this.ended = true;
                    this.encoder = None;
                    return Poll::Ready(Some(Err(axum::Error::new(error))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io::Read;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::{BodyExt, Full};

    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    fn decoded(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        match coding {
            Coding::Zstd => return zstd::stream::decode_all(bytes),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain)?,
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain)?,
        };
        Ok(plain)
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in() {
        for coding in ALL {
            for length in [0, 1, 1000, AT_ONCE, 3 * AT_ONCE + 7] {
                let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
                let body = Coded::new(Body::from(plain.clone()), coding);
                let coded = body.collect().await.unwrap().to_bytes();
                assert_eq!(decoded(coding, &coded).unwrap(), plain, "{coding:?}");
                if length > 1000 {
                    assert!(coded.len() < length / 10, "{coding:?}: {}", coded.len());
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_there_is_sent_before_more_is_waited_for() {
        for coding in ALL {
            let frames = stream::iter([Ok::<_, io::Error>("first")]).chain(stream::pending());
            let mut body = Coded::new(Body::from_stream(frames), coding);
            let mut coded = Vec::new();
            while let Some(frame) = body.frame().now_or_never() {
                coded.extend(frame.unwrap().unwrap().into_data().unwrap());
            }
            // The end is missing, the text is not.
            let mut plain = Vec::new();
            let mut reader: Box<dyn Read> = match coding {
                Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(&coded[..]).unwrap()),
                Coding::Brotli => Box::new(brotli::Decompressor::new(&coded[..], 4096)),
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&coded[..])),
            };
            let _ = reader.by_ref().take(5).read_to_end(&mut plain);
            assert_eq!(plain, b"first", "{coding:?}");
        }
    }

    #[tokio::test]
    async fn trailers_follow_and_errors_stay_errors() {
        for coding in ALL {
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", "1".parse().unwrap());
            let body = Full::from("abc").with_trailers(async move { Some(Ok(fields)) });
            let collected = Coded::new(Body::new(body), coding).collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
            let plain = decoded(coding, &collected.to_bytes()).unwrap();
            assert_eq!(plain, b"abc");

            let broken = stream::iter([Ok("abc"), Err(io::Error::other("gone"))]);
            let mut body = Coded::new(Body::from_stream(broken), coding);
            let mut last = None;
            let mut coded = Vec::new();
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => coded.extend(frame.into_data().unwrap()),
                    Err(error) => last = Some(error),
                }
            }
            assert!(last.is_some(), "{coding:?}");
            assert!(decoded(coding, &coded).is_err(), "{coding:?}");
        }
    }
}
