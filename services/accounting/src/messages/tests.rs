//! Messages as the relay brings them, through the inbox and over a real SQLite file: replies, redelivery, and two
//! deliveries at the same time.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use ftgo_messaging::{Consumer, Database, Message, Receipt};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Handler;
use crate::store;
use crate::testing::{
    authorize, command, consumer_created, database, events, reverse, revise, said,
};

struct Accounting {
    database: Database,
    consumer: Arc<Consumer>,
    _directory: TempDir,
}

impl Accounting {
    async fn empty() -> Self {
        let (directory, database) = database().await;
        Self {
            consumer: Consumer::new(crate::NAME, database.clone(), Arc::new(Handler)),
            database,
            _directory: directory,
        }
    }

    async fn with_consumers(ids: &[&str]) -> Self {
        let accounting = Self::empty().await;
        for id in ids {
            accounting.receive(&consumer_created(id)).await;
        }
        accounting
    }

    async fn receive(&self, message: &Message) -> Receipt {
        self.consumer.receive(message).await.unwrap()
    }

    async fn replies(&self) -> Vec<Value> {
        let replies = said(&self.database, "order.replies").await;
        replies.into_iter().map(|reply| reply.data).collect()
    }

    /// The code of the last reply, or `success`.
    async fn last_reply(&self) -> String {
        let reply = self.replies().await.pop().unwrap();
        let word = reply.get("code").unwrap_or(&reply["outcome"]);
        word.as_str().unwrap().to_owned()
    }

    async fn state_of(&self, order_id: &str) -> Option<(String, String)> {
        let bill = store::bill(self.database.read(), order_id).await.unwrap()?;
        Some((bill.state, bill.amount.amount().to_string()))
    }
}

fn bill(state: &str, amount: &str) -> Option<(String, String)> {
    Some((state.to_owned(), amount.to_owned()))
}

#[tokio::test]
async fn a_consumer_gets_one_account() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    accounting.receive(&consumer_created("c1")).await;
    assert_eq!(events(&accounting.database).await, ["AccountCreated"]);
    let account = store::account_by_consumer(accounting.database.read(), "c1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(account.order_limit.amount().to_string(), "1000.00");
}

#[tokio::test]
async fn other_events_of_consumers_are_ignored() {
    let accounting = Accounting::with_consumers(&[]).await;
    let other = Message::event(
        "consumer",
        "consumer.events",
        "ConsumerMoved",
        "c1",
        2,
        json!({}),
    );
    assert_eq!(
        accounting.receive(&other.unwrap()).await,
        Receipt::Committed
    );
    assert!(events(&accounting.database).await.is_empty());
}

#[tokio::test]
async fn a_card_is_authorized_revised_and_reversed() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    accounting.receive(&authorize("o1", "c1", "61.70")).await;
    assert_eq!(accounting.state_of("o1").await, bill("AUTHORIZED", "61.70"));
    accounting.receive(&revise("o1", "c1", "74.04")).await;
    assert_eq!(accounting.state_of("o1").await, bill("AUTHORIZED", "74.04"));
    accounting.receive(&reverse("o1", "c1")).await;
    assert_eq!(accounting.state_of("o1").await, bill("REVERSED", "74.04"));

    assert_eq!(
        accounting.replies().await,
        vec![json!({"outcome": "success"}); 3]
    );
    let reply = &said(&accounting.database, "order.replies").await[0];
    assert_eq!(reply.subject, "o1");
    assert_eq!(reply.sagaid.as_deref(), Some("saga-1"));
    assert_eq!(reply.sagastep.as_deref(), Some("AuthorizeCard"));
}

#[tokio::test]
async fn a_redelivered_command_is_not_done_twice() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    let message = authorize("o1", "c1", "10.00");
    assert_eq!(accounting.receive(&message).await, Receipt::Committed);
    assert_eq!(accounting.receive(&message).await, Receipt::Duplicate);
    assert_eq!(
        events(&accounting.database).await,
        ["AccountCreated", "AccountAuthorized"]
    );
    assert_eq!(accounting.replies().await.len(), 1);
}

#[tokio::test]
async fn the_same_order_in_another_message_is_answered_but_not_charged_again() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    accounting.receive(&authorize("o1", "c1", "10.00")).await;
    accounting.receive(&authorize("o1", "c1", "10.00")).await;
    assert_eq!(
        events(&accounting.database).await,
        ["AccountCreated", "AccountAuthorized"]
    );
    assert_eq!(
        accounting.replies().await,
        vec![json!({"outcome": "success"}); 2]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_authorizations_of_one_order_charge_once() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    let same = authorize("o1", "c1", "10.00");
    // One message twice at a time, and the same order in messages of their own.
    let messages: Vec<_> = (0..16)
        .map(|n| match n % 2 {
            0 => same.clone(),
            _ => authorize("o1", "c1", "10.00"),
        })
        .collect();
    let receipts = join_all(messages.into_iter().map(|message| {
        let consumer = Arc::clone(&accounting.consumer);
        tokio::spawn(async move { consumer.receive(&message).await.unwrap() })
    }))
    .await;
    let duplicates = receipts
        .into_iter()
        .filter(|receipt| matches!(receipt, Ok(Receipt::Duplicate)))
        .count();
    assert_eq!(duplicates, 7);
    assert_eq!(
        events(&accounting.database).await,
        ["AccountCreated", "AccountAuthorized"]
    );
    assert_eq!(
        accounting.replies().await,
        vec![json!({"outcome": "success"}); 9]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_orders_of_one_consumer_are_all_charged() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    join_all((0..10).map(|n| {
        let consumer = Arc::clone(&accounting.consumer);
        tokio::spawn(async move {
            let message = authorize(&format!("o{n}"), "c1", "999.99");
            consumer.receive(&message).await.unwrap();
        })
    }))
    .await;
    for n in 0..10 {
        let state = accounting.state_of(&format!("o{n}")).await;
        assert_eq!(state, bill("AUTHORIZED", "999.99"));
    }
}

#[tokio::test]
async fn a_rejection_is_a_reply_and_no_error() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    let over = authorize("o1", "c1", "1000.01");
    assert_eq!(accounting.receive(&over).await, Receipt::Committed);
    assert_eq!(accounting.last_reply().await, "LIMIT_EXCEEDED");
    assert_eq!(accounting.state_of("o1").await, None);

    accounting.receive(&authorize("o2", "c1", "1000.00")).await;
    assert_eq!(accounting.last_reply().await, "success");
    accounting.receive(&revise("o2", "c1", "1000.01")).await;
    assert_eq!(accounting.last_reply().await, "LIMIT_EXCEEDED");
    accounting.receive(&revise("o3", "c1", "1.00")).await;
    assert_eq!(accounting.last_reply().await, "NOT_AUTHORIZED");
    accounting.receive(&revise("o3", "nobody", "1.00")).await;
    assert_eq!(accounting.last_reply().await, "ACCOUNT_NOT_FOUND");
}

#[tokio::test]
async fn an_account_that_may_be_on_its_way_is_waited_for() {
    let accounting = Accounting::empty().await;
    let message = authorize("o1", "c1", "10.00");
    assert!(accounting.consumer.receive(&message).await.is_err());
    assert!(accounting.replies().await.is_empty());

    // The account has come; the relay offers the command again.
    accounting.receive(&consumer_created("c1")).await;
    assert_eq!(accounting.receive(&message).await, Receipt::Committed);
    assert_eq!(accounting.state_of("o1").await, bill("AUTHORIZED", "10.00"));
}

#[tokio::test]
async fn an_account_that_never_comes_is_a_failure() {
    let accounting = Accounting::empty().await;
    let mut message = authorize("o1", "c1", "10.00");
    message.time = Utc::now() - TimeDelta::seconds(11);
    assert_eq!(accounting.receive(&message).await, Receipt::Committed);
    assert_eq!(accounting.last_reply().await, "ACCOUNT_NOT_FOUND");
}

#[tokio::test]
async fn what_was_never_authorized_can_be_reversed() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    accounting.receive(&reverse("o1", "c1")).await;
    accounting.receive(&reverse("o1", "nobody")).await;
    assert_eq!(
        accounting.replies().await,
        vec![json!({"outcome": "success"}); 2]
    );
    assert_eq!(events(&accounting.database).await, ["AccountCreated"]);
}

#[tokio::test]
async fn an_order_is_billed_to_one_consumer() {
    let accounting = Accounting::with_consumers(&["c1", "c2"]).await;
    accounting.receive(&authorize("o1", "c1", "10.00")).await;
    accounting.receive(&authorize("o1", "c2", "10.00")).await;
    assert_eq!(accounting.last_reply().await, "ORDER_OF_ANOTHER_ACCOUNT");
}

#[tokio::test]
async fn a_command_that_cannot_be_read_fails_its_saga_instead_of_stalling_it() {
    let accounting = Accounting::with_consumers(&["c1"]).await;
    for unreadable in [
        command("AuthorizeCard", "o1", &json!({"orderId": "o1"})),
        command("StealCard", "o1", &json!({})),
    ] {
        assert_eq!(accounting.receive(&unreadable).await, Receipt::DeadLetter);
        assert_eq!(accounting.last_reply().await, "UNPROCESSABLE_COMMAND");
    }
}
