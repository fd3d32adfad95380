//! The framing of requests, in one piece and cut anywhere.

use super::*;

const HOST: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

fn whole(text: &str) -> Result<u64, Broken> {
    let mut framing = Framing::new(100);
    framing.scan(text.as_bytes()).map(|()| {
        assert!(
            !framing.in_head() && !framing.in_body(),
            "not at an end: {text:?}"
        );
        framing.heads()
    })
}

/// The fault of `text`, which has to be the same however it is cut.
fn fault(text: &str) -> Fault {
    let expected = whole(text).expect_err(text).fault;
    for cut in 1..text.len() {
        let mut framing = Framing::new(100);
        let (first, second) = text.as_bytes().split_at(cut);
        let found = framing
            .scan(first)
            .and_then(|()| framing.scan(second))
            .expect_err(text);
        assert_eq!(found.fault, expected, "cut at {cut}: {text:?}");
    }
    let mut framing = Framing::new(100);
    let found = text
        .as_bytes()
        .chunks(1)
        .find_map(|byte| framing.scan(byte).err())
        .expect(text);
    assert_eq!(found.fault, expected, "byte by byte: {text:?}");
    expected
}

#[test]
fn requests_are_counted_however_they_are_cut() {
    let text = format!(
        "{HOST}\r\n\r\nPOST /a HTTP/1.1\r\nHost: a\r\ncontent-length:  5 \r\n\r\nhe\nlo\
         POST /b HTTP/1.1\r\nTRANSFER-encoding:chunked\r\n\r\n5;x=\"y\"\r\n\r\nabc\r\n00\r\nA: b\r\n\r\n{HOST}\r\n"
    );
    assert_eq!(whole(&text), Ok(4));
    for size in 1..40 {
        let mut framing = Framing::new(100);
        for piece in text.as_bytes().chunks(size) {
            framing.scan(piece).expect("well framed");
        }
        assert_eq!(framing.heads(), 4, "in pieces of {size}");
    }
}

#[test]
fn what_is_before_the_fault_is_told() {
    let good = format!("{HOST}\r\n");
    let text = format!("{good}{HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    let broken = whole(&text).expect_err("both");
    assert_eq!(broken.fault, Fault::LengthAndCoding);
    assert!(text[broken.after..].starts_with("Transfer-Encoding"));
}

#[test]
fn length_and_coding_exclude_each_other() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length: 0\r\nX: y\r\ntransfer-encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
    ] {
        assert_eq!(
            fault(&format!("{HOST}{fields}\r\n")),
            Fault::LengthAndCoding
        );
    }
}

#[test]
fn lengths_are_one_number() {
    for value in [
        "",
        "-1",
        "+1",
        "1 1",
        "1, 1",
        "0x10",
        "18446744073709551616",
        "1\u{b}",
        "1;",
    ] {
        let text = format!("{HOST}Content-Length: {value}\r\n\r\n");
        assert_eq!(fault(&text), Fault::ContentLength, "{value:?}");
    }
    let twice = format!("{HOST}Content-Length: 5\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(fault(&twice), Fault::ContentLength);
}

#[test]
fn codings_are_chunked_and_nothing_else() {
    for (value, expected) in [
        ("identity", Fault::TransferCoding),
        ("xchunked", Fault::TransferCoding),
        ("chunked, gzip", Fault::TransferCoding),
        ("chunked, chunked", Fault::TransferCoding),
        ("\"chunked\"", Fault::TransferCoding),
        ("\u{b}chunked", Fault::TransferCoding),
        ("", Fault::TransferCoding),
        ("gzip, chunked", Fault::UnknownCoding),
    ] {
        let text = format!("{HOST}Transfer-Encoding: {value}\r\n\r\n");
        assert_eq!(fault(&text), expected, "{value:?}");
    }
}

#[test]
fn lines_end_properly() {
    assert_eq!(
        fault("GET / HTTP/1.1\nHost: a\r\n\r\n"),
        Fault::BareLineFeed
    );
    assert_eq!(fault(&format!("{HOST}X: y\n\r\n")), Fault::BareLineFeed);
    assert_eq!(
        fault(&format!("{HOST}X: y\r\n folded\r\n\r\n")),
        Fault::Folded
    );
}

#[test]
fn long_targets_are_found_before_their_end() {
    let long = format!("GET /{}", "a".repeat(200));
    assert_eq!(fault(&long), Fault::TargetTooLong);
    assert_eq!(
        fault(&format!("{long} HTTP/1.1\r\n\r\n")),
        Fault::TargetTooLong
    );
}

#[test]
fn malformed_chunks() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "\r\n",
        "g\r\n",
        "5 5\r\n",
        "-1\r\n",
        "0x5\r\n",
        "5\nhello\r\n",
        "5;a\nb\r\n",
        "5;a\rb\r\n",
        "5\r\nhello0\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\na\r\n",
        "0\r\n\n",
    ] {
        assert_eq!(fault(&format!("{head}{body}")), Fault::Chunk, "{body:?}");
    }
    let abuse = format!("{head}1;{}\r\n", "a".repeat(300));
    assert_eq!(fault(&abuse), Fault::Chunk);
    assert!(fault(&abuse).in_body());
}
