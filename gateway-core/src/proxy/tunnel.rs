//! An open WebSocket between a client and a service: bytes both ways, unchanged, until one side ends it or a limit does.
//! How it is opened is `upgrade.rs`'s.

mod frames;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use frames::Frames;

/// What is read at once.
const BUFFER: usize = 16 << 10;
/// How long a side may take to end what it is in the middle of.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the other side may go on when one has closed.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// Private codes (RFC 6455, 7.4.2) and registered ones.
const FORBIDDEN: u16 = 4403;
const TOO_BIG: u16 = 1009;
const GOING_AWAY: u16 = 1001;

/// What bounds a tunnel.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) idle: Duration,
    /// When its time is over, by its lifetime or because the caller's credential ends.
    pub(super) until: Instant,
    /// Whether `until` is the credential's end.
    pub(super) by_credential: bool,
    /// The largest frame that a client may send, in bytes.
    pub(super) max_frame: u64,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// One of the sides has closed.
    Closed,
    /// One of the sides broke off.
    Broken,
    Idle,
    Lifetime,
    Credential,
    /// The caller's credential is not believed any more.
    Revoked,
    /// A frame of the client's was larger than it may be.
    TooBig,
    Draining,
}

impl Ended {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Credential => "credentials expired",
            Self::Revoked => "credentials revoked",
            Self::TooBig => "frame too large",
            Self::Draining => "going away",
        }
    }

    /// What the client is told; nothing when the sides have it from each other.
    fn code(self) -> Option<u16> {
        match self {
            Self::Closed | Self::Broken => None,
            Self::Idle | Self::Lifetime | Self::Credential | Self::Revoked => Some(FORBIDDEN),
            Self::TooBig => Some(TOO_BIG),
            Self::Draining => Some(GOING_AWAY),
        }
    }
}

/// What a tunnel came to.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) ended: Ended,
    pub(super) from_client: u64,
    pub(super) from_service: u64,
}

/// When bytes last went either way.
struct Activity {
    opened: Instant,
    millis: AtomicU64,
}

impl Activity {
    fn now(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

/// How one direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// The sender has closed.
    End,
    Broken,
    TooBig,
    /// It was asked to, between two frames.
    Stopped,
}

/// One direction: what is read there is written here.
struct Pump<R, W> {
    reader: R,
    writer: W,
    frames: Frames,
    bytes: u64,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<R, W> {
    fn new(reader: R, writer: W, max_frame: u64) -> Self {
        Self {
            reader,
            writer,
            frames: Frames::new(max_frame),
            bytes: 0,
        }
    }

    async fn run(&mut self, activity: &Activity, stop: &CancellationToken) -> Pumped {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = tokio::select! {
                biased;
                () = stop.cancelled(), if self.frames.between() => return Pumped::Stopped,
                read = self.reader.read(&mut buffer) => read,
            };
            let read = match read {
                Ok(0) => {
                    // What the other side still has to say may be said.
                    let ended = self.writer.shutdown().await;
                    return if ended.is_ok() {
                        Pumped::End
                    } else {
                        Pumped::Broken
                    };
                }
                Ok(read) => read,
                Err(_) => return Pumped::Broken,
            };
            activity.now();
            let passed = self.frames.pass(&buffer[..read]);
            // What came before a frame that is too large is as good as if it had come alone.
            let good = passed.map_or_else(|too_big| too_big.before.unwrap_or(0), |()| read);
            self.bytes += good as u64;
            if self.write(&buffer[..good]).await.is_err() {
                return Pumped::Broken;
            }
            if passed.is_err() {
                return Pumped::TooBig;
            }
            activity.now();
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }
}

/// Carries bytes between `client` and `service` until it ends; `revoked` ends it, too.
pub(super) async fn run<C, S>(
    client: C,
    service: S,
    bounds: &Bounds,
    drain: &CancellationToken,
    revoked: impl Future<Output = ()>,
) -> Summary
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = split(client);
    let (from_service, to_service) = split(service);
    let mut up = Pump::new(from_client, to_service, bounds.max_frame);
    let mut down = Pump::new(from_service, to_client, u64::MAX);
    let activity = Activity {
        opened: Instant::now(),
        millis: AtomicU64::new(0),
    };
    let stop = CancellationToken::new();
    let (ended, may_speak, stopped) = {
        let mut upward = std::pin::pin!(up.run(&activity, &stop));
        let mut downward = std::pin::pin!(down.run(&activity, &stop));
        let ended = tokio::select! {
            pumped = &mut upward => match pumped {
                Pumped::TooBig => Ended::TooBig,
                Pumped::End => rest(&mut downward).await,
                Pumped::Broken | Pumped::Stopped => Ended::Broken,
            },
            pumped = &mut downward => match pumped {
                Pumped::End => rest(&mut upward).await,
                Pumped::TooBig | Pumped::Broken | Pumped::Stopped => Ended::Broken,
            },
            ended = limit(bounds, &activity, drain) => ended,
            () = revoked => Ended::Revoked,
        };
        stop.cancel();
        // Between two frames a word of ours is understood; in the middle of one it would be taken for a part of it.
        let may_speak = ended.code().is_some()
            && matches!(timeout(GOODBYE, &mut downward).await, Ok(Pumped::Stopped));
        let stopped = ended.code().is_some()
            && ended != Ended::TooBig
            && matches!(timeout(GOODBYE, &mut upward).await, Ok(Pumped::Stopped));
        (ended, may_speak, stopped)
    };
    let may_tell = stopped || ended == Ended::TooBig && up.frames.between();
    if let Some(code) = ended.code() {
        if may_speak
            && down
                .write(&frames::close(code, ended.as_str(), None))
                .await
                .is_ok()
        {
            let _ = down.writer.shutdown().await;
        }
        if may_tell {
            let mask = Some(fastrand::u32(..).to_be_bytes());
            // A service that has gone needs no word.
            let _ = timeout(GOODBYE, up.write(&frames::close(GOING_AWAY, "", mask))).await;
            let _ = timeout(GOODBYE, up.writer.shutdown()).await;
        }
        // Closing with bytes unread would reset the connection, and the last word be lost with it.
        let mut nothing = [0; 1024];
        let _ = timeout(GOODBYE, async {
            while matches!(up.reader.read(&mut nothing).await, Ok(read) if read > 0) {}
        })
        .await;
    }
    Summary {
        ended,
        from_client: up.bytes,
        from_service: down.bytes,
    }
}

/// The other direction, when one has come to its end.
async fn rest(other: &mut (impl Future<Output = Pumped> + Unpin)) -> Ended {
    match timeout(HALF_CLOSED, other).await {
        Ok(Pumped::End) | Err(_) => Ended::Closed,
        Ok(Pumped::Broken | Pumped::TooBig | Pumped::Stopped) => Ended::Broken,
    }
}

/// Waits until a limit is reached.
async fn limit(bounds: &Bounds, activity: &Activity, drain: &CancellationToken) -> Ended {
    loop {
        let idle = activity.last() + bounds.idle;
        tokio::select! {
            () = drain.cancelled() => return Ended::Draining,
            () = sleep_until(bounds.until.min(idle)) => {}
        }
        let now = Instant::now();
        if bounds.until <= now {
            return if bounds.by_credential {
                Ended::Credential
            } else {
                Ended::Lifetime
            };
        }
        if activity.last() + bounds.idle <= now {
            return Ended::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const TEXT: &[u8] = b"\x81\x05hello";
    const MASKED: &[u8] = b"\x81\x85\x00\x00\x00\x00hello";

    struct Ends {
        client: DuplexStream,
        service: DuplexStream,
        drain: CancellationToken,
        revoked: CancellationToken,
        tunnel: JoinHandle<Summary>,
    }

    fn open(idle: u64, until: u64, by_credential: bool) -> Ends {
        let (client, near_client) = duplex(1 << 16);
        let (service, near_service) = duplex(1 << 16);
        let drain = CancellationToken::new();
        let bounds = Bounds {
            idle: Duration::from_secs(idle),
            until: Instant::now() + Duration::from_secs(until),
            by_credential,
            max_frame: 100,
        };
        let draining = drain.clone();
        let revoked = CancellationToken::new();
        let revoking = revoked.clone();
        let tunnel = tokio::spawn(async move {
            let revoked = revoking.cancelled();
            run(near_client, near_service, &bounds, &draining, revoked).await
        });
        Ends {
            client,
            service,
            drain,
            revoked,
            tunnel,
        }
    }

    async fn all(stream: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_go_both_ways_until_a_side_closes() {
        let mut ends = open(60, 600, false);
        ends.client.write_all(MASKED).await.unwrap();
        ends.service.write_all(TEXT).await.unwrap();
        let mut got = [0; TEXT.len()];
        ends.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, TEXT);
        ends.client.shutdown().await.unwrap();
        assert_eq!(all(&mut ends.service).await, MASKED);
        ends.service.shutdown().await.unwrap();
        let summary = ends.tunnel.await.unwrap();
        assert_eq!(summary.ended, Ended::Closed);
        assert_eq!((summary.from_client, summary.from_service), (11, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_closes_with_a_word_to_both_sides() {
        for (idle, until, by_credential, ended, code) in [
            (5, 60, false, Ended::Idle, FORBIDDEN),
            (60, 5, false, Ended::Lifetime, FORBIDDEN),
            (60, 5, true, Ended::Credential, FORBIDDEN),
        ] {
            let mut ends = open(idle, until, by_credential);
            ends.service.write_all(TEXT).await.unwrap();
            let said = all(&mut ends.client).await;
            let expected = [TEXT, &frames::close(code, ended.as_str(), None)[..]].concat();
            assert_eq!(said, expected, "{ended:?}");
            let told = all(&mut ends.service).await;
            assert_eq!(told[..2], [0x88, 0x82], "{ended:?}");
            drop(ends.client);
            assert_eq!(ends.tunnel.await.unwrap().ended, ended);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_credential_closes_it() {
        let mut ends = open(60, 600, true);
        ends.client.write_all(MASKED).await.unwrap();
        let mut got = [0; MASKED.len()];
        ends.service.read_exact(&mut got).await.unwrap();
        ends.revoked.cancel();
        let said = all(&mut ends.client).await;
        assert_eq!(said, frames::close(FORBIDDEN, "credentials revoked", None));
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().ended, Ended::Revoked);
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_is_not_idle() {
        let mut ends = open(5, 600, false);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            ends.client.write_all(MASKED).await.unwrap();
        }
        assert!(!ends.tunnel.is_finished());
        ends.drain.cancel();
        let said = all(&mut ends.client).await;
        assert_eq!(said, frames::close(GOING_AWAY, "going away", None));
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().ended, Ended::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_is_too_large_is_not_passed_on() {
        let mut ends = open(60, 600, false);
        ends.client.write_all(MASKED).await.unwrap();
        let mut first = [0; MASKED.len()];
        ends.service.read_exact(&mut first).await.unwrap();
        // A frame of 101 bytes, as its head says.
        ends.client
            .write_all(b"\x82\xe5\x00\x00\x00\x00")
            .await
            .unwrap();
        let said = all(&mut ends.client).await;
        assert_eq!(said, frames::close(TOO_BIG, "frame too large", None));
        // The service has had nothing of it, and is told that there is no more.
        let told = all(&mut ends.service).await;
        assert_eq!(told[..2], [0x88, 0x82]);
        drop(ends.client);
        assert_eq!(ends.tunnel.await.unwrap().ended, Ended::TooBig);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_before_a_frame_that_is_too_large_is_passed_on() {
        let mut ends = open(60, 600, false);
        let together = [MASKED, b"\x82\xe5\x00\x00\x00\x00"].concat();
        ends.client.write_all(&together).await.unwrap();
        let said = all(&mut ends.client).await;
        assert_eq!(said, frames::close(TOO_BIG, "frame too large", None));
        let told = all(&mut ends.service).await;
        assert_eq!(told[..MASKED.len()], *MASKED);
        assert_eq!(told[MASKED.len()..][..2], [0x88, 0x82]);
        assert_eq!(told.len(), MASKED.len() + 8);
        drop(ends.client);
        let summary = ends.tunnel.await.unwrap();
        assert_eq!(summary.ended, Ended::TooBig);
        assert_eq!(summary.from_client, MASKED.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_put_into_the_middle_of_a_frame() {
        let mut ends = open(5, 600, false);
        ends.service.write_all(&TEXT[..4]).await.unwrap();
        let said = all(&mut ends.client).await;
        assert_eq!(said, &TEXT[..4]);
    }
}
