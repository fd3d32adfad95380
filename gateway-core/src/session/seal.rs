//! Texts that only we can read and make, wherever they are kept meanwhile: AES-256-GCM with a key derived from a secret
//! (HKDF-SHA256, RFC 5869). What is sealed, and where it is kept, is decided beside.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;

/// A key for one purpose.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// `purpose` keeps keys that are made of the same secret apart.
    pub(super) fn new(secret: &[u8], purpose: &[u8]) -> Result<Self, Unspecified> {
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let key = UnboundKey::from(derived.expand(&[purpose], &AES_256_GCM)?);
        Ok(Self(LessSafeKey::new(key)))
    }

    /// `text`, sealed, to be opened with the same `bound_to` only.
    pub(super) fn close(&self, text: &[u8], bound_to: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut sealed = text.to_vec();
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound_to),
            &mut sealed,
        )?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        whole.extend_from_slice(tag.as_ref());
        Ok(whole)
    }

    /// What was sealed; `None` for anything that was not, or not with this key for this use.
    pub(super) fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::from(bound_to), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn only_what_was_sealed_for_the_same_use_is_opened() {
        let seal = Seal::new(b"secret", b"one use").unwrap();
        let sealed = seal.close(b"text", b"here").unwrap();
        assert_eq!(seal.open(&sealed, b"here").unwrap(), b"text");
        // Two of the same text cannot be told to be the same.
        assert_ne!(seal.close(b"text", b"here").unwrap(), sealed);

        assert_eq!(seal.open(&sealed, b"there"), None);
        let other_use = Seal::new(b"secret", b"another use").unwrap();
        assert_eq!(other_use.open(&sealed, b"here"), None);
        let other_secret = Seal::new(b"Secret", b"one use").unwrap();
        assert_eq!(other_secret.open(&sealed, b"here"), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(&changed, b"here"), None, "{at}");
            assert_eq!(seal.open(&sealed[..at], b"here"), None, "{at}");
        }
    }
}
