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
        .write_all(b"GET /pause HTTP/1.1\r\nHost: a\r\n\r\n")
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
    let request = http::Request::get("http://a/pause").body(()).unwrap();
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
