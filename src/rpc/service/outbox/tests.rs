use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::zsocket::{WakeReceiver, wait, wake_pair};

const PLENTY: usize = 1 << 20;

fn outbox(messages: usize, bytes: usize, overflow: Overflow) -> (Outbox, WakeReceiver) {
    let outbox = Outbox::new(OutboxLimits {
        messages,
        bytes,
        overflow,
    });
    let (waker, wake) = wake_pair().unwrap();
    outbox.open(waker);
    (outbox, wake)
}

fn woken(wake: &WakeReceiver) -> bool {
    let ready = wait(&[], Some(wake), Some(Instant::now())).unwrap();
    wake.drain();
    ready.woken()
}

/// Topic, what was dropped before it, body.
fn drain(outbox: &Outbox) -> Vec<(Topic, u64, String)> {
    let mut batch = Batch::default();
    outbox.take(&mut batch);
    let mut all = Vec::new();
    while let Some((entry, body)) = batch.next() {
        let body = String::from_utf8(body.to_vec()).unwrap();
        all.push((entry.topic, entry.skipped, body));
        outbox.sent_one();
    }
    all
}

fn event(skipped: u64, body: &str) -> (Topic, u64, String) {
    (Topic::EVENT, skipped, body.to_owned())
}

#[test]
fn refusal_tells_the_caller_and_leaves_no_gap() {
    let (outbox, _wake) = outbox(2, PLENTY, Overflow::Refuse);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    outbox.push(Topic::EVENT, b"b", true).unwrap();
    let error = outbox.push(Topic::EVENT, b"c", true).unwrap_err();
    assert!(
        matches!(error, RpcError::QueueFull { bytes: 1, .. }),
        "{error}"
    );
    assert_eq!(drain(&outbox), [event(0, "a"), event(0, "b")]);
    outbox.push(Topic::EVENT, b"d", true).unwrap();
    assert_eq!(drain(&outbox), [event(0, "d")]);
    let counts = outbox.counts();
    assert_eq!((counts.dropped, counts.refused, counts.depth), (0, 1, 0));
}

#[test]
fn newest_goes_and_shows_before_the_next_of_its_topic() {
    let (outbox, _wake) = outbox(1, PLENTY, Overflow::DropNewest);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    outbox.push(Topic::EVENT, b"b", true).unwrap();
    outbox.push(Topic::PROPERTY_CHANGE, b"c", true).unwrap();
    outbox.push(Topic::EVENT, b"d", true).unwrap();
    assert_eq!(drain(&outbox), [event(0, "a")]);
    outbox.push(Topic::EVENT, b"e", true).unwrap();
    assert_eq!(drain(&outbox), [event(2, "e")]);
    assert_eq!(outbox.counts().dropped, 3);
    let mut trailing = Vec::new();
    outbox.take_trailing_drops(|topic, count| trailing.push((topic, count)));
    assert_eq!(trailing, [(Topic::PROPERTY_CHANGE, 1)]);
}

#[test]
fn drops_behind_the_messages_in_flight_wait_for_them() {
    let (outbox, _wake) = outbox(1, PLENTY, Overflow::DropNewest);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    let mut batch = Batch::default();
    outbox.take(&mut batch);
    outbox.push(Topic::EVENT, b"b", true).unwrap();
    outbox.take_trailing_drops(|_, _| panic!("`a` is not sent yet"));
    batch.next().unwrap();
    outbox.sent_one();
    let mut trailing = Vec::new();
    outbox.take_trailing_drops(|topic, count| trailing.push((topic, count)));
    assert_eq!(trailing, [(Topic::EVENT, 1)]);
}

#[test]
fn oldest_makes_room() {
    let (outbox, _wake) = outbox(2, PLENTY, Overflow::DropOldest);
    outbox.push(Topic::PROPERTY_CHANGE, b"a", true).unwrap();
    for body in [b"b", b"c", b"d"] {
        outbox.push(Topic::EVENT, body, true).unwrap();
    }
    let mut batch = Batch::default();
    outbox.take(&mut batch);
    let dropped: Vec<_> = batch.drain_dropped_before().collect();
    assert_eq!(dropped, [(Topic::PROPERTY_CHANGE, 1), (Topic::EVENT, 1)]);
    assert_eq!(batch.next().unwrap().1, b"c");
    assert_eq!(batch.next().unwrap().1, b"d");
    assert_eq!(outbox.counts().dropped, 2);
}

#[test]
fn bytes_are_bounded_too() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let (outbox, _wake) = outbox(PLENTY, 10, overflow);
        outbox.push(Topic::EVENT, b"123456", true).unwrap();
        outbox.push(Topic::EVENT, b"7890", true).unwrap();
        outbox.push(Topic::EVENT, b"x", true).unwrap();
        assert_eq!(outbox.counts().dropped, 1, "{overflow:?}");
        assert!(drain(&outbox).len() <= 2);
    }
}

#[test]
fn message_larger_than_the_bound_is_refused_under_every_policy() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest] {
        let (outbox, _wake) = outbox(10, 10, overflow);
        outbox.push(Topic::EVENT, b"kept", true).unwrap();
        assert!(outbox.push(Topic::EVENT, &[b'x'; 11], true).is_err());
        assert_eq!(drain(&outbox), [event(0, "kept")]);
    }
}

#[test]
fn emergencies_have_a_lane_and_a_bound_of_their_own() {
    let (outbox, _wake) = outbox(2, PLENTY, Overflow::DropNewest);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    outbox.push(Topic::EVENT, b"b", true).unwrap();
    assert!(!outbox.has_urgent());
    let both = [Topic::EMERGENCY, Topic::EVENT];
    outbox.push_urgent(&both, b"stop", true).unwrap();
    assert!(outbox.has_urgent());
    assert!(outbox.push_urgent(&both, b"more", true).is_err());
    let mut batch = Batch::default();
    outbox.take_urgent(&mut batch);
    assert!(!outbox.has_urgent());
    for topic in both {
        let (entry, body) = batch.next().unwrap();
        assert_eq!((entry.topic, body), (topic, &b"stop"[..]));
    }
    assert_eq!(drain(&outbox).len(), 2);
    assert_eq!(outbox.counts().refused, 1);
}

#[test]
fn what_is_owed_goes_past_the_bound() {
    let (outbox, _wake) = outbox(1, PLENTY, Overflow::Refuse);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    assert!(outbox.push(Topic::EVENT, b"b", true).is_err());
    outbox.push_owed(Topic::COMMAND_RESULT, b"c", true).unwrap();
    assert_eq!(drain(&outbox).len(), 2);
}

#[test]
fn only_a_parked_publisher_is_woken() {
    let (outbox, wake) = outbox(10, PLENTY, Overflow::Refuse);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    assert!(!woken(&wake));
    assert!(!outbox.park(), "a message waits");
    drain(&outbox);
    assert!(outbox.park());
    outbox.push(Topic::EVENT, b"b", true).unwrap();
    assert!(woken(&wake));
    outbox.push(Topic::EVENT, b"c", true).unwrap();
    assert!(!woken(&wake), "it is awake already");
    drain(&outbox);
    assert!(outbox.park());
    outbox
        .push_urgent(&[Topic::EMERGENCY], b"stop", true)
        .unwrap();
    assert!(woken(&wake));
}

#[test]
fn closed_outbox_refuses_and_keeps_what_is_queued() {
    let (outbox, wake) = outbox(10, PLENTY, Overflow::Refuse);
    outbox.push(Topic::EVENT, b"a", true).unwrap();
    outbox.close();
    assert!(woken(&wake));
    assert!(!outbox.is_finished());
    assert!(!outbox.park());
    let error = outbox.push(Topic::EVENT, b"b", true).unwrap_err();
    assert!(error.is_closed());
    assert!(outbox.push_urgent(&[Topic::EVENT], b"b", true).is_err());
    assert_eq!(drain(&outbox), [event(0, "a")]);
    assert!(outbox.is_finished());
    assert!(!outbox.park(), "a closed outbox is not waited for");
}

#[test]
fn outbox_that_was_never_opened_says_so_and_one_to_nowhere_takes_all() {
    let limits = OutboxLimits {
        messages: 1,
        bytes: 1,
        overflow: Overflow::Refuse,
    };
    let outbox = Outbox::new(limits);
    let error = outbox.push(Topic::EVENT, b"a", true).unwrap_err();
    assert!(matches!(error, RpcError::NotStarted), "{error}");
    outbox.open_to_nowhere();
    for _ in 0..3 {
        outbox.push(Topic::EVENT, b"larger", true).unwrap();
        outbox.push_urgent(&[Topic::EVENT], b"x", true).unwrap();
    }
    assert_eq!(outbox.counts(), OutboxCounts::default());
}

#[test]
fn many_threads_lose_nothing() {
    let (outbox, wake) = outbox(64, PLENTY, Overflow::Refuse);
    let deadline = Instant::now() + Duration::from_secs(20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let outbox = &outbox;
            scope.spawn(move || {
                for number in 0..2_000 {
                    let body = format!("{thread} {number}");
                    while outbox.push(Topic::EVENT, body.as_bytes(), true).is_err() {
                        assert!(Instant::now() < deadline);
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut next = [0; 4];
        while next.iter().sum::<u32>() < 8_000 {
            for (_, _, body) in drain(&outbox) {
                let (thread, number) = body.split_once(' ').unwrap();
                let next = &mut next[thread.parse::<usize>().unwrap()];
                assert_eq!(number.parse(), Ok(*next), "out of order");
                *next += 1;
            }
            let all = next.iter().sum::<u32>() == 8_000;
            if !all && outbox.park() {
                let ready = wait(&[], Some(&wake), Some(deadline)).unwrap();
                assert!(ready.woken(), "nobody woke the publisher");
                wake.drain();
            }
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Push { topic: u32, len: usize },
    Send,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (0u32..3, 0usize..30).prop_map(|(topic, len)| Step::Push { topic, len });
    prop::collection::vec(prop_oneof![2 => push, 1 => Just(Step::Send)], 0..200)
}

proptest! {
    /// Every message, dropped or not, takes the next number of its topic; what arrives carries its own.
    #[test]
    fn numbers_of_what_arrives_are_those_in_which_it_was_pushed(
        steps in steps(),
        messages in 1usize..6,
        bytes in 30usize..80,
        oldest in any::<bool>(),
    ) {
        let overflow = if oldest { Overflow::DropOldest } else { Overflow::DropNewest };
        let (outbox, _wake) = outbox(messages, bytes, overflow);
        let mut pushed = [0u64; 3];
        let mut stamped = [0u64; 3];
        let mut arrived = 0;
        let mut batch = Batch::default();
        let mut send = |stamped: &mut [u64; 3], arrived: &mut u64| {
            if batch.is_empty() {
                outbox.take(&mut batch);
                for (topic, count) in batch.drain_dropped_before() {
                    stamped[topic.number() as usize] += count;
                }
            }
            let Some((entry, body)) = batch.next() else {
                outbox.take_trailing_drops(|topic, count| {
                    stamped[topic.number() as usize] += count;
                });
                return Ok(false);
            };
            let number = &mut stamped[entry.topic.number() as usize];
            *number += entry.skipped + 1;
            let ordinal: u64 = std::str::from_utf8(body).unwrap().trim().parse().unwrap();
            prop_assert_eq!(*number, ordinal);
            *arrived += 1;
            outbox.sent_one();
            outbox.take_trailing_drops(|topic, count| {
                stamped[topic.number() as usize] += count;
            });
            Ok(true)
        };
        for step in steps {
            match step {
                Step::Push { topic, len } => {
                    let ordinal = &mut pushed[topic as usize];
                    *ordinal += 1;
                    let body = format!("{:>len$}", *ordinal);
                    outbox.push(Topic::new(topic), body.as_bytes(), true).unwrap();
                }
                Step::Send => {
                    send(&mut stamped, &mut arrived)?;
                }
            }
            let counts = outbox.counts();
            prop_assert!(counts.depth <= messages);
        }
        while send(&mut stamped, &mut arrived)? {}
        prop_assert_eq!(stamped, pushed);
        prop_assert_eq!(arrived + outbox.counts().dropped, pushed.iter().sum::<u64>());
    }
}
