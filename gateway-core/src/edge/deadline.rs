//! How much time a request gets: its route's deadline, or less when the client asks for less (`Request-Timeout`); and its
//! end for an action that does not keep to it. What the deadline means to calls of services is `upstream/`'s.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, GatewayError};

const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("request-timeout");

/// How long after the deadline an action is cut that did not keep to it. Short enough for a 504 within 50 ms.
const BACKSTOP: Duration = Duration::from_millis(20);

/// Runs `action`; one that is not done shortly after `deadline` is cut. Handlers and the proxy keep to the deadline by
/// themselves, and know better what was late.
///
/// # Errors
/// `DeadlineExceeded` for an action that was cut.
pub(super) async fn cut<T>(
    deadline: Instant,
    action: impl Future<Output = T>,
) -> Result<T, GatewayError> {
    let mut action = pin!(action);
    if let Ok(done) = timeout_at(deadline + BACKSTOP, action.as_mut()).await {
        return Ok(done);
    }
    // A worker that was kept from running finds the deadline and this over at once, and may come here before the task of
    // a command, which knows what was late: its turn first.
    tokio::task::yield_now().await;
    action.now_or_never().ok_or(GatewayError::DeadlineExceeded)
}

/// The time for this request; the header's value is in milliseconds.
pub(super) fn budget(headers: &HeaderMap, route: Duration) -> Result<Duration, Error> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(route);
    };
    let millis = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .filter(|millis| *millis > 0)
        .ok_or_else(|| {
            Error::bad_request("Request-Timeout has to be a positive number of milliseconds.")
        })?;
    Ok(route.min(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn with(value: &'static str) -> Result<Duration, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_TIMEOUT, http::HeaderValue::from_static(value));
        budget(&headers, Duration::from_secs(3))
    }

    #[tokio::test]
    async fn what_knows_what_was_late_speaks_first() {
        use std::io::Write;
        use tokio::io::AsyncReadExt;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut near = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let deadline = Instant::now() + Duration::from_millis(5);
        let command = tokio::spawn(timeout_at(deadline, std::future::pending::<()>()));
        // Woken by what its client sends, too, as a connection is.
        let outer = tokio::spawn(cut(deadline, async move {
            let mut command = command;
            loop {
                tokio::select! {
                    done = &mut command => return done.unwrap(),
                    read = near.read_u8() => assert!(read.is_ok()),
                }
            }
        }));
        tokio::task::yield_now().await;
        // Nothing runs until both are over: a thread that is not scheduled, as this one that is busy.
        while Instant::now() < deadline + 2 * BACKSTOP {
            std::hint::spin_loop();
        }
        far.write_all(b"a").unwrap();
        // The command's own word, not that it was cut.
        assert!(outer.await.unwrap().unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_keep_to_the_deadline_is_cut() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let cut = cut(deadline, std::future::pending::<()>()).await;
        assert!(matches!(cut, Err(GatewayError::DeadlineExceeded)));
        assert_eq!(Instant::now(), deadline + BACKSTOP);
    }

    #[test]
    fn a_client_can_only_shorten_it() {
        assert_eq!(
            budget(&HeaderMap::new(), Duration::from_secs(3)).unwrap(),
            Duration::from_secs(3)
        );
        assert_eq!(with("250").unwrap(), Duration::from_millis(250));
        assert_eq!(with("99999").unwrap(), Duration::from_secs(3));
        for bad in ["0", "-1", "1s", ""] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
