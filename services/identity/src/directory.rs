//! The people and partners that the development identity provider knows: who they are and what their tokens carry.
//! Not here: how a token is made (`token.rs`), and which clients may ask for one (`client.rs`).

/// The audiences of a token for a person.
const PEOPLE_AUDIENCE: &[&str] = &["ftgo-mobile", "ftgo-web"];
/// The audience of a token for a partner.
const PARTNER_AUDIENCE: &[&str] = &["ftgo-public"];

const CONSUMER_SCOPES: &[&str] = &["orders:read", "orders:write", "restaurants:read", "profile"];
const COURIER_SCOPES: &[&str] = &["deliveries:read", "deliveries:write"];
const STAFF_SCOPES: &[&str] = &[
    "tickets:read",
    "tickets:write",
    "menus:write",
    "restaurants:read",
];
const PARTNER_SCOPES: &[&str] = &[
    "orders:read",
    "orders:write",
    "restaurants:read",
    "menus:write",
    "webhooks:write",
];

/// What a subject is to FTGO; the `roles` claim holds its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Consumer,
    Courier,
    Staff,
    Partner,
}

impl Role {
    /// The name in the `roles` claim.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Consumer => "consumer",
            Role::Courier => "courier",
            Role::Staff => "staff",
            Role::Partner => "partner",
        }
    }

    /// Every scope that a subject of this role may be granted.
    pub(crate) fn scopes(self) -> &'static [&'static str] {
        match self {
            Role::Consumer => CONSUMER_SCOPES,
            Role::Courier => COURIER_SCOPES,
            Role::Staff => STAFF_SCOPES,
            Role::Partner => PARTNER_SCOPES,
        }
    }

    /// The audiences of this role's tokens.
    pub(crate) fn audience(self) -> &'static [&'static str] {
        match self {
            Role::Consumer | Role::Courier | Role::Staff => PEOPLE_AUDIENCE,
            Role::Partner => PARTNER_AUDIENCE,
        }
    }
}

/// One seeded subject. A partner has no given name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) sub: &'static str,
    pub(crate) role: Role,
    pub(crate) given_name: &'static str,
    pub(crate) family_name: &'static str,
    /// Restaurants whose tickets and menus a member of staff handles; empty for everybody else.
    pub(crate) restaurant_ids: &'static [&'static str],
}

impl Subject {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.given_name, self.family_name)
            .trim_start()
            .to_owned()
    }

    /// An address under a reserved domain (RFC 2606): nobody receives what is sent there.
    pub(crate) fn email(&self) -> String {
        format!("{}@ftgo.example", self.sub)
    }
}

const fn person(
    sub: &'static str,
    role: Role,
    given_name: &'static str,
    family_name: &'static str,
) -> Subject {
    Subject {
        sub,
        role,
        given_name,
        family_name,
        restaurant_ids: &[],
    }
}

static SUBJECTS: &[Subject] = &[
    person("consumer-1", Role::Consumer, "Consumer", "One"),
    person("consumer-2", Role::Consumer, "Consumer", "Two"),
    person("consumer-3", Role::Consumer, "Consumer", "Three"),
    person("consumer-4", Role::Consumer, "Consumer", "Four"),
    person("courier-1", Role::Courier, "Courier", "One"),
    person("courier-2", Role::Courier, "Courier", "Two"),
    person("courier-3", Role::Courier, "Courier", "Three"),
    Subject {
        restaurant_ids: &["restaurant-1", "restaurant-2", "restaurant-3"],
        ..person("staff-1", Role::Staff, "Staff", "One")
    },
    Subject {
        restaurant_ids: &["restaurant-4", "restaurant-5", "restaurant-6"],
        ..person("staff-2", Role::Staff, "Staff", "Two")
    },
    person("partner-1", Role::Partner, "", "Partner One"),
    person("partner-2", Role::Partner, "", "Partner Two"),
];

/// The subject called `sub`.
pub(crate) fn find(sub: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.sub == sub)
}

/// The subjects that can sign in with a browser.
pub(crate) fn people() -> impl Iterator<Item = &'static Subject> {
    SUBJECTS
        .iter()
        .filter(|subject| subject.role != Role::Partner)
}

/// Every scope that some subject may be granted, each once.
pub(crate) fn scopes() -> Vec<&'static str> {
    let mut scopes = Vec::new();
    for scope in SUBJECTS.iter().flat_map(|subject| subject.role.scopes()) {
        if !scopes.contains(scope) {
            scopes.push(*scope);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{find, people, scopes};

    #[test]
    fn everybody_of_the_demo_is_known_once() {
        let expected = (1..=4)
            .map(|n| format!("consumer-{n}"))
            .chain((1..=3).map(|n| format!("courier-{n}")))
            .chain((1..=2).map(|n| format!("staff-{n}")))
            .collect::<Vec<_>>();
        assert_eq!(people().map(|p| p.sub).collect::<Vec<_>>(), expected);
        assert_eq!(find("partner-2").unwrap().role.audience(), ["ftgo-public"]);
        assert!(find("consumer-5").is_none());
        assert_eq!(
            scopes()
                .iter()
                .filter(|s| **s == "restaurants:read")
                .count(),
            1
        );
    }

    #[test]
    fn a_partner_has_a_name_without_a_leading_space() {
        assert_eq!(find("partner-2").unwrap().name(), "Partner Two");
        assert_eq!(find("consumer-1").unwrap().name(), "Consumer One");
    }
}
