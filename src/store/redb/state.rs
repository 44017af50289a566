//! What is in memory: the ledger, the memory part, and who waits for what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::event::{Event, EventId, Events, OrderBy, Timestamp};
use crate::store::StoreError;
use crate::store::admission::{Admission, Verdict};

use super::catalog::Catalog;
use super::database::Snapshot;
use super::ledger::Ledger;
use super::memtable::{Memtable, Row};

/// All that changes, under one lock that nobody holds while anything is read or written on disk or called back.
#[derive(Debug)]
pub(super) struct State {
    pub(super) catalog: Catalog,
    pub(super) admission: Admission,
    pub(super) ledger: Ledger,
    /// Ahead of the ledger by what is being committed; only where events are committed before they are visible.
    pub(super) draft: Ledger,
    pub(super) active: Memtable,
    /// What a flush is writing, or failed to write.
    pub(super) frozen: Option<Arc<Memtable>>,
    /// How many calls are durable once the frozen rows are.
    frozen_calls: u64,
    /// The disk as of the last flush or later; `None` until somebody looks.
    pub(super) snapshot: Option<Snapshot>,
    /// How many flushes and cleanups there were: a snapshot of before is of no use to who asks now.
    pub(super) epoch: u64,
    pub(super) calls: Calls,
    pub(super) work: Work,
    /// The threads that call back.
    pub(super) calling_back: Vec<ThreadId>,
    pub(super) closed: bool,
    orders: Arc<[OrderBy]>,
}

/// The register calls whose callbacks are not all done.
///
/// `registered` are called in the order of the calls, each by its own thread when it is its turn; `flushed` in the same order
/// once that is done and the events are durable.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// With the bytes that are counted nowhere else.
    waiting: VecDeque<(Events, usize)>,
    bytes: usize,
    made: u64,
    registered: u64,
    durable: u64,
    told: u64,
    telling: bool,
}

/// What the thread of the store has to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) commits: VecDeque<Commit>,
    pub(super) flushes: Vec<Sender<Result<(), StoreError>>>,
    pub(super) cleanups: Vec<(Timestamp, Sender<Result<(), StoreError>>)>,
    /// When the oldest unflushed event has to be on disk; `None` where there is none.
    pub(super) flush_at: Option<Instant>,
    /// When it is due though events keep coming.
    flush_by: Option<Instant>,
    pub(super) cleanup_at: Option<Instant>,
    pub(super) stop: bool,
    /// What came last.
    turn: Option<Turn>,
    /// What the last flush gave, if it failed.
    pub(super) failure: Option<Arc<StoreError>>,
}

/// What the thread of the store does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Commit,
    Flush,
    Cleanup,
}

/// A register call that waits for its commit.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) events: Events,
    pub(super) bytes: usize,
    /// Takes the number of the call.
    pub(super) done: Sender<Result<u64, StoreError>>,
}

impl State {
    pub(super) fn new(
        catalog: Catalog,
        admission: Admission,
        ledger: Ledger,
        orders: Arc<[OrderBy]>,
        active: Memtable,
    ) -> Self {
        Self {
            catalog,
            admission,
            draft: ledger.clone(),
            ledger,
            active,
            frozen: None,
            frozen_calls: 0,
            snapshot: None,
            epoch: 0,
            calls: Calls::default(),
            work: Work::default(),
            calling_back: Vec::new(),
            closed: false,
            orders,
        }
    }

    /// Admits the events of a call to the memory part; visible at once.
    pub(super) fn register(&mut self, events: &Events) {
        for event in events.iter() {
            if let Some(row) = admit(event, &mut self.admission, &mut self.catalog, &self.ledger) {
                self.ledger.apply(&row);
                self.active.push(row);
            }
        }
    }

    /// Admits the events of a call to the draft; not visible before [`apply`](Self::apply).
    pub(super) fn draft(&mut self, events: &Events, rows: &mut Vec<Row>) {
        for event in events.iter() {
            if let Some(row) = admit(event, &mut self.admission, &mut self.catalog, &self.draft) {
                // The rules know the last of each server themselves.
                self.draft.apply_latest(&row);
                rows.push(row);
            }
        }
    }

    /// Makes rows visible that were drafted and are on disk now.
    pub(super) fn apply(&mut self, rows: Vec<Row>) {
        self.ledger.apply_all(&rows);
        self.active.push_all(rows);
        self.active.set_durable(self.active.rows().len());
    }

    /// Forgets what was drafted; takes rules that know of no event yet.
    pub(super) fn discard_draft(&mut self, mut admission: Admission) {
        for (last, timestamp) in self.ledger.servers() {
            admission.resume(last, timestamp);
        }
        self.admission = admission;
        self.draft = self.ledger.clone();
    }

    /// Takes the active rows out of the way of new ones, unless older ones are still there; `None` where there are no rows.
    pub(super) fn freeze(&mut self) -> Option<Arc<Memtable>> {
        if self.frozen.is_none() && !self.active.is_empty() {
            let next_slot = self.active.first_slot() + self.active.durable() as u64;
            let active =
                std::mem::replace(&mut self.active, Memtable::new(&self.orders, next_slot));
            self.frozen = Some(Arc::new(active));
            self.frozen_calls = self.calls.made();
        }
        self.frozen.clone()
    }

    /// Says that the frozen rows are on disk, in what this snapshot shows.
    pub(super) fn thaw(&mut self, snapshot: Option<Snapshot>) {
        self.frozen = None;
        self.set_snapshot(snapshot);
        self.calls.set_durable(self.frozen_calls);
    }

    /// Says that the indexes on disk are other than they were.
    pub(super) fn set_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshot = snapshot;
        self.epoch += 1;
    }

    /// Bytes of the events that are not in the indexes on disk, and of those that wait for callbacks.
    pub(super) fn unflushed_bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.bytes());
        self.active.bytes() + frozen + self.calls.bytes
    }

    /// Whether a flush would make room.
    pub(super) fn needs_flush(&self) -> bool {
        self.frozen.is_some() || !self.active.is_empty() || self.calls.durable < self.calls.made
    }

    /// Whether an event is the latest of its type.
    pub(super) fn is_latest(&self, type_number: u32, id: EventId) -> bool {
        self.ledger
            .latest(type_number)
            .is_some_and(|latest| latest.id == id)
    }
}

/// The row of an event that is to be stored; it counts as stored from now on.
fn admit(
    event: &Arc<Event>,
    admission: &mut Admission,
    catalog: &mut Catalog,
    ledger: &Ledger,
) -> Option<Row> {
    let type_number = catalog.number(&event.event_type, admission);
    let held = ledger.latest(type_number).map(|event| &**event);
    match admission.judge_at(event, held, catalog.places(type_number)) {
        Verdict::Stored { latest, partitions } => Some(Row {
            event: Arc::clone(event),
            type_number,
            partitions,
            latest,
        }),
        Verdict::LeftOut(reason) => {
            log::debug!("event {} is not stored: {reason:?}", event.id);
            None
        }
    }
}

impl Calls {
    /// Takes a call in; gives its number. `left_out` are the bytes of its events that are held here only.
    pub(super) fn push(&mut self, events: Events, left_out: usize) -> u64 {
        let bytes = left_out.saturating_add(CALL_BYTES);
        self.waiting.push_back((events, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        self.made += 1;
        self.made - 1
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn is_turn(&self, call: u64) -> bool {
        self.registered == call
    }

    pub(super) fn set_registered(&mut self, call: u64) {
        self.registered = call + 1;
    }

    /// Says that the first `calls` calls are durable.
    pub(super) fn set_durable(&mut self, calls: u64) {
        self.durable = self.durable.max(calls);
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Whether the caller is the one to tell; then it goes on with [`next_to_tell`](Self::next_to_tell) to the end.
    pub(super) fn begin_telling(&mut self) -> bool {
        !std::mem::replace(&mut self.telling, true)
    }

    /// The next call that is registered and durable; `None` ends the telling.
    pub(super) fn next_to_tell(&mut self) -> Option<Events> {
        if self.told < self.registered.min(self.durable) {
            self.told += 1;
            let (events, bytes) = self.waiting.pop_front()?;
            self.bytes = self.bytes.saturating_sub(bytes);
            return Some(events);
        }
        self.telling = false;
        None
    }
}

impl Work {
    /// Sets when the next flush is due, if it is not set.
    pub(super) fn flush_within(&mut self, period: Duration) -> bool {
        let unset = self.flush_at.is_none();
        if unset {
            self.flush_at = Instant::now().checked_add(period);
        }
        unset
    }

    /// Puts the next flush off while events keep coming, which are on disk already, but not for ever.
    pub(super) fn flush_when_quiet(&mut self, period: Duration) -> bool {
        let unset = self.flush_at.is_none();
        // What failed is tried again when it was said that it would be.
        if unset || self.failure.is_none() {
            let now = Instant::now();
            let by = now.checked_add(period.saturating_mul(MAX_PERIODS));
            self.flush_by = self.flush_by.or(by);
            let quiet = now.checked_add(period);
            self.flush_at = [quiet, self.flush_by].into_iter().flatten().min();
        }
        unset
    }

    /// Makes the next flush due.
    pub(super) fn flush_now(&mut self) {
        let now = Instant::now();
        (self.flush_at, self.flush_by) = (Some(now), Some(now));
    }

    /// Says that a flush begins.
    pub(super) fn begin_flush(&mut self) -> Vec<Sender<Result<(), StoreError>>> {
        (self.flush_at, self.flush_by) = (None, None);
        std::mem::take(&mut self.flushes)
    }

    /// What there is to do now: each in its turn, so that none can put another off for ever.
    pub(super) fn next_turn(&mut self, now: Instant) -> Option<Turn> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ready = [
            (Turn::Commit, !self.commits.is_empty()),
            (
                Turn::Flush,
                !self.flushes.is_empty() || is_due(self.flush_at),
            ),
            (
                Turn::Cleanup,
                !self.cleanups.is_empty() || is_due(self.cleanup_at),
            ),
        ];
        let first = self.turn.map_or(0, |last| last as usize + 1);
        let mut in_turn = ready.iter().cycle().skip(first).take(ready.len());
        let (turn, _) = in_turn.find(|(_, is_ready)| *is_ready)?;
        self.turn = Some(*turn);
        self.turn
    }

    /// When there is something to do without being asked.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.flush_at, self.cleanup_at].into_iter().flatten().min()
    }
}

/// A call that waits for its callbacks, without its events.
const CALL_BYTES: usize = 64;
/// Periods that a flush is put off at most while commits keep coming.
const MAX_PERIODS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_put_a_flush_off_for_ten_periods_and_not_once_it_is_urgent() {
        let mut work = Work::default();
        let (start, period) = (Instant::now(), Duration::from_secs(100));
        assert!(work.flush_when_quiet(period));
        let first = work.flush_at;
        assert!(!work.flush_when_quiet(period));
        assert!(work.flush_at >= first);
        work.flush_by = start.checked_add(period / 2);
        work.flush_when_quiet(period);
        assert_eq!(work.flush_at, work.flush_by);
        work.flush_now();
        work.flush_when_quiet(period);
        assert!(work.flush_at <= Some(Instant::now()));
        work.begin_flush();
        assert!(work.flush_when_quiet(period) && work.flush_at >= first);
    }

    #[test]
    fn commits_without_an_end_put_off_neither_flush_nor_cleanup() {
        let mut work = Work::default();
        let now = Instant::now();
        assert_eq!(work.next_turn(now), None);
        let (done, _outcome) = crossbeam_channel::bounded(1);
        work.commits.push_back(Commit {
            events: Vec::new().into(),
            bytes: 0,
            done,
        });
        (work.flush_at, work.cleanup_at) = (Some(now), Some(now));
        let turns: Vec<_> = (0..4).filter_map(|_| work.next_turn(now)).collect();
        let all = [Turn::Commit, Turn::Flush, Turn::Cleanup, Turn::Commit];
        assert_eq!(turns, all);
        (work.flush_at, work.cleanup_at) = (None, now.checked_add(Duration::from_secs(1)));
        assert_eq!(work.next_turn(now), Some(Turn::Commit));
        let (done, _outcome) = crossbeam_channel::bounded(1);
        work.flushes.push(done);
        assert_eq!(work.next_turn(now), Some(Turn::Flush));
    }
}
