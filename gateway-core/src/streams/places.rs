//! How many streams one caller has, and how many there are; WebSockets that end here are streams, too. What a stream does is
//! `body.rs`'s.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::auth::Principal;
use crate::config::StreamConfig;
use crate::error::{ClientError, Error, GatewayError};

/// Marks an answer that is a stream of ours: it is counted here, and no longer among the requests at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HasPlace;

/// The streams of a process, under every configuration.
#[derive(Debug)]
pub(crate) struct Places {
    by_caller: Mutex<HashMap<Caller, usize>>,
    max_per_caller: AtomicUsize,
    /// Those of the streams that are WebSockets: their connections are not among the server's any more.
    sockets: AtomicUsize,
    max_sockets: AtomicUsize,
    /// Milliseconds.
    heartbeat: AtomicU64,
    open: AtomicUsize,
    refused: AtomicU64,
}

/// A caller's place for a stream; it ends with the stream.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    caller: Caller,
    is_socket: bool,
}

/// Whose streams are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Named(Box<str>),
    /// Whoever has no name.
    V4(u32),
    /// The /64 that a subscriber gets: within it addresses cost nothing.
    V6(u64),
}

impl Caller {
    fn of(principal: &Principal, address: IpAddr) -> Self {
        match (principal.subject(), address.to_canonical()) {
            (Some(name), _) => Self::Named(name.into()),
            (None, IpAddr::V4(address)) => Self::V4(address.to_bits()),
            (None, IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            by_caller: Mutex::default(),
            max_per_caller: AtomicUsize::new(usize::MAX),
            sockets: AtomicUsize::new(0),
            max_sockets: AtomicUsize::new(usize::MAX),
            heartbeat: AtomicU64::new(15_000),
            open: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

impl Places {
    /// What holds from now on; streams that are open stay.
    pub(crate) fn configure(&self, config: &StreamConfig) {
        let heartbeat = u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        self.max_per_caller
            .store(config.max_per_caller, Ordering::Relaxed);
        self.heartbeat.store(heartbeat, Ordering::Relaxed);
    }

    /// How many WebSockets there may be from now on.
    pub(crate) fn allow_sockets(&self, max: usize) {
        self.max_sockets.store(max, Ordering::Relaxed);
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A place for a stream of this caller.
    ///
    /// # Errors
    /// 429 when it has as many as one may have.
    pub(crate) fn take(
        self: &Arc<Self>,
        principal: &Principal,
        address: IpAddr,
    ) -> Result<Place, ClientError> {
        let caller = Caller::of(principal, address);
        let max = self.max_per_caller.load(Ordering::Relaxed);
        let mut by_caller = self.lock();
        let count = by_caller.get(&caller).copied().unwrap_or_default();
        if count >= max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ClientError::TooManyStreams);
        }
        by_caller.insert(caller.clone(), count + 1);
        drop(by_caller);
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place {
            places: Arc::clone(self),
            caller,
            is_socket: false,
        })
    }

    /// A place for a WebSocket of this caller.
    ///
    /// # Errors
    /// 429 when it has as many streams as one may have, 503 when there are as many WebSockets as there may be.
    pub(crate) fn take_for_socket(
        self: &Arc<Self>,
        principal: &Principal,
        address: IpAddr,
    ) -> Result<Place, Error> {
        let mut place = self.take(principal, address)?;
        let max = self.max_sockets.load(Ordering::Relaxed);
        let one_more = |sockets: usize| (sockets < max).then_some(sockets + 1);
        self.sockets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_full| GatewayError::Overloaded)?;
        place.is_socket = true;
        Ok(place)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Caller, usize>> {
        // A count that was changed is right also when somebody panicked afterwards.
        self.by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn heartbeat(&self) -> Duration {
        self.places.heartbeat()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.fetch_sub(1, Ordering::Relaxed);
        if self.is_socket {
            self.places.sockets.fetch_sub(1, Ordering::Relaxed);
        }
        let mut by_caller = self.places.lock();
        if let Some(count) = by_caller.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn places(max_per_caller: usize, max_sockets: usize) -> Arc<Places> {
        let places = Places::default();
        places
            .max_per_caller
            .store(max_per_caller, Ordering::Relaxed);
        places.allow_sockets(max_sockets);
        Arc::new(places)
    }

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn whoever_has_no_name_is_counted_by_address() {
        let places = places(2, usize::MAX);
        let take = |address: &str| places.take(&Principal::Anonymous, at(address));
        let one = take("192.0.2.1").unwrap();
        let _two = take("::ffff:192.0.2.1").unwrap();
        assert!(matches!(
            take("192.0.2.1"),
            Err(ClientError::TooManyStreams)
        ));
        let _other = take("192.0.2.2").unwrap();
        drop(one);
        let _again = take("192.0.2.1").unwrap();
        // A subscriber has a whole network.
        let _six = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert!(take("2001:db8::3").is_err());
        assert!(take("2001:db8:0:1::3").is_ok());
        assert_eq!((places.open(), places.refused()), (5, 2));
    }

    #[test]
    fn sockets_are_streams_and_bounded_by_themselves() {
        let places = places(3, 2);
        let socket = |address: &str| places.take_for_socket(&Principal::Anonymous, at(address));
        let one = socket("192.0.2.1").unwrap();
        let _two = socket("192.0.2.2").unwrap();
        assert!(matches!(
            socket("192.0.2.3"),
            Err(Error::Gateway(GatewayError::Overloaded))
        ));
        // One that does not come about takes no place.
        assert_eq!(places.open(), 2);
        let anonymous = Principal::Anonymous;
        let _streams = [0; 2].map(|_| places.take(&anonymous, at("192.0.2.1")).unwrap());
        assert!(places.take(&anonymous, at("192.0.2.1")).is_err());
        drop(one);
        let _three = socket("192.0.2.3").unwrap();
        assert!(socket("192.0.2.4").is_err());
    }
}
