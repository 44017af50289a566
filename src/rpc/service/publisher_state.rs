//! Sequence numbers, heartbeat times and their bodies: everything of the publisher but its socket.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rpc::message::Heartbeat;
use crate::rpc::{RpcError, Topic, json};

/// What the publisher knows between two messages.
#[derive(Debug)]
pub(crate) struct PublisherState {
    identity: Identity,
    sequences: Vec<(Topic, u64)>,
    next_heartbeat: Instant,
    last_heartbeat: Option<Instant>,
    heartbeat_asked: bool,
}

/// What a heartbeat says of its service, and when.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) identifier: String,
    pub(crate) version: String,
    pub(crate) interval: Duration,
    pub(crate) extras: bool,
}

/// What a heartbeat says of its service's condition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) queue_depth: usize,
    pub(crate) dropped: u64,
    pub(crate) delegate_busy: Duration,
}

impl PublisherState {
    /// The first heartbeat is due at once.
    pub(crate) fn new(identity: Identity, now: Instant) -> Self {
        Self {
            identity,
            sequences: STANDARD_TOPICS.iter().map(|&topic| (topic, 0)).collect(),
            next_heartbeat: now,
            last_heartbeat: None,
            heartbeat_asked: false,
        }
    }

    /// The number of the next message of the topic, after `skipped` that were lost on the way here.
    pub(crate) fn stamp(&mut self, topic: Topic, skipped: u64) -> u64 {
        let last = self.skip(topic, skipped + 1);
        *last
    }

    /// Counts messages of the topic that will never be sent, so that subscribers see the gap.
    pub(crate) fn skip(&mut self, topic: Topic, count: u64) -> &mut u64 {
        let at = match self.sequences.iter().position(|(of, _)| *of == topic) {
            Some(at) => at,
            None => {
                self.sequences.push((topic, 0));
                self.sequences.len() - 1
            }
        };
        let last = &mut self.sequences[at].1;
        *last += count;
        last
    }

    /// Takes a message from a subscriber; one that will see heartbeats gets the next at once.
    ///
    /// Several that arrive together share one, and there is at most one in [`MIN_HEARTBEAT_SPACING`] beside the regular ones.
    pub(crate) fn on_subscription(&mut self, message: &[u8]) {
        let [1, prefix @ ..] = message else { return };
        if Topic::HEARTBEAT.to_bytes().starts_with(prefix) {
            self.heartbeat_asked = true;
        }
    }

    /// When a heartbeat is due.
    pub(crate) fn next_deadline(&self) -> Instant {
        match (self.heartbeat_asked, self.last_heartbeat) {
            (true, Some(last)) => self.next_heartbeat.min(last + MIN_HEARTBEAT_SPACING),
            _ => self.next_heartbeat,
        }
    }

    /// The body of the next heartbeat, sent now.
    ///
    /// The regular ones keep their schedule: a late one does not move those after it, and missed ones are not made up for.
    pub(crate) fn heartbeat(
        &mut self,
        now: Instant,
        wall: SystemTime,
        condition: &Condition,
    ) -> Result<Vec<u8>, RpcError> {
        while self.next_heartbeat <= now {
            let missed =
                (now - self.next_heartbeat).as_nanos() / self.identity.interval.as_nanos().max(1);
            let steps = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
            self.next_heartbeat += self.identity.interval.saturating_mul(steps);
        }
        self.heartbeat_asked = false;
        self.last_heartbeat = Some(now);
        let timestamp = wall
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let mut heartbeat = Heartbeat {
            identifier: self.identity.identifier.clone(),
            version: self.identity.version.clone(),
            timestamp,
            ..Heartbeat::default()
        };
        if self.identity.extras {
            heartbeat.interval = Some(self.identity.interval.as_secs_f64());
            heartbeat.queue_depth = Some(condition.queue_depth as u64);
            heartbeat.dropped = Some(condition.dropped);
            heartbeat.delegate_busy = Some(condition.delegate_busy.as_secs_f64());
            heartbeat.sequences = Some(
                self.sequences
                    .iter()
                    .filter(|(topic, last)| *last > 0 && *topic != Topic::HEARTBEAT)
                    .take(MAX_REPORTED_TOPICS)
                    .map(|(topic, last)| (topic.number(), *last))
                    .collect(),
            );
        }
        let mut body = Vec::with_capacity(256);
        json::to_camel_json(&heartbeat, &mut body)?;
        Ok(body)
    }
}

/// Heartbeats that answer arriving subscribers keep this distance, so that a storm of subscriptions is not one of heartbeats.
const MIN_HEARTBEAT_SPACING: Duration = Duration::from_millis(5);

/// A heartbeat tells the last sequence of at most so many topics; an application uses a handful.
const MAX_REPORTED_TOPICS: usize = 64;

const STANDARD_TOPICS: [Topic; 5] = [
    Topic::EVENT,
    Topic::PROPERTY_CHANGE,
    Topic::COMMAND_RESULT,
    Topic::EMERGENCY,
    Topic::HEARTBEAT,
];
