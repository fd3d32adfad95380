//! Secrets and signatures as Standard Webhooks has them: `v1,` and HMAC-SHA256 in base64 of id, time and body. When there are two
//! secrets is `records.rs`'s.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::auth::api_key::NoRandomness;

const PREFIX: &str = "whsec_";
/// Within the 24 to 64 that the specification asks for.
const LENGTH: usize = 32;

/// Makes a secret.
pub(super) fn generate() -> Result<String, NoRandomness> {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// The value of `webhook-signature`: one signature for each secret, the newest first. `at` is in seconds since the epoch.
pub(super) fn sign(secrets: &[&str], id: &str, at: i64, body: &str) -> String {
    let signed = format!("{id}.{at}.{body}");
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| {
            let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            let tag = hmac::sign(&key, signed.as_bytes());
            Some(format!("v1,{}", STANDARD.encode(tag)))
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{generate, sign};

    /// The example of the specification's reference libraries.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = r#"{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(&[secret], id, 1_614_265_330, body), expected);
        let other = generate().unwrap();
        assert!(other.starts_with("whsec_") && other != generate().unwrap());
        let both = sign(&[&other, secret], id, 1_614_265_330, body);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(expected));
    }
}
