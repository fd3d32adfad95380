//! The envelope of everything that services tell each other: CloudEvents 1.0 in JSON. What `data` means for a kind of
//! message is agreed between its services.

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::inbox::HandlerError;

/// The kind of every reply to a command.
pub const REPLY: &str = "Reply";

/// An event, a command, or a reply to a command.
///
/// On the wire it is a CloudEvents 1.0 JSON object; beside these attributes it carries `specversion`,
/// `datacontenttype` and `partitionkey` (the subject).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Message {
    /// UUIDv7, unique: the inbox knows a message by it.
    pub id: String,
    /// Who says it, as `/services/kitchen`.
    pub source: String,
    /// What it is, as `TicketCreated` or `CreateTicket`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id of the aggregate. Messages of one topic and subject arrive in the order of their commits.
    pub subject: String,
    pub time: DateTime<Utc>,
    pub topic: String,
    /// Events: the version of the aggregate after the change.
    #[serde(default)]
    pub aggregateversion: Option<i64>,
    /// Commands and replies: the saga, its step, and the topic where it waits for the reply.
    #[serde(default)]
    pub sagaid: Option<String>,
    #[serde(default)]
    pub sagastep: Option<String>,
    #[serde(default)]
    pub replyto: Option<String>,
    #[serde(default)]
    pub data: serde_json::Value,
}

/// Where the reply to a command goes.
#[derive(Clone, Copy, Debug)]
pub struct ReplyAddress<'a> {
    pub saga_id: &'a str,
    pub saga_step: &'a str,
    /// The topic of the reply.
    pub topic: &'a str,
}

/// What became of a command: the `data` of a reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Success {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<serde_json::Value>,
    },
    /// The business refused; nothing was changed.
    Failure {
        /// For programs, as `CONSUMER_NOT_FOUND`.
        code: String,
        /// For people.
        #[serde(default)]
        detail: String,
    },
}

impl Message {
    /// An event of the aggregate `aggregate_id`, which has `version` after it.
    ///
    /// # Errors
    /// When `data` has no JSON form.
    pub fn event(
        service: &str,
        topic: &str,
        kind: &str,
        aggregate_id: &str,
        version: i64,
        data: impl Serialize,
    ) -> Result<Message, serde_json::Error> {
        Ok(Message {
            aggregateversion: Some(version),
            data: serde_json::to_value(data)?,
            ..Message::new(service, topic, kind, aggregate_id)
        })
    }

    /// A command to whoever subscribes to `topic`, answered at `reply`.
    ///
    /// # Errors
    /// When `data` has no JSON form.
    pub fn command(
        service: &str,
        topic: &str,
        kind: &str,
        subject: &str,
        reply: ReplyAddress<'_>,
        data: impl Serialize,
    ) -> Result<Message, serde_json::Error> {
        Ok(Message {
            sagaid: Some(reply.saga_id.to_owned()),
            sagastep: Some(reply.saga_step.to_owned()),
            replyto: Some(reply.topic.to_owned()),
            data: serde_json::to_value(data)?,
            ..Message::new(service, topic, kind, subject)
        })
    }

    /// The reply to `command`: same subject, saga and step. A command that names no `replyto` gets one without a topic,
    /// which [`crate::outbox::publish`] lets drop.
    pub fn reply_to(command: &Message, outcome: &Outcome) -> Message {
        // Commands travel on `<service>.commands`: the topic tells who answers.
        let service = command.topic.split('.').next().unwrap_or_default();
        let topic = command.replyto.as_deref().unwrap_or_default();
        Message {
            sagaid: command.sagaid.clone(),
            sagastep: command.sagastep.clone(),
            data: outcome.to_json(),
            ..Message::new(service, topic, REPLY, &command.subject)
        }
    }

    /// Reads `data` into what the receiver needs of it; unknown fields are for others.
    ///
    /// # Errors
    /// [`HandlerError::Permanent`] when it does not fit: reading it again would not help.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        T::deserialize(&self.data).map_err(HandlerError::permanent)
    }

    fn new(service: &str, topic: &str, kind: &str, subject: &str) -> Message {
        Message {
            id: Uuid::now_v7().to_string(),
            source: format!("/services/{service}"),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            time: Utc::now().trunc_subsecs(3),
            topic: topic.to_owned(),
            aggregateversion: None,
            sagaid: None,
            sagastep: None,
            replyto: None,
            data: serde_json::Value::Null,
        }
    }
}

impl Outcome {
    pub fn success() -> Outcome {
        Outcome::Success { data: None }
    }

    /// Success with something that the saga needs later.
    pub fn success_with(data: serde_json::Value) -> Outcome {
        Outcome::Success { data: Some(data) }
    }

    pub fn failure(code: impl Into<String>, detail: impl Into<String>) -> Outcome {
        Outcome::Failure {
            code: code.into(),
            detail: detail.into(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Outcome::Success { data: None } => serde_json::json!({"outcome": "success"}),
            Outcome::Success { data: Some(data) } => {
                serde_json::json!({"outcome": "success", "data": data})
            }
            Outcome::Failure { code, detail } => {
                serde_json::json!({"outcome": "failure", "code": code, "detail": detail})
            }
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            specversion: &'static str,
            id: &'a str,
            source: &'a str,
            #[serde(rename = "type")]
            kind: &'a str,
            subject: &'a str,
            time: DateTime<Utc>,
            datacontenttype: &'static str,
            partitionkey: &'a str,
            topic: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            aggregateversion: Option<i64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sagaid: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sagastep: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            replyto: Option<&'a str>,
            data: &'a serde_json::Value,
        }
        Envelope {
            specversion: "1.0",
            id: &self.id,
            source: &self.source,
            kind: &self.kind,
            subject: &self.subject,
            time: self.time,
            datacontenttype: "application/json",
            partitionkey: &self.subject,
            topic: &self.topic,
            aggregateversion: self.aggregateversion,
            sagaid: self.sagaid.as_deref(),
            sagastep: self.sagastep.as_deref(),
            replyto: self.replyto.as_deref(),
            data: &self.data,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::{Value, json};

    use super::{Message, Outcome, ReplyAddress};
    use crate::inbox::HandlerError;

    fn command() -> Message {
        let reply = ReplyAddress {
            saga_id: "saga",
            saga_step: "create-ticket",
            topic: "order.replies",
        };
        let data = json!({"orderId": "o1", "more": true});
        Message::command(
            "order",
            "kitchen.commands",
            "CreateTicket",
            "o1",
            reply,
            data,
        )
        .unwrap()
    }

    #[test]
    fn an_event_is_a_cloudevent() {
        let event = Message::event(
            "kitchen",
            "ticket.events",
            "TicketAccepted",
            "t1",
            3,
            json!({"ticketId": "t1"}),
        )
        .unwrap();
        let wire: Value = serde_json::to_value(&event).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": event.id, "source": "/services/kitchen", "type": "TicketAccepted",
            "subject": "t1", "time": wire["time"], "datacontenttype": "application/json", "partitionkey": "t1",
            "topic": "ticket.events", "aggregateversion": 3, "data": {"ticketId": "t1"},
        });
        assert_eq!(wire, expected);
        assert_eq!(serde_json::from_value::<Message>(wire).unwrap(), event);
    }

    #[test]
    fn a_reply_goes_back_to_the_step_that_asked() {
        let reply = Message::reply_to(&command(), &Outcome::failure("RESTAURANT_NOT_FOUND", "no"));
        assert_eq!(
            (reply.topic.as_str(), reply.source.as_str()),
            ("order.replies", "/services/kitchen")
        );
        assert_eq!(
            (reply.sagaid.as_deref(), reply.sagastep.as_deref()),
            (Some("saga"), Some("create-ticket"))
        );
        assert_eq!(reply.subject, "o1");
        let wire = json!({"outcome": "failure", "code": "RESTAURANT_NOT_FOUND", "detail": "no"});
        assert_eq!(reply.data, wire);
        let outcome: Outcome = reply.decode().unwrap();
        assert_eq!(outcome, Outcome::failure("RESTAURANT_NOT_FOUND", "no"));
        for outcome in [
            Outcome::success(),
            Outcome::success_with(json!({"bill": 1})),
        ] {
            let read: Outcome = Message::reply_to(&command(), &outcome).decode().unwrap();
            assert_eq!(read, outcome);
        }
    }

    #[test]
    fn a_reader_takes_what_it_needs_and_gives_up_on_what_never_fits() {
        #[derive(serde::Deserialize)]
        struct Narrow {
            #[serde(rename = "orderId")]
            order_id: String,
        }
        #[derive(Debug, serde::Deserialize)]
        struct Other {
            #[expect(dead_code, reason = "only its absence matters")]
            missing: String,
        }
        assert_eq!(command().decode::<Narrow>().unwrap().order_id, "o1");
        let error = command().decode::<Other>().unwrap_err();
        assert!(matches!(error, HandlerError::Permanent(_)));
    }
}
