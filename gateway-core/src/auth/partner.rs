//! Which partner somebody's credentials are: keys by their owner, tokens by a claim. Both then say the same of it, so that
//! nothing behind the edge depends on which of them a partner uses. What partners there are is in the configuration.

use std::collections::BTreeMap;

use crate::config::{PARTNER, PLAN, PartnerConfig};

/// Puts what the configuration knows of the partner `id` in place of all that the credentials say themselves: where the
/// configuration is silent, they say nothing either. False when there is no such partner; nobody has a plan then.
pub(crate) fn bind(
    partners: &BTreeMap<String, PartnerConfig>,
    id: &str,
    attributes: &mut BTreeMap<String, String>,
) -> bool {
    let Some(partner) = partners.get(id) else {
        strip(attributes);
        return false;
    };
    // Not merged: a claim must not bind a partner to what the configuration does not name.
    attributes.clone_from(&partner.attributes);
    attributes.insert(PLAN.to_owned(), partner.plan.clone());
    attributes.insert(PARTNER.to_owned(), id.to_owned());
    true
}

/// Takes out what only the configuration says: whoever has signed in with a claim of such a name is no partner by it.
pub(crate) fn strip(attributes: &mut BTreeMap<String, String>) {
    attributes.remove(PLAN);
    attributes.remove(PARTNER);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::bind;
    use crate::config::PartnerConfig;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn only_the_configuration_says_who_is_a_partner() {
        let partner = PartnerConfig {
            plan: "large".to_owned(),
            attributes: map(&[("team", "red")]),
        };
        let partners = BTreeMap::from([("acme".to_owned(), partner)]);
        let said = map(&[
            ("team", "blue"),
            ("account", "somebody-else's"),
            ("plan", "huge"),
            ("partner", "other"),
        ]);

        let mut attributes = said.clone();
        assert!(bind(&partners, "acme", &mut attributes));
        let expected = map(&[("partner", "acme"), ("plan", "large"), ("team", "red")]);
        assert_eq!(attributes, expected);

        let mut attributes = said;
        assert!(!bind(&partners, "somebody", &mut attributes));
        let expected = map(&[("account", "somebody-else's"), ("team", "blue")]);
        assert_eq!(attributes, expected);
    }
}
