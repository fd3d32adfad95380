//! A real Redis of a test's own: on a free port, without a file, gone with the test. What is kept there is with who keeps it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::RedisStore;
use crate::config;

pub(crate) struct TestRedis {
    address: SocketAddr,
    child: Child,
}

impl TestRedis {
    /// When it answers. `scripts/setup.sh test` installs it.
    pub(crate) async fn start() -> Self {
        // Somebody may take the port in between: then the next one.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
                .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
                .current_dir(std::env::temp_dir())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server: scripts/setup.sh test installs it");
            let patience = Instant::now() + Duration::from_secs(20);
            while child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < patience, "redis-server does not answer");
                if ping(&store_at(address)).await.is_ok() {
                    return Self { address, child };
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("redis-server does not start");
    }

    /// A replica's way there; it is connected.
    pub(crate) async fn store(&self) -> Arc<RedisStore> {
        let store = store_at(self.address);
        ping(&store).await.unwrap();
        store
    }

    /// It keeps its connections and answers nobody.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args([name, &id]).status().unwrap().success());
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        // One that has ended by itself is only to be reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The way to what listens at `address`, which is not connected yet.
pub(crate) fn store_at(address: SocketAddr) -> Arc<RedisStore> {
    let text = format!("[redis]\nurl = \"redis://{address}\"\nreplicas = 2");
    let config = config::from_text(&[&text]).unwrap();
    Arc::new(RedisStore::new(&config.redis.unwrap(), "app"))
}

pub(crate) async fn ping(store: &Arc<RedisStore>) -> Result<(), String> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("PING");
    let (answer,): (String,) = store.ask(pipeline).await?;
    assert_eq!(answer, "PONG");
    Ok(())
}
