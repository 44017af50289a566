//! How history and what is published now become one stream; no socket and no thread.
//!
//! The first heartbeat says up to which number of each topic a message was sent before this subscriber was there. Up to there it
//! comes from history, from there on from the wire, where the tracker has a number for every message. What arrives while history
//! is read waits in a buffer; when that is full it is forgotten, and history is read up to where it ended.

use std::collections::{BTreeMap, VecDeque};

use super::job::{Job, Progress, gap};
use crate::rpc::client::tracker::{Standing, Tracker};
use crate::rpc::{HistoryPage, HistoryRequest, HistoryStart, Notice, RpcError, Topic};

/// The join of one subscription.
#[derive(Debug)]
pub(super) struct Join {
    start: HistoryStart,
    topics: Vec<Topic>,
    limits: Limits,
    fill_gaps: bool,
    /// What came before the first heartbeat; history has it, too, if there is one.
    early: VecDeque<Notice>,
    early_lost: u64,
    begun: bool,
    items: VecDeque<Item>,
    bytes: usize,
    job: Option<Job>,
    /// Whose numbers `next` has; known once the history was read.
    epoch: Option<u64>,
    next: BTreeMap<Topic, u64>,
    has_history: bool,
    out: VecDeque<Notice>,
    heard: u64,
    forgotten: u64,
}

/// How much may wait while history is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// These go to the reader.
    Hand(VecDeque<Notice>),
    /// This goes to the service, and its answer to [`Join::answered`].
    Ask(HistoryRequest),
    /// Nothing, until something arrives.
    Wait,
}

#[derive(Debug)]
enum Item {
    Notice {
        notice: Notice,
        /// The start of the service and the place of a message; the start, for a gap.
        place: Option<(u64, u64)>,
    },
    /// History is to be read up to here.
    CatchUp(Standing),
    /// The service counts nothing.
    NoNumbers,
}

impl Join {
    pub(super) fn new(
        start: HistoryStart,
        topics: &[Topic],
        limits: Limits,
        fill_gaps: bool,
    ) -> Self {
        Self {
            start,
            topics: topics.to_vec(),
            limits,
            fill_gaps,
            early: VecDeque::new(),
            early_lost: 0,
            begun: false,
            items: VecDeque::new(),
            bytes: 0,
            job: None,
            epoch: None,
            next: BTreeMap::new(),
            has_history: true,
            out: VecDeque::new(),
            heard: 0,
            forgotten: 0,
        }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether a notice can be taken now. While history is read, always.
    pub(super) fn has_room(&self) -> bool {
        !self.begun || self.job.is_some() || !self.is_full()
    }

    /// A heartbeat was heard, and the tracker has it; the notices that it gave have arrived, its message has not.
    pub(super) fn heard(&mut self, tracker: &Tracker) {
        self.heard += 1;
        if self.begun {
            return;
        }
        self.begun = true;
        // From here on it is of what waits behind the heartbeat.
        self.bytes = 0;
        self.items.push_back(match tracker.standing() {
            Some(mut standing) => {
                // This very heartbeat is the first message from the wire.
                if let (Some(last), Some((_, sequence))) =
                    (standing.last.get_mut(&Topic::HEARTBEAT), tracker.place())
                {
                    *last = sequence.saturating_sub(1);
                }
                Item::CatchUp(standing)
            }
            None => Item::NoNumbers,
        });
    }

    /// Takes what the follower learned.
    pub(super) fn arrive(&mut self, notice: Notice, tracker: &Tracker) {
        if !self.begun {
            match notice {
                Notice::Message(_) | Notice::Gap { .. } => self.keep_early(notice),
                other => self.out.push_back(other),
            }
            return;
        }
        let place = match &notice {
            Notice::Message(_) => tracker.place(),
            Notice::Gap { .. } => tracker.epoch().map(|epoch| (epoch, 0)),
            _ => None,
        };
        self.bytes += size(&notice);
        self.items.push_back(Item::Notice { notice, place });
        if self.job.is_some()
            && self.is_full()
            && let Some(standing) = tracker.standing()
        {
            self.forget(standing);
        }
    }

    /// What is to be done now.
    pub(super) fn step(&mut self) -> Step {
        loop {
            if let Some(job) = &mut self.job {
                if !self.out.is_empty() {
                    return Step::Hand(std::mem::take(&mut self.out));
                }
                return match job.progress {
                    Progress::Failed { heard } if self.heard <= heard => Step::Wait,
                    Progress::Asked => Step::Wait,
                    Progress::Ready | Progress::Failed { .. } => {
                        job.progress = Progress::Asked;
                        Step::Ask(job.request())
                    }
                };
            }
            match self.items.pop_front() {
                Some(item) => self.process(item),
                None if self.out.is_empty() => return Step::Wait,
                None => return Step::Hand(std::mem::take(&mut self.out)),
            }
        }
    }

    /// Takes the answer to what [`step`](Self::step) asked.
    pub(super) fn answered(&mut self, answer: Result<HistoryPage, RpcError>) {
        let Some(job) = &mut self.job else {
            return;
        };
        match answer {
            Ok(page) => {
                job.progress = Progress::Ready;
                job.failures = 0;
                if job.initial {
                    self.early.clear();
                }
                if job.take(page, &mut self.out) {
                    self.end_job();
                }
            }
            Err(error) => {
                job.failures += 1;
                job.progress = Progress::Failed { heard: self.heard };
                let none = matches!(error, RpcError::NoHistory { .. });
                if none || job.failures >= MAX_FAILURES {
                    self.give_up(&error);
                }
            }
        }
    }

    fn give_up(&mut self, error: &RpcError) {
        log::info!("history is not read any further: {error}");
        self.has_history &= !matches!(error, RpcError::NoHistory { .. });
        let Some(job) = self.job.take() else {
            return;
        };
        if job.initial {
            self.without_history(match error {
                RpcError::NoHistory { reason } => reason.clone(),
                other => crate::rpc::chain(other),
            });
            // Everything up to the first heartbeat is as if it had been read.
            let (epoch, next) = job.end(&mut VecDeque::new());
            (self.epoch, self.next) = (Some(epoch), next);
        } else {
            self.job = Some(job);
            self.end_job();
        }
    }

    fn without_history(&mut self, mut reason: String) {
        if self.early_lost > 0 {
            let lost = self.early_lost;
            reason.push_str(&format!(
                "; {lost} messages before the first heartbeat did not fit the buffer"
            ));
        }
        self.has_history = false;
        self.out.push_back(Notice::NoHistory { reason });
        self.out.append(&mut self.early);
    }

    fn end_job(&mut self) {
        let Some(job) = self.job.take() else {
            return;
        };
        let (epoch, next) = job.end(&mut self.out);
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.next.clear();
        }
        for (topic, next) in next {
            let known = self.next.entry(topic).or_insert(next);
            *known = next.max(*known);
        }
    }

    fn process(&mut self, item: Item) {
        let (notice, place) = match item {
            Item::NoNumbers => {
                return self.without_history("the service does not number its messages".to_owned());
            }
            Item::CatchUp(target) => return self.catch_up(target),
            Item::Notice { notice, place } => (notice, place),
        };
        self.bytes = self.bytes.saturating_sub(size(&notice));
        match notice {
            Notice::Message(message) => {
                if let Some((epoch, sequence)) = place
                    && self.epoch == Some(epoch)
                {
                    let next = self.next.entry(message.topic).or_insert(sequence);
                    if sequence < *next {
                        return;
                    }
                    *next = sequence.saturating_add(1);
                }
                self.out.push_back(Notice::Message(message));
            }
            Notice::Gap {
                topic,
                first,
                count,
            } => self.close_gap(topic, first, count, place),
            Notice::Restarted { epoch } => {
                self.epoch = Some(epoch);
                self.next.clear();
                self.out.push_back(notice);
            }
            other => self.out.push_back(other),
        }
    }

    /// Reads from history what the wire has lost, or tells of it.
    fn close_gap(&mut self, topic: Topic, first: u64, count: u64, place: Option<(u64, u64)>) {
        let end = first.saturating_add(count);
        let Some((epoch, _)) = place.filter(|(epoch, _)| self.epoch == Some(*epoch)) else {
            return self.out.push_back(gap(topic, first, count));
        };
        let known = self.next.get(&topic).copied().unwrap_or(first);
        let first = first.max(known);
        if first >= end {
            return;
        }
        if !self.has_history || !self.fill_gaps {
            self.next.insert(topic, end);
            return self.out.push_back(gap(topic, first, end - first));
        }
        let target = Standing {
            epoch,
            last: BTreeMap::from([(topic, end - 1)]),
            complete: true,
        };
        let next = BTreeMap::from([(topic, first)]);
        self.job = Job::between(&next, &[topic], target);
    }

    fn catch_up(&mut self, target: Standing) {
        if self.epoch.is_none() && self.has_history {
            self.job = Some(Job::initial(self.start.clone(), &self.topics, target));
            return;
        }
        if self.epoch != Some(target.epoch) {
            self.epoch = Some(target.epoch);
            self.next.clear();
        }
        let topics = self.topics.clone();
        let target = Standing {
            last: target
                .last
                .into_iter()
                .filter(|(topic, _)| topics.is_empty() || topics.contains(topic))
                .collect(),
            ..target
        };
        self.job = Job::between(&self.next, &topics, target);
    }

    /// What came before the first heartbeat is of use only where there is no history.
    fn keep_early(&mut self, notice: Notice) {
        self.bytes += size(&notice);
        self.early.push_back(notice);
        while self.early.len() > self.limits.messages.max(1) || self.bytes > self.limits.bytes {
            let Some(oldest) = self.early.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.early_lost += u64::from(matches!(oldest, Notice::Message(_)));
        }
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.limits.messages.max(1) || self.bytes >= self.limits.bytes
    }

    /// Empties the buffer: history is read up to `standing` in its place.
    fn forget(&mut self, standing: Standing) {
        let before = self.items.len();
        self.items.retain(|item| match item {
            Item::Notice { notice, .. } => {
                !matches!(notice, Notice::Message(_) | Notice::Gap { .. })
            }
            Item::CatchUp(_) | Item::NoNumbers => false,
        });
        self.forgotten += (before - self.items.len()) as u64;
        // A connection that comes and goes all the time is told of by its last states.
        let excess = self.items.len().saturating_sub(MAX_STATES);
        self.items.drain(..excess);
        self.bytes = 0;
        self.items.push_back(Item::CatchUp(standing));
    }
}

fn size(notice: &Notice) -> usize {
    match notice {
        Notice::Message(message) => message.body.len(),
        _ => 0,
    }
}

/// Attempts at one page, each after a further heartbeat.
const MAX_FAILURES: u32 = 3;

/// States of the connection that a full buffer keeps.
const MAX_STATES: usize = 64;

#[cfg(test)]
mod tests;
