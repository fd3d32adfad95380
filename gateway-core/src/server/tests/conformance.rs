//! Requests that are not what RFC 9112 asks for, and some that are although they look odd.

use super::*;

/// Asserts a refusal in full: status, problem document, request id, the end of the connection, one line in the log.
fn refused(text: &str, expected: u16, request: &str) {
    assert_eq!(status(text), expected, "{request:?} → {text:?}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        header(head, "content-type"),
        Some("application/problem+json"),
        "{request:?} → {head}"
    );
    assert_eq!(
        header(head, "content-length"),
        Some(&*body.len().to_string())
    );
    let id = header(head, "x-request-id").expect(request);
    let problem: Value = serde_json::from_str(body).expect(request);
    assert_eq!(problem["requestId"], id);
    assert_eq!(problem["status"], expected);
    let lines = access_lines(id);
    assert_eq!(lines.len(), 1, "{request:?}: {lines:?}");
    assert_eq!(lines[0]["error_source"], "client");
    assert_eq!(lines[0]["status"], expected);
}

async fn is_refused(gateway: &RunningGateway, expected: u16, request: &str) {
    let text = exchange(gateway, request.as_bytes()).await;
    assert_eq!(answers(&text), 1, "{request:?} → {text:?}");
    refused(&text, expected, request);
    assert_eq!(header(&text, "connection"), Some("close"), "{request:?}");
}

const BOTH: [&str; 2] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
];

#[tokio::test]
async fn length_with_coding_is_refused_before_routing() {
    let gateway = start("");
    for both in BOTH {
        for path in ["/ok", "/count", "/secret", "/nowhere"] {
            for method in ["GET", "POST", "TRACE"] {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{both}\r\n");
                is_refused(
                    &gateway,
                    400,
                    &format!("{head}0\r\n\r\nGET /ok HTTP/1.1\r\nHost: a\r\n\r\n"),
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn length_with_coding_on_a_connection_in_use() {
    let gateway = start("");
    for both in BOTH {
        let bad = format!("POST /count HTTP/1.1\r\nHost: a\r\n{both}\r\n0\r\n\r\n");
        let mut stream = connect(&gateway).await;
        stream
            .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(status(&answer(&mut stream).await), 200);
        stream.write_all(bad.as_bytes()).await.unwrap();
        refused(&until_closed(&mut stream).await, 400, &bad);

        for good in [
            "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            let text = exchange(&gateway, format!("{good}{good}{bad}{good}").as_bytes()).await;
            assert_eq!(answers(&text), 3, "{text}");
            assert_eq!(status(&text), 200, "{text}");
            refused(&text[text.rfind("HTTP/1.1").unwrap()..], 400, &bad);
        }
    }
}

#[tokio::test]
async fn length_with_coding_byte_by_byte() {
    let gateway = start("");
    for both in BOTH {
        let bad = format!("POST /count HTTP/1.1\r\nHost: a\r\n{both}\r\n");
        let mut stream = connect(&gateway).await;
        for byte in bad.as_bytes() {
            // The gateway may have refused already.
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        refused(&until_closed(&mut stream).await, 400, &bad);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_problem() {
    let gateway = start("");
    let head = "GET /ok HTTP/1.1\r\nHost: a\r\n";
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "a".repeat(70_000);
    for (expected, request) in [
        (400, "nonsense\r\n\r\n".to_owned()),
        (400, "GET /ok\r\n\r\n".to_owned()),
        (400, "GET  /ok HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /ok HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /ok HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /ok\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "G\u{e9}T /ok HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /ok HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, format!("{head}X y: z\r\n\r\n")),
        (400, format!("{head}X : z\r\n\r\n")),
        (400, format!("{head}: z\r\n\r\n")),
        (400, format!("{head}no colon\r\n\r\n")),
        (400, format!("{head}X: a\r\n b\r\n\r\n")),
        (400, format!("{head}X: a\rb\r\n\r\n")),
        (400, format!("{head}X: a\0b\r\n\r\n")),
        (400, format!("{head}X: a\n\r\n")),
        (400, format!("{head}Content-Length : 5\r\n\r\n")),
        (
            400,
            format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        ),
        (400, format!("{head}Content-Length: 5, 5\r\n\r\n")),
        (400, format!("{head}Content-Length: +5\r\n\r\n")),
        (
            400,
            format!("{head}Content-Length: 99999999999999999999\r\n\r\n"),
        ),
        (400, format!("{head}Transfer-Encoding: identity\r\n\r\n")),
        (400, format!("{head}Transfer-Encoding: xchunked\r\n\r\n")),
        (
            400,
            format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n"),
        ),
        (
            400,
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        (400, format!("{head}Transfer-Encoding : chunked\r\n\r\n")),
        (
            501,
            format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n"),
        ),
        (
            400,
            "POST /count HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (431, format!("{head}{many}\r\n")),
        (431, format!("{head}X: {long}\r\n\r\n")),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
    ] {
        let shown: String = request.chars().take(200).collect();
        let text = exchange(&gateway, request.as_bytes()).await;
        assert_eq!(answers(&text), 1, "{shown:?} → {text:?}");
        refused(&text, expected, &shown);
    }
    let count = metric(
        &gateway,
        r#"gateway_requests_total{route="unmatched",class="4xx"}"#,
    )
    .await;
    assert!(count >= Some(20.0), "{count:?}");
}

#[tokio::test]
async fn a_target_that_is_only_a_little_too_long_keeps_its_request_id() {
    let gateway = start("");
    let mut stream = connect(&gateway).await;
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n",
        "a".repeat(9_000)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let text = answer(&mut stream).await;
    assert_eq!(status(&text), 414, "{text}");
    assert_eq!(header(&text, "x-request-id"), Some("mine"));
}

#[tokio::test]
async fn hosts_and_targets() {
    let gateway = start("");
    for (expected, request) in [
        (400, "GET /ok HTTP/1.1\r\n\r\n"),
        (400, "GET /ok HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET /ok HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET /ok HTTP/1.1\r\nHost:\r\n\r\n"),
        (200, "GET http://a/ok HTTP/1.1\r\nHost: a\r\n\r\n"),
        (200, "\r\n\r\nGET /ok HTTP/1.1\r\nHost: a\r\n\r\n"),
        (200, "GET /ok HTTP/1.1\r\nhOsT:a\r\n\r\n"),
        (404, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (405, "TRACE /ok HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let mut stream = connect(&gateway).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        assert_eq!(status(&text), expected, "{request:?} → {text}");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let gateway = start("");
    let text = exchange(&gateway, b"GET /ok HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(
        text.starts_with("HTTP/1.0 200") && text.ends_with("\r\n\r\nok"),
        "{text}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let gateway = start("");
    let text = exchange(
        &gateway,
        b"GET /pause HTTP/1.1\r\nHost: a\r\n\r\nPOST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          2;x=y\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\nGET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(answers(&text), 3, "{text}");
    let bodies: Vec<usize> = ["\r\n\r\npaused", "\r\n\r\n3", "\r\n\r\nok"]
        .iter()
        .map(|body| text.find(body).expect(body))
        .collect();
    assert!(bodies.is_sorted(), "{text}");
}

#[tokio::test]
async fn malformed_chunks_end_the_connection() {
    let gateway = start("");
    for body in [
        "g\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "-1\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let text = exchange(&gateway, request.as_bytes()).await;
        assert_eq!(answers(&text), 1, "{body:?} → {text}");
        assert_eq!(status(&text), 400, "{body:?} → {text}");
    }
    let extensions = format!(
        "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\na\r\n0\r\n\r\n",
        "a".repeat(20_000)
    );
    let text = exchange(&gateway, extensions.as_bytes()).await;
    assert_eq!(status(&text), 400, "{text}");
}

#[tokio::test]
async fn an_answer_that_looks_like_hypers_own_is_sent_whole() {
    let gateway = start("");
    let text = exchange(
        &gateway,
        b"HEAD /ok HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(answers(&text), 2, "{text}");
}

#[tokio::test]
async fn a_body_may_look_like_an_answer() {
    let gateway = start("");
    for close in ["", "Connection: close\r\n"] {
        let mut stream = connect(&gateway).await;
        let request = format!("GET /refusal HTTP/1.1\r\nHost: a\r\n{close}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, format!("It says: {REFUSAL}"));
    }
}

#[tokio::test]
async fn a_body_that_looks_like_an_upgrade_changes_nothing_for_what_follows() {
    let gateway = start("");
    let mut stream = connect(&gateway).await;
    let request = b"GET /switch HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let text = answer(&mut stream).await;
    assert!(text.ends_with(SWITCH), "{text}");
    let bare = "GET /ok HTTP/1.1\nHost: a\n\n";
    stream.write_all(bare.as_bytes()).await.unwrap();
    refused(&until_closed(&mut stream).await, 400, bare);
}
