//! The checks of `[internal_token]`: a key that can sign, and a life that is short but not too short to be kept.
//! The file that a key may be in is read by `config/load.rs`.

use std::time::Duration;

use super::check::Check;
use crate::auth::internal_token::SigningKey;
use crate::config::InternalTokenConfig;
use crate::config::raw::RawInternalToken;

/// Shorter, and tokens would be signed all the time.
const SHORTEST: Duration = Duration::from_secs(10);
/// Longer, and one that leaks is of use for too long; services refuse it.
const LONGEST: Duration = Duration::from_mins(5);

/// `None` without a key.
pub(super) fn internal_token(
    raw: RawInternalToken,
    check: &mut Check<'_>,
) -> Option<InternalTokenConfig> {
    let key_id = check.required(Some(raw.key_id), "internal_token.key_id");
    let lifetime = raw.lifetime.0;
    check.that(
        (SHORTEST..=LONGEST).contains(&lifetime) && lifetime.subsec_nanos() == 0,
        "internal_token.lifetime",
        || "has to be whole seconds from 10s to 5m".to_owned(),
    );
    check.words(&raw.attributes, "internal_token.attributes");
    if raw.key.trim().is_empty() {
        return None;
    }
    match SigningKey::from_pem(&raw.key) {
        Ok(key) => Some(InternalTokenConfig {
            key,
            key_id,
            lifetime,
            attributes: raw.attributes,
        }),
        Err(error) => {
            // Where it came from is not known any more; the text itself is never repeated.
            let at = if raw.key_file.is_empty() {
                "internal_token.key"
            } else {
                "internal_token.key_file"
            };
            check.fault(at, error.to_string());
            None
        }
    }
}
