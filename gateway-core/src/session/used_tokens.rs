//! Tokens that are good for one use, and were used: remembered until they would be refused for their age, in the process's
//! memory, and bounded. What the tokens say is checked in `session/id_token.rs`.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// An issuer makes few of them, and they are remembered for minutes.
const MOST: usize = 10_000;

/// Of a token's `jti` and its issuer.
pub(super) type TokenDigest = [u8; 32];

/// By what a token is remembered.
pub(super) fn digest(issuer: &str, token_id: &str) -> TokenDigest {
    let mut digest = Sha256::new();
    digest.update((issuer.len() as u64).to_le_bytes());
    digest.update(issuer);
    digest.update(token_id);
    digest.finalize().into()
}

/// Until when each is remembered, in seconds since the epoch.
#[derive(Default)]
pub(super) struct UsedTokens(HashMap<TokenDigest, u64>);

impl UsedTokens {
    pub(super) fn contains(&self, token: &TokenDigest, now: u64) -> bool {
        self.0.get(token).is_some_and(|until| now < *until)
    }

    /// When there is no room, the one goes that would be forgotten first.
    pub(super) fn insert(&mut self, token: TokenDigest, until: u64, now: u64) {
        if self.0.len() >= MOST {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= MOST
            && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until)
        {
            let first = *first.0;
            self.0.remove(&first);
        }
        self.0.insert(token, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_remembered_while_it_is_good_and_by_its_issuer() {
        let mut used = UsedTokens::default();
        used.insert(digest("a", "1"), 1300, 1000);
        assert!(used.contains(&digest("a", "1"), 1299));
        assert!(!used.contains(&digest("a", "1"), 1300));
        for other in [digest("a", "2"), digest("b", "1"), digest("a1", "")] {
            assert!(!used.contains(&other, 1000));
        }
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let mut used = UsedTokens::default();
        let id = |at: usize| digest("a", &at.to_string());
        for at in 0..MOST {
            used.insert(id(at), 2000 + at as u64, 1000);
        }
        used.insert(id(MOST), 9_000_000, 1000);
        assert_eq!(used.0.len(), MOST);
        assert!(!used.contains(&id(0), 1000) && used.contains(&id(MOST), 1000));
        // Those that are over make room first.
        used.insert(id(MOST + 1), 9_000_000, 8_000_000);
        assert_eq!(used.0.len(), 2);
    }
}
