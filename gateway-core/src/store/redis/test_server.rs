//! A real Redis of a test's own: on a free port, with no file but what a test has it save, gone with the test. What is
//! kept there is with who keeps it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::RedisStore;
use crate::config;

pub(crate) struct TestRedis {
    address: SocketAddr,
    child: Child,
    /// For what a test has it save.
    folder: TempDir,
}

impl TestRedis {
    /// When it answers. `scripts/setup.sh test` installs it.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Somebody may take the port in between: then the next one.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            if let Some(child) = spawn(address, &folder).await {
                return Self {
                    address,
                    child,
                    folder,
                };
            }
        }
        panic!("redis-server does not start");
    }

    /// What the configuration calls it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// A connection that knows nothing of how gateways use it.
    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .unwrap()
            .get_connection()
            .unwrap()
    }

    /// Ends it at once, as a power failure does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with what it had saved last.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.address, &self.folder).await.unwrap();
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

/// When it answers; `None` when it ended before.
async fn spawn(address: SocketAddr, folder: &TempDir) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server: scripts/setup.sh test installs it");
    let patience = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "redis-server does not answer");
        // Another test's server may have the port: then ours ends.
        if answering(address).is_ok_and(|id| id == child.id()) {
            return Some(child);
        }
        sleep(Duration::from_millis(20)).await;
    }
    None
}

/// The process that answers there.
fn answering(address: SocketAddr) -> redis::RedisResult<u32> {
    let mut connection = redis::Client::open(format!("redis://{address}"))?.get_connection()?;
    let about: redis::InfoDict = redis::cmd("INFO").arg("server").query(&mut connection)?;
    Ok(about.get("process_id").unwrap_or_default())
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
