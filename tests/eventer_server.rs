//! The eventer server over real sockets: whom it takes, what it answers in which order, whom it tells what, when it ends.

use std::time::Duration;

use acqbus::event::{EventType, QueryLatestParams, QueryServerParams, Status};
use acqbus::eventer::message::{InitReq, Message};
use acqbus::eventer::{EventerServer, ServerOptions, Token};
use acqbus::store::{Backend, EngineOptions};

use rig::{LIMIT, RawClient, Rig, any, init, of, types, until};

#[path = "eventer_support/rig.rs"]
mod rig;

#[test]
fn client_registers_asks_and_is_told_before_it_is_answered() {
    let rig = Rig::new();
    let mut client = rig.client("comp/a", &["a/*"]);
    let asked = client.send(&Message::RegisterReq(vec![of("a/b"), of("c")]), false);
    assert_eq!(types(&client.notified()), ["a/b"]);
    let answer = client.next().unwrap();
    assert_eq!((answer.conversation, answer.last), (asked, true));
    let Message::RegisterRes(Some(events)) = answer.message else {
        panic!("{answer:?}");
    };
    assert_eq!(types(&events), ["a/b", "c"]);
    let params = QueryServerParams::new(1);
    let stored = client.query(params).events;
    assert_eq!(
        types(&stored),
        ["event/1/engine", "event/1/eventer/comp/a", "a/b", "c"]
    );
    assert_eq!(stored[1].event_type.len(), 4, "the name is one segment");
    let [info] = &rig.server.clients()[..] else {
        panic!("one client");
    };
    assert_eq!(
        (&*info.name, info.number, info.persisted),
        ("comp/a", 1, false)
    );
    let stats = rig.server.stats();
    assert_eq!((stats.open, stats.requests, stats.events), (1, 3, 2));
}

#[test]
fn token_of_the_server_has_to_be_shown() {
    let options = || ServerOptions::default().token(Some(Token::new("secret")));
    let shown = |token: Option<&str>| {
        let mut hello = InitReq::new("a");
        hello.client_token = token.map(str::to_owned);
        Message::InitReq(hello)
    };
    let refused = Message::InitRes(Err("invalid client token".to_owned()));
    let taken = Message::InitRes(Ok(Status::Operational));
    let rig = Rig::with(options(), EngineOptions::default());
    for (token, answer) in [
        (None, &refused),
        (Some(""), &refused),
        (Some("Secret"), &refused),
        (Some("secret"), &taken),
    ] {
        let mut client = RawClient::connect(rig.address());
        assert_eq!(&client.ask(&shown(token)), answer);
        if answer == &refused {
            client.expect_close();
        }
    }
    assert_eq!(rig.server.stats().unwelcome, 3);
    let rig = Rig::with(
        options().allow_without_token(true),
        EngineOptions::default(),
    );
    assert_eq!(RawClient::connect(rig.address()).ask(&shown(None)), taken);
    assert_eq!(
        RawClient::connect(rig.address()).ask(&shown(Some("x"))),
        refused
    );
    let rig = Rig::new();
    assert_eq!(
        RawClient::connect(rig.address()).ask(&shown(Some(""))),
        refused
    );
}

#[test]
fn beyond_this_machine_it_wants_a_token_or_to_be_told_that_it_is_insecure() {
    let rig = Rig::new();
    let start = |options: ServerOptions| {
        let options = options.bind(([0, 0, 0, 0], 0).into());
        EventerServer::start(options, rig.engine.handle())
    };
    let refused = start(ServerOptions::default()).unwrap_err().to_string();
    assert!(refused.starts_with("bind: 0.0.0.0:0"), "{refused}");
    start(ServerOptions::default().insecure(true)).unwrap();
    start(ServerOptions::default().token(Some(Token::new("x")))).unwrap();
    let taken = ServerOptions::default().bind(rig.address());
    let error = EventerServer::start(taken, rig.engine.handle()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen at {}", rig.address())
    );
}

#[test]
fn clients_that_come_and_go_are_events_for_the_others() {
    let rig = Rig::new();
    let mut watcher = rig.client("watcher", &["event/?/eventer/?"]);
    let other = rig.client("other", &["*"]);
    let came = watcher.notified();
    assert_eq!(types(&came), ["event/1/eventer/other"]);
    let payload = |events: &[std::sync::Arc<acqbus::event::Event>]| {
        let payload = events[0].payload.clone().unwrap();
        payload.as_json().unwrap().as_str().to_owned()
    };
    assert_eq!(payload(&came), "\"CONNECTED\"");
    drop(other);
    assert_eq!(payload(&watcher.notified()), "\"DISCONNECTED\"");
    until("its place is free", || rig.server.stats().open == 1);
}

#[test]
fn status_is_told_and_decides_whether_events_are_registered() {
    let rig = Rig::new();
    let server =
        EventerServer::listen(ServerOptions::default().bind(any()), rig.backend.clone()).unwrap();
    let mut client = RawClient::connect(server.local_addr());
    let answer = client.ask(&Message::InitReq(init("a", &["*"])));
    assert_eq!(answer, Message::InitRes(Ok(Status::Standby)));
    assert_eq!(client.register(vec![of("a")]), None);
    assert_eq!(client.query(QueryLatestParams::default()).events.len(), 1);
    server.set_status(Status::Standby);
    server.set_status(Status::Starting);
    assert_eq!(client.status(), Status::Starting);
    server.set_engine(Some(rig.engine.handle()));
    assert_eq!(client.status(), Status::Operational);
    assert_eq!(client.register(vec![of("a")]).unwrap().len(), 1);
    assert_eq!(client.register(vec![]).unwrap().len(), 0);
    server.set_status(Status::Stopping);
    assert_eq!(client.status(), Status::Stopping);
    assert_eq!(client.register(vec![of("a")]), None);
    server.set_engine(None);
    assert_eq!(client.status(), Status::Standby);
    assert_eq!(server.status(), Status::Standby);
    // An engine that was closed by its owner takes nothing either, and costs no connection.
    server.set_engine(Some(rig.engine.handle()));
    assert_eq!(client.status(), Status::Operational);
    rig.engine.close().unwrap();
    assert_eq!(client.register(vec![of("a")]), None);
}

#[test]
fn answers_come_in_the_order_of_requests_however_many_are_sent_at_once() {
    let rig = Rig::new();
    let mut client = rig.client("a", &[]);
    let mut asked = Vec::new();
    for number in 0..300 {
        if number % 7 == 3 {
            let params = QueryServerParams::new(1).into();
            asked.push(client.send(&Message::QueryReq(params), false));
        } else {
            let events = vec![of("a"); number % 3];
            asked.push(client.send(&Message::RegisterReq(events), false));
        }
    }
    let mut seen = 2;
    for (number, asked) in asked.into_iter().enumerate() {
        let said = client.next().unwrap();
        assert_eq!(said.conversation, asked);
        match said.message {
            Message::RegisterRes(Some(events)) => {
                assert_eq!(events.len(), number % 3);
                seen += events.len();
            }
            // It sees all that was registered before it, and nothing of what is asked behind it.
            Message::QueryRes(result) => assert_eq!(result.events.len(), seen),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn client_that_closes_is_still_done_its_will() {
    let rig = Rig::new();
    let mut client = rig.client("a", &[]);
    for number in 0..500 {
        let event = of(&format!("a/{number}"));
        // Without an answer: one that it has not read when it closes makes the system drop what it has still to send.
        client.send(&Message::RegisterReq(vec![event]), true);
    }
    drop(client);
    until("all is registered, and DISCONNECTED", || {
        let gone = QueryServerParams::new(1).into();
        let events = rig.backend.query(&gone).unwrap().events;
        events.len() == 2 + 500 + 1
    });
    let mut client = rig.client("b", &[]);
    for number in 0..500 {
        let event = of(&format!("b/{number}"));
        client.send(&Message::RegisterReq(vec![event]), number % 2 == 0);
    }
    client.send(
        &Message::QueryReq(QueryLatestParams::default().into()),
        false,
    );
    client.finish();
    for _ in 0..250 {
        let answer = client.next().unwrap().message;
        assert!(matches!(answer, Message::RegisterRes(Some(_))));
    }
    assert!(matches!(
        client.next().unwrap().message,
        Message::QueryRes(_)
    ));
    assert_eq!(client.next(), None);
}

#[test]
fn persisted_clients_are_told_once_events_are_durable() {
    let rig = Rig::new();
    let mut hello = init("durable", &["a"]);
    hello.persisted = true;
    hello.server_id = Some(1);
    let mut durable = RawClient::hello(rig.address(), hello);
    let mut hello = init("other server", &["a"]);
    hello.server_id = Some(2);
    let mut other = RawClient::hello(rig.address(), hello);
    let mut live = rig.client("live", &["a"]);
    let mut source = rig.client("source", &[]);
    source.register(vec![of("a")]).unwrap();
    // A store in memory is as durable as it gets at once.
    assert_eq!(types(&durable.notified()), ["a"]);
    assert_eq!(types(&live.notified()), ["a"]);
    for client in [&mut durable, &mut live, &mut other] {
        assert!(client.next_within(Duration::from_millis(50)).is_err());
    }
}

#[test]
fn stop_answers_what_is_under_way_and_closes() {
    let rig = Rig::new();
    let mut client = rig.client("a", &[]);
    let asked = client.send(&Message::RegisterReq(vec![of("a")]), false);
    until("it is under way", || rig.server.stats().requests == 2);
    rig.server.stop();
    assert_eq!(client.next().unwrap().conversation, asked);
    assert_eq!(client.next(), None);
    rig.server.stop();
    assert_eq!(rig.server.stats().open, 0);
    let events = rig
        .backend
        .query(&QueryServerParams::new(1).into())
        .unwrap();
    assert!(types(&events.events).contains(&"event/1/eventer/a".to_owned()));
    rig.engine.close().unwrap();
    assert!(std::net::TcpStream::connect_timeout(&rig.address(), LIMIT).is_err());
}

#[test]
fn names_of_clients_are_one_segment_whatever_is_in_them() {
    let rig = Rig::new();
    let mut watcher = rig.client("watcher", &["event/*"]);
    let _odd = rig.client("a/?/*", &[]);
    let expected = EventType::new(["event", "1", "eventer", "a/?/*"]);
    assert_eq!(watcher.notified()[0].event_type, expected);
}
