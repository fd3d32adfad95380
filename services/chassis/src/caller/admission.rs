//! The door of a service's routes: each request gets its `Caller`, or is refused. What makes a token good is in
//! `caller/trust.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::trust::{Distrust, Trusted, TrustedGateways, unix_time};
use super::{Caller, X_INTERNAL_TOKEN};
use crate::problem::ServiceError;

/// Tokens that are kept as checked. A gateway has one for each caller at a time.
const MOST_KEPT: usize = 4096;

/// gRPC's standard health check is asked by whatever keeps a service running, as `/health` is.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

/// What the door knows.
pub(crate) struct Admission {
    service: &'static str,
    trust: Option<TrustedGateways>,
    public: &'static [&'static str],
    /// A gateway sends the same token for half a minute: its signature is checked once.
    checked: Mutex<HashMap<HeaderValue, Trusted>>,
}

impl Admission {
    pub(crate) fn new(
        service: &'static str,
        trust: Option<TrustedGateways>,
        public: &'static [&'static str],
    ) -> Admission {
        Admission {
            service,
            trust,
            public,
            checked: Mutex::default(),
        }
    }

    fn caller(&self, request: &Request) -> Result<Caller, Refused> {
        let Some(trust) = &self.trust else {
            return Ok(Caller::Internal);
        };
        let mut tokens = request.headers().get_all(X_INTERNAL_TOKEN).iter();
        match (tokens.next(), tokens.next()) {
            (Some(token), None) => self.check(trust, token).map_err(Refused::Distrusted),
            (Some(_), Some(_)) => Err(Refused::Several),
            (None, _) if !trust.is_strict() => Ok(Caller::Internal),
            (None, _) if self.is_public(request) => Ok(Caller::Anonymous),
            (None, _) => Err(Refused::Missing),
        }
    }

    fn check(&self, trust: &TrustedGateways, token: &HeaderValue) -> Result<Caller, Distrust> {
        let now = unix_time();
        if let Some(known) = self.checked().get(token)
            && now < known.expires_at
        {
            return Ok(known.caller.clone());
        }
        let text = token.to_str().map_err(|_| Distrust::NotAToken)?;
        let trusted = trust.check(text, self.service)?;
        let caller = trusted.caller.clone();
        let mut checked = self.checked();
        if checked.len() >= MOST_KEPT {
            checked.retain(|_, kept| now < kept.expires_at);
        }
        if checked.len() < MOST_KEPT {
            checked.insert(token.clone(), trusted);
        }
        Ok(caller)
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, HashMap<HeaderValue, Trusted>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_public(&self, request: &Request) -> bool {
        if request.uri().path().starts_with(GRPC_HEALTH) {
            return true;
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let route = request.extensions().get::<MatchedPath>();
        reads && route.is_some_and(|route| self.public.contains(&route.as_str()))
    }
}

/// Why a request stays outside.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refused {
    #[error("there is no internal token")]
    Missing,
    #[error("there are several internal tokens")]
    Several,
    #[error(transparent)]
    Distrusted(Distrust),
}

pub(crate) async fn admit(
    State(admission): State<Arc<Admission>>,
    mut request: Request,
    next: Next,
) -> Response {
    match admission.caller(&request) {
        Ok(caller) => {
            // Its one reader has read it: nothing behind the door can pass it on or log it.
            request.headers_mut().remove(X_INTERNAL_TOKEN);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => {
            let reason: &dyn std::error::Error = &refused;
            tracing::warn!(service = admission.service, reason, "a call was refused");
            refusal(request.headers())
        }
    }
}

fn refusal(headers: &HeaderMap) -> Response {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        let unauthenticated = [
            ("content-type", "application/grpc"),
            ("grpc-status", "16"),
            ("grpc-message", "the call has no valid internal token"),
        ];
        return (StatusCode::OK, unauthenticated).into_response();
    }
    ServiceError::Unauthenticated.into_response()
}
