//! What operators are told at the start: what works, and not as in production. Faults that keep a gateway from starting are
//! `config/validate.rs`'s.

use super::{App, Shared};

/// One line for each.
pub(super) fn log(shared: &Shared, app: App) {
    for warning in &shared.config.warnings {
        tracing::warn!("{warning}");
    }
    if !app.tables.is_empty() && shared.config.store.path.is_none() {
        tracing::warn!(
            "store.path is not set: quotas, idempotency keys and the like are forgotten at a restart"
        );
    }
    if shared.sessions.is_none() && shared.config.csrf.cookie.is_some() {
        tracing::warn!("session.client_secret is empty: nobody can sign in");
    }
    if shared.config.internal_token.is_none() && !shared.config.upstreams.is_empty() {
        tracing::warn!(
            "internal_token has no key: services are not told who is calling and cannot check it again"
        );
    }
}
