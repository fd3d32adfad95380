//! What partners' servers are told of an event, in the vocabulary of version 2. To whom and how it gets there is gateway-core's.

use gateway_core::events::ChangeEvent;
use gateway_core::webhooks::{Announcement, Audience};
use serde::Deserialize;
use serde_json::json;

use crate::partner;

/// An event's type in the services' vocabulary, and in the partners'.
const KINDS: [(&str, &str); 15] = [
    ("OrderCreated", "order.placed"),
    ("OrderAuthorized", "order.approved"),
    ("OrderRejected", "order.rejected"),
    ("OrderCancelled", "order.cancelled"),
    ("OrderRevisionProposed", "order.revision_proposed"),
    ("OrderRevised", "order.revised"),
    ("TicketAccepted", "ticket.accepted"),
    ("TicketPreparing", "ticket.preparing"),
    ("TicketReadyForPickup", "ticket.ready_for_pickup"),
    ("TicketPickedUp", "ticket.picked_up"),
    ("TicketCancelled", "ticket.cancelled"),
    ("DeliveryScheduled", "delivery.scheduled"),
    ("DeliveryPickedUp", "delivery.picked_up"),
    ("DeliveryDelivered", "delivery.delivered"),
    ("DeliveryCancelled", "delivery.cancelled"),
];

/// The message that a partner asks for itself.
pub(crate) const TEST: &str = "webhook.test";

/// Everything that a webhook can be told of.
pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().map(|(_, kind)| kind)
}

#[derive(Deserialize)]
struct Envelope {
    time: String,
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    state: String,
    /// Only orders have it; tickets and deliveries belong to whom their order belongs.
    consumer_id: Option<String>,
}

/// `None` for what is no business of partners, and for what cannot be read.
pub(crate) fn of_event(event: &ChangeEvent) -> Option<Announcement> {
    let (_, kind) = KINDS
        .into_iter()
        .find(|(theirs, _)| *theirs == event.kind)?;
    let order = event.subject.clone()?;
    let envelope: Envelope = match serde_json::from_slice(&event.envelope) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::error!(%error, id = event.id, "partners are not told of an event that cannot be read");
            return None;
        }
    };
    let Envelope { time, data } = envelope;
    Some(Announcement {
        kind,
        at: time,
        data: json!({"orderId": order, "state": data.state}),
        subject: order,
        audience: data.consumer_id.map(|value| Audience {
            attribute: partner::CONSUMER,
            value,
        }),
    })
}
