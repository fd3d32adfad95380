//! The connection of the second level: kept on the control runtime, withdrawn at the first answer that does not come in time, so
//! that nobody else waits for one, and given out again when the server has answered. Purges are told from here. What
//! requests say over it is `cache/second.rs`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::purges::Purges;
use crate::config::{RedisConfig, RedisServer};
use crate::metrics::Gauge;
use crate::store::redis::{Retry, in_time, open, words};

const SERVER: &str = include_str!("server.lua");

/// A server that goes away while nobody asks is noticed after this.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// A server that takes longer for a probe was away, unless requests wait even longer.
const SLOW: Duration = Duration::from_millis(250);
/// What no request waits for may take so many times as long. So nobody gives up telling it of a purge before everybody else
/// has noticed, in one probe or the next, that it was away.
const PATIENCE: u32 = 4;
pub(super) const LATE: &str = "no answer in time";

pub(super) struct Link {
    server: RedisServer,
    prefix: String,
    connected: ArcSwapOption<Connected>,
    suspected: Notify,
    slow: Duration,
    reason: Mutex<String>,
    up: Gauge,
}

/// A server that answers.
pub(super) struct Connected {
    connection: MultiplexedConnection,
    /// What was asked for before does not count, in microseconds by the server's clock: it was away then, and somebody may have
    /// purged something without being able to say so.
    pub(super) not_before: u64,
}

impl Link {
    pub(super) fn new(config: &RedisConfig, prefix: &str, up: Gauge) -> Self {
        Self {
            server: config.server.clone(),
            prefix: prefix.to_owned(),
            connected: ArcSwapOption::empty(),
            suspected: Notify::new(),
            slow: config.timeout.max(SLOW),
            reason: Mutex::new("not connected yet".to_owned()),
            up,
        }
    }

    pub(super) fn readiness(&self) -> (bool, String) {
        let server = &self.server;
        if self.connected.load().is_some() {
            return (true, format!("responses are shared in {server}"));
        }
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        (
            false,
            format!("{server}: {reason}; this replica stores responses for itself"),
        )
    }

    pub(super) fn connected(&self) -> Option<Arc<Connected>> {
        self.connected.load_full()
    }

    /// An answer did not come: nobody asks before the server has been heard again.
    pub(super) fn suspect(&self) {
        self.say(LATE.to_owned());
        self.withdraw();
        self.suspected.notify_one();
    }

    /// The answer; in what time is for who asks.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        connected: &Connected,
        pipeline: &Pipeline,
    ) -> Result<T, String> {
        let mut connection = connected.connection.clone();
        let answer = pipeline.query_async(&mut connection).await;
        answer.map_err(|error| {
            // What a server refuses says nothing against the connection.
            if error.code().is_none() {
                self.suspect();
            }
            words(error)
        })
    }

    /// The answer to what no request waits for.
    pub(super) async fn exchange<T: FromRedisValue>(
        &self,
        connected: &Connected,
        pipeline: &Pipeline,
    ) -> Result<T, String> {
        let patience = self.slow * PATIENCE;
        match timeout(patience, self.ask(connected, pipeline)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(LATE.to_owned()),
        }
    }

    /// Keeps the connection, and tells the server of purges, for as long as it is polled.
    pub(super) async fn run(&self, purges: &Purges) {
        crate::telemetry::install_crypto();
        let server = &self.server;
        let mut retry = Retry::new();
        let mut was_connected = false;
        let mut reported_down = false;
        loop {
            let since = Instant::now();
            let reason = match in_time(self.connect()).await {
                Ok((connection, time)) => {
                    tracing::info!(%server, "responses are shared in the store");
                    reported_down = false;
                    // Who was never connected has nothing to fear: what others have stored stands.
                    let not_before = if was_connected { time } else { 0 };
                    was_connected = true;
                    self.publish(connection.clone(), not_before);
                    let reason = self.watch(connection, purges).await;
                    retry.lost(since);
                    reason
                }
                Err(reason) => reason,
            };
            self.withdraw();
            if !reported_down {
                reported_down = true;
                tracing::warn!(%server, reason, "the second level of the cache is away");
            }
            self.say(reason);
            retry.pause().await;
        }
    }

    /// A connection, and the server's time.
    async fn connect(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut connection = open(&self.server).await?;
        let about: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        let server = about
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"))
            .ok_or((
                ErrorKind::UnexpectedReturnType,
                "the server does not say which one it is (run_id)",
            ))?;
        let (seconds, micros): (u64, u64) = redis::cmd("EVAL")
            .arg(SERVER)
            .arg(2)
            .arg(format!("{}server", self.prefix))
            .arg(format!("{}g:{}", self.prefix, super::Generation::All))
            .arg(server)
            .query_async(&mut connection)
            .await?;
        Ok((connection, seconds * 1_000_000 + micros))
    }

    /// From a connection's beginning to its end; says why it ended.
    async fn watch(&self, mut connection: MultiplexedConnection, purges: &Purges) -> String {
        let mut probes = interval(PROBE_EVERY);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                () = purges.wanted() => self.tell(&mut connection, purges).await,
                () = self.suspected.notified() => self.probe(&mut connection).await,
                _ = probes.tick() => self.probe(&mut connection).await,
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    async fn tell(
        &self,
        connection: &mut MultiplexedConnection,
        purges: &Purges,
    ) -> Result<(), String> {
        let Some(batch) = purges.take() else {
            return Ok(());
        };
        let mut delete = redis::cmd("DEL");
        for generation in &batch.generations {
            delete.arg(format!("{}g:{generation}", self.prefix));
        }
        match self.patiently(delete.query_async::<u64>(connection)).await {
            Ok(_deleted) => {
                purges.confirm(&batch);
                Ok(())
            }
            Err(reason) => {
                purges.put_back();
                Err(reason)
            }
        }
    }

    /// One late answer is no lost server.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> Result<(), String> {
        let time = redis::cmd("TIME");
        let asked = Instant::now();
        let (seconds, micros): (u64, u64) = self.patiently(time.query_async(connection)).await?;
        if self.connected.load().is_none() || asked.elapsed() > self.slow {
            self.publish(connection.clone(), seconds * 1_000_000 + micros);
        }
        Ok(())
    }

    async fn patiently<T>(
        &self,
        exchange: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, String> {
        match timeout(self.slow * PATIENCE, exchange).await {
            Ok(answer) => answer.map_err(words),
            Err(_elapsed) => Err(LATE.to_owned()),
        }
    }

    fn publish(&self, connection: MultiplexedConnection, not_before: u64) {
        self.connected.store(Some(Arc::new(Connected {
            connection,
            not_before,
        })));
        self.up.set(1.0);
    }

    /// Why it is not asked.
    fn say(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn withdraw(&self) {
        self.connected.store(None);
        self.up.set(0.0);
    }
}
