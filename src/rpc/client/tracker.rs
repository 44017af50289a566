//! What a subscriber can conclude from the messages that it gets: what is missing, and whether the service lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::rpc::message::{Heartbeat, MAX_REPORTED_TOPICS};
use crate::rpc::{Message, Topic};

use super::Notice;
use super::unproven::{Run, Unproven};

/// Gaps, restarts and silence, from messages and a clock; no socket. The rules are those of section 7.2 of `docs/wire.md`.
///
/// The first heartbeat (ours go out when a subscriber arrives) tells the epoch and where each topic stands; from there on every
/// number must follow. After a restart the numbers begin at 1 again, so what was published before the subscriber was back is a
/// gap too. An application's objects may have members of these names, so only heartbeats are believed: a body of another epoch
/// counts as one without a number, and is remembered until a heartbeat says whether that epoch has begun.
/// Services without sequence numbers get connection states only.
#[derive(Debug)]
pub(crate) struct Tracker {
    topics: Vec<Topic>,
    epoch: Option<u64>,
    unproven: Unproven,
    next: Vec<(Topic, u64)>,
    /// Topics without an entry in `next` begin at 1, all but HEARTBEAT.
    from_the_start: bool,
    last_heartbeat: Option<Instant>,
    /// Until then heartbeats may have waited to be read.
    behind_until: Option<Instant>,
    alive: bool,
    patience: Patience,
    /// The start of the service and the number of the last message handled, where both are known.
    place: Option<(u64, u64)>,
}

/// Where the topics of one start of a service stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: u64,
    /// The last number of each topic.
    pub(crate) last: BTreeMap<Topic, u64>,
    /// Whether a topic that is absent has had no message.
    pub(crate) complete: bool,
}

impl Standing {
    /// Whether a message lies behind it, and so comes from the wire.
    pub(crate) fn is_behind(&self, topic: Topic, sequence: u64) -> bool {
        match self.last.get(&topic) {
            Some(last) => sequence > *last,
            None => self.complete,
        }
    }
}

/// How long a subscriber waits for the next heartbeat before it reports silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Fixed by the user; `None` is three times the interval.
    pub(crate) fixed: Option<Duration>,
    /// The interval that the service announced or is assumed to have.
    pub(crate) interval: Duration,
}

impl Tracker {
    /// `topics` is what the subscriber asked for; empty is all.
    pub(crate) fn new(topics: &[Topic], patience: Patience) -> Self {
        Self {
            topics: topics.to_vec(),
            epoch: None,
            unproven: Unproven::default(),
            next: Vec::new(),
            from_the_start: false,
            last_heartbeat: None,
            behind_until: None,
            alive: false,
            patience,
            place: None,
        }
    }

    /// Whether the subscriber asked for messages of this topic.
    pub(crate) fn wants(&self, topic: Topic) -> bool {
        self.topics.is_empty() || self.topics.contains(&topic)
    }

    /// Takes one message; what it reveals goes to `notices`, ahead of the message itself.
    pub(crate) fn handle(&mut self, now: Instant, message: &Message, notices: &mut Vec<Notice>) {
        let heartbeat = if message.topic == Topic::HEARTBEAT {
            message.heartbeat()
        } else {
            None
        };
        let proof = heartbeat
            .as_ref()
            .is_some_and(|heartbeat| heartbeat.sequences.is_some());
        let before = match message.epoch {
            Some(epoch) if proof => self.follow_epoch(epoch, notices),
            _ => Vec::new(),
        };
        if let Some(heartbeat) = &heartbeat {
            self.follow_life(now, heartbeat, message.epoch.filter(|_| proof), notices);
        }
        for run in before {
            self.follow_run(&run, notices);
        }
        self.follow_message(message, notices);
        self.place = self.place_of(message);
        if let Some(sequences) = heartbeat.and_then(|heartbeat| heartbeat.sequences) {
            self.follow_listed(&sequences, notices);
        }
    }

    /// Whether the last heartbeat is recent enough.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive
    }

    /// The start of the service, once a heartbeat has told it.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The start of the service and the number of the last message handled, also of one that carries none.
    pub(crate) fn place(&self) -> Option<(u64, u64)> {
        self.place
    }

    /// Where each wanted topic stands; `None` before the first heartbeat with numbers.
    pub(crate) fn standing(&self) -> Option<Standing> {
        let epoch = self.epoch?;
        let mut last = BTreeMap::new();
        for (topic, next) in &self.next {
            if self.wants(*topic) {
                last.insert(*topic, next.saturating_sub(1));
            }
        }
        Some(Standing {
            epoch,
            last,
            complete: self.from_the_start,
        })
    }

    /// When silence is to be reported, unless a heartbeat comes first.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let last = self.last_heartbeat.filter(|_| self.alive)?;
        let last = self.behind_until.map_or(last, |until| until.max(last));
        // A service may announce an interval beyond the clock's range: then silence is never reported.
        last.checked_add(self.patience())
    }

    /// The reader was behind until now: no silence before this counts, for heartbeats may wait on the way.
    pub(crate) fn was_behind(&mut self, now: Instant) {
        self.behind_until = Some(now);
    }

    /// Reports silence once it has lasted too long.
    pub(crate) fn handle_deadline(&mut self, now: Instant, notices: &mut Vec<Notice>) {
        if self.next_deadline().is_some_and(|deadline| now >= deadline) {
            self.alive = false;
            let silent_for = self
                .last_heartbeat
                .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
            notices.push(Notice::HeartbeatLost { silent_for });
        }
    }

    /// The connection broke; the next heartbeat says that it is back.
    pub(crate) fn disconnected(&mut self, notices: &mut Vec<Notice>) {
        if self.alive {
            self.alive = false;
            notices.push(Notice::Disconnected);
        }
    }

    fn patience(&self) -> Duration {
        self.patience
            .fixed
            .unwrap_or_else(|| self.patience.interval.saturating_mul(3))
    }

    /// Believes the epoch of a heartbeat; gives what came before it and may belong to it.
    fn follow_epoch(&mut self, epoch: u64, notices: &mut Vec<Notice>) -> Vec<Run> {
        let before = std::mem::take(&mut self.unproven);
        let known = self.epoch.replace(epoch);
        if known == Some(epoch) {
            return Vec::new();
        }
        if known.is_some() {
            self.next.clear();
            // Unless too much came to be remembered: then what this heartbeat lists is all that is known.
            self.from_the_start = !before.forgot;
            notices.push(Notice::Restarted { epoch });
        }
        before.runs
    }

    fn follow_message(&mut self, message: &Message, notices: &mut Vec<Notice>) {
        let topic = message.topic;
        let numbered = message.epoch.zip(message.sequence);
        let run = Run::new(topic, numbered);
        if run.epoch.is_some() && run.epoch == self.epoch {
            // What comes from one start comes before all of the next.
            self.unproven = Unproven::default();
        } else {
            self.unproven.push(run);
        }
        self.follow_run(&run, notices);
    }

    fn place_of(&self, message: &Message) -> Option<(u64, u64)> {
        let epoch = self.epoch?;
        match message.epoch.zip(message.sequence) {
            Some((of, sequence)) if of == epoch => Some((epoch, sequence)),
            _ => {
                let next = self.expected(message.topic)?;
                Some((epoch, next.saturating_sub(1)))
            }
        }
    }

    /// Takes messages of one topic that came one after the other; those of an epoch that is not the known one have no numbers.
    fn follow_run(&mut self, run: &Run, notices: &mut Vec<Notice>) {
        let Run { topic, first, .. } = *run;
        match self.expected(topic) {
            Some(expected) if run.epoch.is_some() && run.epoch == self.epoch => {
                self.expect(topic, run.next(), expected, notices, first);
            }
            None if run.epoch.is_some() && run.epoch == self.epoch => {
                self.next.push((topic, run.next()));
            }
            // A body that takes no members is counted by the service all the same.
            Some(expected) if self.epoch.is_some() => {
                self.set(topic, expected.saturating_add(run.count));
            }
            _ => {}
        }
    }

    /// Moves to `next`, reporting what lies between the expected number and `found`.
    fn expect(
        &mut self,
        topic: Topic,
        next: u64,
        expected: u64,
        notices: &mut Vec<Notice>,
        found: u64,
    ) {
        if found > expected && self.wants(topic) {
            notices.push(Notice::Gap {
                topic,
                first: expected,
                count: found - expected,
            });
        }
        // An older number is a repeat; it takes nothing back.
        self.set(topic, next.max(expected));
    }

    fn follow_life(
        &mut self,
        now: Instant,
        heartbeat: &Heartbeat,
        epoch: Option<u64>,
        notices: &mut Vec<Notice>,
    ) {
        if let Some(seconds) = heartbeat.interval
            && let Ok(interval) = Duration::try_from_secs_f64(seconds)
        {
            self.patience.interval = interval.max(Duration::from_millis(1));
        }
        self.last_heartbeat = Some(now);
        if !self.alive {
            self.alive = true;
            notices.push(Notice::Connected {
                identifier: heartbeat.identifier.clone(),
                version: heartbeat.version.clone(),
                epoch,
            });
        }
    }

    fn follow_listed(&mut self, sequences: &BTreeMap<u32, u64>, notices: &mut Vec<Notice>) {
        for (topic, last) in sequences {
            let topic = Topic::new(*topic);
            if topic == Topic::HEARTBEAT || !self.wants(topic) {
                continue;
            }
            let next = last.saturating_add(1);
            match self.expected(topic) {
                Some(expected) => self.expect(topic, next, expected, notices, next),
                None => self.next.push((topic, next)),
            }
        }
        // A heartbeat that lists this many may have left some out.
        self.from_the_start |= sequences.len() < MAX_REPORTED_TOPICS;
    }

    fn expected(&self, topic: Topic) -> Option<u64> {
        let listed = self
            .next
            .iter()
            .find(|(of, _)| *of == topic)
            .map(|(_, next)| *next);
        // Nobody can hear the first heartbeat, which goes out at the start.
        let from_one = self.from_the_start && topic != Topic::HEARTBEAT;
        listed.or(from_one.then_some(1))
    }

    fn set(&mut self, topic: Topic, next: u64) {
        match self.next.iter_mut().find(|(of, _)| *of == topic) {
            Some((_, known)) => *known = next,
            None => self.next.push((topic, next)),
        }
    }
}

#[cfg(test)]
mod tests;
