//! What other services hear of an account: one message on `account.events` for each stored event. The stored form is the
//! domain's and may change without these.

use chrono::{DateTime, Utc};
use ftgo_chassis::Money;
use ftgo_messaging::Message;
use serde::Serialize;

use crate::domain::account::Event;

const TOPIC: &str = "account.events";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    account_id: &'a str,
    consumer_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'a Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_amount: Option<&'a Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_limit: Option<&'a Money>,
    occurred_at: DateTime<Utc>,
}

pub(super) fn message(
    account_id: &str,
    consumer_id: &str,
    version: i64,
    event: &Event,
    occurred_at: DateTime<Utc>,
) -> Result<Message, serde_json::Error> {
    let mut data = Data {
        account_id,
        consumer_id,
        order_id: None,
        amount: None,
        previous_amount: None,
        order_limit: None,
        occurred_at,
    };
    let kind = match event {
        Event::Opened { order_limit, .. } => {
            data.order_limit = Some(order_limit);
            "AccountCreated"
        }
        Event::Authorized { order_id, amount } => {
            data.order_id = Some(order_id);
            data.amount = Some(amount);
            "AccountAuthorized"
        }
        Event::AuthorizationReversed { order_id, amount } => {
            data.order_id = Some(order_id);
            data.amount = Some(amount);
            "AccountAuthorizationReversed"
        }
        Event::AuthorizationRevised {
            order_id,
            previous_amount,
            amount,
        } => {
            data.order_id = Some(order_id);
            data.previous_amount = Some(previous_amount);
            data.amount = Some(amount);
            "AccountAuthorizationRevised"
        }
        Event::Disabled => "AccountDisabled",
        Event::Enabled => "AccountEnabled",
    };
    Message::event(crate::NAME, TOPIC, kind, account_id, version, data)
}
