//! Messages on their way through the queue: how they lie in memory.

use std::collections::VecDeque;

use crate::rpc::Topic;

/// Messages in the order in which they were queued, their bodies end to end in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where the body of the first entry begins.
    head: usize,
    /// Dropped from the front of this batch, by topic.
    dropped_before: Vec<(Topic, u64)>,
}

impl Batch {
    /// The next message, or `None` when all are out.
    pub(crate) fn next(&mut self) -> Option<(Entry, &[u8])> {
        let entry = self.entries.pop_front()?;
        let start = self.head;
        self.head += entry.len;
        Some((entry, &self.bytes[start..self.head]))
    }

    /// How many messages are in it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts a message that was taken off the front as dropped, and gives back the memory in front once it is much.
    pub(crate) fn note_dropped(&mut self, entry: Entry) {
        add(&mut self.dropped_before, entry.topic, entry.skipped + 1);
        if self.head > KEPT_BYTES.max(self.bytes.len() / 2) {
            let head = std::mem::take(&mut self.head);
            self.bytes.drain(..head);
        }
    }

    /// What was dropped before the first message of the batch; to be read before the messages.
    pub(crate) fn drain_dropped_before(&mut self) -> impl Iterator<Item = (Topic, u64)> + '_ {
        self.dropped_before.drain(..)
    }

    pub(crate) fn push(&mut self, entry: Entry, body: &[u8]) {
        let len = body.len();
        self.entries.push_back(Entry { len, ..entry });
        self.bytes.extend_from_slice(body);
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.head = 0;
    }

    /// Gives back what a burst has taken; for a batch without messages, at a time when nothing is in a hurry.
    ///
    /// Not at each turn of a burst, which would get its memory from the system again and again.
    pub(crate) fn release(&mut self) {
        self.clear();
        self.entries.shrink_to(KEPT_ENTRIES);
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

/// One message of a [`Batch`], without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) topic: Topic,
    pub(crate) len: usize,
    /// How many messages of this topic were dropped between the one before and this one.
    pub(crate) skipped: u64,
    /// Whether the body takes the members `epoch` and `sequence`.
    pub(crate) marked: bool,
    /// Whether it is spared when the oldest make room.
    pub(crate) owed: bool,
}

impl Entry {
    /// A message behind which nothing was dropped.
    pub(crate) fn new(topic: Topic, marked: bool) -> Self {
        Self {
            topic,
            len: 0,
            skipped: 0,
            marked,
            owed: false,
        }
    }
}

/// Adds to the count of a topic; an application uses a handful of them.
pub(crate) fn add(counts: &mut Vec<(Topic, u64)>, topic: Topic, count: u64) {
    match counts.iter_mut().find(|(of, _)| *of == topic) {
        Some((_, sum)) => *sum += count,
        None => counts.push((topic, count)),
    }
}

/// Memory that an empty batch keeps for the next burst.
const KEPT_BYTES: usize = 1 << 20;

/// The same for what is known of its messages.
const KEPT_ENTRIES: usize = 4096;
