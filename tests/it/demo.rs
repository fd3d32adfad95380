//! The life of `make demo`: what it says when it cannot start, what it leaves when it ends, and what it keeps. On ports of
//! the test's own, so that a demo that somebody uses is not disturbed. What the demo shows is tested elsewhere.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ftgo_tests::Client;
use ftgo_tests::browser::{Browser, location};
use ftgo_tests::process::{Process, binary};
use ftgo_tests::system::eventually;
use ftgo_tests::web::choose;
use reqwest::{Method, Version};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

/// The demo's own bound is ten seconds.
const END: Duration = Duration::from_secs(15);
/// Of web, mobile and public, of their admin listeners, and of the eight services.
const PORTS: [u16; 14] = [
    8080, 8081, 8082, 9080, 9081, 9082, 8100, 8101, 8102, 8103, 8104, 8105, 8106, 8107,
];
const BFFS: [&str; 3] = ["bff-mobile", "bff-public", "bff-web"];

struct Demo {
    process: Process,
    offset: u16,
}

/// A distance at which all ports of the demo are free, below those that the system gives to outgoing connections. Each is
/// given once: tests run side by side, and hold their ports a moment after they have asked. They are two thousand apart:
/// one demo's admin listeners are a thousand above its public ones, where the next demo would be.
fn offset() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = u16::try_from(std::process::id() % 10)?;
    (0..10)
        .map(|step| (first + step) % 10)
        .filter(|place| GIVEN.fetch_or(1 << place, Ordering::SeqCst) & (1 << place) == 0)
        .map(|place| 3_000 + place * 2_000)
        .find(|offset| PORTS.iter().all(|port| is_free(port + offset)))
        .context("there are other demos everywhere")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn arguments(data: &Path, offset: u16) -> Result<Vec<String>> {
    let binaries = binary("ftgo")?.parent().map(PathBuf::from);
    let config = format!("{}/../config", env!("CARGO_MANIFEST_DIR"));
    let text = |path: &Path| path.display().to_string();
    Ok(vec![
        "demo".to_owned(),
        "--bin-dir".to_owned(),
        text(&binaries.context("a folder")?),
        "--config-dir".to_owned(),
        config,
        "--data".to_owned(),
        text(data),
        "--port-offset".to_owned(),
        offset.to_string(),
    ])
}

impl Demo {
    /// Starts it and waits until it is up.
    async fn start(data: &Path, offset: u16) -> Result<Self> {
        Self::start_with(data, offset, &[]).await
    }

    /// The same, with further arguments.
    async fn start_with(data: &Path, offset: u16, more: &[&str]) -> Result<Self> {
        let arguments = arguments(data, offset)?;
        let arguments = arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = arguments.chain(more.iter().copied()).collect();
        let process = Process::start("ftgo", &arguments)?;
        // The first start writes past orders, which takes its time on a machine that is busy.
        for attempt in 1.. {
            match process.prints("Ctrl-C ends everything.").await {
                Ok(()) => break,
                Err(error) => ensure!(attempt < 4, error),
            }
        }
        Ok(Self { process, offset })
    }

    fn url(&self, port: u16, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", port + self.offset)
    }

    /// The processes that it has started, by name.
    fn children(&self) -> Result<Vec<(String, u32)>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()?))?;
        let mut found = Vec::new();
        for task in tasks {
            let task = task?.path();
            let children = match fs::read_to_string(task.join("children")) {
                // A thread that has ended meanwhile.
                Err(_) if !task.exists() => continue,
                children => children?,
            };
            for id in children.split_ascii_whitespace() {
                let name = fs::read_to_string(format!("/proc/{id}/comm"))?;
                found.push((name.trim().to_owned(), id.parse()?));
            }
        }
        found.sort();
        Ok(found)
    }

    fn bffs(&self) -> Result<Vec<u32>> {
        let children = self.children()?;
        let names: Vec<&str> = children.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names == BFFS, "{children:?}");
        Ok(children.into_iter().map(|(_, id)| id).collect())
    }

    /// A signal, and the end that it leads to: a good one, with nothing left.
    async fn ends_by(mut self, signal: Signal) -> Result<()> {
        let children = self.bffs()?;
        self.process.signal(signal)?;
        let status = self.process.ends_within(END).await?;
        ensure!(status.success(), "{signal:?}: {status}");
        ensure!(
            children.iter().all(|id| !is_running(*id)),
            "{signal:?}: a BFF is left"
        );
        self.ports_are_free().await
    }

    async fn ports_are_free(&self) -> Result<()> {
        eventually("all ports are free again", async || {
            let free = PORTS.iter().all(|port| is_free(port + self.offset));
            Ok(free.then_some(()))
        })
        .await
    }
}

/// A process that has ended and was not waited for yet does not count.
fn is_running(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        // The state is behind the name, which stands in parentheses and may contain some.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_nothing_is_started() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let offset = offset()?;
    let _ours = TcpListener::bind(("127.0.0.1", 8081 + offset))?;
    let _ours_too = TcpListener::bind(("127.0.0.1", 8103 + offset))?;
    let output = Command::new(binary("ftgo")?)
        .args(arguments(&data, offset)?)
        .kill_on_drop(true)
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    let ports = format!("ports {}, {} in use by ", 8081 + offset, 8103 + offset);
    let holder = format!("(process {0}): end it (`kill {0}`)", std::process::id());
    assert!(
        said.starts_with("ftgo: ") && said.contains(&ports),
        "{said}"
    );
    assert!(said.contains(&holder), "{said}");
    assert!(!data.exists(), "it has written something");

    let output = Command::new(binary("ftgo")?)
        .args(["demo", "--bin-dir", "x", "--port-offset", "60000"])
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("has to be a number up to 56453"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_ends_without_a_rest_keeps_its_data_and_leaves_no_orphan() -> Result<()> {
    gateway_core::install_crypto();
    let folder = tempfile::tempdir()?;
    let offset = offset()?;
    let client = Client::new()?;
    let token = || fs::read_to_string(folder.path().join("token"));
    let keys = || fs::read_to_string(folder.path().join("keys.json"));

    let demo = Demo::start(folder.path(), offset).await?;
    let order = json!({
        "restaurantId": "restaurant-1",
        "deliveryAddress": {"street1": "1432 Alice Street", "city": "Oakland", "state": "CA", "zip": "94612"},
        "lineItems": [{"menuItemId": "restaurant-1-item-1", "quantity": 5}],
    });
    let placed = client
        .post(&demo.url(8081, "/orders"), token()?.trim(), &order)
        .await?;
    assert_eq!(placed.status, 202, "{placed:?}");
    let id = placed.body["orderId"].as_str().context("no id")?.to_owned();
    let approved = async |demo: &Demo| -> Result<()> {
        let url = demo.url(8081, &format!("/orders/{id}"));
        let token = token()?;
        eventually("the order is approved", async || {
            let answer = client.get(&url, token.trim()).await?;
            let state = &answer.body["order"]["data"]["state"];
            Ok((answer.status == 200 && state == "APPROVED").then_some(()))
        })
        .await
    };
    approved(&demo).await?;
    let first_keys: Value = serde_json::from_str(&keys()?)?;

    // Another one on the same data would break both.
    let mut second = arguments(folder.path(), offset)?;
    let elsewhere = self::offset()?;
    *second.last_mut().context("arguments")? = elsewhere.to_string();
    let output = Command::new(binary("ftgo")?).args(second).output().await?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("another demo is using"), "{said}");

    demo.ends_by(Signal::TERM).await?;
    let demo = Demo::start(folder.path(), offset).await?;
    approved(&demo).await?;
    assert_eq!(serde_json::from_str::<Value>(&keys()?)?, first_keys);
    demo.ends_by(Signal::INT).await?;

    let mut demo = Demo::start(folder.path(), offset).await?;
    approved(&demo).await?;
    let children = demo.bffs()?;
    demo.process.signal(Signal::KILL)?;
    demo.process.ends_within(END).await?;
    eventually("no BFF outlives a demo that was killed", async || {
        Ok(children.iter().all(|id| !is_running(*id)).then_some(()))
    })
    .await?;
    demo.ports_are_free().await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_over_tls_where_the_demo_speaks_it() -> Result<()> {
    gateway_core::install_crypto();
    let folder = tempfile::tempdir()?;
    let demo = Demo::start_with(folder.path(), offset()?, &["--tls"]).await?;
    let origin = format!("https://127.0.0.1:{}", 8080 + demo.offset);
    let at = |path: &str| format!("{origin}{path}");
    let printed = demo.process.printed();
    let certificate = folder.path().join("tls.crt");
    for line in [
        format!("bff-web        {origin} "),
        format!("storefront     {} ", at("/")),
        format!("GraphiQL       {}", at("/graphiql")),
        format!("certificate    {}:", certificate.display()),
        format!("curl -s --cacert {} ", certificate.display()),
    ] {
        ensure!(printed.contains(&line), "no {line:?} in\n{printed}");
    }

    // Nobody believes it without being told to; then it is the only one that counts, and HTTP/2 is agreed on.
    ensure!(Browser::new()?.open(&at("/")).await.is_err());
    let browser = Browser::believing(&fs::read_to_string(&certificate)?)?;
    let home = browser.open(&at("/")).await?;
    assert_eq!(
        (home.status().as_u16(), home.version()),
        (200, Version::HTTP_2)
    );
    // A name's, it would hold for whatever else listens on this machine.
    let other = at("/").replace("127.0.0.1", "localhost");
    ensure!(browser.open(&other).await.is_err(), "good for a name, too");

    let login = browser.open(&at("/bff/login?returnUrl=/orders")).await?;
    let authorize = location(&login).context("no way to the provider")?;
    let callback = choose(&browser, &authorize, "consumer-1").await?;
    ensure!(callback.starts_with(&at("/bff/callback?")), "{callback}");
    let signed_in = browser.open(&callback).await?;
    assert_eq!(location(&signed_in).as_deref(), Some("/orders"));
    let user = async || {
        let request = browser.script(Method::GET, &at("/bff/user"))?;
        browser.send(request).await
    };
    assert_eq!(user().await?.status(), 200);

    // The provider tells of the end of the session over TLS, too.
    let end = demo.url(8100, "/dev/sessions/end?sub=consumer-1");
    let ended = Client::new()?.post_raw(&end, &json!(null)).await?;
    assert_eq!(ended.json::<Value>().await?["ended"], 1);
    eventually("the session is over", async || {
        Ok((user().await?.status() == 401).then_some(()))
    })
    .await?;
    demo.ends_by(Signal::TERM).await
}
