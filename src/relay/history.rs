//! What a store remembers of a bus, as the history of its service.

mod index;
mod memory;
mod scan;

pub use memory::BusMemory;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::event::{EventType, Order, QueryLatestParams, QueryTimeseriesParams, Timestamp};
use crate::relay::recorder::{message_of, topic_segment};
use crate::rpc::{
    History, HistoryMessage, HistoryPage, HistoryRequest, HistoryStart, Message, Topic, Verdict,
};
use crate::store::{Backend, StoreError};

use index::Index;
use scan::{Cursor, scan};

/// The history of one service, from the store that a [`BusRecorder`](crate::relay::BusRecorder) fills.
///
/// It knows in memory, sparsely, where the messages of the present start of the service are, so that a client that missed a few
/// is answered without a search from the beginning; where the recorder is behind, an answer waits for it, for at most a second.
/// [`BusMemory`] brings store, recorder and history together.
#[derive(Debug)]
pub struct StoreHistory {
    backend: Arc<dyn Backend>,
    index: Mutex<Index>,
    grown: Condvar,
}

impl StoreHistory {
    /// The history that a store holds; nothing is read before it is asked for.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            index: Mutex::default(),
            grown: Condvar::new(),
        })
    }

    /// Whose messages it gives: the first segment of their event types. The recorder sets it.
    pub fn set_identifier(&self, identifier: &str) {
        self.index.lock().identifier = Some(identifier.to_owned());
    }

    /// Messages are in the store, all with this timestamp.
    pub(super) fn recorded(
        &self,
        places: impl Iterator<Item = (Topic, u64, u64)>,
        timestamp: Timestamp,
    ) {
        let mut index = self.index.lock();
        for (topic, epoch, sequence) in places {
            index.add(topic, epoch, sequence, timestamp);
        }
        drop(index);
        self.grown.notify_all();
    }

    /// Waits until what is wanted has been recorded.
    fn wait_for(&self, epoch: u64, until: &BTreeMap<Topic, u64>) {
        let deadline = Instant::now() + PATIENCE;
        let mut index = self.index.lock();
        while !index.has(epoch, until) {
            if self.grown.wait_until(&mut index, deadline).timed_out() {
                return;
            }
        }
    }

    fn answer(
        &self,
        request: &HistoryRequest,
    ) -> Result<HistoryPage, Box<dyn Error + Send + Sync>> {
        self.wait_for(request.epoch, &request.until);
        let plan = self.plan(request);
        let Some(plan) = plan else {
            return Err("nothing is recorded of this service".into());
        };
        let cursor = match &request.cursor {
            Some(cursor) => Some(cursor.parse::<Cursor>()?),
            None => None,
        };
        let verdict = match (&request.start, &cursor) {
            (HistoryStart::Position(position), _) if position.epoch != request.epoch => {
                Verdict::OtherEpoch
            }
            // The first page has told.
            (_, Some(_)) => Verdict::Resumed,
            _ => plan.verdict(&*self.backend, request)?,
        };
        let mut page = HistoryPage::new(verdict, request.epoch);
        plan.fill(&*self.backend, request, cursor, &mut page)?;
        Ok(page)
    }

    fn plan(&self, request: &HistoryRequest) -> Option<Plan> {
        let index = self.index.lock();
        let identifier = index.identifier.clone()?;
        let after = match &request.start {
            HistoryStart::Position(position) if position.epoch == request.epoch => {
                Some(index.after(request, |topic| {
                    position.sequences.get(&topic).copied().unwrap_or(0)
                }))
            }
            HistoryStart::Position(_) => Some(index.after(request, |_| 0)),
            HistoryStart::Sequence(number) => {
                Some(index.after(request, |_| number.saturating_sub(1)))
            }
            _ => None,
        };
        let from = match (&request.start, &after) {
            (HistoryStart::Since(moment), _) => Timestamp::from(*moment),
            (_, Some(after)) => index.begin(request.epoch, after),
            _ => Timestamp::MIN,
        };
        Some(Plan {
            identifier,
            from,
            marks: after.as_ref().map(|after| index.marks(after)),
            after,
        })
    }
}

impl History for StoreHistory {
    fn page(&self, request: &HistoryRequest) -> Result<HistoryPage, Box<dyn Error + Send + Sync>> {
        self.answer(request)
    }
}

/// What to read for one request.
struct Plan {
    identifier: String,
    from: Timestamp,
    /// By topic, the last number that is not wanted, of the present start; `None` where time decides.
    after: Option<BTreeMap<Topic, u64>>,
    /// By topic, where to look for the first wanted number, and the last that was recorded.
    marks: Option<BTreeMap<Topic, (Timestamp, u64)>>,
}

impl Plan {
    /// Whether all is kept from where it is asked for.
    fn verdict(
        &self,
        backend: &dyn Backend,
        request: &HistoryRequest,
    ) -> Result<Verdict, StoreError> {
        let mut cut = BTreeMap::new();
        match (&self.after, &self.marks) {
            (Some(after), Some(marks)) => {
                for (topic, (from, last)) in marks {
                    let after = after.get(topic).copied().unwrap_or(0);
                    if after >= *last {
                        continue;
                    }
                    let wanted = |message: &Message| {
                        message.epoch == Some(request.epoch) && message.sequence > Some(after)
                    };
                    let kept = self.first(backend, *topic, *from, wanted)?;
                    let at = kept.map_or(last.saturating_add(1), |(_, number)| number);
                    if at > after + 1 {
                        cut.insert(*topic, at);
                    }
                }
            }
            _ => {
                for topic in self.topics(backend, request)? {
                    let kept = self.first(backend, topic, self.from, |_| true)?;
                    if let Some((_, number)) = kept
                        && number > 1
                        && !self.has_older(backend, topic)?
                    {
                        cut.insert(topic, number);
                    }
                }
            }
        }
        Ok(if cut.is_empty() {
            Verdict::Resumed
        } else {
            Verdict::CutShort(cut)
        })
    }

    /// The place of the first message of a topic that is wanted.
    fn first(
        &self,
        backend: &dyn Backend,
        topic: Topic,
        from: Timestamp,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let mut found = None;
        scan(backend, self.types(&[topic]), from, None, &mut |event| {
            let message = message_of(event).filter(&wanted);
            found = message.and_then(|message| message.epoch.zip(message.sequence));
            if found.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// Whether there is a message of the topic from before the time that is asked for.
    fn has_older(&self, backend: &dyn Backend, topic: Topic) -> Result<bool, StoreError> {
        let Some(before) = self.from.checked_sub(Duration::from_micros(1)) else {
            return Ok(false);
        };
        let params = QueryTimeseriesParams::default()
            .event_types(self.types(&[topic]))
            .to(before)
            .order(Order::Descending)
            .max_results(1);
        Ok(!backend.query(&params.into())?.events.is_empty())
    }

    /// The wanted topics of which there is anything.
    fn topics(
        &self,
        backend: &dyn Backend,
        request: &HistoryRequest,
    ) -> Result<BTreeSet<Topic>, StoreError> {
        if !request.topics.is_empty() {
            return Ok(request.topics.iter().copied().collect());
        }
        let params = QueryLatestParams::default().event_types(self.types(&[]));
        let latest = backend.query(&params.into())?.events;
        Ok(latest
            .iter()
            .filter_map(|event| Some(message_of(event)?.topic))
            .collect())
    }

    fn fill(
        &self,
        backend: &dyn Backend,
        request: &HistoryRequest,
        cursor: Option<Cursor>,
        page: &mut HistoryPage,
    ) -> Result<(), StoreError> {
        let types = self.types(&request.topics);
        let mut bytes = 0;
        let mut looked_at = 0;
        let mut last = cursor;
        page.more = scan(backend, types, self.from, cursor, &mut |event| {
            if looked_at == MAX_LOOKS || page.messages.len() >= request.limit.max(1) {
                return ControlFlow::Break(());
            }
            if let Some(message) = message_of(event).and_then(|of| self.wanted(request, of)) {
                let size = message.body.len();
                if bytes > 0 && bytes + size > request.max_bytes {
                    return ControlFlow::Break(());
                }
                bytes += size.max(1);
                page.messages.push(message);
            }
            looked_at += 1;
            last = Some(Cursor::of(event));
            ControlFlow::Continue(())
        })?;
        page.cursor = last.filter(|_| page.more).map(|cursor| cursor.to_string());
        Ok(())
    }

    fn wanted(&self, request: &HistoryRequest, message: Message) -> Option<HistoryMessage> {
        let (epoch, sequence) = message.epoch.zip(message.sequence)?;
        let of = |numbers: &BTreeMap<Topic, u64>, none| {
            numbers.get(&message.topic).copied().unwrap_or(none)
        };
        let present = epoch == request.epoch;
        let begun = match &self.after {
            Some(after) => present && sequence > of(after, 0),
            None => true,
        };
        let ended = present && sequence > of(&request.until, u64::MAX);
        (begun && !ended && request.wants(message.topic))
            .then(|| HistoryMessage::new(message.topic, epoch, sequence, message.body))
    }

    /// The event types of some topics, of all for none.
    fn types(&self, topics: &[Topic]) -> Vec<EventType> {
        let of = |topic: &str| EventType::new([self.identifier.as_str(), topic, "?"]);
        if topics.is_empty() {
            return vec![of("?")];
        }
        topics
            .iter()
            .map(|topic| of(&topic_segment(*topic)))
            .collect()
    }
}

/// How long an answer waits for the recorder.
const PATIENCE: Duration = Duration::from_secs(1);

/// Events that are read for one page at most.
const MAX_LOOKS: usize = 50_000;
