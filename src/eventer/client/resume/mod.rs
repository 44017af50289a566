//! What a subscriber has seen of each server, and how it gets what a broken connection missed. Pure: questions out, answers in.
//!
//! ```text
//! first connection:  which servers are there?  where does the history of each end?             then live
//! any later one:     are there new servers?    what came behind the last event seen of each?   then what was held, then live
//! ```
//!
//! A subscriber of few events would have to read on from long ago. So the ends of the histories are looked up from time to time,
//! and count as seen when they are looked up the next time: by then what was before them has come.
//!
//! No question tells which servers a history has. Those count whose engine has ever registered that it started, that of the newest
//! event, and those of which an event has come.

mod gap;
mod head;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use crate::event::{
    Event, EventId, EventType, QueryLatestParams, QueryParams, QueryResult, QueryTimeseriesParams,
    Subscription, Timestamp,
};
use crate::eventer::Notice;

use super::options::ClientOptions;
use gap::{Found, Gap};
use head::Head;

/// The last event of a server that was seen, or that was there before anything was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    id: EventId,
    /// Of that event. Without one: what is not later does not count as new.
    timestamp: Option<Timestamp>,
}

impl Position {
    /// Before all events of a server, of which those count that are later than a moment.
    fn none(server: i64, since: Option<Timestamp>) -> Self {
        Self {
            id: EventId::none(server),
            timestamp: since,
        }
    }

    fn of(event: &Event) -> Self {
        Self {
            id: event.id,
            timestamp: Some(event.timestamp),
        }
    }

    /// Whether it is before all events of its server.
    fn is_none(&self) -> bool {
        self.id == EventId::none(self.id.server)
    }

    /// Whether an event of the same server is new.
    fn precedes(&self, event: &Event) -> bool {
        let later = self
            .timestamp
            .is_none_or(|timestamp| event.timestamp > timestamp);
        later || (event.id > self.id && !self.is_none())
    }
}

/// The state of a subscriber over all its connections.
#[derive(Debug)]
pub(super) struct Resume {
    enabled: bool,
    subscription: Subscription,
    server_id: Option<i64>,
    persisted: bool,
    hold_bytes: usize,
    positions: BTreeMap<i64, Position>,
    /// The positions when history was read last: what comes live and is not behind them has come already.
    marks: BTreeMap<i64, Position>,
    /// When the first connection was made, by the clock of the server's newest event.
    since: Option<Timestamp>,
    /// Whether the first connection has noted where the histories end.
    based: bool,
    /// Where the histories ended when they were looked up last.
    ends: Vec<Position>,
    stage: Stage,
    held: Held,
    missed: u64,
}

#[derive(Debug)]
enum Stage {
    Live,
    /// Which servers have an engine?
    Engines,
    /// Which event is the newest?
    Newest {
        servers: BTreeSet<i64>,
    },
    Heads {
        head: Head,
        left: Vec<Position>,
    },
    /// The same while events come live.
    Ends {
        head: Head,
        left: Vec<Position>,
        found: Vec<Position>,
    },
    Gaps {
        gap: Gap,
        left: Vec<i64>,
    },
}

/// Live events that wait until history was read.
#[derive(Debug, Default)]
struct Held {
    events: Vec<Vec<Arc<Event>>>,
    bytes: usize,
    /// Some found no room. They are in the history by now, which is read once more.
    lost: bool,
}

impl Resume {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            enabled: options.resumes(),
            subscription: options.subscription.clone(),
            server_id: options.server_id,
            persisted: options.persisted,
            hold_bytes: options.hold_bytes,
            positions: BTreeMap::new(),
            marks: BTreeMap::new(),
            since: None,
            based: false,
            ends: Vec::new(),
            stage: Stage::Live,
            held: Held::default(),
            missed: 0,
        }
    }

    /// A connection stands; gives the first question, if there is one.
    pub(super) fn connected(&mut self, out: &mut Vec<Notice>) -> Option<QueryParams> {
        self.held = Held::default();
        self.ends.clear();
        self.missed = 0;
        self.stage = Stage::Live;
        if !self.enabled {
            return None;
        }
        match self.server_id {
            Some(server) => self.servers_known(BTreeSet::from([server]), None, out),
            None => {
                self.stage = Stage::Engines;
                self.question()
            }
        }
    }

    /// Whether live events are told at once.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Ends { .. })
    }

    /// Looks up where the histories end, for a subscriber that does not see all events; gives the first question.
    pub(super) fn look_up_ends(&mut self) -> Option<QueryParams> {
        if !self.enabled || self.subscription.is_all() || !matches!(self.stage, Stage::Live) {
            return None;
        }
        let left = self.positions.values().copied().collect();
        self.next_end(left, Vec::new())
    }

    /// Takes the answer to the last question; gives the next one, or `None` when live events follow.
    pub(super) fn answered(
        &mut self,
        result: QueryResult,
        out: &mut Vec<Notice>,
    ) -> Option<QueryParams> {
        match mem::replace(&mut self.stage, Stage::Live) {
            // Nothing was asked.
            Stage::Live => None,
            Stage::Engines => {
                let servers = result.events.iter().map(|event| event.id.server).collect();
                self.stage = Stage::Newest { servers };
                self.question()
            }
            Stage::Newest { mut servers } => {
                let newest = result.events.first().map(|event| Position::of(event));
                servers.extend(newest.map(|newest| newest.id.server));
                self.servers_known(servers, newest, out)
            }
            Stage::Heads { mut head, left } => match head.answered(&result) {
                Some(position) => {
                    self.base(position);
                    self.next_head(left)
                }
                None => {
                    self.stage = Stage::Heads { head, left };
                    self.question()
                }
            },
            Stage::Ends {
                mut head,
                left,
                mut found,
            } => match head.answered(&result) {
                Some(position) => {
                    found.push(position);
                    self.next_end(left, found)
                }
                None => {
                    self.stage = Stage::Ends { head, left, found };
                    self.question()
                }
            },
            Stage::Gaps { mut gap, left } => {
                let found = gap.answered(result);
                self.positions
                    .insert(gap.position().id.server, gap.position());
                let done = found.done;
                self.tell(found, out);
                if done {
                    self.next_gap(left, out)
                } else {
                    self.stage = Stage::Gaps { gap, left };
                    self.question()
                }
            }
        }
    }

    /// Takes events that come live, `bytes` of them on the wire; what is to be told now.
    pub(super) fn live(&mut self, events: Vec<Arc<Event>>, bytes: usize) -> Option<Notice> {
        if self.based && !self.is_live() {
            self.held.add(events, bytes, self.hold_bytes);
            return None;
        }
        self.pass(events)
    }

    fn pass(&mut self, mut events: Vec<Arc<Event>>) -> Option<Notice> {
        if self.enabled {
            events.retain(|event| {
                let mark = self.marks.get(&event.id.server);
                mark.is_none_or(|mark| mark.precedes(event))
            });
            for event in &events {
                self.positions.insert(event.id.server, Position::of(event));
            }
        }
        (!events.is_empty()).then_some(Notice::Events(events))
    }

    fn question(&self) -> Option<QueryParams> {
        Some(match &self.stage {
            Stage::Live => return None,
            Stage::Engines => QueryLatestParams::default()
                .event_types([EventType::new(["event", "?", "engine"])])
                .into(),
            Stage::Newest { .. } => QueryTimeseriesParams::default().max_results(1).into(),
            Stage::Heads { head, .. } | Stage::Ends { head, .. } => head.question().into(),
            Stage::Gaps { gap, .. } => gap.question().into(),
        })
    }

    fn servers_known(
        &mut self,
        servers: BTreeSet<i64>,
        newest: Option<Position>,
        out: &mut Vec<Notice>,
    ) -> Option<QueryParams> {
        if self.based {
            for server in servers {
                let new = Position::none(server, self.since);
                self.positions.entry(server).or_insert(new);
            }
            return self.begin_gaps(out);
        }
        self.since = newest.and_then(|newest| newest.timestamp);
        let starts = servers.into_iter().map(|server| {
            // What is not on disk yet will come, to who wants it when it is.
            let newest = newest.filter(|newest| newest.id.server == server && !self.persisted);
            newest.unwrap_or(Position::none(server, None))
        });
        let starts = starts.collect();
        self.next_head(starts)
    }

    /// Notes where the history of a server ends; its events may come live already.
    fn base(&mut self, position: Position) {
        let held = self.positions.entry(position.id.server).or_insert(position);
        // A greater identity from before the server went back is behind what has come since.
        if position.id > held.id && position.timestamp >= held.timestamp {
            *held = position;
        }
    }

    fn next_head(&mut self, mut left: Vec<Position>) -> Option<QueryParams> {
        match left.pop() {
            Some(start) => {
                let head = Head::new(start, self.persisted);
                self.stage = Stage::Heads { head, left };
                self.question()
            }
            None => {
                self.based = true;
                self.stage = Stage::Live;
                None
            }
        }
    }

    /// Goes on with the next server, or takes over what was found the last time.
    fn next_end(&mut self, mut left: Vec<Position>, found: Vec<Position>) -> Option<QueryParams> {
        if let Some(start) = left.pop() {
            let head = Head::new(start, self.persisted);
            self.stage = Stage::Ends { head, left, found };
            return self.question();
        }
        self.stage = Stage::Live;
        for end in mem::replace(&mut self.ends, found) {
            self.base(end);
        }
        None
    }

    fn begin_gaps(&mut self, out: &mut Vec<Notice>) -> Option<QueryParams> {
        let left = self.positions.keys().rev().copied().collect();
        self.next_gap(left, out)
    }

    /// Goes on with the next server, or with what was held meanwhile.
    fn next_gap(&mut self, mut left: Vec<i64>, out: &mut Vec<Notice>) -> Option<QueryParams> {
        if let Some(server) = left.pop() {
            let none = Position::none(server, None);
            let position = self.positions.get(&server).copied().unwrap_or(none);
            let gap = Gap::new(position, self.persisted);
            self.stage = Stage::Gaps { gap, left };
            return self.question();
        }
        self.marks.clone_from(&self.positions);
        if mem::take(&mut self.held.lost) {
            return self.begin_gaps(out);
        }
        self.stage = Stage::Live;
        out.push(Notice::Resumed {
            missed: self.missed,
        });
        for events in mem::take(&mut self.held).events {
            out.extend(self.pass(events));
        }
        None
    }

    /// Tells of history what is subscribed.
    fn tell(&mut self, found: Found, out: &mut Vec<Notice>) {
        out.extend(found.notice);
        let mut events = found.events;
        events.retain(|event| self.subscription.matches(&event.event_type));
        if !events.is_empty() {
            self.missed += u64::try_from(events.len()).unwrap_or(u64::MAX);
            out.push(Notice::Events(events));
        }
    }
}

impl Held {
    fn add(&mut self, events: Vec<Arc<Event>>, bytes: usize, limit: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limit {
            *self = Self {
                lost: true,
                ..Self::default()
            };
            return;
        }
        self.events.push(events);
    }
}

/// Greater than the instance of any event; a session does not have so many.
const LAST_INSTANCE: i64 = u32::MAX as i64;

#[cfg(test)]
mod tests;
