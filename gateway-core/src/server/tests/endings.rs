//! How connections end when the gateway does.

use super::*;

#[tokio::test]
async fn on_drain_answers_say_close_and_idle_connections_end() {
    let gateway = start("");
    let mut idle = connect(&gateway).await;
    let mut running = connect(&gateway).await;
    let mut late = connect(&gateway).await;
    for stream in [&mut idle, &mut late] {
        stream
            .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let text = answer(stream).await;
        assert_eq!(header(&text, "connection"), None, "{text}");
    }
    running
        .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("it is running", async || {
        metric(&gateway, "gateway_requests_in_flight ").await == Some(1.0)
    })
    .await;
    let address = gateway.address();
    let drained = tokio::spawn(gateway.drain());
    eventually("it has stopped listening", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    // On its way when the gateway stopped.
    late.write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    for stream in [&mut late, &mut running] {
        let text = until_closed(stream).await;
        assert_eq!(status(&text), 200);
        assert_eq!(header(&text, "connection"), Some("close"), "{text}");
    }
    assert_eq!(until_closed(&mut idle).await, "");
    timeout(PATIENCE, drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn on_drain_http2_streams_finish_and_the_client_is_told() {
    let gateway = start("");
    let (mut requests, connection) = h2::client::handshake(connect(&gateway).await)
        .await
        .unwrap();
    let ended = tokio::spawn(connection);
    let request = http::Request::get("http://a/long").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    eventually("it is running", async || {
        metric(&gateway, "gateway_requests_in_flight ").await == Some(1.0)
    })
    .await;
    let drained = tokio::spawn(gateway.drain());
    assert_eq!(response.await.unwrap().status(), 200);
    drop(requests);
    timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
    timeout(PATIENCE, drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let gateway = start("");
    for version in ["1.0", "1.1"] {
        let mut stream = connect(&gateway).await;
        let request = format!("GET /breaks HTTP/{version}\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut text)).await;
        // Without a length and without chunks the end of the connection is that of the answer.
        let chunks = String::from_utf8_lossy(&text).contains("chunked");
        assert_eq!(chunks, version == "1.1");
        assert!(chunks || read.unwrap().is_err());
        assert!(!text.ends_with(b"\r\n0\r\n\r\n"));
    }
}
