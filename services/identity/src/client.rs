//! The registered OAuth clients: their secrets, redirect URIs and grants. Not here: how a request proves which client it
//! comes from (`http/client_authentication.rs`).

use url::{Host, Url};

use crate::keys::SigningAlgorithm;
use crate::secret;

/// A way to get a token, by its name at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
}

impl Grant {
    /// Every grant, in the order of the discovery document.
    pub const ALL: [Grant; 3] = [
        Grant::AuthorizationCode,
        Grant::RefreshToken,
        Grant::ClientCredentials,
    ];

    /// The value of `grant_type`.
    pub fn name(self) -> &'static str {
        match self {
            Grant::AuthorizationCode => "authorization_code",
            Grant::RefreshToken => "refresh_token",
            Grant::ClientCredentials => "client_credentials",
        }
    }
}

/// One registered client.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: String,
    /// What people see on the sign-in page.
    pub name: String,
    /// `None` for a public client; the code flow asks every client for PKCE, so a public one has nothing else to show.
    pub secret: Option<String>,
    pub grants: Vec<Grant>,
    /// Compared character by character, except that a public client's loopback address may carry any port (RFC 8252, 7.3).
    pub redirect_uris: Vec<String>,
    pub post_logout_redirect_uris: Vec<String>,
    /// Told when a session ends that it took part in; `None` for whoever asks in time by itself.
    pub backchannel_logout_uri: Option<String>,
    /// Signs this client's access and ID tokens.
    pub algorithm: SigningAlgorithm,
}

impl Client {
    /// The clients of the demo.
    pub fn seeded() -> Vec<Client> {
        Client::seeded_for(&[
            "http://127.0.0.1:8080",
            "https://127.0.0.1:8080",
            "http://localhost:8080",
            "https://localhost:8080",
        ])
    }

    /// The same, where the browsers' BFF has other origins.
    pub fn seeded_for(web_origins: &[&str]) -> Vec<Client> {
        vec![
            Client::browser_backend("bff-web", "FTGO on the web", "demo", web_origins),
            Client {
                id: "mobile-app".to_owned(),
                name: "The FTGO app".to_owned(),
                secret: None,
                grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
                redirect_uris: vec![
                    "example.ftgo.app:/callback".to_owned(),
                    "http://127.0.0.1/callback".to_owned(),
                ],
                post_logout_redirect_uris: Vec::new(),
                backchannel_logout_uri: None,
                algorithm: SigningAlgorithm::Es256,
            },
            Client::partner("partner-1", SigningAlgorithm::Rs256),
            Client::partner("partner-2", SigningAlgorithm::Es256),
        ]
    }

    /// A confidential client that serves browsers from each of `origins`: callback at `/bff/callback`, after sign-out back
    /// to `/`. The first of them is told of logouts, at `/bff/backchannel`. Tests that run a BFF on a port of their own register it with this.
    pub fn browser_backend(id: &str, name: &str, secret: &str, origins: &[&str]) -> Client {
        Client {
            id: id.to_owned(),
            name: name.to_owned(),
            secret: Some(secret.to_owned()),
            grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
            redirect_uris: origins
                .iter()
                .map(|origin| format!("{origin}/bff/callback"))
                .collect(),
            post_logout_redirect_uris: origins
                .iter()
                .flat_map(|origin| [(*origin).to_owned(), format!("{origin}/")])
                .collect(),
            backchannel_logout_uri: origins
                .first()
                .map(|origin| format!("{origin}/bff/backchannel")),
            algorithm: SigningAlgorithm::Rs256,
        }
    }

    fn partner(id: &str, algorithm: SigningAlgorithm) -> Client {
        Client {
            id: id.to_owned(),
            name: id.to_owned(),
            secret: Some("demo".to_owned()),
            grants: vec![Grant::ClientCredentials],
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            backchannel_logout_uri: None,
            algorithm,
        }
    }

    pub fn may(&self, grant: Grant) -> bool {
        self.grants.contains(&grant)
    }

    /// Whether `presented` is this client's secret; a public client has none to match.
    pub fn has_secret(&self, presented: &str) -> bool {
        self.secret
            .as_deref()
            .is_some_and(|secret| secret::equal(secret, presented))
    }

    /// Whether the browser may be sent to `uri` with a code.
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| {
            registered == uri
                || (self.secret.is_none() && same_but_for_loopback_port(registered, uri))
        })
    }

    /// Whether the browser may be sent to `uri` after signing out.
    pub fn may_return_to(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris
            .iter()
            .any(|registered| registered == uri)
    }
}

/// RFC 8252, 7.3: an app on the device listens on whatever port it was given, so a registered `http` address on a loopback
/// *IP* stands for all of that address's ports. Everything but the port must be written exactly as registered.
fn same_but_for_loopback_port(registered: &str, requested: &str) -> bool {
    let (Ok(registered), Ok(mut url)) = (Url::parse(registered), Url::parse(requested)) else {
        return false;
    };
    let loopback = match registered.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    // What the parser would repair (case, dot segments, a missing slash) was not written as registered.
    if !loopback || registered.scheme() != "http" || url.as_str() != requested {
        return false;
    }
    url.set_port(registered.port()).is_ok() && url == registered
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::Client;

    fn client(id: &str) -> Client {
        Client::seeded().into_iter().find(|c| c.id == id).unwrap()
    }

    #[test]
    fn a_confidential_client_returns_exactly_where_it_registered() {
        let web = client("bff-web");
        assert!(web.may_redirect_to("http://127.0.0.1:8080/bff/callback"));
        assert!(web.may_redirect_to("https://localhost:8080/bff/callback"));
        for other in [
            "http://127.0.0.1:8081/bff/callback",
            "http://127.0.0.1:8080/bff/callback/",
            "http://127.0.0.1:8080/bff/callback?x=1",
            "http://127.0.0.1:8080/bff/callback#x",
            "http://127.0.0.1:8080/BFF/callback",
            "http://127.0.0.1:8080@evil.example/bff/callback",
            "https://evil.example/bff/callback",
            "",
        ] {
            assert!(!web.may_redirect_to(other), "{other}");
        }
    }

    #[test]
    fn an_app_on_the_device_may_listen_on_any_loopback_port() {
        let app = client("mobile-app");
        assert!(app.may_redirect_to("example.ftgo.app:/callback"));
        assert!(app.may_redirect_to("http://127.0.0.1:51004/callback"));
        for other in [
            "http://127.0.0.1:51004/other",
            "http://127.0.0.2:51004/callback",
            "http://127.0.0.1:51004/x/../callback",
            "http://user@127.0.0.1:51004/callback",
            "http://localhost:51004/callback",
            "https://127.0.0.1:51004/callback",
            "http://127.0.0.1:51004/callback?x",
            "http://127.0.0.1.evil.example:51004/callback",
        ] {
            assert!(!app.may_redirect_to(other), "{other}");
        }
    }

    #[test]
    fn a_public_client_has_no_secret_to_guess() {
        assert!(client("bff-web").has_secret("demo"));
        assert!(!client("bff-web").has_secret("Demo"));
        assert!(!client("mobile-app").has_secret(""));
    }
}
