//! Sequence numbers, heartbeat times and their bodies: everything of the publisher but its socket.

use std::time::{Duration, Instant};

use crate::rpc::message::{Heartbeat, MAX_REPORTED_TOPICS};
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
    pub(crate) fn new(mut identity: Identity, now: Instant) -> Self {
        identity.interval = identity.interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
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
    ///
    /// `false` for anything but a subscription: its end, or a message that a publisher has no use for.
    pub(crate) fn on_subscription(&mut self, message: &[u8]) -> bool {
        let [1, prefix @ ..] = message else {
            return false;
        };
        if Topic::HEARTBEAT.to_bytes().starts_with(prefix) {
            self.heartbeat_asked = true;
        }
        true
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
        since_1970: Duration,
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
        let mut heartbeat = Heartbeat {
            identifier: self.identity.identifier.clone(),
            version: self.identity.version.clone(),
            timestamp: since_1970.as_secs_f64(),
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

/// Between these the interval is kept, whatever the options say; the longest leaves the clock room to add to.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

const STANDARD_TOPICS: [Topic; 5] = [
    Topic::EVENT,
    Topic::PROPERTY_CHANGE,
    Topic::COMMAND_RESULT,
    Topic::EMERGENCY,
    Topic::HEARTBEAT,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Message;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn state(now: Instant, extras: bool) -> PublisherState {
        let identity = Identity {
            identifier: "rig".to_owned(),
            version: "1".to_owned(),
            interval: INTERVAL,
            extras,
        };
        PublisherState::new(identity, now)
    }

    fn beat(state: &mut PublisherState, now: Instant) -> Option<Vec<u8>> {
        let condition = Condition {
            queue_depth: 3,
            dropped: 7,
            delegate_busy: Duration::from_millis(250),
        };
        let wall = Duration::from_millis(1500);
        let due = now >= state.next_deadline();
        due.then(|| state.heartbeat(now, wall, &condition).unwrap())
    }

    #[test]
    fn first_heartbeat_is_due_at_once() {
        let now = Instant::now();
        let mut state = state(now, false);
        assert_eq!(state.next_deadline(), now);
        let body = beat(&mut state, now).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&body),
            r#"{"identifier": "rig", "version": "1", "timestamp": 1.5}"#
        );
        assert_eq!(beat(&mut state, now), None);
        assert_eq!(state.next_deadline(), now + INTERVAL);
    }

    #[test]
    fn heartbeat_tells_sequences_and_condition() {
        let now = Instant::now();
        let mut state = state(now, true);
        assert_eq!(state.stamp(Topic::EVENT, 0), 1);
        assert_eq!(state.stamp(Topic::EVENT, 2), 4);
        assert_eq!(state.stamp(Topic::new(7), 0), 1);
        assert_eq!(state.stamp(Topic::HEARTBEAT, 0), 1);
        *state.skip(Topic::PROPERTY_CHANGE, 5) += 0;
        let body = beat(&mut state, now).unwrap();
        let heartbeat = Message::decode(&Topic::HEARTBEAT.to_bytes(), body)
            .unwrap()
            .heartbeat()
            .unwrap();
        let sequences: Vec<_> = heartbeat.sequences.unwrap().into_iter().collect();
        assert_eq!(sequences, [(7, 1), (4001, 4), (5001, 5)]);
        assert_eq!(heartbeat.interval, Some(5.0));
        assert_eq!(heartbeat.queue_depth, Some(3));
        assert_eq!(heartbeat.dropped, Some(7));
        assert_eq!(heartbeat.delegate_busy, Some(0.25));
    }

    #[test]
    fn late_heartbeat_does_not_move_those_after_it() {
        let start = Instant::now();
        let mut state = state(start, true);
        assert!(beat(&mut state, start).is_some());
        let late = start + INTERVAL + Duration::from_millis(4900);
        assert!(beat(&mut state, late).is_some());
        assert_eq!(state.next_deadline(), start + 2 * INTERVAL);
    }

    #[test]
    fn missed_heartbeats_are_not_made_up_for() {
        let start = Instant::now();
        let mut state = state(start, true);
        assert!(beat(&mut state, start).is_some());
        let late = start + 100 * INTERVAL + Duration::from_millis(1);
        assert!(beat(&mut state, late).is_some());
        assert_eq!(beat(&mut state, late), None);
        assert_eq!(state.next_deadline(), start + 101 * INTERVAL);
    }

    #[test]
    fn subscriber_to_heartbeats_gets_one_at_once() {
        for prefix in [&b""[..], &[0xE9], &Topic::HEARTBEAT.to_bytes()] {
            let start = Instant::now();
            let mut state = state(start, true);
            beat(&mut state, start);
            let later = start + Duration::from_secs(1);
            assert!(state.on_subscription(&[&[1], prefix].concat()));
            assert!(state.next_deadline() <= later);
            assert!(beat(&mut state, later).is_some(), "{prefix:?}");
            assert_eq!(state.next_deadline(), start + INTERVAL);
        }
    }

    #[test]
    fn other_subscriptions_and_their_end_ask_for_no_heartbeat() {
        let heartbeat = Topic::HEARTBEAT.to_bytes();
        let start = Instant::now();
        let mut state = state(start, true);
        beat(&mut state, start);
        assert!(state.on_subscription(&[&[1], &Topic::EVENT.to_bytes()[..]].concat()));
        assert!(state.on_subscription(&[&[1], &heartbeat[..], &[0]].concat()));
        assert!(!state.on_subscription(&[&[0], &heartbeat[..]].concat()));
        assert!(!state.on_subscription(&[&[2], &heartbeat[..]].concat()));
        assert!(!state.on_subscription(b""));
        assert_eq!(state.next_deadline(), start + INTERVAL);
    }

    #[test]
    fn storm_of_subscriptions_is_no_storm_of_heartbeats() {
        let start = Instant::now();
        let mut state = state(start, true);
        let mut beats = 0;
        for step in 0..10_000 {
            let now = start + Duration::from_micros(step * 10);
            state.on_subscription(&[1]);
            beats += u32::from(beat(&mut state, now).is_some());
        }
        assert_eq!(beats, 20, "100 ms at one in 5 ms");
    }

    #[test]
    fn intervals_of_no_time_and_of_all_time_do_not_panic() {
        for interval in [Duration::ZERO, Duration::MAX] {
            let start = Instant::now();
            let identity = Identity {
                identifier: String::new(),
                version: String::new(),
                interval,
                extras: true,
            };
            let mut state = PublisherState::new(identity, start);
            assert!(beat(&mut state, start).is_some());
            assert!(state.next_deadline() > start);
        }
    }

    #[test]
    fn heartbeat_lists_a_bounded_number_of_topics() {
        let start = Instant::now();
        let mut state = state(start, true);
        for number in 0..1000 {
            state.stamp(Topic::new(100_000 + number), 0);
        }
        let body = beat(&mut state, start).unwrap();
        let message = Message::decode(&Topic::HEARTBEAT.to_bytes(), body).unwrap();
        let sequences = message.heartbeat().unwrap().sequences.unwrap();
        assert_eq!(sequences.len(), MAX_REPORTED_TOPICS);
    }
}
