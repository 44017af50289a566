//! What a subscriber can conclude from the messages that it gets: what is missing, and whether the service lives.

use std::time::{Duration, Instant};

use crate::rpc::message::Heartbeat;
use crate::rpc::{Message, Topic};

use super::Notice;

/// Gaps, restarts and silence, from messages and a clock; no socket.
///
/// The first heartbeat (ours go out when a subscriber arrives) tells where each topic stands; from there on every number must
/// follow. After a restart the numbers begin at 1 again, so what was published before the subscriber was back is a gap too.
/// Services without sequence numbers get connection states only.
#[derive(Debug)]
pub(crate) struct Tracker {
    topics: Vec<Topic>,
    epoch: Option<u64>,
    next: Vec<(Topic, u64)>,
    /// Topics without an entry in `next` begin at 1.
    from_the_start: bool,
    last_heartbeat: Option<Instant>,
    alive: bool,
    patience: Patience,
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
            next: Vec::new(),
            from_the_start: false,
            last_heartbeat: None,
            alive: false,
            patience,
        }
    }

    /// Whether the subscriber asked for messages of this topic.
    pub(crate) fn wants(&self, topic: Topic) -> bool {
        self.topics.is_empty() || self.topics.contains(&topic)
    }

    /// Takes one message; what it reveals goes to `notices`, ahead of the message itself.
    pub(crate) fn handle(&mut self, now: Instant, message: &Message, notices: &mut Vec<Notice>) {
        self.follow_epoch(message, notices);
        let heartbeat = if message.topic == Topic::HEARTBEAT {
            message.heartbeat()
        } else {
            None
        };
        self.follow_sequence(message, notices);
        if let Some(heartbeat) = heartbeat {
            self.follow_heartbeat(now, message, &heartbeat, notices);
        }
    }

    /// Whether the last heartbeat is recent enough.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive
    }

    /// When silence is to be reported, unless a heartbeat comes first.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let last = self.last_heartbeat.filter(|_| self.alive)?;
        Some(last + self.patience())
    }

    /// Reports silence once it has lasted too long.
    pub(crate) fn handle_deadline(&mut self, now: Instant, notices: &mut Vec<Notice>) {
        if self.next_deadline().is_some_and(|deadline| now >= deadline) {
            self.alive = false;
            let silent_for = self
                .last_heartbeat
                .map_or(Duration::ZERO, |last| now - last);
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
        self.patience.fixed.unwrap_or(self.patience.interval * 3)
    }

    fn follow_epoch(&mut self, message: &Message, notices: &mut Vec<Notice>) {
        let Some(epoch) = message.epoch else { return };
        if self
            .epoch
            .replace(epoch)
            .is_some_and(|known| known != epoch)
        {
            self.next.clear();
            self.from_the_start = true;
            notices.push(Notice::Restarted { epoch });
        }
    }

    fn follow_sequence(&mut self, message: &Message, notices: &mut Vec<Notice>) {
        let topic = message.topic;
        let known = self.expected(topic);
        match (known, message.sequence) {
            (Some(expected), Some(found)) => {
                self.expect(topic, found.saturating_add(1), expected, notices, found);
            }
            (None, Some(found)) => self.next.push((topic, found.saturating_add(1))),
            // A body that takes no members is counted by the service all the same.
            (Some(expected), None) if self.epoch.is_some() => {
                self.set(topic, expected.saturating_add(1))
            }
            (_, None) => {}
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
        if found > expected {
            notices.push(Notice::Gap {
                topic,
                first: expected,
                count: found - expected,
            });
        }
        // An older number is a repeat; it takes nothing back.
        self.set(topic, next.max(expected));
    }

    fn follow_heartbeat(
        &mut self,
        now: Instant,
        message: &Message,
        heartbeat: &Heartbeat,
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
                epoch: message.epoch,
            });
        }
        let Some(sequences) = &heartbeat.sequences else {
            return;
        };
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
        self.from_the_start = true;
    }

    fn expected(&self, topic: Topic) -> Option<u64> {
        let listed = self
            .next
            .iter()
            .find(|(of, _)| *of == topic)
            .map(|(_, next)| *next);
        listed.or(self.from_the_start.then_some(1))
    }

    fn set(&mut self, topic: Topic, next: u64) {
        match self.next.iter_mut().find(|(of, _)| *of == topic) {
            Some((_, known)) => *known = next,
            None => self.next.push((topic, next)),
        }
    }
}
