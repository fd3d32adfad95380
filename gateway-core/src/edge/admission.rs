//! Load shedding: how many requests are worked on at once, and how long a place is held. Limits per caller are
//! `rate_limit.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::event_stream;
use crate::error::{Error, GatewayError};
use crate::metrics::AdmissionMetrics;

/// How requests get a place: the places themselves are shared by all workers and by all configurations, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    places: Arc<Places>,
    /// How many there are to be while this configuration is at work.
    number: usize,
    max_wait: Duration,
    stall: Duration,
    metrics: AdmissionMetrics,
}

#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    number: AtomicUsize,
    /// Places that are given up as soon as they are free: there were more of them before.
    surplus: AtomicUsize,
}

/// How many places there are, and how many are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacesNow {
    pub(crate) number: usize,
    pub(crate) taken: usize,
}

/// A place that is taken.
#[derive(Debug)]
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Places>,
}

/// One of the places; given back when its last holder has dropped it.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    place: Arc<Place>,
    stall: Duration,
}

impl Places {
    /// Called by one task at a time.
    fn resize(&self, number: usize) {
        let before = self.number.swap(number, Ordering::Relaxed);
        if number < before {
            let fewer = before - number;
            let gone = self.free.forget_permits(fewer);
            self.surplus.fetch_add(fewer - gone, Ordering::Relaxed);
        } else {
            let mut more = number - before;
            while more > 0 && self.keep_one() {
                more -= 1;
            }
            self.free.add_permits(more);
        }
    }

    /// Takes one off the surplus, if there is any.
    fn keep_one(&self) -> bool {
        let less = |surplus: usize| surplus.checked_sub(1);
        self.surplus
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.places.keep_one()
        {
            permit.forget();
        }
    }
}

impl Admission {
    /// `places` requests at once; more wait for `max_wait`. An answer without progress for `stall` gives its place back.
    pub(crate) fn new(
        places: usize,
        max_wait: Duration,
        stall: Duration,
        metrics: AdmissionMetrics,
    ) -> Self {
        let number = places.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Places {
                free: Arc::new(Semaphore::new(number)),
                number: AtomicUsize::new(number),
                surplus: AtomicUsize::new(0),
            }),
            number,
            max_wait,
            stall,
            metrics,
        }
    }

    /// That of the next configuration: requests under way keep their places, and they count. There are as many places as
    /// before until [`Self::take_over`].
    pub(crate) fn after(&self, places: usize, max_wait: Duration) -> Self {
        Self {
            places: Arc::clone(&self.places),
            number: places.min(Semaphore::MAX_PERMITS),
            max_wait,
            stall: self.stall,
            metrics: self.metrics.clone(),
        }
    }

    /// From here on there are as many places as this configuration says.
    pub(crate) fn take_over(&self) {
        self.places.resize(self.number);
    }

    /// For operators.
    pub(crate) fn places(&self) -> PlacesNow {
        let number = self.places.number.load(Ordering::Relaxed);
        let surplus = self.places.surplus.load(Ordering::Relaxed);
        let free = self.places.free.available_permits();
        PlacesNow {
            number,
            taken: (number + surplus).saturating_sub(free),
        }
    }

    /// Takes a place. When there is none it waits, in order and only so long that the client is better off than with a
    /// refusal and a second try.
    pub(super) async fn admit(&self) -> Result<Permit, Error> {
        let free = Arc::clone(&self.places.free);
        let permit = match free.try_acquire_owned() {
            Ok(permit) => permit,
            Err(_full) => Box::pin(self.wait()).await.ok_or_else(|| {
                self.metrics.shed.increment(1);
                GatewayError::Overloaded
            })?,
        };
        Ok(Permit {
            place: Arc::new(Place {
                permit: Some(permit),
                places: Arc::clone(&self.places),
            }),
            stall: self.stall,
        })
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        if self.max_wait.is_zero() {
            return None;
        }
        let _waiting = Waiting::begin(&self.metrics);
        let place = Arc::clone(&self.places.free).acquire_owned();
        timeout(self.max_wait, place).await.ok()?.ok()
    }
}

/// Counts a request for as long as it waits, also when its client goes away meanwhile.
struct Waiting<'a> {
    metrics: &'a AdmissionMetrics,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(metrics: &'a AdmissionMetrics) -> Self {
        metrics.waiting.up();
        Self {
            metrics,
            since: Instant::now(),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.waiting.down();
        self.metrics.wait.observe(self.since.elapsed());
    }
}

impl Permit {
    /// Keeps the place until the answer's body has been sent: a slow download is work, too. One that stands still is not.
    pub(super) fn held_by(self, response: Response) -> Response {
        let endless = event_stream::says_so(response.headers());
        response.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(Held {
                body,
                stall: (!endless).then_some(self.stall),
                waiting: None,
                _place: self.place,
            })
        })
    }
}

/// What an answer ends with when its source has stopped.
#[derive(Debug, thiserror::Error)]
#[error("no progress of the answer for {0:?}")]
struct Stalled(Duration);

struct Held {
    body: Body,
    /// How long the source may be silent; event streams may be for ever.
    stall: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
    _place: Arc<Place>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame);
        }
        let Some(stall) = this.stall else {
            return Poll::Pending;
        };
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        if waiting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(Stalled(stall)))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const WAIT: Duration = Duration::from_millis(50);

    fn admission(places: usize) -> Admission {
        Admission::new(places, WAIT, WAIT, Metrics::new(1).admission())
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_place_is_given_out_once_and_comes_back() {
        let admission = admission(1);
        let first = admission.admit().await.expect("a place is free");
        let before = Instant::now();
        assert!(matches!(
            admission.admit().await,
            Err(Error::Gateway(GatewayError::Overloaded))
        ));
        assert!(before.elapsed() >= WAIT && before.elapsed() < WAIT * 2);
        drop(first);
        assert!(admission.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_place_that_becomes_free() {
        let admission = admission(1);
        let first = admission.admit().await.expect("a place is free");
        let (second, ()) = tokio::join!(admission.admit(), async {
            tokio::time::sleep(WAIT / 2).await;
            drop(first);
        });
        assert!(second.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_count_for_the_next_configuration() {
        let admission = admission(2);
        let first = admission.admit().await.expect("a place is free");
        let second = admission.admit().await.expect("a place is free");
        let fewer = admission.after(1, WAIT);
        fewer.take_over();
        drop(first);
        assert!(
            fewer.admit().await.is_err(),
            "the second has the only place"
        );
        drop(second);
        let only = fewer.admit().await.expect("the place is free");
        assert!(fewer.admit().await.is_err());

        let more = fewer.after(3, WAIT);
        more.take_over();
        let others = (more.admit().await, more.admit().await);
        assert!(others.0.is_ok() && others.1.is_ok());
        assert!(more.admit().await.is_err());
        drop(only);
        assert!(more.admit().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_surplus_is_taken_back_when_places_are_raised_again() {
        let admission = admission(2);
        let held = (admission.admit().await, admission.admit().await);
        admission.after(1, WAIT).take_over();
        let again = admission.after(2, WAIT);
        again.take_over();
        assert!(again.admit().await.is_err());
        drop(held);
        let held = (again.admit().await, again.admit().await);
        assert!(held.0.is_ok() && held.1.is_ok());
        assert!(again.admit().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_gives_its_place_back() {
        use http_body_util::BodyExt;
        let silent =
            || Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
        let admission = admission(1);
        let permit = admission.admit().await.expect("a place is free");
        let response = permit.held_by(Response::new(silent()));
        assert!(
            response
                .into_body()
                .frame()
                .await
                .is_some_and(|frame| frame.is_err())
        );

        let permit = admission.admit().await.expect("the place is free again");
        let mut events = Response::new(silent());
        events.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        let mut body = permit.held_by(events).into_body();
        assert!(timeout(WAIT * 100, body.frame()).await.is_err());
    }
}
