//! Who follows which tags: thousands of followers behind one feed, each with a short queue of its own, so that a slow one
//! holds up nobody. How events come in is `events/feed.rs`.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::ChangeEvent;

/// Events that wait for one subscriber; one more, and it is told that it has missed some.
const QUEUE: usize = 64;
/// How many there may be as long as no configuration says so.
const MAX: usize = 20_000;

/// What a follower of tags is told.
#[derive(Clone, Debug)]
pub enum Notice {
    Changed(Arc<ChangeEvent>),
    /// Events may have been missed: what is shown has to be read anew.
    Missed,
}

/// There are as many subscribers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are too many subscribers")]
pub struct TooManySubscribers;

/// All subscribers of a process.
pub(super) struct Subscribers {
    index: Arc<Mutex<Index>>,
    max: AtomicUsize,
}

#[derive(Default)]
struct Index {
    by_tag: HashMap<Box<str>, Vec<Arc<Queue>>>,
    count: usize,
    /// The position of the last event that was told, if it had one.
    heard: Option<u64>,
}

#[derive(Default)]
struct Queue {
    pending: Mutex<Pending>,
    wake: AtomicWaker,
}

#[derive(Default)]
struct Pending {
    events: VecDeque<Arc<ChangeEvent>>,
    missed: bool,
}

/// One follower's place. It ends when it is dropped.
pub struct Subscription {
    queue: Arc<Queue>,
    tags: Vec<Box<str>>,
    index: Arc<Mutex<Index>>,
    /// What had been told when it began.
    heard: Option<u64>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self {
            index: Arc::default(),
            max: AtomicUsize::new(MAX),
        }
    }
}

impl Subscribers {
    pub(super) fn allow(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(super) fn add(&self, mut tags: Vec<Box<str>>) -> Result<Subscription, TooManySubscribers> {
        // One notice of an event is enough, however often its tag is asked for.
        tags.sort_unstable();
        tags.dedup();
        let queue = Arc::<Queue>::default();
        let mut index = lock(&self.index);
        if index.count >= self.max.load(Ordering::Relaxed) {
            return Err(TooManySubscribers);
        }
        index.count += 1;
        let heard = index.heard;
        for tag in &tags {
            let queues = index.by_tag.entry(tag.clone()).or_default();
            queues.push(Arc::clone(&queue));
        }
        drop(index);
        Ok(Subscription {
            queue,
            tags,
            index: Arc::clone(&self.index),
            heard,
        })
    }

    pub(super) fn tell(&self, event: &Arc<ChangeEvent>, tags: &[String]) {
        let mut index = lock(&self.index);
        // Under one lock: whoever begins now has the event in its queue, or knows that it was told.
        index.heard = event.position.or(index.heard);
        for tag in tags {
            for queue in index.by_tag.get(tag.as_str()).into_iter().flatten() {
                queue.push(event);
            }
        }
    }

    pub(super) fn stands_at(&self, position: Option<u64>) {
        lock(&self.index).heard = position;
    }

    pub(super) fn missed(&self) {
        for queue in lock(&self.index).by_tag.values().flatten() {
            queue.missed();
        }
    }
}

impl Queue {
    fn push(&self, event: &Arc<ChangeEvent>) {
        let mut pending = lock(&self.pending);
        // An event can concern several tags of one follower; all its copies come one after the other.
        if pending.missed
            || pending
                .events
                .back()
                .is_some_and(|last| Arc::ptr_eq(last, event))
        {
            return;
        }
        if pending.events.len() == QUEUE {
            pending.events.clear();
            pending.missed = true;
        } else {
            pending.events.push_back(Arc::clone(event));
        }
        drop(pending);
        self.wake.wake();
    }

    fn missed(&self) {
        let mut pending = lock(&self.pending);
        pending.events.clear();
        pending.missed = true;
        drop(pending);
        self.wake.wake();
    }

    fn take(&self) -> Option<Notice> {
        let mut pending = lock(&self.pending);
        if std::mem::take(&mut pending.missed) {
            return Some(Notice::Missed);
        }
        pending.events.pop_front().map(Notice::Changed)
    }
}

impl Subscription {
    /// Waits for the next notice. A call that is dropped loses none.
    pub async fn next(&mut self) -> Notice {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        // Before the queue is looked at: what comes afterwards wakes.
        self.queue.wake.register(cx.waker());
        self.queue.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// The position of the last event that was told before this began: what is read after that shows it, and all later ones
    /// that concern the tags come here.
    pub(crate) fn heard(&self) -> Option<u64> {
        self.heard
    }

    /// The same for now: what has been told up to here and concerns the tags has come.
    pub(crate) fn heard_by_now(&self) -> Option<u64> {
        lock(&self.index).heard
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut index = lock(&self.index);
        index.count -= 1;
        for tag in &self.tags {
            if let Some(queues) = index.by_tag.get_mut(tag) {
                queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
                if queues.is_empty() {
                    index.by_tag.remove(tag);
                }
            }
        }
    }
}

/// What is behind these locks is good also when somebody panicked elsewhere while having one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
