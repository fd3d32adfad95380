//! Bounds on what is taken in at once.

use super::*;

#[tokio::test]
async fn connections_above_the_limit_are_told_so() {
    let gateway = start("max_connections = 3");
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&gateway).await;
        stream
            .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(status(&answer(&mut stream).await), 200);
        open.push(stream);
    }
    for _ in 0..5 {
        let text = exchange(&gateway, b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(status(&text), 503, "{text}");
        assert_eq!(header(&text, "retry-after"), Some("1"));
    }
    assert_eq!(
        metric(&gateway, "gateway_connections_refused_total").await,
        Some(5.0)
    );
    drop(open);
    eventually("a place is free again", async || {
        let text = exchange(
            &gateway,
            b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await;
        status(&text) == 200
    })
    .await;
}

#[tokio::test]
async fn requests_above_the_limit_wait_a_little_and_are_shed() {
    let gateway = start("max_requests = 1\nmax_wait = \"20ms\"");
    let mut first = connect(&gateway).await;
    first
        .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("the first is running", async || {
        metric(&gateway, "gateway_requests_in_flight ").await == Some(1.0)
    })
    .await;
    let mut second = connect(&gateway).await;
    second
        .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let shed = answer(&mut second).await;
    assert_eq!(status(&shed), 503, "{shed}");
    assert_eq!(header(&shed, "retry-after"), Some("1"));
    assert_eq!(status(&answer(&mut first).await), 200);
}

#[tokio::test]
async fn a_request_that_can_wait_is_not_shed() {
    let gateway = start("max_requests = 1\nmax_wait = \"5s\"");
    let ask = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        status(&exchange(&gateway, request.as_bytes()).await)
    };
    assert_eq!(tokio::join!(ask("/pause"), ask("/ok")), (200, 200));
}

#[tokio::test]
async fn an_early_refusal_arrives_although_the_body_is_not_read() {
    let gateway = start("");
    let body = vec![b'x'; 2 << 20];
    for (path, expected) in [("/small", 413), ("/secret", 405), ("/nowhere", 404)] {
        for fields in [
            format!("Content-Length: {}", body.len()),
            "Transfer-Encoding: chunked".to_owned(),
        ] {
            for _ in 0..5 {
                let mut stream = connect(&gateway).await;
                let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                // All of it, before a look at the answer: as most clients do.
                if fields.starts_with('T') {
                    for piece in body.chunks(64 << 10) {
                        let size = format!("{:x}\r\n", piece.len());
                        stream.write_all(size.as_bytes()).await.unwrap();
                        stream.write_all(piece).await.unwrap();
                        stream.write_all(b"\r\n").await.unwrap();
                    }
                } else {
                    stream.write_all(&body).await.unwrap();
                }
                let text = answer(&mut stream).await;
                assert_eq!(status(&text), expected, "{path} {fields}: {text}");
            }
        }
    }
}
