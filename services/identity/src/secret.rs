//! Random secrets, their digests, and their comparison in constant time. Not here: where they are kept (`grants.rs`,
//! `session.rs`).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The system's source of randomness failed.
#[derive(Debug, thiserror::Error)]
#[error("the system's source of randomness failed")]
pub(crate) struct RandomnessError;

/// 256 random bits in base64url: an authorization code, a refresh token, a session's secret.
pub(crate) fn generate() -> Result<String, RandomnessError> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_| RandomnessError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The SHA-256 digest under which a secret is stored. The secrets are 256 random bits, so no salt is needed.
pub(crate) fn stored_form(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes())
        .as_ref()
        .to_vec()
}

/// The `S256` code challenge of a verifier (RFC 7636, 4.2).
pub(crate) fn code_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
pub(crate) fn equal(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{code_challenge, equal};

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B
        assert_eq!(
            code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn secrets_of_different_length_differ() {
        assert!(equal("demo", "demo"));
        assert!(!equal("demo", "demo2"));
        assert!(!equal("demo", "dema"));
    }
}
