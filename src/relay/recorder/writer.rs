//! Batches of messages on their way into the store: gaps noticed, attempts repeated, places told.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::event::{event_of, gap_event};
use super::stats::Meters;
use super::{BusRecorderOptions, ErrorCallback, Registrar};
use crate::event::{RegisterEvent, Timestamp};
use crate::relay::{RelayError, StoreHistory};
use crate::rpc::{Message, Topic};

/// What is to be written.
#[derive(Debug)]
pub(super) enum Entry {
    Message(Message),
    Gap {
        topic: Topic,
        epoch: Option<u64>,
        first: u64,
        count: u64,
    },
}

/// The recorder's side of the store.
#[derive(Debug)]
pub(super) struct Writer {
    registrar: Box<dyn Registrar>,
    /// Not known over the wire before the first heartbeat.
    identifier: Option<String>,
    history: Option<Arc<StoreHistory>>,
    told: Told,
    meters: Arc<Meters>,
    stop: Receiver<Infallible>,
    epoch: Option<u64>,
    last: BTreeMap<Topic, u64>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Whom to tell of errors, and whether he was told.
struct Told {
    callback: Option<ErrorCallback>,
    failing: bool,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told")
            .field("failing", &self.failing)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(
        registrar: Box<dyn Registrar>,
        options: &BusRecorderOptions,
        identifier: Option<String>,
        meters: &Arc<Meters>,
        stop: Receiver<Infallible>,
    ) -> Self {
        Self {
            registrar,
            identifier,
            history: options.history.clone(),
            told: Told {
                callback: options.on_error.clone(),
                failing: false,
            },
            meters: Arc::clone(meters),
            stop,
            epoch: None,
            last: BTreeMap::new(),
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// A heartbeat told whose messages these are.
    pub(super) fn connected(&mut self, identifier: String, epoch: Option<u64>) {
        self.identifier.get_or_insert(identifier);
        self.epoch = epoch.or(self.epoch);
    }

    pub(super) fn restarted(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    pub(super) fn add(&mut self, entry: Entry) {
        if let Entry::Message(message) = &entry {
            self.bytes += message.body.len();
        }
        self.entries.push_back(entry);
    }

    /// The same with the numbers of a tap, which show what did not fit it.
    pub(super) fn add_in_process(&mut self, message: Message) {
        if let Some((epoch, sequence)) = message.epoch.zip(message.sequence) {
            if self.epoch != Some(epoch) {
                self.epoch = Some(epoch);
                self.last.clear();
            }
            self.reach(message.topic, sequence.saturating_sub(1));
            self.last.insert(message.topic, sequence);
        }
        if message.topic == Topic::HEARTBEAT
            && let Some(listed) = message.heartbeat().and_then(|beat| beat.sequences)
        {
            for (topic, last) in listed {
                self.reach(Topic::new(topic), last);
            }
        }
        self.add(Entry::Message(message));
    }

    /// All up to this number has been published: what has not come is missing.
    fn reach(&mut self, topic: Topic, last: u64) {
        let Some(known) = self.last.get(&topic).copied() else {
            return;
        };
        if last > known {
            self.add(Entry::Gap {
                topic,
                epoch: self.epoch,
                first: known + 1,
                count: last - known,
            });
            self.last.insert(topic, last);
        }
    }

    /// Whether the batch should be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES
    }

    pub(super) fn waiting(&self, messages: usize, lost: u64) {
        let waiting = messages + self.entries.len();
        self.meters.waiting.store(waiting, Ordering::Relaxed);
        self.meters.lost.store(lost, Ordering::Relaxed);
    }

    /// Writes the batch, again and again until it is in the store; `false` when there is no store any more.
    pub(super) fn write(&mut self) -> bool {
        let Some(identifier) = self.identifier.clone() else {
            // What cannot be named yet waits for a heartbeat, within the bound of a batch.
            while self.is_full() {
                self.give_up_oldest();
            }
            return true;
        };
        let entries: Vec<Entry> = self.entries.drain(..).collect();
        self.bytes = 0;
        let events: Vec<_> = entries
            .iter()
            .map(|entry| to_event(&identifier, entry))
            .collect();
        self.write_all(entries, events)
    }

    fn write_all(&mut self, entries: Vec<Entry>, events: Vec<RegisterEvent>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.registrar.register(&events) {
                Ok(at) => {
                    self.succeeded();
                    self.account(&entries, at);
                    return true;
                }
                Err(error) => {
                    let closed = error.is_final();
                    let hopeless = error.is_hopeless();
                    self.failed(error);
                    if hopeless && entries.len() > 1 {
                        return self.write_one_by_one(entries, events);
                    }
                    if closed || hopeless || self.stops_within(pause) {
                        self.give_up(&entries);
                        return !closed;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The batch can never be written: what can be of it is not to go with the rest.
    fn write_one_by_one(&mut self, entries: Vec<Entry>, events: Vec<RegisterEvent>) -> bool {
        let mut goes_on = true;
        for (entry, event) in entries.into_iter().zip(events) {
            if goes_on {
                goes_on = self.write_all(vec![entry], vec![event]);
            } else {
                self.give_up(&[entry]);
            }
        }
        goes_on
    }

    /// Counts what still waits and cannot be named any more.
    pub(super) fn end(&mut self) {
        while !self.entries.is_empty() {
            self.give_up_oldest();
        }
    }

    fn account(&self, entries: &[Entry], at: Option<Timestamp>) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        for entry in entries {
            match entry {
                Entry::Message(message) => {
                    add(&self.meters.recorded, 1);
                    add(&self.meters.bytes, message.body.len() as u64);
                }
                Entry::Gap { .. } => {
                    add(&self.meters.gaps, 1);
                }
            }
        }
        if let (Some(history), Some(at)) = (&self.history, at) {
            history.recorded(entries.iter().filter_map(Entry::place), at);
        }
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.told.failing) {
            log::info!("the store takes events again");
            *self.meters.error.lock() = None;
        }
    }

    fn failed(&mut self, error: RelayError) {
        self.meters.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.told.failing, true) {
            match &self.told.callback {
                Some(callback) => callback(&error),
                None => log::error!("the bus is not recorded now: {}", crate::rpc::chain(&error)),
            }
        }
        *self.meters.error.lock() = Some(Arc::new(error));
    }

    fn stops_within(&self, pause: Duration) -> bool {
        !matches!(
            self.stop.recv_timeout(pause),
            Err(RecvTimeoutError::Timeout)
        )
    }

    fn give_up(&self, entries: &[Entry]) {
        let messages = entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Message(_)));
        let count = messages.count() as u64;
        self.meters.given_up.fetch_add(count, Ordering::Relaxed);
    }

    fn give_up_oldest(&mut self) {
        if let Some(Entry::Message(message)) = self.entries.pop_front() {
            self.bytes -= message.body.len();
            self.meters.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Entry {
    /// Topic, epoch and the last number that it stands for.
    fn place(&self) -> Option<(Topic, u64, u64)> {
        match self {
            Self::Message(message) => Some((message.topic, message.epoch?, message.sequence?)),
            Self::Gap {
                topic,
                epoch,
                first,
                count,
            } => Some((
                *topic,
                (*epoch)?,
                first.saturating_add(count.saturating_sub(1)),
            )),
        }
    }
}

fn to_event(identifier: &str, entry: &Entry) -> RegisterEvent {
    match entry {
        Entry::Message(message) => event_of(identifier, message),
        Entry::Gap {
            topic,
            epoch,
            first,
            count,
        } => gap_event(identifier, *topic, *epoch, *first, *count),
    }
}

/// One session of the engine at most.
const BATCH_MESSAGES: usize = 1_024;
const BATCH_BYTES: usize = 4 << 20;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
