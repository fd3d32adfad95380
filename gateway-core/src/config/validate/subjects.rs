//! That the same `sub` of two issuers is never one caller: services and handlers know callers by name, so each issuer's
//! names are its own. The names are made when a token is checked, in `auth/jwt.rs`.

use super::check::Check;
use crate::config::IssuerConfig;
use crate::config::raw::{child, element};

/// A name stands in every internal token.
const LONGEST: usize = 64;

/// Checks that prefixes tell issuers apart, and notes for each what its subjects must not begin with.
pub(super) fn settle(issuers: &mut [IssuerConfig], check: &mut Check<'_>) {
    for (index, issuer) in issuers.iter().enumerate() {
        let at = child(&element("issuers", index), "subject_prefix");
        let prefix = issuer.subject_prefix.as_str();
        check.that(
            prefix.len() <= LONGEST && prefix.bytes().all(|b| b.is_ascii_graphic()),
            &at,
            || format!("has to be at most {LONGEST} visible ASCII characters"),
        );
        for other in &issuers[..index] {
            check.that(told_apart(prefix, &other.subject_prefix), &at, || {
                format!(
                    "does not tell subjects from those of {}: the same `sub` of both would be one caller to services; \
                     give each issuer a prefix of its own, such as \"partners:\" (one of them may have none)",
                    other.issuer
                )
            });
        }
    }
    let prefixes: Vec<String> = issuers
        .iter()
        .map(|issuer| issuer.subject_prefix.clone())
        .collect();
    for issuer in issuers {
        let own = issuer.subject_prefix.as_str();
        // With a prefix that no other begins with, nothing that follows it can be another's.
        issuer.reserved_prefixes = prefixes
            .iter()
            .filter(|other| own.is_empty() && !other.is_empty())
            .cloned()
            .collect();
    }
}

/// No name of the one can be a name of the other. One without a prefix is kept from the other's names token by token.
fn told_apart(one: &str, other: &str) -> bool {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => false,
        (true, false) | (false, true) => true,
        (false, false) => !one.starts_with(other) && !other.starts_with(one),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use crate::config::from_text;

    fn reserved(prefixes: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let mut text =
            "[server]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n".to_owned();
        for (number, prefix) in prefixes.iter().enumerate() {
            text.push_str(&format!(
                "[[issuers]]\nissuer = \"https://{number}.example\"\naudiences = [\"a\"]\nsubject_prefix = \"{prefix}\"\n"
            ));
        }
        match from_text(&[&text]) {
            Ok(config) => Ok(config
                .issuers
                .into_iter()
                .map(|issuer| issuer.reserved_prefixes)
                .collect()),
            Err(faults) => Err(faults.to_string()),
        }
    }

    #[test]
    fn the_same_subject_of_two_issuers_is_never_one_caller() {
        assert_eq!(reserved(&[""]).unwrap(), [Vec::<String>::new()]);
        assert_eq!(
            reserved(&["", "a:", "b:"]).unwrap(),
            [vec!["a:".to_owned(), "b:".to_owned()], vec![], vec![]]
        );
        for prefixes in [
            &["", ""][..],
            &["a:", "a:"],
            &["a", "ab"],
            &["ab", "a"],
            &["", "a:", ""],
        ] {
            let report = reserved(prefixes).unwrap_err();
            let last = prefixes.len() - 1;
            let at = format!(
                "issuers[{last}].subject_prefix: does not tell subjects from those of https://0.example"
            );
            assert!(report.contains(&at), "{prefixes:?}: {report}");
        }
        let report = reserved(&["two words"]).unwrap_err();
        assert!(report.contains("visible ASCII"), "{report}");
    }
}
