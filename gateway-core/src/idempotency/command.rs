//! A command as it came: its `Idempotency-Key`, its JSON body, and what tells its payload from another. What a key is, is
//! `idempotency.rs`; that nothing is done twice is `once.rs`'s.

use std::marker::PhantomData;

use axum::extract::{FromRequest, FromRequestParts, Request};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::hex;
use crate::error::{Error, GatewayError};
use crate::extract::{fitting, json_text, not_json};
use crate::openapi::{Describe, Operation};

/// A command with a key of the kind `K` ([`OptionalKey`](super::OptionalKey) or [`RequiredKey`](super::RequiredKey)) and `T`
/// as its body. It is looked at when the handler asks for it, so that a caller who may not do it is refused before.
#[derive(Debug)]
pub struct Command<K, T> {
    request: Request,
    shape: PhantomData<fn() -> (K, T)>,
}

/// What a command is made of.
#[derive(Debug)]
pub struct Received<K, T> {
    pub key: K,
    pub body: T,
    pub payload: Payload,
}

/// Tells what was sent from anything else that may be sent under the same key: a digest of the whole JSON text, whatever its
/// spaces and the order of its members. Members that nobody reads count, too: who changes one has sent something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    /// # Errors
    /// A bug: `sent` has no form in JSON.
    pub fn of(sent: &impl Serialize) -> Result<Self, Error> {
        // As a `Value`, whose members are in order.
        let text = serde_json::to_value(sent)
            .and_then(|value| serde_json::to_vec(&value))
            .map_err(|error| GatewayError::Bug(format!("payload: {error}")))?;
        Ok(Self(hex(&Sha256::digest(text))))
    }

    pub(super) fn fingerprint(&self) -> String {
        self.0.clone()
    }
}

impl<S: Send + Sync, K, T> FromRequest<S> for Command<K, T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        Ok(Self {
            request,
            shape: PhantomData,
        })
    }
}

impl<K, T> Command<K, T>
where
    K: FromRequestParts<(), Rejection = Error>,
    T: DeserializeOwned + JsonSchema + 'static,
{
    /// # Errors
    /// In this order: 415 for another media type, 413 when it is too large, 400 for a key that is none (or is not there and has
    /// to be), and then as [`JsonBody`](crate::extract::JsonBody).
    pub async fn read(self) -> Result<Received<K, T>, Error> {
        let (mut head, text) = json_text(self.request).await?;
        let key = K::from_request_parts(&mut head, &()).await?;
        let body = fitting(&text)?;
        // Members that the type does not have were not looked at so closely.
        let sent: Value = serde_json::from_slice(&text).map_err(|error| not_json(&error))?;
        Ok(Received {
            key,
            body,
            payload: Payload::of(&sent)?,
        })
    }
}

impl<K: Describe, T: JsonSchema> Describe for Command<K, T> {
    fn describe(operation: &mut Operation<'_>) {
        K::describe(operation);
        operation.body::<T>();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use axum::body::Body;
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
    use serde::Deserialize;

    use super::super::{OptionalKey, RequiredKey};
    use super::*;
    use crate::edge::BodyLimit;
    use crate::problem::Problem;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Boundless {}

    #[tokio::test]
    async fn what_the_type_leaves_out_has_to_be_json_too() {
        let text = r#"{"x":1e400}"#;
        let request = http::Request::post("/widgets")
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", "key")
            .extension(BodyLimit::of_bytes(50))
            .body(Body::from(text))
            .unwrap();
        let command = Command::<RequiredKey, Boundless>::from_request(request, &()).await;
        let error = command.unwrap().read().await.unwrap_err();
        assert_eq!(Problem::from(&error).status, 400, "{error:?}");
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Widget {
        #[schemars(length(min = 1))]
        name: String,
    }

    async fn read<K>(media_type: &str, key: &str, text: &str) -> Result<Received<K, Widget>, Error>
    where
        K: FromRequestParts<(), Rejection = Error>,
    {
        let request = http::Request::post("/widgets")
            .header(CONTENT_TYPE, media_type)
            .header(CONTENT_LENGTH, text.len())
            .header("idempotency-key", key)
            .extension(BodyLimit::of_bytes(50))
            .body(Body::from(text.to_owned()))
            .unwrap();
        let command = Command::from_request(request, &()).await.unwrap();
        command.read().await
    }

    #[tokio::test]
    async fn of_several_faults_the_first_in_the_order_of_checks_is_told() {
        let long = format!("{:60}", "{}");
        let (json, bad_key) = ("application/json", "\"open");
        for (media_type, key, text, status) in [
            ("text/plain", bad_key, long.as_str(), 415),
            (json, bad_key, &long, 413),
            (json, bad_key, "{}", 400),
            (json, bad_key, "no JSON", 400),
            (json, "key", "no JSON", 400),
            (json, "key", "{}", 422),
            (json, "key", r#"{"name":""}"#, 422),
            // In members that the type does not have.
            (json, "key", r#"{"name":"a","x":1e400}"#, 400),
            (json, "key", r#"{"name":"a","x":"\ud800"}"#, 400),
        ] {
            let refused = [
                read::<RequiredKey>(media_type, key, text)
                    .await
                    .unwrap_err(),
                read::<OptionalKey>(media_type, key, text)
                    .await
                    .unwrap_err(),
            ];
            for error in refused {
                let problem = Problem::from(&error);
                assert_eq!(problem.status, status, "{media_type} {key} {text}");
                if key == bad_key && status == 400 {
                    assert!(
                        format!("{error:?}").contains("Idempotency-Key"),
                        "{error:?}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn a_payload_is_all_that_was_sent_however_it_is_written() {
        let payload = async |text: &str| {
            let read = read::<RequiredKey>("application/json", "key", text).await;
            read.unwrap().payload
        };
        let first = payload(r#"{"name":"a","note":[1,{"x":1,"y":2}]}"#).await;
        let read = read::<OptionalKey>("application/json", "key", r#"{"name":"a"}"#).await;
        let Received { key, body, .. } = read.unwrap();
        assert_eq!((key.0.is_some(), body.name.as_str()), (true, "a"));
        for same in [
            r#" {"note": [1, {"y": 2, "x": 1}], "name": "\u0061"}"#,
            "{\"name\":\"a\",\n\"note\":[1,{\"x\":1,\"y\":2}]}",
        ] {
            assert_eq!(payload(same).await, first, "{same}");
        }
        for other in [
            r#"{"name":"a"}"#,
            r#"{"name":"a","note":null}"#,
            r#"{"name":"a","note":[{"x":1,"y":2},1]}"#,
            r#"{"name":"a","note":[1,{"x":1,"y":3}]}"#,
            r#"{"name":"b","note":[1,{"x":1,"y":2}]}"#,
        ] {
            assert_ne!(payload(other).await, first, "{other}");
        }
    }
}
