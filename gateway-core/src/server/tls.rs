//! TLS on the public listener: the certificate, read again when its files change, and who signs clients' certificates.
//! The handshake is `connection.rs`'s. The files are read here and not in `config/`: they change while the process runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// What the files of a certificate can have wrong with them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    #[error("{path} cannot be read")]
    Unreadable {
        key: &'static str,
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} has no certificate")]
    Empty { key: &'static str, path: PathBuf },
    #[error("not a certificate authority")]
    Authority(#[source] rustls::Error),
    #[error("clients' certificates cannot be checked")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("certificate and key do not fit each other")]
    Mismatch(#[source] rustls::Error),
}

impl TlsFault {
    /// The key of the configuration at fault.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::Empty { key, .. } => key,
            Self::Authority(_) | Self::Verifier(_) => "server.tls.client_ca",
            Self::Mismatch(_) => "server.tls.certificate",
        }
    }
}

/// When the files were changed last, and how long they are.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// The certificate in use.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<Stamps>,
}

impl Tls {
    /// # Errors
    /// When a file cannot be read, or they do not fit each other.
    pub(crate) fn new(config: TlsConfig) -> Result<Self, TlsFault> {
        let seen = Mutex::new(stamps(&config));
        let current = ArcSwap::from(read(&config)?);
        Ok(Self {
            config,
            current,
            seen,
        })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Takes the files' new content if they have changed since the last look, or if it was `asked` for. Whether there is a
    /// new certificate now.
    ///
    /// # Errors
    /// When the new content cannot be used: everything stays as it was, and it is tried again at the next change.
    pub(crate) fn reload(&self, asked: bool) -> Result<bool, TlsFault> {
        let now = stamps(&self.config);
        let before = std::mem::replace(
            &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
            now.clone(),
        );
        if before == now && !asked {
            return Ok(false);
        }
        self.current.store(read(&self.config)?);
        Ok(true)
    }
}

fn stamps(config: &TlsConfig) -> Stamps {
    let stamp = |path: &Path| -> io::Result<_> {
        let data = fs::metadata(path)?;
        Ok((data.modified()?, data.len()))
    };
    [&config.certificate, &config.key]
        .into_iter()
        .chain(&config.client_ca)
        .map(|path| stamp(path).ok())
        .collect()
}

fn read(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsFault> {
    let chain = certificates("server.tls.certificate", &config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|source| TlsFault::Unreadable {
        key: "server.tls.key",
        path: config.key.clone(),
        source,
    })?;
    let builder = ServerConfig::builder();
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("server.tls.client_ca", path)? {
                roots.add(certificate).map_err(TlsFault::Authority)?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let verifier = if config.require_client {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut tls = builder
        .with_single_cert(chain, key)
        .map_err(TlsFault::Mismatch)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let unreadable = |source| TlsFault::Unreadable {
        key,
        path: path.to_owned(),
        source,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsFault::Empty {
            key,
            path: path.to_owned(),
        });
    }
    Ok(chain)
}
