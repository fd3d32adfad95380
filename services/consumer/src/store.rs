//! Consumers in the database. What may change about them is decided in the domain.

use std::collections::HashMap;

use ftgo_chassis::{Address, IdList};
use sqlx::{FromRow, SqliteConnection};

use crate::domain::{Consumer, EmailAddress, PersonName, SavedAddress, Text, TextError};

#[derive(FromRow)]
struct ConsumerRow {
    id: String,
    first_name: String,
    last_name: String,
    email: String,
    blocked: bool,
    version: i64,
}

#[derive(FromRow)]
struct AddressRow {
    id: String,
    consumer_id: String,
    label: String,
    street1: String,
    street2: Option<String>,
    city: String,
    state: String,
    zip: String,
}

/// The consumer, if there is one with this id.
pub(crate) async fn find(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Option<Consumer>, sqlx::Error> {
    let ids = serde_json::Value::from(vec![id]).to_string();
    Ok(load(connection, &ids).await?.pop())
}

/// Those that exist, in no particular order.
pub(crate) async fn find_all(
    connection: &mut SqliteConnection,
    ids: &IdList,
) -> Result<Vec<Consumer>, sqlx::Error> {
    load(connection, &ids.to_json()).await
}

/// Writes a new consumer, or the new state of a known one.
pub(crate) async fn save(
    connection: &mut SqliteConnection,
    consumer: &Consumer,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO consumer (id, first_name, last_name, email, blocked, version) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET first_name = excluded.first_name, last_name = excluded.last_name, \
         email = excluded.email, blocked = excluded.blocked, version = excluded.version",
    )
    .bind(&consumer.id)
    .bind(consumer.name.first.as_str())
    .bind(consumer.name.last.as_str())
    .bind(consumer.email.as_str())
    .bind(consumer.blocked)
    .bind(consumer.version)
    .execute(&mut *connection)
    .await?;
    // Addresses are only ever added.
    for (position, saved) in consumer.addresses.iter().enumerate() {
        sqlx::query(
            "INSERT OR IGNORE INTO consumer_address \
             (id, consumer_id, position, label, street1, street2, city, state, zip) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&saved.id)
        .bind(&consumer.id)
        .bind(position as i64)
        .bind(saved.label.as_str())
        .bind(&saved.address.street1)
        .bind(&saved.address.street2)
        .bind(&saved.address.city)
        .bind(&saved.address.state)
        .bind(&saved.address.zip)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn load(connection: &mut SqliteConnection, ids: &str) -> Result<Vec<Consumer>, sqlx::Error> {
    let rows: Vec<ConsumerRow> =
        sqlx::query_as("SELECT * FROM consumer WHERE id IN (SELECT value FROM json_each(?))")
            .bind(ids)
            .fetch_all(&mut *connection)
            .await?;
    let address_rows: Vec<AddressRow> = sqlx::query_as(
        "SELECT * FROM consumer_address WHERE consumer_id IN (SELECT value FROM json_each(?)) ORDER BY position",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut addresses: HashMap<String, Vec<SavedAddress>> = HashMap::new();
    for row in address_rows {
        let of_consumer = addresses.entry(row.consumer_id.clone()).or_default();
        of_consumer.push(row.into_address().map_err(unreadable)?);
    }
    rows.into_iter()
        .map(|row| {
            let addresses = addresses.remove(&row.id).unwrap_or_default();
            row.into_consumer(addresses).map_err(unreadable)
        })
        .collect()
}

fn unreadable(error: TextError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

impl ConsumerRow {
    fn into_consumer(self, addresses: Vec<SavedAddress>) -> Result<Consumer, TextError> {
        Ok(Consumer {
            id: self.id,
            name: PersonName {
                first: Text::try_from(self.first_name)?,
                last: Text::try_from(self.last_name)?,
            },
            email: EmailAddress::try_from(self.email)?,
            blocked: self.blocked,
            addresses,
            version: self.version,
        })
    }
}

impl AddressRow {
    fn into_address(self) -> Result<SavedAddress, TextError> {
        Ok(SavedAddress {
            id: self.id,
            label: Text::try_from(self.label)?,
            address: Address {
                street1: self.street1,
                street2: self.street2,
                city: self.city,
                state: self.state,
                zip: self.zip,
            },
        })
    }
}
