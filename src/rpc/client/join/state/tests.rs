use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::rpc::client::tracker::Patience;
use crate::rpc::{HistoryMessage, Message, Position, Verdict};

const EPOCH: u64 = 1_000;
const TOPICS: [Topic; 3] = [Topic::EVENT, Topic::PROPERTY_CHANGE, Topic::new(77)];

/// A service and its memory: all that one start has published, heartbeats included.
#[derive(Debug)]
struct Service {
    epoch: u64,
    published: Vec<HistoryMessage>,
    last: BTreeMap<Topic, u64>,
    /// Numbers up to these are no longer kept.
    cleaned: BTreeMap<Topic, u64>,
}

impl Service {
    fn new(epoch: u64) -> Self {
        Self {
            epoch,
            published: Vec::new(),
            last: BTreeMap::new(),
            cleaned: BTreeMap::new(),
        }
    }

    fn publish(&mut self, topic: Topic, marked: bool) -> Message {
        let listed: Vec<_> = self
            .last
            .iter()
            .filter(|(topic, _)| **topic != Topic::HEARTBEAT)
            .map(|(topic, last)| format!("\"{}\": {last}", topic.number()))
            .collect();
        let last = self.last.entry(topic).or_default();
        *last += 1;
        let (epoch, sequence) = (self.epoch, *last);
        let body = if topic == Topic::HEARTBEAT {
            format!(
                r#"{{"identifier": "rig", "version": "1", "timestamp": 1, "sequences": {{{}}}, "epoch": {epoch}, "sequence": {sequence}}}"#,
                listed.join(", ")
            )
        } else if marked {
            format!(r#"{{"epoch": {epoch}, "sequence": {sequence}}}"#)
        } else {
            format!("raw {} {sequence}", topic.number())
        };
        let message = HistoryMessage::new(topic, epoch, sequence, body.into_bytes());
        self.published.push(message.clone());
        message.into_message()
    }

    fn beat(&mut self) -> Message {
        self.publish(Topic::HEARTBEAT, true)
    }

    /// What a history answers, `size` messages a page.
    fn page(&self, request: &HistoryRequest, size: usize) -> HistoryPage {
        let (verdict, after) = match &request.start {
            HistoryStart::Position(position) if position.epoch != self.epoch => {
                (Verdict::OtherEpoch, BTreeMap::new())
            }
            HistoryStart::Position(position) => (
                self.verdict(&position.sequences),
                position.sequences.clone(),
            ),
            HistoryStart::Sequence(number) => {
                let all = self.last.keys();
                let after = all
                    .map(|topic| (*topic, number.saturating_sub(1)))
                    .collect();
                (self.verdict(&after), after)
            }
            _ => (Verdict::Resumed, BTreeMap::new()),
        };
        let from = request.cursor.as_ref().map_or(0, |at| at.parse().unwrap());
        let mut page = HistoryPage::new(verdict, self.epoch);
        for (at, message) in self.published.iter().enumerate().skip(from) {
            let HistoryMessage {
                topic, sequence, ..
            } = message;
            let of = |numbers: &BTreeMap<Topic, u64>, none| *numbers.get(topic).unwrap_or(&none);
            let asked = request.wants(*topic)
                && *sequence > of(&after, 0)
                && *sequence > of(&self.cleaned, 0)
                && *sequence <= of(&request.until, u64::MAX);
            if !asked {
                continue;
            }
            if page.messages.len() == size {
                page.more = true;
                page.cursor = Some(at.to_string());
                return page;
            }
            page.messages.push(message.clone());
        }
        page
    }

    fn verdict(&self, after: &BTreeMap<Topic, u64>) -> Verdict {
        let cut: BTreeMap<_, _> = self
            .cleaned
            .iter()
            .filter(|(topic, cleaned)| after.get(topic).copied().unwrap_or(0) < **cleaned)
            .map(|(topic, cleaned)| (*topic, cleaned + 1))
            .collect();
        if cut.is_empty() {
            Verdict::Resumed
        } else {
            Verdict::CutShort(cut)
        }
    }
}

/// A subscriber: what its thread has, and what its reader got.
struct Subscriber {
    tracker: Tracker,
    join: Join,
    got: Vec<Notice>,
    page: usize,
}

impl Subscriber {
    fn new(start: HistoryStart, topics: &[Topic], limits: Limits, page: usize) -> Self {
        let patience = Patience {
            fixed: None,
            interval: Duration::from_secs(5),
        };
        Self {
            tracker: Tracker::new(topics, patience),
            join: Join::new(start, topics, limits, true),
            got: Vec::new(),
            page,
        }
    }

    fn takes(&mut self, message: &Message, service: &Service) {
        let mut notices = Vec::new();
        self.tracker.handle(Instant::now(), message, &mut notices);
        for notice in notices {
            self.arrives(notice, service);
        }
        if message.topic == Topic::HEARTBEAT {
            self.join.heard(&self.tracker);
        }
        if self.tracker.wants(message.topic) {
            self.arrives(Notice::Message(message.clone()), service);
        }
    }

    fn arrives(&mut self, notice: Notice, service: &Service) {
        // As the follower's thread waits for the other.
        while !self.join.has_room() {
            self.step(service);
        }
        self.join.arrive(notice, &self.tracker);
    }

    /// One step of the joining thread; `false` when it would wait.
    fn step(&mut self, service: &Service) -> bool {
        match self.join.step() {
            Step::Hand(notices) => self.got.extend(notices),
            Step::Ask(request) => self.join.answered(Ok(service.page(&request, self.page))),
            Step::Wait => return false,
        }
        true
    }

    fn finish(&mut self, service: &Service) {
        while self.step(service) {}
    }

    /// The bodies of one topic, in the order in which they came.
    fn bodies(&self, topic: Topic) -> Vec<Vec<u8>> {
        let messages = self.got.iter().filter_map(|notice| match notice {
            Notice::Message(message) if message.topic == topic => Some(message.body.clone()),
            _ => None,
        });
        messages.collect()
    }

    fn verdicts(&self) -> Vec<&Notice> {
        let told =
            |notice: &&Notice| !matches!(notice, Notice::Message(_) | Notice::Connected { .. });
        self.got.iter().filter(told).collect()
    }
}

fn large() -> Limits {
    Limits {
        messages: 1_000,
        bytes: 1 << 20,
    }
}

fn published(service: &Service, topic: Topic, from: u64) -> Vec<Vec<u8>> {
    let all = service.published.iter();
    all.filter(|message| message.topic == topic && message.sequence >= from)
        .map(|message| message.body.clone())
        .collect()
}

fn with_events(count: usize) -> Service {
    let mut service = Service::new(EPOCH);
    for at in 0..count {
        service.publish(Topic::EVENT, at % 3 != 2);
    }
    service
}

#[test]
fn history_comes_first_and_then_what_is_published() {
    let mut service = with_events(10);
    let start = HistoryStart::Position(Position::new(EPOCH).with(Topic::EVENT, 4));
    let mut subscriber = Subscriber::new(start, &[Topic::EVENT], large(), 3);
    let early = service.publish(Topic::EVENT, true);
    subscriber.takes(&early, &service);
    let beat = service.beat();
    subscriber.takes(&beat, &service);
    let live = service.publish(Topic::EVENT, false);
    subscriber.takes(&live, &service);
    subscriber.finish(&service);
    assert_eq!(subscriber.verdicts(), [&Notice::Resumed]);
    assert_eq!(
        subscriber.bodies(Topic::EVENT),
        published(&service, Topic::EVENT, 5)
    );
}

#[test]
fn position_of_another_start_is_told_and_this_start_comes_whole() {
    let mut service = with_events(4);
    let start = HistoryStart::Position(Position::new(EPOCH - 1).with(Topic::EVENT, 900));
    let mut subscriber = Subscriber::new(start, &[Topic::EVENT], large(), 3);
    let beat = service.beat();
    subscriber.takes(&beat, &service);
    subscriber.finish(&service);
    let told = Notice::OtherEpoch { epoch: EPOCH };
    assert_eq!(subscriber.verdicts(), [&told]);
    assert_eq!(
        subscriber.bodies(Topic::EVENT),
        published(&service, Topic::EVENT, 1)
    );
}

#[test]
fn what_is_no_longer_kept_is_cut_short_and_no_gap() {
    let mut service = with_events(9);
    service.cleaned.insert(Topic::EVENT, 6);
    let start = HistoryStart::Sequence(2);
    let mut subscriber = Subscriber::new(start, &[Topic::EVENT], large(), 3);
    let beat = service.beat();
    subscriber.takes(&beat, &service);
    subscriber.finish(&service);
    let told = Notice::CutShort {
        topic: Topic::EVENT,
        at: 7,
    };
    assert_eq!(subscriber.verdicts(), [&told]);
    assert_eq!(
        subscriber.bodies(Topic::EVENT),
        published(&service, Topic::EVENT, 7)
    );
}

#[test]
fn hole_in_the_history_is_a_gap() {
    let mut service = with_events(9);
    service
        .published
        .retain(|message| !matches!(message.sequence, 4 | 5 | 9));
    let mut subscriber = Subscriber::new(HistoryStart::Sequence(1), &[Topic::EVENT], large(), 3);
    let beat = service.beat();
    subscriber.takes(&beat, &service);
    subscriber.finish(&service);
    assert_eq!(
        subscriber.verdicts(),
        [
            &Notice::Resumed,
            &gap(Topic::EVENT, 4, 2),
            &gap(Topic::EVENT, 9, 1)
        ]
    );
}

#[test]
fn service_without_history_is_told_of_and_nothing_that_came_is_lost() {
    let mut service = with_events(3);
    let mut subscriber = Subscriber::new(HistoryStart::Beginning, &[Topic::EVENT], large(), 3);
    for message in [
        service.publish(Topic::EVENT, true),
        service.beat(),
        service.publish(Topic::EVENT, true),
    ] {
        subscriber.takes(&message, &service);
    }
    loop {
        match subscriber.join.step() {
            Step::Hand(notices) => subscriber.got.extend(notices),
            Step::Ask(_) => subscriber.join.answered(Err(RpcError::NoHistory {
                reason: "no".to_owned(),
            })),
            Step::Wait => break,
        }
    }
    let told = Notice::NoHistory {
        reason: "no".to_owned(),
    };
    assert_eq!(subscriber.verdicts(), [&told]);
    assert_eq!(
        subscriber.bodies(Topic::EVENT),
        published(&service, Topic::EVENT, 4)
    );
    // A later loss is told as it is.
    let _lost = service.publish(Topic::EVENT, true);
    let seen = service.publish(Topic::EVENT, true);
    subscriber.takes(&seen, &service);
    subscriber.finish(&service);
    assert_eq!(subscriber.verdicts(), [&told, &gap(Topic::EVENT, 6, 1)]);
}

#[test]
fn service_that_numbers_nothing_is_told_of() {
    let service = Service::new(EPOCH);
    let mut subscriber = Subscriber::new(HistoryStart::Beginning, &[], large(), 3);
    let event = Message::of(Topic::EVENT, b"{}".to_vec());
    let beat = br#"{"identifier": "rig", "version": "0.12.0", "timestamp": 1}"#;
    let beat = Message::of(Topic::HEARTBEAT, beat.to_vec());
    for message in [&event, &beat, &event] {
        subscriber.takes(message, &service);
    }
    subscriber.finish(&service);
    assert!(matches!(
        subscriber.verdicts()[..],
        [Notice::NoHistory { .. }]
    ));
    assert_eq!(subscriber.bodies(Topic::EVENT).len(), 2);
}

#[test]
fn unanswered_page_is_asked_for_again_after_a_heartbeat_and_not_for_ever() {
    let mut service = with_events(3);
    let mut subscriber = Subscriber::new(HistoryStart::Beginning, &[Topic::EVENT], large(), 3);
    let failed = || RpcError::NoService {
        endpoint: "tcp://rig".to_owned(),
        waited: Duration::from_secs(2),
    };
    for round in 1..=MAX_FAILURES {
        let beat = service.beat();
        subscriber.takes(&beat, &service);
        let Step::Ask(_) = next_but_notices(&mut subscriber) else {
            panic!("a request in round {round}");
        };
        subscriber.join.answered(Err(failed()));
        let after = next_but_notices(&mut subscriber);
        assert!(matches!(after, Step::Wait), "{after:?}");
    }
    assert!(matches!(
        subscriber.verdicts()[..],
        [Notice::NoHistory { .. }]
    ));
}

fn next_but_notices(subscriber: &mut Subscriber) -> Step {
    loop {
        match subscriber.join.step() {
            Step::Hand(notices) => subscriber.got.extend(notices),
            other => return other,
        }
    }
}

#[test]
fn restart_while_history_is_read_begins_anew() {
    let mut old = with_events(8);
    let start = HistoryStart::Position(Position::new(EPOCH));
    let mut subscriber = Subscriber::new(start, &[Topic::EVENT], large(), 3);
    let beat = old.beat();
    subscriber.takes(&beat, &old);
    assert!(subscriber.step(&old), "the first notice");
    assert!(subscriber.step(&old), "the first page");
    let mut new = Service::new(EPOCH + 5);
    new.publish(Topic::EVENT, true);
    new.publish(Topic::EVENT, true);
    let beat = new.beat();
    subscriber.takes(&beat, &new);
    let live = new.publish(Topic::EVENT, true);
    subscriber.takes(&live, &new);
    subscriber.finish(&new);
    let restarted = Notice::Restarted { epoch: EPOCH + 5 };
    assert_eq!(
        subscriber.verdicts(),
        [&Notice::Resumed, &gap(Topic::EVENT, 4, 5), &restarted]
    );
    let mut expected = published(&old, Topic::EVENT, 1);
    expected.truncate(3);
    expected.extend(published(&new, Topic::EVENT, 1));
    assert_eq!(subscriber.bodies(Topic::EVENT), expected);
}

#[derive(Clone, Debug)]
struct Sent {
    /// The last is the heartbeat.
    topic: usize,
    marked: bool,
    /// Steps of the joining thread behind it.
    steps: usize,
    /// Lost on the wire.
    lost: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0_usize..7, any::<bool>(), 0_usize..3, 0_u8..6).prop_map(|(topic, marked, steps, lost)| Sent {
        topic: topic.min(3),
        marked,
        steps,
        lost: lost == 0,
    })
}

proptest! {
    /// Wherever the stream is split between history and wire, in whatever order the subscriptions arrive, however small buffer
    /// and pages are and whatever the wire loses, the reader gets every message exactly once and in order.
    #[test]
    fn every_message_comes_exactly_once_and_in_order(
        stream in prop::collection::vec(sent(), 1..120),
        split in 0_usize..120,
        late in prop::array::uniform4(0_usize..6),
        from in 0_usize..4,
        page in 1_usize..9,
        buffer in 1_usize..12,
        everything: bool,
        lossy: bool,
    ) {
        let topics: &[Topic] = if everything { &[] } else { &TOPICS };
        let before = 3_u64;
        let start = match from {
            0 => HistoryStart::Beginning,
            1 => HistoryStart::Sequence(1 + before),
            2 => HistoryStart::Since(std::time::UNIX_EPOCH),
            _ => HistoryStart::Position(
                TOPICS.iter().fold(Position::new(EPOCH), |position, topic| position.with(*topic, before))),
        };
        let skipped = if matches!(from, 1 | 3) { before } else { 0 };
        let mut service = Service::new(EPOCH);
        for topic in TOPICS {
            for _ in 0..before {
                service.publish(topic, false);
            }
        }
        let limits = Limits { messages: buffer, bytes: 1 << 20 };
        let mut subscriber = Subscriber::new(start, topics, limits, page);
        // The heartbeats of this wire are of the fourth topic; the subscription to them arrives last.
        let hears_beats = split + late.iter().max().copied().unwrap_or(0);
        for (at, sent) in stream.iter().enumerate() {
            let topic = TOPICS.get(sent.topic).copied().unwrap_or(Topic::HEARTBEAT);
            let arrives = if topic == Topic::HEARTBEAT {
                at >= hears_beats
            } else {
                at >= split + late[sent.topic]
            };
            // Where a body without a number is lost, or comes behind a loss, nobody knows which one it was.
            let message = service.publish(topic, sent.marked || lossy);
            if arrives && !(sent.lost && lossy) {
                subscriber.takes(&message, &service);
            }
            for _ in 0..sent.steps {
                subscriber.step(&service);
            }
        }
        // A heartbeat at the arrival, and one at the end.
        for _ in 0..2 {
            let beat = service.beat();
            subscriber.takes(&beat, &service);
        }
        subscriber.finish(&service);
        for topic in TOPICS {
            prop_assert_eq!(
                subscriber.bodies(topic),
                published(&service, topic, skipped + 1),
                "{}", topic
            );
        }
        prop_assert!(
            subscriber.verdicts().iter().all(|notice| matches!(notice, Notice::Resumed)),
            "{:?}", subscriber.verdicts()
        );
    }
}
