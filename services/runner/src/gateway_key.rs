//! The key by which FTGO's gateways tell the services who is calling: made once and kept in a file, or for one run alone.
//! How a token is made is gateway-core's, how it is checked the chassis'.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ftgo_chassis::TrustedGateways;
use ftgo_chassis::caller::UnusableKey as UnusablePublicKey;
use gateway_core::auth::internal_token::{InternalTokenSigner, SigningKey, UnusableKey};
use gateway_core::config::InternalTokenConfig;

/// Who signs with the key: the BFFs, and this program for its own calls.
const GATEWAYS: [&str; 4] = ["bff-web", "bff-mobile", "bff-public", ITSELF];
const ITSELF: &str = "ftgo";

/// The `kid`, as the BFFs' configuration has it.
const KEY_ID: &str = "gateway";
const LIFETIME: Duration = Duration::from_secs(60);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum GatewayKeyError {
    #[error("{} can't be {verb}", path.display())]
    File {
        path: PathBuf,
        verb: &'static str,
        source: io::Error,
    },
    #[error("{} holds no usable key; remove it and another one is made", .0.display())]
    Unreadable(PathBuf),
    #[error("the gateways' key can't be made")]
    Generation,
    #[error("the gateways' key can't be used")]
    Private(#[from] UnusableKey),
    #[error("the public half of the gateways' key can't be used")]
    Public(#[from] UnusablePublicKey),
}

/// A key pair, EC P-256.
pub struct GatewayKey {
    private_pem: String,
    trust: TrustedGateways,
    signer: Arc<InternalTokenSigner>,
}

impl GatewayKey {
    /// The key in this file, or a new one that is there from now on and that only its owner may read.
    ///
    /// # Errors
    /// A file that can't be read or written, or holds something else.
    pub fn ensure(path: &Path) -> Result<GatewayKey, GatewayKeyError> {
        let failed = |verb| {
            let path = path.to_owned();
            move |source| GatewayKeyError::File { path, verb, source }
        };
        match fs::read_to_string(path) {
            Ok(text) => {
                let der = der(&text).ok_or_else(|| GatewayKeyError::Unreadable(path.to_owned()))?;
                GatewayKey::of(&der).map_err(|_| GatewayKeyError::Unreadable(path.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = GatewayKey::generate()?;
                // Whole or not at all, and never open to others: a BFF may be waiting for it.
                let draft = path.with_extension("draft");
                let _ = fs::remove_file(&draft);
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&draft)
                    .map_err(failed("made"))?;
                file.write_all(key.private_pem.as_bytes())
                    .and_then(|()| file.sync_all())
                    .and_then(|()| fs::rename(&draft, path))
                    .map_err(failed("written"))?;
                Ok(key)
            }
            Err(error) => Err(failed("read")(error)),
        }
    }

    /// A key that is kept nowhere.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<GatewayKey, GatewayKeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| GatewayKeyError::Generation)?;
        let der = pair.to_pkcs8v1().map_err(|_| GatewayKeyError::Generation)?;
        GatewayKey::of(der.as_ref())
    }

    fn of(der: &[u8]) -> Result<GatewayKey, GatewayKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| GatewayKeyError::Generation)?;
        let public: PublicKeyX509Der<'_> = pair
            .public_key()
            .as_der()
            .map_err(|_| GatewayKeyError::Generation)?;
        let private_pem = pem("PRIVATE KEY", der);
        let config = InternalTokenConfig {
            key: SigningKey::from_pem(&private_pem)?,
            key_id: KEY_ID.to_owned(),
            lifetime: LIFETIME,
            attributes: vec!["consumer".to_owned(), "restaurant_ids".to_owned()],
        };
        Ok(GatewayKey {
            trust: TrustedGateways::new(KEY_ID, &pem("PUBLIC KEY", public.as_ref()), &GATEWAYS)?,
            signer: Arc::new(InternalTokenSigner::new(ITSELF, &config)),
            private_pem,
        })
    }

    /// The private key, PKCS #8 in PEM: for a gateway's configuration.
    pub fn private_pem(&self) -> &str {
        &self.private_pem
    }

    /// What the services need to know of it.
    pub fn trust(&self) -> TrustedGateways {
        self.trust.clone()
    }

    /// Signs tokens in the name of this program.
    pub fn signer(&self) -> Arc<InternalTokenSigner> {
        Arc::clone(&self.signer)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let (mut line, mut rest) = text.split_at(text.len().min(64));
    while !line.is_empty() {
        pem.push_str(line);
        pem.push('\n');
        (line, rest) = rest.split_at(rest.len().min(64));
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn der(pem: &str) -> Option<Vec<u8>> {
    let text: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::{GatewayKey, GatewayKeyError};

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway-key.pem");
        let first = GatewayKey::ensure(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, first.private_pem());
        assert!(text.lines().all(|line| line.len() <= 64), "{}", text.len());

        let second = GatewayKey::ensure(&path).unwrap();
        assert_eq!(second.private_pem(), first.private_pem());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_with_something_else_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway-key.pem");
        std::fs::write(&path, "something else").unwrap();
        let error = GatewayKey::ensure(&path).err().unwrap();
        assert!(matches!(error, GatewayKeyError::Unreadable(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");
    }
}
