//! One stretch of history that is being read.

use std::collections::{BTreeMap, VecDeque};

use crate::rpc::{
    HistoryMessage, HistoryPage, HistoryRequest, HistoryStart, Notice, Topic, Verdict,
};

use crate::rpc::client::tracker::Standing;

/// A stretch of history up to where the live messages begin, page by page.
#[derive(Debug)]
pub(super) struct Job {
    /// The user's own: its verdict is told.
    pub(super) initial: bool,
    start: HistoryStart,
    topics: Vec<Topic>,
    target: Standing,
    /// By topic, the start of the service and the number that must come next.
    next: BTreeMap<Topic, (u64, u64)>,
    cursor: Option<String>,
    first: bool,
    pub(super) progress: Progress,
    pub(super) failures: u32,
}

/// What is to be done for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A page is to be asked for.
    Ready,
    /// A page is on its way.
    Asked,
    /// The service did not answer; it is asked again once this many heartbeats were heard.
    Failed { heard: u64 },
}

impl Job {
    /// What the user asked for, up to `target`.
    pub(super) fn initial(start: HistoryStart, topics: &[Topic], target: Standing) -> Self {
        let epoch = target.epoch;
        let expected = |topic: Topic| match &start {
            HistoryStart::Position(position) if position.epoch == epoch => {
                let last = position.sequences.get(&topic).copied().unwrap_or(0);
                Some((epoch, last.saturating_add(1)))
            }
            HistoryStart::Sequence(number) => Some((epoch, (*number).max(1))),
            _ => None,
        };
        let next = target
            .last
            .keys()
            .filter_map(|topic| Some((*topic, expected(*topic)?)))
            .collect();
        Self::new(true, start, topics, target, next)
    }

    /// What lies between the numbers that must come `next` and `target`; `None` if there is nothing.
    pub(super) fn between(
        next: &BTreeMap<Topic, u64>,
        topics: &[Topic],
        target: Standing,
    ) -> Option<Self> {
        let epoch = target.epoch;
        let mut expected = BTreeMap::new();
        let mut after = BTreeMap::new();
        for (topic, last) in &target.last {
            let from = next.get(topic).copied().unwrap_or(1);
            expected.insert(*topic, (epoch, from));
            after.insert(*topic, from.saturating_sub(1).min(*last));
        }
        let missing = |(topic, last): (&Topic, &u64)| expected[topic].1 <= *last;
        if !target.last.iter().any(missing) {
            return None;
        }
        let start = HistoryStart::Position(crate::rpc::Position {
            epoch,
            sequences: after,
        });
        Some(Self::new(false, start, topics, target, expected))
    }

    fn new(
        initial: bool,
        start: HistoryStart,
        topics: &[Topic],
        target: Standing,
        next: BTreeMap<Topic, (u64, u64)>,
    ) -> Self {
        Self {
            initial,
            start,
            topics: topics.to_vec(),
            target,
            next,
            cursor: None,
            first: true,
            progress: Progress::Ready,
            failures: 0,
        }
    }

    /// The request for the next page.
    pub(super) fn request(&self) -> HistoryRequest {
        HistoryRequest::new(self.start.clone())
            .topics(self.topics.iter().copied())
            .until(self.target.last.clone())
            .cursor(self.cursor.clone())
    }

    /// Takes a page; what is new in it goes to `out`. `true` when it was the last.
    pub(super) fn take(&mut self, page: HistoryPage, out: &mut VecDeque<Notice>) -> bool {
        let first = std::mem::take(&mut self.first);
        if page.epoch != self.target.epoch {
            // Started anew meanwhile: what is published tells of it, and what this start still had is not to be had.
            if self.initial && first {
                out.push_back(Notice::OtherEpoch { epoch: page.epoch });
            }
            return true;
        }
        if first {
            self.judge(&page, out);
        }
        let moved = page.cursor != self.cursor || !page.messages.is_empty();
        for message in page.messages {
            self.pass(message, out);
        }
        self.cursor = page.cursor;
        !page.more || self.cursor.is_none() || !moved || self.is_complete()
    }

    /// Tells what will not come, and gives the numbers that must come next.
    pub(super) fn end(self, out: &mut VecDeque<Notice>) -> (u64, BTreeMap<Topic, u64>) {
        let epoch = self.target.epoch;
        let mut next = BTreeMap::new();
        for (topic, (of, number)) in &self.next {
            if *of == epoch {
                next.insert(*topic, *number);
            }
        }
        for (topic, last) in &self.target.last {
            let end = last.saturating_add(1);
            if let Some(from) = next.get(topic).copied()
                && from < end
            {
                out.push_back(gap(*topic, from, end - from));
            }
            let known = next.entry(*topic).or_insert(end);
            *known = end.max(*known);
        }
        (epoch, next)
    }

    fn judge(&mut self, page: &HistoryPage, out: &mut VecDeque<Notice>) {
        let epoch = self.target.epoch;
        match &page.verdict {
            // What is missing of a later stretch is told as a gap.
            _ if !self.initial => {}
            Verdict::Resumed => {
                let ahead = self.ahead();
                if ahead.is_empty() || ahead.len() < self.topics.len() {
                    out.push_back(Notice::Resumed);
                }
                out.extend(ahead);
            }
            Verdict::CutShort(topics) => {
                for (topic, at) in topics {
                    out.push_back(Notice::CutShort {
                        topic: *topic,
                        at: *at,
                    });
                    self.next.insert(*topic, (epoch, *at));
                }
            }
            Verdict::OtherEpoch => {
                out.push_back(Notice::OtherEpoch { epoch });
                self.next = self
                    .target
                    .last
                    .keys()
                    .map(|topic| (*topic, (epoch, 1)))
                    .collect();
            }
        }
    }

    /// What tells of the topics, of those that were named, whose messages have not come as far as was asked for.
    fn ahead(&self) -> Vec<Notice> {
        let HistoryStart::Sequence(from) = self.start else {
            return Vec::new();
        };
        let nexts = self.topics.iter().map(|topic| {
            let last = self.target.last.get(topic).copied().unwrap_or(0);
            (*topic, last.saturating_add(1))
        });
        nexts
            .filter(|(_, next)| from > *next)
            .map(|(topic, next)| Notice::Ahead { topic, from, next })
            .collect()
    }

    fn pass(&mut self, message: HistoryMessage, out: &mut VecDeque<Notice>) {
        let HistoryMessage {
            topic,
            epoch,
            sequence,
            ..
        } = message;
        let wanted = self.topics.is_empty() || self.topics.contains(&topic);
        if !wanted || (epoch == self.target.epoch && self.target.is_behind(topic, sequence)) {
            return;
        }
        if let Some((of, next)) = self.next.get(&topic)
            && *of == epoch
        {
            if sequence < *next {
                return;
            }
            if sequence > *next {
                out.push_back(gap(topic, *next, sequence - *next));
            }
        }
        self.next.insert(topic, (epoch, sequence.saturating_add(1)));
        out.push_back(Notice::Message(message.into_message()));
    }

    fn is_complete(&self) -> bool {
        self.target.complete
            && self.target.last.iter().all(|(topic, last)| {
                matches!(self.next.get(topic), Some((of, next)) if *of == self.target.epoch && next > last)
            })
    }
}

pub(super) fn gap(topic: Topic, first: u64, count: u64) -> Notice {
    Notice::Gap {
        topic,
        first,
        count,
    }
}
