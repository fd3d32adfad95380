//! For what outlives its request, event streams and WebSockets: when its caller's credential stops being believed before its
//! end. Requests ask for themselves, in `auth/jwt.rs`; when a token ends by itself is `deadline.rs`'s.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::Revocations;
use crate::auth::Principal;
use crate::config::ApiKeysConfig;

/// The hashes of the API keys that are accepted, by their ids.
type Keys = HashMap<String, [u8; 32]>;

/// What is believed in the whole process, through all its configurations. Cloning it shares it.
#[derive(Clone)]
pub(crate) struct RevocationWatch {
    revocations: Arc<Revocations>,
    keys: Arc<watch::Sender<Keys>>,
}

impl RevocationWatch {
    pub(crate) fn new(revocations: Arc<Revocations>, keys: Option<&ApiKeysConfig>) -> Self {
        Self {
            revocations,
            keys: Arc::new(watch::Sender::new(by_id(keys))),
        }
    }

    /// From here on these API keys are accepted, and no others.
    pub(crate) fn take_over(&self, keys: Option<&ApiKeysConfig>) {
        self.keys.send_replace(by_id(keys));
    }

    /// Ends when `principal`'s token is revoked, here or on another replica, when its session ends, or when its API key is no longer configured; never
    /// for anybody without a credential.
    pub(crate) fn until_revoked(
        &self,
        principal: &Principal,
    ) -> impl Future<Output = ()> + Send + use<> {
        let principal = principal.clone();
        let revocations = Arc::clone(&self.revocations);
        let mut keys = self.keys.subscribe();
        // A key that is made anew under the same id is another one.
        let hash = match &principal {
            Principal::ApiKey(key) => keys.borrow().get(&key.key_id).copied(),
            Principal::Anonymous | Principal::Token(_) => None,
        };
        async move {
            match principal {
                Principal::Anonymous => std::future::pending().await,
                Principal::Token(token) => {
                    let mut told = revocations.told();
                    while !revocations.has_ended(&token) {
                        if told.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                }
                Principal::ApiKey(key) => {
                    let gone =
                        |keys: &Keys| hash.is_none() || keys.get(&key.key_id) != hash.as_ref();
                    if keys.wait_for(gone).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for RevocationWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationWatch").finish_non_exhaustive()
    }
}

fn by_id(config: Option<&ApiKeysConfig>) -> Keys {
    let keys = config.iter().flat_map(|config| &config.keys);
    keys.map(|key| (key.id.clone(), key.hash)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::BTreeMap;

    use futures_util::FutureExt;

    use super::*;
    use crate::auth::ApiKeyPrincipal;
    use crate::auth::revocation::tests::token;
    use crate::auth::revocation::{Revocation, Revoked};
    use crate::config::ApiKeyConfig;

    #[tokio::test]
    async fn a_revocation_ends_what_its_callers_have_open_and_nothing_else() {
        let revocations = Arc::<Revocations>::default();
        let watch = RevocationWatch::new(Arc::clone(&revocations), None);
        let open = |subject: &str, id: &str| {
            let principal = Principal::Token(Arc::new(token("https://a.example", subject, id)));
            Box::pin(watch.until_revoked(&principal))
        };
        let (mut first, mut second) = (open("anna", "1"), open("anna", "2"));
        let mut other = open("bert", "3");
        let mut nobody = Box::pin(watch.until_revoked(&Principal::Anonymous));
        assert!(first.as_mut().now_or_never().is_none());

        let told = |what| Revocation {
            issuer: "https://a.example".to_owned(),
            what,
            until: None,
        };
        revocations
            .add(&told(Revoked::Jti("1".to_owned())))
            .unwrap();
        first.await;
        assert!(second.as_mut().now_or_never().is_none());
        // As another replica tells of it.
        let learnt = told(Revoked::Sub("anna".to_owned()));
        revocations.learn(&[learnt]).unwrap();
        second.await;
        // Too late is the same.
        open("anna", "4").await;
        assert!(other.as_mut().now_or_never().is_none());
        assert!(nobody.as_mut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_key_that_is_taken_away_or_made_anew_ends_what_it_has_open() {
        let config = |keys: &[(&str, u8)]| ApiKeysConfig {
            prefix: "acme".to_owned(),
            keys: keys
                .iter()
                .map(|(id, byte)| ApiKeyConfig {
                    id: (*id).to_owned(),
                    owner: "partner-a".to_owned(),
                    hash: [*byte; 32],
                    scopes: Vec::new(),
                    attributes: BTreeMap::new(),
                })
                .collect(),
        };
        let before = config(&[("one", 1), ("two", 2), ("three", 3)]);
        let watch = RevocationWatch::new(Arc::default(), Some(&before));
        let open = |id: &str| {
            let principal = Principal::ApiKey(Arc::new(ApiKeyPrincipal {
                key_id: id.to_owned(),
                owner: "partner-a".to_owned(),
                scopes: Vec::new(),
                attributes: BTreeMap::new(),
            }));
            Box::pin(watch.until_revoked(&principal))
        };
        let (mut one, mut two, mut three) = (open("one"), open("two"), open("three"));
        for open in [&mut one, &mut two, &mut three] {
            assert!(open.as_mut().now_or_never().is_none());
        }
        watch.take_over(Some(&config(&[("one", 1), ("two", 22), ("four", 4)])));
        two.await;
        three.await;
        assert!(one.as_mut().now_or_never().is_none());
        watch.take_over(None);
        one.await;
    }
}
