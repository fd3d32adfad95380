//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0): to whom, how often it is tried, and when
//! it is given up. Not here: what ends a session (`session.rs`), and what a logout token says (`token.rs`).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::provider::{Provider, now};
use crate::session::Ended;
use crate::token::LogoutToken;

/// How many may wait to be told; beyond that, nobody is told, and the log says so.
const MOST_WAITING: usize = 1024;
/// How many are told at a time.
const MOST_AT_ONCE: usize = 16;
/// For one attempt, answer included.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between the attempts: one more than there are pauses.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

/// That a client's session has ended.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    client_id: String,
    sid: String,
    sub: String,
}

/// Where notices wait.
pub(crate) type Notices = mpsc::Receiver<Notice>;

/// The clients that are to be told.
pub(crate) struct Outbox(mpsc::Sender<Notice>);

impl Outbox {
    pub(crate) fn new() -> (Self, Notices) {
        let (sender, notices) = mpsc::channel(MOST_WAITING);
        (Self(sender), notices)
    }

    /// Has everybody told who took part in a session. Does not wait for it.
    pub(crate) fn tell(&self, ended: Ended) {
        for client_id in ended.clients {
            let notice = Notice {
                client_id,
                sid: ended.sid.clone(),
                sub: ended.sub.clone(),
            };
            if let Err(error) = self.0.try_send(notice) {
                let notice = error.into_inner();
                tracing::error!(
                    client = notice.client_id,
                    sid = notice.sid,
                    "too many wait to be told of a logout"
                );
            }
        }
    }
}

/// Why a client could not be told.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("the logout token cannot be signed")]
    Token(#[from] crate::keys::KeyError),
    #[error("it cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl DeliveryError {
    /// 400 is the client's last word (Back-Channel Logout 1.0, 2.8).
    fn is_final(&self) -> bool {
        matches!(self, Self::Status(StatusCode::BAD_REQUEST))
    }
}

/// An HTTP client that goes where clients have registered, and nowhere else. It believes the certificates in `trusted` (PEM)
/// besides those that the machine does.
///
/// # Errors
/// When there is no TLS to be had, or something else in `trusted`.
pub(crate) fn http_client(trusted: &str) -> Result<reqwest::Client, reqwest::Error> {
    // The process may have one already; then it is that one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_merge(Certificate::from_pem_bundle(trusted.as_bytes())?)
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .build()
}

/// Tells whoever `notices` name, until there will be no more.
pub(crate) async fn deliver(provider: Arc<Provider>, http: reqwest::Client, mut notices: Notices) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            notice = notices.recv(), if under_way.len() < MOST_AT_ONCE => match notice {
                Some(notice) => {
                    under_way.spawn(tell(Arc::clone(&provider), http.clone(), notice));
                }
                None => break,
            },
        }
    }
}

async fn tell(provider: Arc<Provider>, http: reqwest::Client, notice: Notice) {
    let (client, sid) = (notice.client_id.as_str(), notice.sid.as_str());
    let mut pauses = PAUSES.into_iter();
    loop {
        let Err(error) = attempt(&provider, &http, &notice).await else {
            tracing::info!(client, sid, "a client was told of a logout");
            return;
        };
        let reason = chain(&error);
        match pauses.next().filter(|_| !error.is_final()) {
            Some(pause) => {
                tracing::warn!(
                    client,
                    sid,
                    reason,
                    "a client could not be told of a logout yet"
                );
                tokio::time::sleep(pause).await;
            }
            None => {
                tracing::error!(
                    client,
                    sid,
                    reason,
                    "a client was not told of a logout: given up"
                );
                return;
            }
        }
    }
}

/// An error with what has caused it.
fn chain(error: &DeliveryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// With a token of its own: one that was used is refused, also when its answer was lost.
async fn attempt(
    provider: &Provider,
    http: &reqwest::Client,
    notice: &Notice,
) -> Result<(), DeliveryError> {
    let client = provider.client(&notice.client_id);
    let Some((client, uri)) = client.and_then(|c| Some((c, c.backchannel_logout_uri.as_ref()?)))
    else {
        return Ok(());
    };
    let token = LogoutToken {
        issuer: &provider.issuer,
        client_id: &client.id,
        sub: &notice.sub,
        sid: &notice.sid,
    };
    let token = token.sign(&provider.keys.current(), client.algorithm, now())?;
    let request = http.post(uri).form(&[("logout_token", token)]);
    let status = request.send().await?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(DeliveryError::Status(status))
    }
}
