//! One connection, without a socket.

use super::*;
use crate::event::{EventId, EventType, Timestamp};
use crate::eventer::chatter::Received;

#[test]
fn requests_wait_for_the_answers_before_them_and_registrations_do_not() {
    let mut ends = Ends::welcome(limits());
    let asked = [
        ends.ask(&register("a"), false),
        ends.ask(&register("b"), true),
        ends.ask(&query(), false),
        ends.ask(&register("c"), false),
    ];
    assert!(matches!(ends.step(), Some(Step::Register(_))));
    assert!(matches!(ends.step(), Some(Step::Register(_))));
    assert!(ends.step().is_none());
    ends.server.registered(Ok(events("a"))).unwrap();
    assert!(ends.step().is_none());
    ends.server.registered(Ok(events("b"))).unwrap();
    assert!(matches!(ends.step(), Some(Step::Query(_))));
    assert!(ends.step().is_none());
    ends.server.queried(b"\x80\x00").unwrap();
    assert!(matches!(ends.step(), Some(Step::Register(_))));
    ends.server.registered(Err(StoreError::Closed)).unwrap();
    assert_eq!(
        ends.answers(),
        [
            (asked[0], message::REGISTER_RES.to_owned()),
            (asked[2], message::QUERY_RES.to_owned()),
            (asked[3], message::REGISTER_RES.to_owned()),
        ]
    );
}

#[test]
fn failure_without_an_engine_waits_for_the_answers_before_it() {
    let mut ends = Ends::welcome(limits());
    let asked = ["a", "b", "c"].map(|of| ends.ask(&register(of), false));
    for _ in 0..3 {
        assert!(ends.step().is_some());
    }
    ends.server.not_registered().unwrap();
    assert!(ends.answers().is_empty());
    ends.server.registered(Ok(events("a"))).unwrap();
    assert_eq!(ends.answers().len(), 1);
    ends.server.registered(Ok(events("b"))).unwrap();
    let answered: Vec<_> = ends.answers().into_iter().map(|(asked, _)| asked).collect();
    assert_eq!(answered, asked[1..]);
    ends.ask(&register("d"), false);
    assert!(ends.step().is_some());
    ends.server.not_registered().unwrap();
    assert_eq!(ends.answers().len(), 1);
}

#[test]
fn full_waiting_room_stops_reading_and_pings_are_answered_until_then() {
    let mut limits = limits();
    limits.max_pending = 2;
    let mut ends = Ends::welcome(limits);
    for _ in 0..4 {
        ends.ask(&query(), false);
    }
    assert!(matches!(ends.step(), Some(Step::Query(_))));
    assert!(ends.step().is_none());
    assert!(!ends.server.wants_read());
    assert_eq!(
        ends.server.deadline(),
        None,
        "who is not read is not pinged"
    );
    ends.server.queried(b"\x80\x00").unwrap();
    assert!(ends.step().is_some());
    assert!(ends.step().is_none());
    assert!(!ends.server.wants_read(), "the fourth has moved up");
    ends.server.queried(b"\x80\x00").unwrap();
    assert!(ends.step().is_some());
    assert!(ends.step().is_none());
    assert!(ends.server.wants_read());
}

#[test]
fn half_full_queue_holds_requests_up_until_something_is_written() {
    let mut limits = limits();
    limits.send_queue = 100;
    let mut ends = Ends::welcome(limits);
    ends.server
        .notify("HatEventer.MsgEventsNotify", &[0; 60], None)
        .unwrap();
    ends.ask(&query(), false);
    assert!(ends.step().is_none() && !ends.server.wants_read());
    let len = ends.server.out.len();
    ends.server.out.wrote(len - 10);
    assert!(ends.step().is_some() && ends.server.wants_read());
}

#[test]
fn client_that_has_left_is_over_once_all_is_done() {
    let mut ends = Ends::welcome(limits());
    ends.ask(&register("a"), false);
    ends.server.end(Leave::Gone);
    assert!(!ends.server.wants_read());
    assert!(ends.step().is_some());
    assert!(ends.server.take_end().is_none());
    ends.server.registered(Ok(events("a"))).unwrap();
    assert!(ends.server.take_end().is_none());
    ends.answers();
    assert!(matches!(ends.server.take_end(), Some(Leave::Gone)));
}

#[test]
fn refused_client_has_half_a_second_to_read_why() {
    let mut ends = Ends::new(limits());
    ends.ask(&hello(), false);
    assert!(matches!(ends.step(), Some(Step::Hello(_))));
    let now = ends.now;
    ends.server.refuse("no", now).unwrap();
    ends.answers();
    assert!(ends.server.take_end().is_none());
    assert_eq!(ends.server.deadline(), Some(now + FAREWELL));
    ends.server.tick(now + FAREWELL / 2).unwrap();
    let end = ends.server.tick(now + FAREWELL);
    assert!(matches!(end, Err(Leave::Refused { .. })));
    let mut ends = Ends::new(limits());
    ends.ask(&hello(), false);
    ends.step();
    ends.server.refuse("no", now).unwrap();
    ends.answers();
    ends.server.end(Leave::Gone);
    assert!(matches!(
        ends.server.take_end(),
        Some(Leave::Refused { .. })
    ));
}

#[test]
fn stranger_has_its_time_and_some_bytes() {
    let mut ends = Ends::new(limits());
    let until = ends.now + limits().hello_timeout;
    assert_eq!(ends.server.deadline(), Some(until));
    assert!(matches!(
        ends.server.tick(until),
        Err(Leave::NoHello { .. })
    ));
    let now = ends.now;
    ends.server.receive(&vec![1; HELLO_BYTES], now).unwrap();
    let long = ends.server.receive(&[1], now);
    assert!(matches!(long, Err(Leave::LongHello { .. })));
}

#[test]
fn messages_out_of_place_end_the_connection() {
    let of = |ends: &mut Ends, message: &Message| {
        ends.ask(message, false);
        ends.server.next_step().unwrap_err().describe()
    };
    let mut ends = Ends::new(limits());
    assert_eq!(
        of(&mut ends, &query()),
        "it has sent a first message that is no MsgInitReq"
    );
    let mut ends = Ends::welcome(limits());
    assert_eq!(of(&mut ends, &hello()), "it has sent a second MsgInitReq");
    let mut ends = Ends::welcome(limits());
    let status = Message::StatusNotify(Status::Standby);
    assert_eq!(
        of(&mut ends, &status),
        "it has sent a message that servers send"
    );
    let mut ends = Ends::welcome(limits());
    ends.ask(&Message::EventsAck, false);
    assert!(
        ends.step().is_none(),
        "an acknowledgement of nothing is ignored"
    );
}

#[test]
fn client_that_takes_nothing_is_given_up_after_its_time() {
    let mut ends = Ends::welcome(limits());
    let later = ends.now;
    ends.server
        .notify("HatEventer.MsgEventsNotify", &[0; 60], None)
        .unwrap();
    ends.server.out.stall(later);
    let until = later + limits().send_timeout;
    assert_eq!(ends.server.deadline(), Some(until));
    ends.server.out.wrote(1);
    ends.server.out.stall(until);
    ends.server.tick(until).unwrap();
    let slow = ends.server.tick(until + limits().send_timeout);
    assert!(matches!(slow, Err(Leave::Slow { .. })));
}

/// A client, and our end of its connection.
struct Ends {
    client: Chatter,
    server: Connection,
    now: Instant,
}

impl Ends {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            client: Chatter::new(limits.chatter, now),
            server: Connection::new(limits, now),
            now,
        }
    }

    fn welcome(limits: Limits) -> Self {
        let mut ends = Self::new(limits);
        ends.ask(&hello(), false);
        assert!(matches!(ends.step(), Some(Step::Hello(_))));
        ends.server.welcome(Status::Operational).unwrap();
        assert_eq!(ends.answers().len(), 1);
        ends
    }

    fn ask(&mut self, message: &Message, last: bool) -> Conversation {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut data);
        let asked = self.client.begin(message.kind(), &data, last, &mut out);
        self.server.receive(&out, self.now).unwrap();
        asked.unwrap()
    }

    fn step(&mut self) -> Option<Step> {
        self.server.next_step().unwrap()
    }

    /// What the client gets by now.
    fn answers(&mut self) -> Vec<(Conversation, String)> {
        let out = self.server.out.unwritten().to_vec();
        self.server.out.wrote(out.len());
        self.client.receive(&out, self.now);
        let mut answers = Vec::new();
        while let Some(Received {
            conversation, kind, ..
        }) = self.client.next(&mut Vec::new()).unwrap()
        {
            answers.push((conversation, kind.to_owned()));
        }
        answers
    }
}

fn limits() -> Limits {
    Limits {
        chatter: ChatterOptions::default(),
        max_pending: 100,
        send_queue: 1_000_000,
        send_timeout: Duration::from_secs(20),
        hello_timeout: Duration::from_secs(5),
    }
}

fn hello() -> Message {
    Message::InitReq(InitReq::new("n"))
}

fn register(event_type: &str) -> Message {
    Message::RegisterReq(vec![RegisterEvent::new(EventType::from(event_type))])
}

fn query() -> Message {
    Message::QueryReq(crate::event::QueryLatestParams::default().into())
}

fn events(event_type: &str) -> Vec<Arc<Event>> {
    let id = EventId::new(1, 1, 1);
    let event = Event::new(id, EventType::from(event_type), Timestamp::new(0, 0));
    vec![Arc::new(event)]
}
