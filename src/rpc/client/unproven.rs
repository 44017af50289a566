//! What came before a heartbeat said which start of the service it belongs to.

use crate::rpc::Topic;

/// Messages whose epoch no heartbeat has confirmed, or that have none, since the last that was known to belong here.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    pub(crate) runs: Vec<Run>,
    /// There were more than can be remembered.
    pub(crate) forgot: bool,
}

impl Unproven {
    pub(crate) fn push(&mut self, run: Run) {
        if self.forgot {
            return;
        }
        let last = self.runs.iter_mut().rev().find(|of| of.topic == run.topic);
        if let Some(last) = last
            && last.epoch == run.epoch
            && (run.epoch.is_none() || last.next() == run.first)
        {
            last.count = last.count.saturating_add(run.count);
        } else if self.runs.len() < MAX_RUNS {
            self.runs.push(run);
        } else {
            *self = Self {
                runs: Vec::new(),
                forgot: true,
            };
        }
    }
}

/// Messages of one topic that came one after the other, with numbers that follow each other or with none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) topic: Topic,
    /// Together with `first`; `None` for bodies without numbers.
    pub(crate) epoch: Option<u64>,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Run {
    pub(crate) fn new(topic: Topic, numbered: Option<(u64, u64)>) -> Self {
        Self {
            topic,
            epoch: numbered.map(|(epoch, _)| epoch),
            first: numbered.map_or(0, |(_, sequence)| sequence),
            count: 1,
        }
    }

    /// The number that follows.
    pub(crate) fn next(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// Far more than what comes between a connection and its first heartbeat, a round trip later.
pub(crate) const MAX_RUNS: usize = 1_024;
