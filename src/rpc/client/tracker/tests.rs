use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::rpc::client::unproven::MAX_RUNS;

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
        &[
            heartbeat(EPOCH, 1, &[(Topic::EVENT, 4)]),
            event(EPOCH, 5),
            event(EPOCH, 9),
        ],
    );
    assert_eq!(notices[1..], [gap(Topic::EVENT, 6, 3)]);
}

#[test]
fn topics_are_counted_apart() {
    let mut tracker = Tracker::new(&[], PATIENCE);
    let notices = feed(
        &mut tracker,
        &[
            heartbeat(EPOCH, 1, &[]),
            event(EPOCH, 1),
            on(Topic::PROPERTY_CHANGE, EPOCH, 1),
            event(EPOCH, 2),
            on(Topic::PROPERTY_CHANGE, EPOCH, 3),
        ],
    );
    assert_eq!(notices[1..], [gap(Topic::PROPERTY_CHANGE, 2, 1)]);
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
            heartbeat(EPOCH, 1, &[(Topic::EVENT, 4)]),
            event(EPOCH, 5),
            event(EPOCH, 5),
            event(EPOCH, 2),
            event(EPOCH, 6),
        ],
    );
    assert_eq!(notices, [connected(Some(EPOCH), "1")]);
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
            heartbeat(EPOCH + 9, 1, &[(Topic::EVENT, 2)]),
            event(EPOCH + 9, 3),
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
fn first_heartbeats_of_a_new_start_are_not_missing() {
    // One that asked for everything, heartbeats too.
    let mut tracker = Tracker::new(&[], PATIENCE);
    let notices = feed(
        &mut tracker,
        &[
            heartbeat(7, 9, &[]),
            heartbeat(8, 2, &[]),
            heartbeat(8, 4, &[]),
        ],
    );
    assert_eq!(
        notices[1..],
        [Notice::Restarted { epoch: 8 }, gap(Topic::HEARTBEAT, 3, 1)]
    );
}

#[test]
fn what_precedes_the_first_heartbeat_of_a_start_is_counted_by_it() {
    let new = EPOCH + 9;
    for (before, listed, expected) in [
        // Three arrived, one is missing at the front and one at the end.
        (
            vec![event(new, 2), event(new, 3), event(new, 4)],
            5,
            vec![(1, 1), (5, 1)],
        ),
        (vec![event(new, 1), event(new, 3)], 3, vec![(2, 1)]),
        (vec![raw(Topic::EVENT)], 1, vec![]),
        (
            vec![raw(Topic::EVENT), event(new, 2), raw(Topic::EVENT)],
            3,
            vec![],
        ),
        // Members of the application's own.
        (vec![event(7, 9), event(new, 2), event(7, 9)], 3, vec![]),
        (vec![], 0, vec![]),
    ] {
        let mut tracker = Tracker::new(&[], PATIENCE);
        feed(&mut tracker, &[heartbeat(EPOCH, 7, &[(Topic::EVENT, 50)])]);
        assert_eq!(feed(&mut tracker, &before), [], "nothing is proven yet");
        let mut notices = feed(
            &mut tracker,
            &[heartbeat(new, 1, &[(Topic::EVENT, listed)])],
        );
        assert_eq!(notices.remove(0), Notice::Restarted { epoch: new });
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(first, count)| gap(Topic::EVENT, first, count))
            .collect();
        assert_eq!(notices, expected, "{before:?}");
        assert_eq!(feed(&mut tracker, &[event(new, listed + 1)]), []);
    }
}

#[test]
fn what_precedes_the_first_heartbeat_of_all_is_counted_by_it() {
    let mut tracker = Tracker::new(&[], PATIENCE);
    let before = [event(EPOCH, 4), raw(Topic::EVENT), event(EPOCH, 9)];
    assert_eq!(feed(&mut tracker, &before), []);
    let notices = feed(&mut tracker, &[heartbeat(EPOCH, 1, &[(Topic::EVENT, 9)])]);
    assert_eq!(
        notices,
        [connected(Some(EPOCH), "1"), gap(Topic::EVENT, 6, 3)]
    );
}

#[test]
fn members_of_the_application_are_no_numbers() {
    for own in [event(7, 9), event(EPOCH + 1, 1), event(u64::MAX, u64::MAX)] {
        let mut tracker = Tracker::new(&[], PATIENCE);
        let notices = feed(
            &mut tracker,
            &[
                own.clone(),
                heartbeat(EPOCH, 1, &[(Topic::EVENT, 1)]),
                event(EPOCH, 2),
                own.clone(),
                event(EPOCH, 4),
                own,
                heartbeat(EPOCH, 2, &[(Topic::EVENT, 5)]),
            ],
        );
        assert_eq!(notices, [connected(Some(EPOCH), "1")]);
    }
}

#[test]
fn more_than_can_be_remembered_gives_no_false_gap() {
    let mut tracker = Tracker::new(&[], PATIENCE);
    feed(&mut tracker, &[heartbeat(EPOCH, 1, &[])]);
    let many: Vec<_> = (0..3 * MAX_RUNS as u64)
        .map(|number| event(7, 2 * number))
        .collect();
    assert_eq!(feed(&mut tracker, &many), []);
    let notices = feed(&mut tracker, &[heartbeat(8, 1, &[(Topic::EVENT, 9_000)])]);
    assert_eq!(notices, [Notice::Restarted { epoch: 8 }]);
    assert_eq!(
        feed(&mut tracker, &[event(8, 9_002)]),
        [gap(Topic::EVENT, 9_001, 1)]
    );
}

#[test]
fn silence_does_not_count_while_the_reader_is_behind() {
    let mut tracker = Tracker::new(&[], PATIENCE);
    let start = Instant::now();
    let mut notices = Vec::new();
    tracker.handle(start, &old_heartbeat(), &mut notices);
    notices.clear();
    let behind = start + Duration::from_secs(100);
    tracker.was_behind(behind);
    tracker.handle_deadline(behind + Duration::from_secs(14), &mut notices);
    assert_eq!(notices, []);
    tracker.handle_deadline(behind + Duration::from_secs(15), &mut notices);
    let silent_for = Duration::from_secs(115);
    assert_eq!(notices, [Notice::HeartbeatLost { silent_for }]);
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
