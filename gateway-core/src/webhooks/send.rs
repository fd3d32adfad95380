//! One attempt to deliver one message. What comes of its end is `records.rs`'s, when there is another `dispatch.rs`'s.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::address::{self, AddressFault, Guard};
use super::records::{Due, Message};
use super::signature;
use crate::config::WebhooksConfig;
use crate::retry_after::retry_after;

/// Connections to one host that are kept for the next message.
const IDLE: usize = 2;
const CONNECT: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered(u16),
    /// The partner has said that nothing is wanted there any more.
    Gone,
    Failed {
        status: Option<u16>,
        /// In words for the partner.
        why: String,
        /// The partner's wish.
        retry_after: Option<Duration>,
    },
}

pub(super) struct Sender {
    tls: Client,
    /// Only to this machine.
    plain: Client,
    loopback: bool,
}

impl Sender {
    pub(super) fn new(config: &WebhooksConfig) -> Result<Self, reqwest::Error> {
        let loopback = config.allow_loopback;
        let client = |tls| {
            Client::builder()
                .dns_resolver(Guard { tls, loopback })
                // A redirect could lead anywhere.
                .redirect(Policy::none())
                // A proxy would resolve names itself.
                .no_proxy()
                .connect_timeout(CONNECT.min(config.timeout))
                .timeout(config.timeout)
                .pool_max_idle_per_host(IDLE)
                .build()
        };
        Ok(Self {
            tls: client(true)?,
            plain: client(false)?,
            loopback,
        })
    }

    /// `at` is in seconds since the epoch.
    pub(super) async fn attempt(&self, due: &Due, message: &Message, at: i64) -> Outcome {
        // Again: what is allowed may have changed since it was registered.
        let url = match address::check(&due.url, self.loopback) {
            Ok(url) => url,
            Err(fault) => return refused(fault),
        };
        let signature = signature::sign(&due.secrets(), &message.id, at, &message.body);
        let request = self
            .client(&url)
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("webhooks/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .body(message.body.clone());
        match request.send().await {
            // Of the answer only the head is read.
            Ok(response) => judge(response.status(), retry_after(response.headers())),
            Err(error) => Outcome::Failed {
                status: None,
                why: words(&error),
                retry_after: None,
            },
        }
    }

    fn client(&self, url: &Url) -> &Client {
        match url.scheme() {
            "https" => &self.tls,
            _ => &self.plain,
        }
    }
}

fn judge(status: StatusCode, retry_after: Option<Duration>) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered(status.as_u16());
    }
    if status == StatusCode::GONE {
        return Outcome::Gone;
    }
    let why = match status.is_redirection() {
        true => "redirects are not followed".to_owned(),
        false => format!("the answer was {}", status.as_u16()),
    };
    Outcome::Failed {
        status: Some(status.as_u16()),
        why,
        retry_after,
    }
}

fn refused(fault: AddressFault) -> Outcome {
    Outcome::Failed {
        status: None,
        why: format!("the URL {fault}"),
        retry_after: None,
    }
}

/// What a partner may know of a failure: nothing of where we are or whom else we can reach.
fn words(error: &reqwest::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(fault) = cause.downcast_ref::<AddressFault>() {
            return format!("the URL {fault}");
        }
        source = cause.source();
    }
    let what = if error.is_timeout() {
        "there was no answer in time"
    } else if error.is_connect() {
        "no connection could be made"
    } else {
        "the connection broke off"
    };
    what.to_owned()
}
