//! The kit itself: that a matrix holds for a screen that is right, and that it finds what is wrong with others.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::widgets::SETUP;
use super::{Answer, Fault, Matrix, Screen, TestGateway};
use crate::compose;

fn widget() -> Screen {
    Screen::get("widget", "/widgets/1").required("widget", "widgets", "GET /widgets/1")
}

fn buying() -> Screen {
    Screen::post("buy", "/purchases", json!({"widget": 1})).required(
        "",
        "widgets",
        "POST /purchases",
    )
}

fn matrix(screens: Vec<Screen>) -> Matrix {
    Matrix {
        setup: SETUP,
        screens,
        without_upstreams: &["makers", "dead", "buy-in-haste", "tower"],
    }
}

#[tokio::test]
async fn the_matrix_holds_for_what_is_right() {
    let widget = widget().optional("stock", "stock", "GET /stock/1");
    matrix(vec![widget, buying()]).run().await;
}

#[tokio::test]
async fn the_matrix_finds_what_is_wrong_with_what_it_was_told() {
    for (screens, complaint) in [
        (
            vec![widget().optional("stock", "stock", "GET /stock/1")],
            "the composed route buy is not in the matrix",
        ),
        (
            vec![widget(), buying()],
            "no part is declared for GET /stock/1",
        ),
        (
            vec![
                widget()
                    .optional("stock", "stock", "GET /stock/1")
                    .optional("maker", "stock", "GET /makers/1"),
                buying(),
            ],
            "GET /makers/1 of stock was not asked",
        ),
        (
            // The screen can do without it, and the table says that it cannot.
            vec![
                widget().required("stock", "stock", "GET /stock/1"),
                buying(),
            ],
            "instead of 503 upstream-unavailable",
        ),
        (
            vec![
                Screen::get("widget", "/widgets/1")
                    .optional("widget", "widgets", "GET /widgets/1")
                    .optional("stock", "stock", "GET /stock/1"),
                buying(),
            ],
            "widget: GET /widgets/1 × Hang: status 504",
        ),
        (
            vec![
                widget().optional("stock", "stock", "GET /stock/1"),
                buying(),
                Screen::post("buy-in-haste", "/purchases/hasty", json!({}))
                    .required("", "stock", "GET /stock/1")
                    .required("", "widgets", "POST /purchases"),
            ],
            "buy-in-haste: GET /stock/1 × NotFound: POST /purchases was sent after GET /stock/1 had failed",
        ),
        (
            vec![
                widget().optional("stock", "stock", "GET /stock/1"),
                buying(),
                Screen::get("tower", "/tower")
                    .optional_for(&["stock", "makers"], "stock", "GET /stock/1")
                    .optional("makers", "widgets", "GET /makers"),
            ],
            "tower?fields=makers without a fault: it is {\"reason\":\"dependency_failed\"",
        ),
    ] {
        let matrix = matrix(screens);
        let run = std::panic::AssertUnwindSafe(matrix.run());
        let panic = run.catch_unwind().await.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains(complaint), "{text}");
    }
}

#[tokio::test]
async fn a_test_says_what_services_answer_and_sees_what_they_were_asked() {
    let world = TestGateway::start(&SETUP, |seen| {
        (seen.call == "GET /stock/1").then(|| Answer::ok(&json!(7)))
    })
    .await;
    let response = world.get("/widgets/1").send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["stock"]["data"], 7);
    assert_eq!(world.calls(), ["GET /stock/1", "GET /widgets/1"]);
    assert_eq!(world.under_way(), 0);
}

#[test]
fn every_fault_has_its_reason_in_the_list_that_clients_know() {
    for fault in Fault::ALL {
        assert!(compose::REASONS.contains(&fault.reason()), "{fault:?}");
    }
}
