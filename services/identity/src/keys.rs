//! The signing keys: made, kept in the database, rotated, published as a JWK set, and used to sign and verify. Not here:
//! which claims a token carries (`token.rs`).

use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ftgo_messaging::Database;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use tokio::sync::{Mutex, watch};

/// How long a key stays published after it signed its last token, in seconds. It covers the longest life of a token that a
/// flow issues many times over; only `/dev/token` can make one that lives longer.
const PUBLISHED_AFTER_RETIREMENT: i64 = 24 * 3600;

/// At most so many retired keys of each algorithm stay published, however often somebody rotates.
const RETIRED_KEYS: usize = 4;

/// The algorithms that the provider signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    Rs256,
    Es256,
}

impl SigningAlgorithm {
    pub const ALL: [SigningAlgorithm; 2] = [SigningAlgorithm::Rs256, SigningAlgorithm::Es256];

    /// The name in `alg` (RFC 7518, 3.1).
    pub fn name(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Es256 => "ES256",
        }
    }

    fn jwt(self) -> Algorithm {
        match self {
            SigningAlgorithm::Rs256 => Algorithm::RS256,
            SigningAlgorithm::Es256 => Algorithm::ES256,
        }
    }
}

/// A name that is none of [`SigningAlgorithm::ALL`].
#[derive(Debug, thiserror::Error)]
#[error("the algorithm must be RS256 or ES256")]
pub struct UnknownAlgorithm;

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        SigningAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or(UnknownAlgorithm)
    }
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("a signing key could not be made")]
    Generation,
    #[error("a stored signing key cannot be read")]
    Stored(#[source] jsonwebtoken::errors::Error),
    #[error("a stored signing key names an unknown algorithm")]
    StoredAlgorithm(#[from] UnknownAlgorithm),
    #[error("the signing keys' storage failed")]
    Storage(#[from] sqlx::Error),
    #[error("no signing key for {}", .0.name())]
    Missing(SigningAlgorithm),
    #[error("signing failed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// One published key.
struct SigningKey {
    kid: String,
    algorithm: SigningAlgorithm,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
    retired: bool,
}

impl SigningKey {
    /// Reads a private key; its `kid` is the thumbprint of its public half (RFC 7638).
    fn parse(algorithm: SigningAlgorithm, pem: &str) -> Result<Self, jsonwebtoken::errors::Error> {
        let private = match algorithm {
            SigningAlgorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes())?,
            SigningAlgorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes())?,
        };
        let mut jwk = Jwk::from_encoding_key(&private, algorithm.jwt())?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(SigningKey {
            kid,
            algorithm,
            public: DecodingKey::from_jwk(&jwk)?,
            private,
            jwk,
            retired: false,
        })
    }
}

/// The keys published at one moment, newest first.
pub(crate) struct KeySet {
    keys: Vec<SigningKey>,
}

impl KeySet {
    /// The document at `jwks_uri` (RFC 7517, 5): public halves only.
    pub(crate) fn published(&self) -> JwkSet {
        JwkSet {
            keys: self.keys.iter().map(|key| key.jwk.clone()).collect(),
        }
    }

    /// The `kid` that signs with `algorithm` now.
    pub(crate) fn current(&self, algorithm: SigningAlgorithm) -> Option<&str> {
        self.signing(algorithm).map(|key| key.kid.as_str())
    }

    /// The public key called `kid` and the one algorithm that it may be used with.
    pub(crate) fn verification(&self, kid: &str) -> Option<(&DecodingKey, Algorithm)> {
        self.keys
            .iter()
            .find(|key| key.kid == kid)
            .map(|key| (&key.public, key.algorithm.jwt()))
    }

    /// Signs `claims` as a compact JWS whose header has the given `typ`.
    pub(crate) fn sign(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, KeyError> {
        let key = self
            .signing(algorithm)
            .ok_or(KeyError::Missing(algorithm))?;
        let mut header = Header::new(algorithm.jwt());
        header.typ = Some(typ.to_owned());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.private).map_err(KeyError::Signing)
    }

    fn signing(&self, algorithm: SigningAlgorithm) -> Option<&SigningKey> {
        self.keys
            .iter()
            .find(|key| key.algorithm == algorithm && !key.retired)
    }
}

/// The provider's keys, shared by everything that signs or verifies.
pub(crate) struct SigningKeys {
    database: Database,
    current: watch::Sender<Arc<KeySet>>,
    /// Held during a rotation, so that the set published last is the one stored last.
    rotation: Mutex<()>,
}

impl SigningKeys {
    /// Loads the keys; makes the first ones when there are none yet. `now` is in seconds since the epoch.
    pub(crate) async fn open(database: Database, now: i64) -> Result<Self, KeyError> {
        let mut set = load(&database, now).await?;
        let missing = SigningAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| set.signing(*algorithm).is_none())
            .collect::<Vec<_>>();
        if !missing.is_empty() {
            let made = generate(missing).await?;
            let mut tx = database.write().await?;
            for (algorithm, pem, key) in &made {
                insert(&mut tx, *algorithm, pem, &key.kid, now).await?;
            }
            tx.commit().await?;
            set = load(&database, now).await?;
        }
        Ok(SigningKeys {
            database,
            current: watch::Sender::new(Arc::new(set)),
            rotation: Mutex::new(()),
        })
    }

    /// The keys of this moment.
    pub(crate) fn current(&self) -> Arc<KeySet> {
        self.current.borrow().clone()
    }

    /// Adds a key of each kind, which sign from now on. The former ones stay published for a day, or are withdrawn at once
    /// when `withdraw_former` is set, as after a leak.
    pub(crate) async fn rotate(
        &self,
        withdraw_former: bool,
        now: i64,
    ) -> Result<Arc<KeySet>, KeyError> {
        let _rotation = self.rotation.lock().await;
        let made = generate(SigningAlgorithm::ALL.to_vec()).await?;
        let mut tx = self.database.write().await?;
        if withdraw_former {
            sqlx::query("DELETE FROM signing_key")
                .execute(&mut *tx)
                .await?;
        } else {
            sqlx::query("UPDATE signing_key SET retired_at = ? WHERE retired_at IS NULL")
                .bind(now)
                .execute(&mut *tx)
                .await?;
        }
        for (algorithm, pem, key) in &made {
            insert(&mut tx, *algorithm, pem, &key.kid, now).await?;
        }
        sqlx::query(
            "DELETE FROM signing_key WHERE retired_at <= ?1 OR (retired_at IS NOT NULL AND (
                 SELECT count(*) FROM signing_key newer
                 WHERE newer.algorithm = signing_key.algorithm AND newer.retired_at IS NOT NULL
                   AND newer.sequence > signing_key.sequence) >= ?2)",
        )
        .bind(now - PUBLISHED_AFTER_RETIREMENT)
        .bind(i64::try_from(RETIRED_KEYS).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let set = Arc::new(load(&self.database, now).await?);
        self.current.send_replace(set.clone());
        Ok(set)
    }
}

async fn load(database: &Database, now: i64) -> Result<KeySet, KeyError> {
    let rows = sqlx::query_as::<_, (String, String, Option<i64>)>(
        "SELECT algorithm, private_key, retired_at FROM signing_key
         WHERE retired_at IS NULL OR retired_at > ? ORDER BY sequence DESC",
    )
    .bind(now - PUBLISHED_AFTER_RETIREMENT)
    .fetch_all(database.read())
    .await?;
    let mut keys = Vec::with_capacity(rows.len());
    for (algorithm, pem, retired_at) in rows {
        let mut key = SigningKey::parse(algorithm.parse()?, &pem).map_err(KeyError::Stored)?;
        key.retired = retired_at.is_some();
        keys.push(key);
    }
    Ok(KeySet { keys })
}

async fn insert(
    connection: &mut sqlx::SqliteConnection,
    algorithm: SigningAlgorithm,
    pem: &str,
    kid: &str,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO signing_key (kid, algorithm, private_key, created_at) VALUES (?, ?, ?, ?)",
    )
    .bind(kid)
    .bind(algorithm.name())
    .bind(pem)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes one key of each algorithm, away from the runtime's threads: an RSA key takes a tenth of a second.
async fn generate(
    algorithms: Vec<SigningAlgorithm>,
) -> Result<Vec<(SigningAlgorithm, String, SigningKey)>, KeyError> {
    let made = tokio::task::spawn_blocking(move || {
        algorithms
            .into_iter()
            .map(|algorithm| {
                let pem = pem(&generate_pkcs8(algorithm)?);
                let key = SigningKey::parse(algorithm, &pem).map_err(KeyError::Stored)?;
                Ok((algorithm, pem, key))
            })
            .collect::<Result<Vec<_>, KeyError>>()
    });
    made.await.map_err(|_| KeyError::Generation)?
}

fn generate_pkcs8(algorithm: SigningAlgorithm) -> Result<Vec<u8>, KeyError> {
    match algorithm {
        SigningAlgorithm::Rs256 => {
            let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generation)?;
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| KeyError::Generation)?;
            Ok(der.as_ref().to_vec())
        }
        SigningAlgorithm::Es256 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map_err(|_| KeyError::Generation)?;
            let der = key.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
            Ok(der.as_ref().to_vec())
        }
    }
}

/// RFC 7468, 10.
fn pem(pkcs8: &[u8]) -> String {
    let encoded = STANDARD.encode(pkcs8);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

#[cfg(test)]
mod tests;
