//! SIGKILL on both sides of every commit of the CreateOrder saga: a new process ends what the dead one began, once.
//! Not here: crashes of the real participants, which the workspace's integration tests have.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use ftgo_messaging::crash;
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::Value;

use super::world::{Answer, Script, World, restaurant, usual_order};

const DIRECTORY: &str = "FTGO_ORDER_TEST_DIRECTORY";
const POINT: &str = "FTGO_ORDER_TEST_CRASH_POINT";
const REFUSED: &str = "FTGO_ORDER_TEST_REFUSED";
const SIGKILL: i32 = 9;

/// Every transaction on the way of an order that is approved.
const FORWARD: [&str; 11] = [
    "order.CreateOrder",
    "consumer.ValidateOrder",
    "order.Reply:ValidateOrder",
    "kitchen.CreateTicket",
    "order.Reply:CreateTicket",
    "accounting.AuthorizeCard",
    "order.Reply:AuthorizeCard",
    "kitchen.ConfirmTicket",
    "order.Reply:ConfirmTicket",
    "order.ApproveOrder",
    "order.Reply:ApproveOrder",
];

/// Every transaction on the way back of one whose card is refused.
const BACK: [&str; 5] = [
    "order.Reply:AuthorizeCard",
    "kitchen.CancelCreateTicket",
    "order.Reply:CancelCreateTicket",
    "order.RejectOrder",
    "order.Reply:RejectOrder",
];

fn script(refused: bool) -> Script {
    if refused {
        Script::from([("AuthorizeCard", Answer::Refuse(1))])
    } else {
        Script::new()
    }
}

/// The process that dies. As a test of its own it does nothing.
#[tokio::test]
async fn child() {
    let (Ok(directory), Ok(point)) = (std::env::var(DIRECTORY), std::env::var(POINT)) else {
        return;
    };
    crash::arm(&point).unwrap();
    // A directory of the parent's: kept when this process ends, which it does without destructors anyway.
    let directory = tempfile::Builder::new()
        .disable_cleanup(true)
        .tempdir_in(directory)
        .unwrap();
    let world = World::open(directory, script(std::env::var(REFUSED).is_ok())).await;
    world.tell(&restaurant("restaurant-1", 1, "Ajanta")).await;
    world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&usual_order())
        .send()
        .await
        .unwrap();
    // The end comes from elsewhere; without one the parent says so.
    tokio::time::sleep(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sigkill_beside_any_commit_loses_nothing_and_does_nothing_twice() {
    let forward = FORWARD.map(|point| (point, false));
    let back = BACK.map(|point| (point, true));
    let crashes = forward
        .into_iter()
        .chain(back)
        .flat_map(|(point, refused)| {
            ["before-commit", "after-commit"]
                .map(|side| crash_and_resume(format!("{point}.{side}"), refused))
        });
    futures_util::stream::iter(crashes)
        .buffer_unordered(4)
        .collect::<Vec<()>>()
        .await;
}

async fn crash_and_resume(point: String, refused: bool) {
    let parent = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "tests::crash::child"])
        .env(DIRECTORY, parent.path())
        .env(POINT, &point);
    if refused {
        command.env(REFUSED, "1");
    }
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    assert_eq!(
        status.signal(),
        Some(SIGKILL),
        "{point} was not passed: {status}"
    );

    let left: PathBuf = std::fs::read_dir(parent.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let directory = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(left).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    // The points on the way back all lie behind the refusal, which the dead process has given.
    let world = World::open(directory, Script::new()).await;
    let refused_already = world
        .performed("accounting")
        .await
        .iter()
        .any(|(kind, _)| kind == "AuthorizeCard");
    assert!(!refused || refused_already, "{point}");

    // The client never got an answer and asks again.
    let request = world
        .post("/orders")
        .header("Idempotency-Key", "k-1")
        .json(&usual_order());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED, "{point}");
    let id = response.json::<Value>().await.unwrap()["orderId"]
        .as_str()
        .unwrap()
        .to_owned();
    let order = world
        .reaches(&id, if refused { "REJECTED" } else { "APPROVED" })
        .await;
    let once = |kinds: &[&str]| {
        kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), 1))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        world.performed("consumer").await,
        once(&["ValidateOrder"]),
        "{point}"
    );
    assert_eq!(
        world.performed("accounting").await,
        once(&["AuthorizeCard"]),
        "{point}"
    );
    let ticket = if refused {
        ["CreateTicket", "CancelCreateTicket"]
    } else {
        ["CreateTicket", "ConfirmTicket"]
    };
    assert_eq!(world.performed("kitchen").await, once(&ticket), "{point}");
    world.events_performed(&order, &point).await;
    world.close().await;
}

impl World {
    /// Each move of the one order was told once.
    async fn events_performed(&self, order: &Value, point: &str) {
        let last = if order["state"] == "APPROVED" {
            "OrderAuthorized"
        } else {
            "OrderRejected"
        };
        super::world::eventually("the last event arrives", async || {
            self.performed("audit")
                .await
                .iter()
                .any(|(kind, _)| kind == last)
        })
        .await;
        let expected = [("OrderCreated".to_owned(), 1), (last.to_owned(), 1)];
        assert_eq!(self.performed("audit").await, expected, "{point}");
    }
}
