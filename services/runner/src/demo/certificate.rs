//! The certificate that bff-web shows when the demo speaks TLS: made here, signed by itself, kept from one start to the next.
//! Who believes it is not decided here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::Serialize;

use crate::demo::files::{self, Files, FilesError};

/// The address alone. Browsers remember for a *name* that it was reached by TLS (HSTS, RFC 6797), and then no longer reach
/// anything else under it without: "localhost" is not ours to take.
const ADDRESS: &str = "127.0.0.1";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Apple's systems believe none that is good for more than 825 days.
const LIFETIME: Duration = DAY.saturating_mul(800);
/// An older one is replaced.
const RENEWAL: Duration = DAY.saturating_mul(400);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the demo's certificate can't be made")]
    Generation(#[from] rcgen::Error),
    #[error("the configuration of the demo's certificate can't be written as TOML")]
    Config(#[from] toml::ser::Error),
    #[error("{} can't be found again", path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A certificate for [`ADDRESS`], and where things are.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) path: PathBuf,
    /// Laid over bff-web's configuration.
    pub(crate) config: PathBuf,
}

/// The part of bff-web's configuration that the demo writes.
#[derive(Serialize)]
struct Config<'a> {
    server: Server<'a>,
}

#[derive(Serialize)]
struct Server<'a> {
    tls: Tls<'a>,
}

#[derive(Serialize)]
struct Tls<'a> {
    certificate: &'a Path,
    key: &'a Path,
}

impl Certificate {
    /// The one of an earlier start, so that who has told a browser to believe it need not do so again; or a new one.
    pub(crate) fn ensure(files: &Files) -> Result<Certificate, CertificateError> {
        let (path, key) = (files.certificate(), files.certificate_key());
        let pem = match kept(&path, &key)? {
            Some(pem) => pem,
            None => {
                let (pem, key_pem) = generate(now())?;
                // At no time is there a certificate beside a key that is not its own: both would be kept.
                files::remove(&path)?;
                files::write_private(&key, &key_pem)?;
                files::write_private(&path, &pem)?;
                pem
            }
        };
        let config = toml::to_string(&Config {
            server: Server {
                tls: Tls {
                    certificate: &absolute(&path)?,
                    key: &absolute(&key)?,
                },
            },
        })?;
        let config = format!("# Written by the demo at each start with TLS.\n\n{config}");
        files::write_private(&files.tls_config(), &config)?;
        Ok(Certificate {
            pem,
            path,
            config: files.tls_config(),
        })
    }
}

/// The PEM of a certificate that has its key beside it and is not too old.
fn kept(path: &Path, key: &Path) -> Result<Option<String>, FilesError> {
    let is_young = fs::metadata(path)
        .and_then(|file| file.modified())
        .is_ok_and(|made| SystemTime::now() < made + RENEWAL);
    if is_young && key.is_file() {
        files::read(path)
    } else {
        Ok(None)
    }
}

/// A certificate that is good from the day before `now` (since 1970) on, and its key, both PEM.
fn generate(now: Duration) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![ADDRESS.to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "FTGO demo (bff-web)");
    params.distinguished_name = name;
    params.not_before = date_time_ymd(1970, 1, 1) + now - DAY;
    params.not_after = params.not_before + LIFETIME;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

fn absolute(path: &Path) -> Result<PathBuf, CertificateError> {
    std::path::absolute(path).map_err(|source| CertificateError::Path {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs::{self, File};
    use std::time::SystemTime;

    use super::{Certificate, RENEWAL};
    use crate::demo::files::Files;

    #[test]
    fn it_is_kept_until_it_is_old_or_its_key_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(folder.path()).unwrap();
        let first = Certificate::ensure(&files).unwrap();
        let config = fs::read_to_string(&first.config).unwrap();
        assert!(config.contains(files.certificate_key().to_str().unwrap()));

        assert_eq!(Certificate::ensure(&files).unwrap().pem, first.pem);
        fs::remove_file(files.certificate_key()).unwrap();
        let second = Certificate::ensure(&files).unwrap();
        assert_ne!(second.pem, first.pem);

        let file = File::options().append(true).open(&second.path).unwrap();
        file.set_modified(SystemTime::now() - RENEWAL).unwrap();
        let third = Certificate::ensure(&files).unwrap();
        assert_ne!(third.pem, second.pem);
        assert_eq!(Certificate::ensure(&files).unwrap().pem, third.pem);
    }

    #[test]
    fn none_is_left_beside_a_key_that_is_not_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::create(folder.path()).unwrap();
        let first = Certificate::ensure(&files).unwrap();
        // The next one's key cannot be written: as if the demo had been killed there.
        fs::remove_file(files.certificate_key()).unwrap();
        fs::create_dir(files.certificate_key()).unwrap();
        assert!(Certificate::ensure(&files).is_err());
        assert!(!first.path.exists());
    }
}
