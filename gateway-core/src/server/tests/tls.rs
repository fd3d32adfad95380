//! TLS: protocols by ALPN, certificates that change, clients' certificates.

use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// An authority, and a folder with what it has signed for the gateway.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let new = Self {
            issuer,
            folder: TempDir::new().unwrap(),
        };
        fs::write(new.path("ca.pem"), new.issuer.pem()).unwrap();
        new.renew();
        new
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a new certificate for the gateway, and returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let (certificate, key) = self.sign("gateway.test");
        fs::write(self.path("tls.crt"), certificate.pem()).unwrap();
        fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn start(&self, more: &str) -> RunningGateway {
        start(&format!(
            "[server.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n{more}",
            self.path("tls.crt"),
            self.path("tls.key")
        ))
    }

    fn client(&self, protocols: &[&str], certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = if certificate {
            let (certificate, key) = self.sign("client.test");
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate.der().clone()], key)
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsConnector::from(Arc::new(config))
    }
}

async fn shake(
    gateway: &RunningGateway,
    client: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("gateway.test").unwrap();
    client.connect(name, connect(gateway).await).await
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    stream
        .write_all(b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn protocols_by_alpn() {
    let authority = Authority::new();
    let gateway = authority.start("");
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = shake(&gateway, &authority.client(protocols, false))
            .await
            .unwrap();
        assert_eq!(status(&ask(&mut stream).await.unwrap()), 200);
    }
    let stream = shake(&gateway, &authority.client(&["h2", "http/1.1"], false))
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://gateway.test/ok")
        .body(())
        .unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert!(
        shake(&gateway, &authority.client(&["spdy/3"], false))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn framing_is_strict_under_tls_too() {
    let authority = Authority::new();
    let gateway = authority.start("");
    let mut stream = shake(&gateway, &authority.client(&["http/1.1"], false))
        .await
        .unwrap();
    stream
        .write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(status(&text), 400, "{text}");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let authority = Authority::new();
    let gateway = authority.start("handshake_timeout = \"300ms\"");
    let mut silent = connect(&gateway).await;
    assert_eq!(until_closed(&mut silent).await, "");
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let gateway = authority.start("");
    let client = authority.client(&["http/1.1"], false);
    let mut old = shake(&gateway, &client).await.unwrap();

    let second = authority.renew();
    eventually("the new certificate is shown", async || {
        shown(&shake(&gateway, &client).await.unwrap()) == second
    })
    .await;
    assert_eq!(
        status(&ask(&mut old).await.unwrap()),
        200,
        "open connections go on"
    );

    fs::write(authority.path("tls.crt"), "not a certificate").unwrap();
    eventually("the bad one is counted", async || {
        metric(&gateway, "gateway_certificate_reload_failures_total").await >= Some(1.0)
    })
    .await;
    let mut stream = shake(&gateway, &client).await.unwrap();
    assert_eq!(shown(&stream), second);
    assert_eq!(status(&ask(&mut stream).await.unwrap()), 200);

    let third = authority.renew();
    eventually("the third is shown", async || {
        shown(&shake(&gateway, &client).await.unwrap()) == third
    })
    .await;
}

#[tokio::test]
async fn certificates_of_clients() {
    let authority = Authority::new();
    let ca = format!("client_ca = \"{}\"", authority.path("ca.pem"));
    let required = authority.start(&ca);
    let optional = authority.start(&format!("{ca}\nclient_auth = \"optional\""));
    for (gateway, certificate, good) in [
        (&required, true, true),
        (&required, false, false),
        (&optional, true, true),
        (&optional, false, true),
    ] {
        let client = authority.client(&["http/1.1"], certificate);
        let answered = async {
            // TLS 1.3: the client learns of a refusal only when it reads.
            ask(&mut shake(gateway, &client).await?).await
        };
        let answered = answered.await.is_ok_and(|text| status(&text) == 200);
        assert_eq!(answered, good, "certificate: {certificate}");
    }
}

#[test]
fn bad_files_are_faults_of_the_configuration() {
    crate::install_crypto();
    let authority = Authority::new();
    fs::write(
        authority.path("tls.key"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    for (certificate, key, at) in [
        ("nowhere.crt", "tls.key", "server.tls.certificate"),
        ("tls.crt", "nowhere.key", "server.tls.key"),
        ("tls.crt", "tls.key", "server.tls.certificate"),
    ] {
        let config = crate::config::TlsConfig {
            certificate: authority.path(certificate).into(),
            key: authority.path(key).into(),
            client_ca: None,
            require_client: false,
            handshake_timeout: PATIENCE,
        };
        let fault = super::super::Tls::new(config).unwrap_err();
        assert_eq!(fault.key(), at, "{fault}");
    }
}
