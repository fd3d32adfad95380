//! HTTP/2 with prior knowledge, and clients that misuse it. Frames are written by hand: a library would not send them.

use tokio::time::Instant;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET /pause` (RFC 7541: indexed method and scheme, literal path and authority).
fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0x5, stream, b"\x82\x86\x04\x06/pause\x01\x01a")
}

/// Whether the gateway says GOAWAY before it closes.
async fn told_to_go(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    // A reset instead of an orderly end is fine.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .expect("the gateway closes the connection");
    let mut rest = &text[..];
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        if rest[3] == GOAWAY {
            return true;
        }
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    false
}

async fn served(gateway: &RunningGateway) -> Duration {
    let started = Instant::now();
    let text = exchange(
        gateway,
        b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status(&text), 200, "{text}");
    started.elapsed()
}

#[tokio::test]
async fn prior_knowledge() {
    let gateway = start("");
    let (mut requests, connection) = h2::client::handshake(connect(&gateway).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://a/ok").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_nobody_elses() {
    let gateway = start("");
    let mut stream = connect(&gateway).await;
    let mut attack = PREFACE.to_vec();
    attack.extend(frame(SETTINGS, 0, 0, b""));
    for id in (1..4000).step_by(2) {
        attack.extend(request(id));
        attack.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let (mut read, mut write) = stream.split();
    // It may be cut off before it has sent everything.
    let write = async {
        let _ = write.write_all(&attack).await;
    };
    let read = async {
        let mut text = Vec::new();
        let _ = timeout(PATIENCE, read.read_to_end(&mut text))
            .await
            .expect("the gateway closes the connection");
    };
    let ((), (), took) = tokio::join!(write, read, served(&gateway));
    assert!(took < Duration::from_secs(1), "{took:?}");
    served(&gateway).await;
}

#[tokio::test]
async fn floods_of_frames_that_want_an_answer_stop_when_nobody_reads_it() {
    let gateway = start("body_timeout = \"500ms\"");
    for flood in [
        frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64"),
        frame(PING, 0, 0, b"12345678"),
    ] {
        let mut stream = connect(&gateway).await;
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
        let flood = flood.repeat(1000);
        let cut = timeout(PATIENCE, async {
            while stream.write_all(&flood).await.is_ok() {}
        });
        let (cut, took) = tokio::join!(cut, served(&gateway));
        cut.expect("the flood is cut off");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn idle_connections_are_told_to_go() {
    let gateway = start("idle_timeout = \"400ms\"");
    let mut stream = connect(&gateway).await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
    let started = Instant::now();
    // This client answers nothing, so it is closed after all.
    assert!(told_to_go(&mut stream).await);
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn a_client_that_gives_no_room_for_an_answer_is_cut_off() {
    // The socket is closed a moment before the request's place is free: the next one may wait for it.
    let gateway = start("max_requests = 1\nmax_wait = \"2s\"\nbody_timeout = \"500ms\"");
    let (mut requests, connection) = h2::client::handshake(connect(&gateway).await)
        .await
        .unwrap();
    let ended = tokio::spawn(connection);
    let request = http::Request::get("http://a/large").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    // The body is neither read nor dropped, so its window stays closed; the connection itself is read all the time.
    let _ = timeout(PATIENCE, ended).await.expect("it is closed");
    drop(response);
    served(&gateway).await;
}

#[tokio::test]
async fn who_waits_to_be_asked_for_the_body_is_told_at_once_that_nobody_will() {
    let gateway = start("");
    let (mut requests, connection) = h2::client::handshake(connect(&gateway).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://a/count")
        .header("expect", "100-continue")
        .body(())
        .unwrap();
    let (response, _body) = requests.send_request(request, false).unwrap();
    let response = timeout(Duration::from_secs(5), response).await.unwrap();
    assert_eq!(response.unwrap().status(), 417);
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_but_steadily_gets_all_of_it() {
    let gateway = start("body_timeout = \"1s\"");
    let (mut requests, connection) = h2::client::handshake(connect(&gateway).await)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://a/pieces").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut taken = 0;
    while let Some(piece) = timeout(PATIENCE, body.data()).await.unwrap() {
        let piece = piece.unwrap();
        taken += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
        // About 400 KiB a second: a piece of the service takes longer than the client may.
        sleep(Duration::from_millis(piece.len() as u64 / 400)).await;
    }
    assert_eq!(taken, PIECE * PIECES);
}
