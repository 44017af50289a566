//! What a subscriber can conclude from the messages that it gets: what is missing, and whether the service lives.

use std::time::{Duration, Instant};

use crate::rpc::message::{Heartbeat, MAX_REPORTED_TOPICS};
use crate::rpc::{Message, Topic};

use super::Notice;

/// Gaps, restarts and silence, from messages and a clock; no socket. The rules are those of section 7.2 of `docs/wire.md`.
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
        // A service may announce an interval beyond the clock's range: then silence is never reported.
        last.checked_add(self.patience())
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
        // A heartbeat that lists this many may have left some out.
        self.from_the_start |= sequences.len() < MAX_REPORTED_TOPICS;
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const EPOCH: u64 = 1_795_175_999_000_000;
    const PATIENCE: Patience = Patience {
        fixed: None,
        interval: Duration::from_secs(5),
    };

    fn event(epoch: u64, sequence: u64) -> Message {
        on(Topic::EVENT, epoch, sequence)
    }

    fn on(topic: Topic, epoch: u64, sequence: u64) -> Message {
        let body = format!(r#"{{"kind": 1101, "epoch": {epoch}, "sequence": {sequence}}}"#);
        Message::decode(&topic.to_bytes(), body).unwrap()
    }

    fn raw(topic: Topic) -> Message {
        Message::decode(&topic.to_bytes(), "raw").unwrap()
    }

    fn heartbeat(epoch: u64, sequence: u64, sequences: &[(Topic, u64)]) -> Message {
        let listed: Vec<String> = sequences
            .iter()
            .map(|(topic, last)| format!(r#""{}": {last}"#, topic.number()))
            .collect();
        let body = format!(
            r#"{{"identifier": "rig", "version": "1", "timestamp": 1.5, "sequences": {{{}}}, "epoch": {epoch}, "sequence": {sequence}}}"#,
            listed.join(", ")
        );
        Message::decode(&Topic::HEARTBEAT.to_bytes(), body).unwrap()
    }

    fn old_heartbeat() -> Message {
        let body = r#"{"identifier": "rig", "version": "0.12.0", "timestamp": 1.5}"#;
        Message::decode(&Topic::HEARTBEAT.to_bytes(), body).unwrap()
    }

    fn connected(epoch: Option<u64>, version: &str) -> Notice {
        Notice::Connected {
            identifier: "rig".to_owned(),
            version: version.to_owned(),
            epoch,
        }
    }

    fn gap(topic: Topic, first: u64, count: u64) -> Notice {
        Notice::Gap {
            topic,
            first,
            count,
        }
    }

    fn feed(tracker: &mut Tracker, messages: &[Message]) -> Vec<Notice> {
        let mut notices = Vec::new();
        let now = Instant::now();
        for message in messages {
            tracker.handle(now, message, &mut notices);
        }
        notices
    }

    #[test]
    fn number_that_does_not_follow_is_a_gap() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[event(EPOCH, 4), event(EPOCH, 5), event(EPOCH, 9)],
        );
        assert_eq!(notices, [gap(Topic::EVENT, 6, 3)]);
    }

    #[test]
    fn topics_are_counted_apart() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                event(EPOCH, 1),
                on(Topic::PROPERTY_CHANGE, EPOCH, 1),
                event(EPOCH, 2),
                on(Topic::PROPERTY_CHANGE, EPOCH, 3),
            ],
        );
        assert_eq!(notices, [gap(Topic::PROPERTY_CHANGE, 2, 1)]);
    }

    #[test]
    fn heartbeat_tells_of_a_loss_at_the_end() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                heartbeat(EPOCH, 1, &[(Topic::EVENT, 3)]),
                event(EPOCH, 4),
                heartbeat(EPOCH, 2, &[(Topic::EVENT, 6), (Topic::PROPERTY_CHANGE, 2)]),
                heartbeat(EPOCH, 3, &[(Topic::EVENT, 6), (Topic::PROPERTY_CHANGE, 2)]),
            ],
        );
        assert_eq!(
            notices,
            [
                connected(Some(EPOCH), "1"),
                gap(Topic::EVENT, 5, 2),
                gap(Topic::PROPERTY_CHANGE, 1, 2),
            ]
        );
    }

    #[test]
    fn repeated_or_older_number_reports_nothing_and_takes_nothing_back() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                event(EPOCH, 5),
                event(EPOCH, 5),
                event(EPOCH, 2),
                event(EPOCH, 6),
            ],
        );
        assert_eq!(notices, []);
    }

    #[test]
    fn only_wanted_topics_are_reported() {
        let mut tracker = Tracker::new(&[Topic::EVENT], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                heartbeat(EPOCH, 1, &[]),
                heartbeat(EPOCH, 9, &[(Topic::PROPERTY_CHANGE, 7), (Topic::EVENT, 1)]),
            ],
        );
        assert_eq!(
            notices,
            [connected(Some(EPOCH), "1"), gap(Topic::EVENT, 1, 1)]
        );
        let mut all = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut all,
            &[heartbeat(EPOCH, 1, &[]), heartbeat(EPOCH, 3, &[])],
        );
        assert_eq!(notices[1], gap(Topic::HEARTBEAT, 2, 1));
    }

    #[test]
    fn new_epoch_is_a_restart_and_numbers_begin_at_one() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                heartbeat(EPOCH, 7, &[(Topic::EVENT, 50)]),
                event(EPOCH + 9, 3),
                event(EPOCH + 9, 4),
            ],
        );
        assert_eq!(
            notices,
            [
                connected(Some(EPOCH), "1"),
                Notice::Restarted { epoch: EPOCH + 9 },
                gap(Topic::EVENT, 1, 2),
            ]
        );
    }

    #[test]
    fn unmarked_messages_of_our_service_are_counted() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                heartbeat(EPOCH, 1, &[(Topic::EVENT, 3)]),
                raw(Topic::EVENT),
                raw(Topic::EVENT),
                event(EPOCH, 6),
                raw(Topic::EVENT),
                heartbeat(EPOCH, 2, &[(Topic::EVENT, 7)]),
            ],
        );
        assert_eq!(notices, [connected(Some(EPOCH), "1")]);
    }

    #[test]
    fn services_without_numbers_give_connection_states_only() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                raw(Topic::EVENT),
                old_heartbeat(),
                raw(Topic::EVENT),
                old_heartbeat(),
            ],
        );
        assert_eq!(notices, [connected(None, "0.12.0")]);
    }

    #[test]
    fn silence_is_reported_once_and_the_return_too() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let start = Instant::now();
        let mut notices = Vec::new();
        assert_eq!(tracker.next_deadline(), None);
        tracker.handle(start, &old_heartbeat(), &mut notices);
        assert_eq!(
            tracker.next_deadline(),
            Some(start + Duration::from_secs(15))
        );
        notices.clear();
        tracker.handle_deadline(start + Duration::from_millis(14_999), &mut notices);
        assert_eq!(notices, []);
        tracker.handle_deadline(start + Duration::from_secs(16), &mut notices);
        tracker.handle_deadline(start + Duration::from_secs(17), &mut notices);
        let silent_for = Duration::from_secs(16);
        assert_eq!(notices, [Notice::HeartbeatLost { silent_for }]);
        assert_eq!(tracker.next_deadline(), None);
        notices.clear();
        tracker.handle(
            start + Duration::from_secs(20),
            &old_heartbeat(),
            &mut notices,
        );
        assert_eq!(notices, [connected(None, "0.12.0")]);
    }

    #[test]
    fn announced_interval_sets_the_patience_and_a_fixed_one_overrides_it() {
        let body = r#"{"identifier": "rig", "version": "1", "timestamp": 1, "interval": 0.5}"#;
        let message = Message::decode(&Topic::HEARTBEAT.to_bytes(), body).unwrap();
        let now = Instant::now();
        for (fixed, expected) in [
            (None, Duration::from_millis(1500)),
            (Some(Duration::from_secs(9)), Duration::from_secs(9)),
        ] {
            let mut tracker = Tracker::new(&[], Patience { fixed, ..PATIENCE });
            tracker.handle(now, &message, &mut Vec::new());
            assert_eq!(tracker.next_deadline(), Some(now + expected));
        }
    }

    #[test]
    fn broken_connection_is_reported_once() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let mut notices = Vec::new();
        tracker.disconnected(&mut notices);
        assert_eq!(notices, [], "it was never heard");
        tracker.handle(Instant::now(), &old_heartbeat(), &mut notices);
        tracker.disconnected(&mut notices);
        tracker.disconnected(&mut notices);
        assert_eq!(notices, [connected(None, "0.12.0"), Notice::Disconnected]);
        assert_eq!(tracker.next_deadline(), None);
    }

    #[test]
    fn largest_numbers_do_not_panic() {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                heartbeat(u64::MAX, u64::MAX, &[(Topic::EVENT, u64::MAX - 1)]),
                event(u64::MAX, u64::MAX),
                event(u64::MAX, u64::MAX),
                raw(Topic::EVENT),
                heartbeat(u64::MAX, u64::MAX, &[(Topic::EVENT, u64::MAX)]),
            ],
        );
        assert_eq!(notices, [connected(Some(u64::MAX), "1")]);
    }

    #[test]
    fn absurd_intervals_do_not_panic() {
        for interval in ["1e19", "1.8e19", "1e308", "-1", "0", "1e-300"] {
            let body = format!(
                r#"{{"identifier": "rig", "version": "1", "timestamp": 1, "interval": {interval}}}"#
            );
            let message = Message::decode(&Topic::HEARTBEAT.to_bytes(), body).unwrap();
            let mut tracker = Tracker::new(&[], PATIENCE);
            let mut notices = Vec::new();
            tracker.handle(Instant::now(), &message, &mut notices);
            tracker.next_deadline();
            tracker.handle_deadline(Instant::now(), &mut notices);
            assert_eq!(notices[0], connected(None, "1"), "{interval}");
        }
    }

    #[test]
    fn topic_that_a_long_heartbeat_leaves_out_is_no_gap() {
        let listed: Vec<(Topic, u64)> = (0..MAX_REPORTED_TOPICS as u32)
            .map(|number| (Topic::new(100_000 + number), 1))
            .collect();
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[heartbeat(EPOCH, 1, &listed), event(EPOCH, 40)],
        );
        assert_eq!(notices, [connected(Some(EPOCH), "1")]);
    }

    #[derive(Clone, Debug)]
    struct Sent {
        topic: usize,
        marked: bool,
        heartbeat: bool,
        arrives: bool,
    }

    fn sent(marked: bool) -> impl Strategy<Value = Sent> {
        (0usize..3, any::<bool>(), 0u8..8, any::<bool>()).prop_map(
            move |(topic, plain, heartbeat, arrives)| Sent {
                topic,
                marked: marked || plain,
                heartbeat: heartbeat == 0,
                arrives,
            },
        )
    }

    /// What a service sends and the network loses; gives the numbers lost and the notices, by topic.
    fn lose(stream: &[Sent], before: &[u64; 3]) -> (Vec<BTreeSet<u64>>, Vec<Notice>) {
        let topics = [Topic::EVENT, Topic::PROPERTY_CHANGE, Topic::new(77)];
        let mut last = *before;
        let mut lost = vec![BTreeSet::new(); 3];
        let listed = |last: &[u64; 3]| -> Vec<(Topic, u64)> {
            let all = topics.into_iter().zip(*last);
            all.filter(|(_, last)| *last > 0).collect()
        };
        let mut beats = 1;
        let mut arrived = vec![heartbeat(EPOCH, beats, &listed(&last))];
        for sent in stream {
            let message = if sent.heartbeat {
                beats += 1;
                heartbeat(EPOCH, beats, &listed(&last))
            } else {
                last[sent.topic] += 1;
                if !sent.arrives {
                    lost[sent.topic].insert(last[sent.topic]);
                }
                if sent.marked {
                    on(topics[sent.topic], EPOCH, last[sent.topic])
                } else {
                    raw(topics[sent.topic])
                }
            };
            if sent.arrives {
                arrived.push(message);
            }
        }
        arrived.push(heartbeat(EPOCH, beats + 1, &listed(&last)));
        let mut tracker = Tracker::new(&topics, PATIENCE);
        (lost, feed(&mut tracker, &arrived))
    }

    proptest! {
        #[test]
        fn every_lost_number_is_reported_exactly_once(
            stream in prop::collection::vec(sent(true), 0..120),
            before in prop::array::uniform3(0u64..5),
        ) {
            let (lost, notices) = lose(&stream, &before);
            let mut reported = vec![BTreeSet::new(); 3];
            for notice in &notices[1..] {
                let Notice::Gap { topic, first, count } = notice else {
                    return Err(TestCaseError::fail(format!("{notice:?}")));
                };
                let at = match *topic {
                    Topic::EVENT => 0,
                    Topic::PROPERTY_CHANGE => 1,
                    _ => 2,
                };
                for number in *first..first + count {
                    prop_assert!(reported[at].insert(number), "{} twice", number);
                }
            }
            prop_assert_eq!(reported, lost);
        }

        #[test]
        fn messages_without_numbers_leave_the_count_exact(
            stream in prop::collection::vec(sent(false), 0..120),
        ) {
            let (lost, notices) = lose(&stream, &[0; 3]);
            let mut reported = BTreeMap::new();
            for notice in &notices[1..] {
                let Notice::Gap { topic, count, .. } = notice else {
                    return Err(TestCaseError::fail(format!("{notice:?}")));
                };
                *reported.entry(topic.number()).or_insert(0) += count;
            }
            for (topic, lost) in [4001, 5001, 77].into_iter().zip(&lost) {
                prop_assert_eq!(reported.get(&topic).copied().unwrap_or(0), lost.len() as u64);
            }
        }
    }
}
