//! The provider over real sockets, as a client, a browser and a resource server meet it. Not here: storage at chosen times
//! (`grants/tests.rs`, `keys/tests.rs`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod backchannel;
mod code_flow;
mod sign_out;
mod tokens;

use std::path::Path;
use std::sync::Once;

use ftgo_chassis::{Environment, RunningService};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Header, Validation};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;

/// A provider of the test's own, and a client that follows no redirect.
struct Identity {
    service: RunningService,
    client: Client,
    folder: TempDir,
}

impl Identity {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Identity {
            service: start_in(folder.path()).await,
            client: http_client(),
            folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address())
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = self.client.post(self.url(path)).form(form);
        request.send().await.unwrap()
    }

    /// Verifies a token as a resource server does: metadata, key set, signature, issuer, times, `typ`.
    async fn verify(&self, token: &str, typ: &str) -> Value {
        let metadata = self.get_json("/.well-known/openid-configuration").await;
        assert_eq!(metadata["issuer"], self.url(""));
        let jwks_uri = metadata["jwks_uri"].as_str().unwrap();
        let keys = self.client.get(jwks_uri).send().await.unwrap();
        let keys: JwkSet = keys.json().await.unwrap();
        let header: Header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(typ));
        let jwk = keys.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[self.url("")]);
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        validation.validate_aud = false;
        validation.validate_nbf = true;
        let key = DecodingKey::from_jwk(jwk).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation)
            .unwrap()
            .claims
    }
}

async fn start_in(folder: &Path) -> RunningService {
    crate::start(environment(folder)).await.unwrap()
}

fn environment(folder: &Path) -> Environment {
    Environment {
        address: "127.0.0.1:0".parse().unwrap(),
        data_dir: folder.to_owned(),
        transport: None,
        faults: false,
        seed: false,
        trust: None,
        collector: None,
    }
}

fn http_client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // The provider's own client may have come first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    Client::builder().redirect(Policy::none()).build().unwrap()
}
