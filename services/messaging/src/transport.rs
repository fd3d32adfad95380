//! How a message gets from the relay of one service to the consumer of another: a small trait, and the form of it for
//! services that share a process. Keeping a message until it has arrived is the outbox's work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::consumer::Consumer;
use crate::inbox::BoxError;
use crate::message::Message;

/// Who wants which topics. Declared for the whole system, whether the subscriber runs now or not: that is how a message
/// waits for a service that is down.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The name of the service.
    pub subscriber: &'static str,
    pub topics: &'static [&'static str],
}

/// Why a subscriber does not have a message yet.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    #[error("`{subscriber}` is not there")]
    Absent { subscriber: String },
    #[error("`{subscriber}` could not take the message now")]
    Failed {
        subscriber: String,
        source: BoxError,
    },
}

/// Carries messages to their subscribers.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// All declared subscribers of a topic. A message counts as delivered when each of them has it.
    fn subscribers(&self, topic: &str) -> Vec<&'static str>;

    /// Offers a message to one subscriber. `Ok` only when it has committed the message together with its inbox entry
    /// (or recorded it as a dead letter).
    async fn offer_to(&self, subscriber: &str, message: &Message) -> Result<(), OfferError>;

    /// A value that changes whenever a subscriber has come, so that what waits for it can be offered again.
    fn arrivals(&self) -> watch::Receiver<u64>;

    /// Offers a message to all subscribers of its topic, absent ones or not. `Ok` only when every one has committed it.
    async fn offer(&self, message: &Message) -> Result<(), OfferError> {
        let mut result = Ok(());
        for subscriber in self.subscribers(&message.topic) {
            result = result.and(self.offer_to(subscriber, message).await);
        }
        result
    }
}

/// Services in one process: an offer is a call of the subscriber's [`Consumer`].
pub struct InProcessTransport {
    subscribers: HashMap<&'static str, Vec<&'static str>>,
    attached: Mutex<HashMap<String, Arc<Consumer>>>,
    arrivals: watch::Sender<u64>,
}

impl InProcessTransport {
    pub fn new(subscriptions: &[Subscription]) -> Arc<InProcessTransport> {
        let mut subscribers: HashMap<&'static str, Vec<&'static str>> = HashMap::new();
        for subscription in subscriptions {
            for topic in subscription.topics {
                subscribers
                    .entry(topic)
                    .or_default()
                    .push(subscription.subscriber);
            }
        }
        Arc::new(InProcessTransport {
            subscribers,
            attached: Mutex::new(HashMap::new()),
            arrivals: watch::Sender::new(0),
        })
    }

    /// From now on `consumer` gets what `subscriber` subscribed to, beginning with all that waits for it.
    pub fn attach(&self, subscriber: &str, consumer: Arc<Consumer>) {
        self.lock().insert(subscriber.to_owned(), consumer);
        self.arrivals.send_modify(|count| *count += 1);
    }

    /// The subscriber is away; its messages wait.
    pub fn detach(&self, subscriber: &str) {
        self.lock().remove(subscriber);
    }

    /// Detaches `consumer`, unless another one has taken its place already.
    pub fn withdraw(&self, subscriber: &str, consumer: &Arc<Consumer>) {
        let mut attached = self.lock();
        if attached
            .get(subscriber)
            .is_some_and(|current| Arc::ptr_eq(current, consumer))
        {
            attached.remove(subscriber);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Consumer>>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for InProcessTransport {
    fn subscribers(&self, topic: &str) -> Vec<&'static str> {
        self.subscribers.get(topic).cloned().unwrap_or_default()
    }

    async fn offer_to(&self, subscriber: &str, message: &Message) -> Result<(), OfferError> {
        let Some(consumer) = self.lock().get(subscriber).cloned() else {
            return Err(OfferError::Absent {
                subscriber: subscriber.to_owned(),
            });
        };
        match consumer.receive(message).await {
            Ok(_receipt) => Ok(()),
            Err(source) => Err(OfferError::Failed {
                subscriber: subscriber.to_owned(),
                source,
            }),
        }
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }
}
