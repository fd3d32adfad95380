//! The consumers of the demonstration, named for their ids: they stand for nobody. Whoever signs up comes in over HTTP.

use ftgo_chassis::Address;
use ftgo_messaging::{Database, outbox};

use crate::domain::{Consumer, EmailAddress, PersonName, Text, TextError, TooManyAddresses};
use crate::{messages, store};

struct Person {
    id: &'static str,
    first: &'static str,
    last: &'static str,
    /// Label, street, flat, zip.
    addresses: &'static [(
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static str,
    )],
}

const PEOPLE: [Person; 4] = [
    Person {
        id: "consumer-1",
        first: "Consumer",
        last: "One",
        addresses: &[
            ("Home", "415 Lakeshore Avenue", Some("Apt 12"), "94610"),
            ("Work", "1810 Broadway", Some("Floor 6"), "94612"),
        ],
    },
    Person {
        id: "consumer-2",
        first: "Consumer",
        last: "Two",
        addresses: &[("Home", "2248 Telegraph Avenue", Some("Apt 3B"), "94612")],
    },
    Person {
        id: "consumer-3",
        first: "Consumer",
        last: "Three",
        addresses: &[("Home", "3316 Grand Avenue", None, "94610")],
    },
    Person {
        id: "consumer-4",
        first: "Consumer",
        last: "Four",
        addresses: &[("Home", "604 8th Street", Some("Unit 401"), "94607")],
    },
];

/// Why the demonstration data could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("cannot write the consumers")]
    Database(#[from] sqlx::Error),
    #[error("cannot write an event")]
    Event(#[from] serde_json::Error),
    #[error("a seeded consumer breaks a rule")]
    Rule(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Writes the consumers that are missing, each with its event in one transaction.
///
/// # Errors
/// When the database refuses.
pub async fn seed(database: &Database) -> Result<(), SeedError> {
    for person in &PEOPLE {
        let mut tx = database.write().await?;
        if store::find(&mut tx, person.id).await?.is_some() {
            continue;
        }
        let mut consumer = consumer(person)?;
        let created = messages::consumer_created(&consumer)?;
        add_addresses(&mut consumer, person)?;
        store::save(&mut tx, &consumer).await?;
        outbox::publish(&mut tx, &created).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn consumer(person: &Person) -> Result<Consumer, TextError> {
    let name = PersonName {
        first: Text::try_from(person.first.to_owned())?,
        last: Text::try_from(person.last.to_owned())?,
    };
    let email = format!("{}.{}@example.com", person.first, person.last).to_lowercase();
    let email = EmailAddress::try_from(email)?;
    Ok(Consumer::register(person.id.to_owned(), name, email))
}

fn add_addresses(consumer: &mut Consumer, person: &Person) -> Result<(), SeedError> {
    for &(label, street1, street2, zip) in person.addresses {
        let address = Address {
            street1: street1.to_owned(),
            street2: street2.map(str::to_owned),
            city: "Oakland".to_owned(),
            state: "CA".to_owned(),
            zip: zip.to_owned(),
        };
        consumer.add_address(Text::try_from(label.to_owned())?, address)?;
    }
    Ok(())
}

impl From<TextError> for SeedError {
    fn from(error: TextError) -> SeedError {
        SeedError::Rule(Box::new(error))
    }
}

impl From<TooManyAddresses> for SeedError {
    fn from(error: TooManyAddresses) -> SeedError {
        SeedError::Rule(Box::new(error))
    }
}
