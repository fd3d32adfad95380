//! The messages of graphql-transport-ws, read from a client and written to it. What follows from one is `socket.rs`'s.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::graphql::request::{Asked, from_members};

/// What a client may say.
#[derive(Debug)]
pub(super) enum FromClient {
    Init,
    /// To be answered with the same payload.
    Ping(Option<Map<String, Value>>),
    Pong,
    Subscribe {
        id: String,
        asked: Box<Asked>,
    },
    Complete {
        id: String,
    },
}

/// A message that the protocol does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl FromClient {
    pub(super) fn read(text: &str) -> Result<Self, Invalid> {
        let message = strict_json::from_slice(text.as_bytes()).map_err(|_fault| Invalid)?;
        let Value::Object(mut members) = message else {
            return Err(Invalid);
        };
        let Some(Value::String(kind)) = members.remove("type") else {
            return Err(Invalid);
        };
        match kind.as_str() {
            // What a client says of itself there is for servers that authenticate by it.
            "connection_init" => payload(&mut members).map(|_| Self::Init),
            "ping" => payload(&mut members).map(Self::Ping),
            "pong" => payload(&mut members).map(|_| Self::Pong),
            "subscribe" => Ok(Self::Subscribe {
                id: id(&mut members)?,
                asked: payload(&mut members)?
                    .and_then(|payload| from_members(payload).ok())
                    .map(Box::new)
                    .ok_or(Invalid)?,
            }),
            "complete" => Ok(Self::Complete {
                id: id(&mut members)?,
            }),
            _ => Err(Invalid),
        }
    }
}

fn payload(members: &mut Map<String, Value>) -> Result<Option<Map<String, Value>>, Invalid> {
    match members.remove("payload") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(payload)) => Ok(Some(payload)),
        Some(_) => Err(Invalid),
    }
}

fn id(members: &mut Map<String, Value>) -> Result<String, Invalid> {
    match members.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(id),
        _ => Err(Invalid),
    }
}

/// What a client is told.
#[derive(Debug, Serialize)]
pub(super) struct ToClient<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<P>,
}
