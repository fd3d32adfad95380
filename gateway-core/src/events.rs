//! Change events: one subscription of the process to a service's feed purges what is stored of the things that changed,
//! and tells everybody in the process who follows them. Which event concerns which tags is the BFF's to say
//! (`App::tags`); where the events are shown to clients is the BFF's, too.

mod feed;
mod sse;
mod subscribers;

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cache::Tags;
use crate::streams::Places;

pub(crate) use feed::{Feed, Source};
use subscribers::Subscribers;
pub use subscribers::{Notice, Subscription, TooManySubscribers};

/// A change of something, as a service's feed tells it: a CloudEvents 1.0 envelope in JSON.
#[derive(Clone, Debug)]
pub struct ChangeEvent {
    /// Unique for its source.
    pub id: String,
    /// The envelope's `type`.
    pub kind: String,
    pub source: String,
    /// What has changed, within its source and kind.
    pub subject: Option<String>,
    /// The whole envelope as it came.
    pub envelope: Bytes,
    /// Its place in the feed's log, later events at higher ones. Events that are in no log have none, nor have those of a feed
    /// whose ids are not numbers.
    pub position: Option<u64>,
}

/// A message of the feed that is no CloudEvents 1.0 envelope.
#[derive(Debug, thiserror::Error)]
pub enum NoEvent {
    #[error("the event is not the JSON that is expected")]
    Json(#[from] serde_json::Error),
    #[error("specversion is {0:?}, and only 1.0 is known")]
    Version(String),
}

impl ChangeEvent {
    /// Reads an envelope.
    ///
    /// # Errors
    /// When it is not JSON, lacks an attribute that CloudEvents 1.0 requires, or is of another version.
    pub fn parse(envelope: Bytes) -> Result<Self, NoEvent> {
        #[derive(Deserialize)]
        struct Attributes {
            specversion: String,
            id: String,
            source: String,
            r#type: String,
            subject: Option<String>,
        }
        let attributes: Attributes = serde_json::from_slice(&envelope)?;
        if attributes.specversion != "1.0" {
            return Err(NoEvent::Version(attributes.specversion));
        }
        Ok(Self {
            id: attributes.id,
            kind: attributes.r#type,
            source: attributes.source,
            subject: attributes.subject,
            envelope,
            position: None,
        })
    }

    pub(crate) fn at(self, position: Option<u64>) -> Self {
        Self { position, ..self }
    }

    /// Reads the envelope's `data` into what the BFF needs of it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        #[derive(Deserialize)]
        struct WithData<T> {
            data: T,
        }
        serde_json::from_slice::<WithData<T>>(&self.envelope).map(|envelope| envelope.data)
    }
}

/// For an [`App`](crate::App) that has no use for events: none concerns anything.
#[must_use]
pub fn no_tags(_event: &ChangeEvent) -> Option<Vec<String>> {
    Some(Vec::new())
}

/// The changes of a process, for whoever follows them. Cloning is cheap.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    tags: Arc<Tags>,
    subscribers: Subscribers,
    places: Arc<Places>,
}

impl Events {
    pub(crate) fn new(tags: &Arc<Tags>) -> Self {
        Self {
            shared: Arc::new(Shared {
                tags: Arc::clone(tags),
                subscribers: Subscribers::default(),
                places: Arc::default(),
            }),
        }
    }

    /// Follows the changes of what these tags name, from now on. Whoever reads after a notice reads what it tells of.
    ///
    /// # Errors
    /// When there are as many subscribers as the configuration allows (`events.max_subscribers`).
    pub fn subscribe<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<Subscription, TooManySubscribers> {
        self.shared
            .subscribers
            .add(tags.into_iter().map(|tag| tag.as_ref().into()).collect())
    }

    /// Nothing that is stored and depends on `tag` is used for what is read from now on.
    pub fn expire(&self, tag: &str) {
        self.shared.tags.purge(tag);
    }

    /// The streams to clients.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.shared.places
    }

    /// Where the feed stands, when that is not after its last event.
    pub(crate) fn stands_at(&self, position: Option<u64>) {
        self.shared.subscribers.stands_at(position);
    }

    pub(crate) fn allow(&self, max_subscribers: usize) {
        self.shared.subscribers.allow(max_subscribers);
    }

    /// Something has changed: what is stored of it is not used any more, and only then its followers learn of it.
    pub(crate) fn changed(&self, event: ChangeEvent, tags: &[String]) {
        for tag in tags {
            self.shared.tags.purge(tag);
        }
        self.shared.subscribers.tell(&Arc::new(event), tags);
    }

    /// Changes are not heard as they happen: nothing that is stored and could change is good without asking. Who follows them
    /// hears of them when the feed goes on.
    pub(crate) fn interrupted(&self) {
        self.shared.tags.expire_all();
    }

    /// Changes may have gone unheard for good: nothing that is stored and could change is good without asking.
    pub(crate) fn missed(&self) {
        self.shared.tags.expire_all();
        self.shared.subscribers.missed();
    }
}

#[cfg(test)]
mod tests;
