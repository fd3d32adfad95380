//! The running service over a real socket with the generated client: answers, statuses, deadlines, and what the chassis
//! adds on the same port.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use ftgo_chassis::{Environment, RunningService};
use ftgo_messaging::{Consumer, Database};
use http::{Method, StatusCode, header};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::messages::Handler;
use crate::proto::accounting_client::AccountingClient;
use crate::proto::{
    GetAccountRequest, GetBillRequest, ListBillsRequest, Money, SetAccountStatusRequest,
    get_account_request, set_account_status_request,
};
use crate::testing::{authorize, consumer_created, events, http_client, revise};

struct Accounting {
    running: RunningService,
    /// Messages come through a consumer of the test's own, on the file of the service.
    consumer: Arc<Consumer>,
    database: Database,
    directory: TempDir,
}

impl Accounting {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let running = crate::start(Environment {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: directory.path().to_owned(),
            transport: None,
            faults: true,
            seed: false,
            trust: None,
            collector: None,
        })
        .await
        .unwrap();
        let path = directory.path().join("accounting.db");
        let database = Database::open(&path, &[&crate::MIGRATOR]).await.unwrap();
        Self {
            consumer: Consumer::new(crate::NAME, database.clone(), Arc::new(Handler)),
            running,
            database,
            directory,
        }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.running.address()))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn client(&self) -> AccountingClient<Channel> {
        AccountingClient::new(self.channel().await)
    }

    /// Consumer `c1` with an account and the bill of order `o1`.
    async fn with_bill() -> Self {
        let accounting = Self::start().await;
        for message in [consumer_created("c1"), authorize("o1", "c1", "61.70")] {
            accounting.consumer.receive(&message).await.unwrap();
        }
        accounting
    }

    async fn stop(self) {
        self.database.close().await;
        self.running.stop().await;
        drop(self.directory);
    }
}

fn of_consumer(id: &str) -> GetAccountRequest {
    GetAccountRequest {
        key: Some(get_account_request::Key::ConsumerId(id.into())),
    }
}

fn bill_of(order_id: &str) -> GetBillRequest {
    GetBillRequest {
        order_id: order_id.into(),
    }
}

fn bills_of(order_ids: &[&str]) -> ListBillsRequest {
    ListBillsRequest {
        order_ids: order_ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn status_of(consumer_id: &str, status: &str) -> SetAccountStatusRequest {
    SetAccountStatusRequest {
        key: Some(set_account_status_request::Key::ConsumerId(
            consumer_id.into(),
        )),
        status: status.into(),
    }
}

#[tokio::test]
async fn a_bill_and_its_account_are_found() {
    let accounting = Accounting::with_bill().await;
    let mut client = accounting.client().await;

    let account = client.get_account(of_consumer("c1")).await.unwrap();
    let account = account.into_inner();
    assert_eq!(account.consumer_id, "c1");
    assert_eq!(account.status, "ACTIVE");
    assert_eq!(account.version, 2);
    let limit = Money {
        amount: "1000.00".into(),
        currency: "USD".into(),
    };
    assert_eq!(account.order_limit, Some(limit));

    let by_id = GetAccountRequest {
        key: Some(get_account_request::Key::AccountId(account.id.clone())),
    };
    assert_eq!(
        client.get_account(by_id).await.unwrap().into_inner(),
        account
    );

    let bill = client.get_bill(bill_of("o1")).await.unwrap().into_inner();
    assert_eq!(
        (bill.order_id.as_str(), bill.state.as_str()),
        ("o1", "AUTHORIZED")
    );
    assert_eq!(
        (bill.account_id, bill.consumer_id),
        (account.id, "c1".to_owned())
    );
    let amount = Money {
        amount: "61.70".into(),
        currency: "USD".into(),
    };
    assert_eq!(bill.amount, Some(amount));
    assert!(bill.authorized_at.ends_with('Z'), "{}", bill.authorized_at);
    accounting.stop().await;
}

#[tokio::test]
async fn bills_come_in_the_order_of_the_question_and_unknown_ones_are_left_out() {
    let accounting = Accounting::with_bill().await;
    let second = authorize("o2", "c1", "5.00");
    accounting.consumer.receive(&second).await.unwrap();
    let mut client = accounting.client().await;
    let bills = client
        .list_bills(bills_of(&["o2", "missing", "o1", "o2"]))
        .await
        .unwrap()
        .into_inner()
        .bills;
    let orders: Vec<_> = bills.iter().map(|bill| bill.order_id.as_str()).collect();
    assert_eq!(orders, ["o2", "o1"]);
    let none = client.list_bills(bills_of(&[])).await.unwrap();
    assert!(none.into_inner().bills.is_empty());
    accounting.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let accounting = Accounting::start().await;
    let mut client = accounting.client().await;
    let codes = [
        client
            .get_bill(bill_of("nothing"))
            .await
            .unwrap_err()
            .code(),
        client
            .get_account(of_consumer("nobody"))
            .await
            .unwrap_err()
            .code(),
        client
            .set_account_status(status_of("nobody", "DISABLED"))
            .await
            .unwrap_err()
            .code(),
    ];
    assert_eq!(codes, [Code::NotFound; 3]);
    accounting.stop().await;
}

#[tokio::test]
async fn empty_ids_and_unknown_words_are_invalid() {
    let accounting = Accounting::with_bill().await;
    let mut client = accounting.client().await;
    let too_many = vec!["o1"; 201];
    let codes = [
        client.get_bill(bill_of("")).await.unwrap_err().code(),
        client
            .get_account(of_consumer(""))
            .await
            .unwrap_err()
            .code(),
        client
            .get_account(GetAccountRequest { key: None })
            .await
            .unwrap_err()
            .code(),
        client
            .list_bills(bills_of(&["o1", ""]))
            .await
            .unwrap_err()
            .code(),
        client
            .list_bills(bills_of(&too_many))
            .await
            .unwrap_err()
            .code(),
        client
            .set_account_status(status_of("c1", "closed"))
            .await
            .unwrap_err()
            .code(),
    ];
    assert_eq!(codes, [Code::InvalidArgument; 6]);
    accounting.stop().await;
}

#[tokio::test]
async fn a_disabled_account_rejects_until_it_is_enabled_again() {
    let accounting = Accounting::with_bill().await;
    let mut client = accounting.client().await;
    let disabled = client
        .set_account_status(status_of("c1", "DISABLED"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (disabled.status.as_str(), disabled.version),
        ("DISABLED", 3)
    );

    for message in [authorize("o2", "c1", "1.00"), revise("o1", "c1", "1.00")] {
        accounting.consumer.receive(&message).await.unwrap();
    }
    assert_eq!(
        client.get_bill(bill_of("o2")).await.unwrap_err().code(),
        Code::NotFound
    );

    // The second time changes nothing.
    for _ in 0..2 {
        let enabled = client.set_account_status(status_of("c1", "ACTIVE")).await;
        assert_eq!(enabled.unwrap().into_inner().version, 4);
    }
    let again = authorize("o3", "c1", "1.00");
    accounting.consumer.receive(&again).await.unwrap();
    assert!(client.get_bill(bill_of("o3")).await.is_ok());
    assert_eq!(
        events(&accounting.database).await,
        [
            "AccountCreated",
            "AccountAuthorized",
            "AccountDisabled",
            "AccountEnabled",
            "AccountAuthorized"
        ]
    );
    accounting.stop().await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_leaves_nothing_behind() {
    let accounting = Accounting::with_bill().await;
    // Somebody else holds the write lock, so the call has to wait.
    let lock = accounting.database.write().await.unwrap();
    let disable = status_of("c1", "DISABLED").encode_to_vec();
    let frame = [
        &[0, 0, 0, 0, u8::try_from(disable.len()).unwrap()],
        &disable[..],
    ]
    .concat();
    let started = Instant::now();
    // By hand: tonic's client would end the call by itself.
    let path = "/ftgo.accounting.v1.Accounting/SetAccountStatus";
    let code = call(&accounting, path, &[("grpc-timeout", "200m")], &frame).await;
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(lock);

    let mut client = accounting.client().await;
    let account = client.get_account(of_consumer("c1")).await.unwrap();
    assert_eq!(account.into_inner().status, "ACTIVE");
    accounting.stop().await;
}

/// A gRPC call by hand: what a client that means no good may send.
async fn call(accounting: &Accounting, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Code {
    let client = http_client(reqwest::Client::builder().http2_prior_knowledge());
    let mut request = client
        .request(
            Method::POST,
            format!("http://{}{path}", accounting.running.address()),
        )
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let status = response.headers().get("grpc-status").unwrap();
    Code::from_bytes(status.as_bytes())
}

#[tokio::test]
async fn a_fault_of_the_caller_is_never_internal() {
    let accounting = Accounting::start().await;
    let get_bill = "/ftgo.accounting.v1.Accounting/GetBill";
    // A frame that promises five bytes of a string and has none of them.
    let truncated = [0, 0, 0, 0, 2, 0x0a, 5];
    assert_eq!(
        call(&accounting, get_bill, &[], &truncated).await,
        Code::InvalidArgument
    );
    assert_eq!(
        call(&accounting, get_bill, &[], &[]).await,
        Code::InvalidArgument
    );
    let unknown_flag = [7, 0, 0, 0, 0];
    assert_eq!(
        call(&accounting, get_bill, &[], &unknown_flag).await,
        Code::InvalidArgument
    );
    let empty = [0, 0, 0, 0, 0];
    assert_eq!(
        call(&accounting, get_bill, &[("grpc-timeout", "soon")], &empty).await,
        Code::InvalidArgument
    );
    assert_eq!(
        call(
            &accounting,
            "/ftgo.accounting.v1.Accounting/Steal",
            &[],
            &empty
        )
        .await,
        Code::Unimplemented
    );
    accounting.stop().await;
}

#[tokio::test]
async fn a_fault_of_ours_is_internal_and_says_nothing_of_its_cause() {
    let accounting = Accounting::start().await;
    let mut tx = accounting.database.write().await.unwrap();
    sqlx::query("DROP TABLE bills")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut client = accounting.client().await;
    let status = client.get_bill(bill_of("o1")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "an error inside accounting");
    accounting.stop().await;
}

#[tokio::test]
async fn the_standard_health_service_answers() {
    let accounting = Accounting::start().await;
    let mut health = HealthClient::new(accounting.channel().await);
    for service in ["", "ftgo.accounting.v1.Accounting"] {
        let answer = health
            .check(HealthCheckRequest {
                service: service.to_owned(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    accounting.stop().await;
}

#[tokio::test]
async fn the_chassis_answers_http_on_the_same_port() {
    let accounting = Accounting::start().await;
    let base = format!("http://{}", accounting.running.address());
    let client = http_client(reqwest::Client::builder());
    let get = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap();
    for path in ["/health/live", "/health/ready", "/metrics"] {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let document: Value = get("/openapi.json").await.json().await.unwrap();
    assert!(document["info"]["title"].as_str().unwrap().contains("gRPC"));
    let missing = get("/accounts/1").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        missing.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    accounting.stop().await;
}

#[tokio::test]
async fn accounts_survive_a_restart() {
    let accounting = Accounting::with_bill().await;
    accounting.database.close().await;
    accounting.running.stop().await;
    let running = crate::start(Environment {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: accounting.directory.path().to_owned(),
        transport: None,
        faults: false,
        seed: false,
        trust: None,
        collector: None,
    })
    .await
    .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
    let mut client = AccountingClient::new(endpoint.connect().await.unwrap());
    let bill = client.get_bill(bill_of("o1")).await.unwrap().into_inner();
    assert_eq!(bill.amount.unwrap().amount, "61.70");
    running.stop().await;
}
