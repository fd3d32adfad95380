//! What the demo prints when it is up: addresses, a token, and lines to paste. They are made from what was seeded, so
//! that they work as they stand.

use crate::demo::bff::{Bff, MOBILE, Origins, PUBLIC, WEB};
use crate::demo::certificate::Certificate;
use crate::demo::files::Files;
use crate::demo::keys::Keys;
use crate::demo::pasteable;
use crate::demo::ports::Offset;
use crate::demo::progress::say;
use crate::demo::seed::Seeded;
use crate::service::Service;

/// What the lines are made from.
pub(crate) struct Facts<'a> {
    pub(crate) files: &'a Files,
    pub(crate) seeded: &'a Seeded,
    pub(crate) keys: &'a Keys,
    pub(crate) token: &'a str,
    pub(crate) offset: Offset,
    pub(crate) origins: Origins,
    pub(crate) certificate: Option<&'a Certificate>,
}

const ORDER: &str = r#"{"restaurantId":"restaurant-1","deliveryAddress":{"street1":"1432 Alice Street","city":"Oakland","state":"CA","zip":"94612"},"lineItems":[{"menuItemId":"restaurant-1-item-1","quantity":5}]}"#;

pub(crate) fn print(facts: &Facts<'_>) {
    say("");
    for bff in Bff::ALL {
        say(&format!(
            "  {:<14} {:<24} admin {}",
            bff.name,
            facts.origins.url(bff, ""),
            facts.offset.url(bff.admin_port, "/console")
        ));
    }
    for service in Service::ALL {
        let scheme = if service == Service::Accounting {
            "grpc"
        } else {
            "http"
        };
        say(&format!(
            "  {:<14} {scheme}://127.0.0.1:{}",
            service.name(),
            facts.offset.port(service.port())
        ));
    }
    say("");
    say(&format!(
        "  {:<14} {:<24} sign in as consumer-1, or as staff-1 for the kitchen",
        "storefront",
        facts.origins.url(WEB, "/")
    ));
    say(&format!(
        "  {:<14} {}",
        "GraphiQL",
        facts.origins.url(WEB, "/graphiql")
    ));
    say("");
    say(&format!(
        "  {:<14} {}",
        "logs",
        facts.files.logs().display()
    ));
    say(&format!(
        "  {:<14} {}",
        "API keys",
        facts.files.keys().display()
    ));
    say(&format!(
        "  {:<14} {}",
        "token",
        facts.files.token().display()
    ));
    if let Some(certificate) = facts.certificate {
        say(&format!(
            "  {:<14} {}: your browser asks whether you believe it",
            "certificate",
            certificate.path.display()
        ));
    }
    say("");
    say("A token of consumer-1, valid for 8 hours:");
    say("");
    say(facts.token);
    say("");
    say("To try:");
    for (title, line) in lines(facts) {
        say("");
        say(&format!("# {title}"));
        say(&line);
    }
    say("");
    say("Ctrl-C ends everything.");
}

fn lines(facts: &Facts<'_>) -> [(&'static str, String); 5] {
    let bearer = format!(
        r#"-H "Authorization: Bearer $(cat {})""#,
        pasteable(&facts.files.token())
    );
    let order = &facts.seeded.under_way;
    let partners_order = facts.seeded.newest_of("consumer-3").unwrap_or_default();
    let key = facts
        .keys
        .get("partner-1")
        .map(String::as_str)
        .unwrap_or_default();
    let trust = facts.certificate.map_or_else(String::new, |certificate| {
        format!("--cacert {} ", pasteable(&certificate.path))
    });
    let query = format!(
        r#"{{"query":"{{ order(id: \"{order}\") {{ state restaurantName total {{ amount currency }} ticket {{ state }} delivery {{ state }} }} }}"}}"#
    );
    [
        (
            "one screen in one round trip: an order's details, composed from five services",
            format!(
                "curl -s {bearer} {}",
                facts.origins.url(MOBILE, &format!("/orders/{order}"))
            ),
        ),
        (
            "the order history, newest first",
            format!(
                "curl -s {bearer} '{}'",
                facts.origins.url(MOBILE, "/orders?limit=5")
            ),
        ),
        (
            "place an order; it is APPROVED a moment later",
            format!(
                "curl -s {bearer} -H 'Content-Type: application/json' -d '{ORDER}' {}",
                facts.origins.url(MOBILE, "/orders")
            ),
        ),
        (
            "the same order by GraphQL, the fields picked by the client",
            format!(
                "curl -s {trust}{bearer} -H 'Content-Type: application/json' -d '{query}' {}",
                facts.origins.url(WEB, "/graphql")
            ),
        ),
        (
            "a partner's order, with an API key",
            format!(
                "curl -s -H 'X-API-Key: {key}' {}",
                facts
                    .origins
                    .url(PUBLIC, &format!("/v2/orders/{partners_order}"))
            ),
        ),
    ]
}
