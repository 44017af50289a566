//! A received message that is held while anybody keeps a record of it, and used again after that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cdtp::receiver::event::{Arrival, Lost, RunEvent};
use crate::cdtp::{Blocks, RecordView, SenderName, Tags};
use crate::zsocket::Frame;

/// A received data record.
///
/// It refers to the message that it came in, so no byte was copied; keeping it keeps that whole message in memory. Cloning
/// is cheap.
#[derive(Clone)]
pub struct Record {
    held: Arc<Held>,
    start: usize,
    end: usize,
    /// Known from the telling, and asked for so often that reading it again would cost.
    sequence: u64,
    payload_bytes: u64,
    arrival: Arrival,
}

impl Record {
    /// Who sent it, as the BOR of its run spells the name.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.held.taken.sender.as_str()
    }

    /// The same, to keep.
    #[must_use]
    pub fn sender_name(&self) -> &SenderName {
        &self.held.taken.sender
    }

    /// The record as it is in its message.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        RecordView::checked_before(self.as_bytes())
    }

    /// The record as it came; the same as [`RecordView::as_bytes`], without reading it again.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.held.frame[self.start..self.end]
    }

    /// Its number; the first of a run is 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its tags, decoded.
    #[must_use]
    pub fn tags(&self) -> Tags {
        self.view().tags()
    }

    /// Its blocks.
    #[must_use]
    pub fn blocks(&self) -> Blocks<'_> {
        self.view().blocks()
    }

    /// How many bytes its blocks have.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// How its number follows those before it.
    #[must_use]
    pub fn arrival(&self) -> Arrival {
        self.arrival
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sender", &self.sender())
            .field("sequence", &self.sequence())
            .field("payload_bytes", &self.payload_bytes())
            .field("arrival", &self.arrival)
            .finish()
    }
}

/// Records of one message that stand one behind the other among events, asked once for what they share.
///
/// It gives their bytes and themselves, and ends before the first event that is not of them.
#[derive(Clone)]
pub(crate) struct MessageRecords<'a> {
    held: &'a Arc<Held>,
    frame: &'a [u8],
    events: &'a [RunEvent],
    longest: usize,
}

impl<'a> MessageRecords<'a> {
    /// The records of one message at the front of these events that have at most `longest` bytes each; none where the first event
    /// is something else.
    pub(crate) fn first_of(events: &'a [RunEvent], longest: usize) -> Option<Self> {
        let Some(RunEvent::Record(Record { held, .. })) = events.first() else {
            return None;
        };
        let records = Self {
            held,
            frame: &held.frame,
            events,
            longest,
        };
        records.clone().next().is_some().then_some(records)
    }

    /// Who sent them.
    pub(crate) fn sender(&self) -> &'a str {
        self.held.taken.sender.as_str()
    }

    /// The first of them as it came; nothing once all were given.
    pub(crate) fn first_bytes(&self) -> &'a [u8] {
        self.clone().next().map_or(&[], |(bytes, _)| bytes)
    }
}

impl<'a> Iterator for MessageRecords<'a> {
    type Item = (&'a [u8], &'a Record);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (RunEvent::Record(record), rest) = self.events.split_first()? else {
            return None;
        };
        if !Arc::ptr_eq(&record.held, self.held) || record.end - record.start > self.longest {
            return None;
        }
        self.events = rest;
        Some((&self.frame[record.start..record.end], record))
    }
}

/// A received frame, and what is in it.
pub(crate) struct Held {
    pub(crate) frame: Frame,
    pub(crate) taken: Taken,
}

/// What the state said about a DATA message.
pub(crate) struct Taken {
    pub(crate) sender: SenderName,
    /// Where the first record begins in the frame.
    pub(crate) start: usize,
    /// How many records there are.
    pub(crate) count: usize,
    /// Records that are not simply the next ones, in their order; empty for most messages.
    pub(crate) notes: Vec<Note>,
}

/// What is not usual about one record of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// Its place in the message.
    pub(crate) index: usize,
    pub(crate) arrival: Arrival,
    /// The first number missing before it, and how many; 0 is none.
    pub(crate) lost: (u64, u64),
}

impl Taken {
    /// Memory of the notes.
    pub(crate) fn notes_bytes(&self) -> usize {
        self.notes.len() * size_of::<Note>()
    }
}

impl Held {
    /// An empty one, to receive into.
    pub(crate) fn new(sender: SenderName) -> Self {
        Self {
            frame: Frame::new(),
            taken: Taken {
                sender,
                start: 0,
                count: 0,
                notes: Vec::new(),
            },
        }
    }
}

/// The events of one held message, made one by one: a reference for each record, and no allocation.
pub(crate) struct Unfold {
    held: Arc<Held>,
    at: usize,
    index: usize,
    note: usize,
    /// The loss before the record at `index` was told.
    told: bool,
}

impl Unfold {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self {
            at: held.taken.start,
            index: 0,
            note: 0,
            told: false,
            held,
        }
    }

    #[cold]
    fn noted(&mut self, note: Note) -> Option<RunEvent> {
        if note.lost.1 > 0 && !self.told {
            self.told = true;
            return Some(RunEvent::Lost(Lost {
                sender: self.held.taken.sender.clone(),
                first: note.lost.0,
                count: note.lost.1,
            }));
        }
        self.told = false;
        self.note += 1;
        None
    }
}

impl Iterator for Unfold {
    type Item = RunEvent;

    #[inline]
    fn next(&mut self) -> Option<RunEvent> {
        if self.index == self.held.taken.count {
            return None;
        }
        let mut arrival = Arrival::InOrder;
        if let Some(note) = self.held.taken.notes.get(self.note).copied()
            && note.index == self.index
        {
            if let Some(lost) = self.noted(note) {
                return Some(lost);
            }
            arrival = note.arrival;
        }
        let start = self.at;
        let record = RecordView::checked_before(&self.held.frame[start..]);
        self.at += record.as_bytes().len();
        self.index += 1;
        Some(RunEvent::Record(Record {
            held: Arc::clone(&self.held),
            start,
            end: self.at,
            sequence: record.sequence(),
            payload_bytes: record.payload_bytes(),
            arrival,
        }))
    }
}

/// Messages to receive into, used again when nobody keeps a record of them.
///
/// It keeps a reference to each that it gave out, so it sees when it is the only one left; nothing has to be sent back.
pub(crate) struct HeldPool {
    free: Vec<Arc<Held>>,
    /// In the order in which they were given out: the front is the likeliest to be free.
    given: VecDeque<Arc<Held>>,
    limit: usize,
    nobody: SenderName,
}

impl HeldPool {
    /// Keeps at most `limit` messages in sight; those beyond are freed by their last record.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            free: Vec::new(),
            given: VecDeque::new(),
            limit: limit.max(1),
            nobody: SenderName::received(""),
        }
    }

    /// One that nobody else has.
    pub(crate) fn take(&mut self) -> Arc<Held> {
        if let Some(held) = self.free.pop().or_else(|| self.come_back(LOOKS)) {
            return held;
        }
        Arc::new(Held::new(self.nobody.clone()))
    }

    /// Puts back one that was not needed.
    pub(crate) fn put_back(&mut self, held: Arc<Held>) {
        self.free.push(held);
    }

    /// Keeps sight of one that goes out.
    pub(crate) fn watch(&mut self, held: &Arc<Held>) {
        if self.free.len() + self.given.len() < self.limit {
            self.given.push_back(Arc::clone(held));
        }
    }

    /// Frees the frames that nobody needs; for an owner who has nothing to do. Looks at some only, so that it costs little.
    pub(crate) fn release(&mut self) {
        // Where the last one is that was not needed.
        if let Some(last) = self.free.last_mut() {
            empty(last);
        }
        for _ in 0..LOOKS_AT_REST.min(self.given.len()) {
            if let Some(mut held) = self.come_back(1) {
                empty(&mut held);
                self.free.push(held);
            }
        }
    }

    /// Frees all that nobody needs, and lets go of what is in use: its last record frees it. For an owner who has had nothing to
    /// do for [`REST`].
    pub(crate) fn let_go(&mut self) {
        self.given.clear();
        self.free.iter_mut().for_each(empty);
    }

    /// Whether there is something to [let go](Self::let_go) of.
    pub(crate) fn holds(&self) -> bool {
        !self.given.is_empty()
    }

    /// One of the first that were given out, if nobody has it any more.
    fn come_back(&mut self, looks: usize) -> Option<Arc<Held>> {
        for _ in 0..looks.min(self.given.len()) {
            let mut held = self.given.pop_front()?;
            if Arc::get_mut(&mut held).is_some() {
                return Some(held);
            }
            // A record of it is kept for longer: look at it again when all others were.
            self.given.push_back(held);
        }
        None
    }
}

/// Keeps the place, frees what is in it.
fn empty(held: &mut Arc<Held>) {
    if let Some(held) = Arc::get_mut(held) {
        held.frame = Frame::new();
        held.taken.notes = Vec::new();
    }
}

/// How long nothing is to come before the memory of messages is given back.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// How many messages are looked at for one that is free, before a new one is made.
const LOOKS: usize = 4;

/// The same when there is nothing else to do.
const LOOKS_AT_REST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdtp::{DataRecord, Encoding, write_record};

    /// A message of records with blocks of these sizes, as events.
    fn events(sizes: &[usize]) -> Vec<RunEvent> {
        let mut frame = b"head".to_vec();
        for (index, size) in sizes.iter().enumerate() {
            let block = vec![7; *size];
            let record = DataRecord::new(index as u64 + 1).with_block(block);
            write_record(&mut frame, &record, Encoding::Compact).unwrap();
        }
        let mut held = Held::new(SenderName::received("a.b"));
        held.frame = frame.into();
        (held.taken.start, held.taken.count) = (4, sizes.len());
        Unfold::new(Arc::new(held)).collect()
    }

    #[test]
    fn records_of_one_message_come_together_up_to_a_long_one() {
        let all = [events(&[1, 2, 300, 4]), events(&[5])].concat();
        let numbers = |at: usize| -> Vec<u64> {
            let records = MessageRecords::first_of(&all[at..], 100).unwrap();
            assert_eq!(records.sender(), "a.b");
            let RunEvent::Record(first) = &all[at] else {
                panic!("no record: {:?}", all[at]);
            };
            assert_eq!(records.first_bytes(), first.as_bytes());
            records
                .map(|(bytes, record)| {
                    assert_eq!(bytes, record.as_bytes());
                    record.sequence()
                })
                .collect()
        };
        assert_eq!(
            (numbers(0), numbers(3), numbers(4)),
            (vec![1, 2], vec![4], vec![1])
        );
        assert!(
            MessageRecords::first_of(&all[2..], 100).is_none(),
            "too long"
        );
        assert!(MessageRecords::first_of(&[], 100).is_none());
    }

    #[test]
    fn a_message_is_used_again_once_nobody_has_it() {
        let mut pool = HeldPool::new(8);
        let first = pool.take();
        let place = Arc::as_ptr(&first);
        pool.watch(&first);
        let second = pool.take();
        assert_ne!(Arc::as_ptr(&second), place, "the first is in use");
        drop(first);
        assert_eq!(Arc::as_ptr(&pool.take()), place);
    }

    #[test]
    fn a_message_that_is_kept_does_not_hold_up_the_others() {
        let mut pool = HeldPool::new(8);
        let kept = pool.take();
        pool.watch(&kept);
        let mut places = Vec::new();
        for _ in 0..10 {
            let other = pool.take();
            places.push(Arc::as_ptr(&other));
            pool.watch(&other);
        }
        places.dedup();
        assert_eq!(places.len(), 1);
        assert_ne!(places[0], Arc::as_ptr(&kept));
    }

    #[test]
    fn at_rest_the_frames_of_free_messages_are_freed() {
        let mut pool = HeldPool::new(8);
        let messages: Vec<_> = (0..3).map(|_| pool.take()).collect();
        for mut held in messages {
            Arc::get_mut(&mut held).unwrap().frame = Frame::from_slice(&[1; 100]);
            pool.watch(&held);
        }
        pool.release();
        assert_eq!(pool.free.len(), 3);
        assert!(pool.free.iter().all(|held| held.frame.is_empty()));
    }

    #[test]
    fn what_is_let_go_is_freed_by_its_last_record() {
        let mut pool = HeldPool::new(8);
        let mut kept = pool.take();
        Arc::get_mut(&mut kept).unwrap().frame = Frame::from_slice(&[1; 100]);
        pool.watch(&kept);
        pool.release();
        assert!(pool.holds());
        pool.let_go();
        assert!(!pool.holds());
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[test]
    fn no_more_than_the_limit_are_kept() {
        let mut pool = HeldPool::new(2);
        let messages: Vec<_> = (0..5).map(|_| pool.take()).collect();
        messages.iter().for_each(|held| pool.watch(held));
        assert_eq!(pool.given.len(), 2);
    }
}
