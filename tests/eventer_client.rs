//! The client of the eventer against servers that are told what to do, message by message.

mod eventer_support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use acqbus::event::{
    EventId, EventType, QueryLatestParams, QueryParams, QueryResult, QueryServerParams,
    QueryTimeseriesParams, Status, Subscription,
};
use acqbus::eventer::message::Message;
use acqbus::eventer::{ClientOptions, EventerClient, EventerError, Notice, Token};
use acqbus::relay::{Registrar, ServerRegistrar};
use acqbus::store::{Backend, Callbacks, MemoryBackend};
use crossbeam_channel::bounded;
use eventer_support::scripted::{Peer, Scripted};
use eventer_support::{PATIENCE, event, events, next, to_register, until};

/// A subscriber that asks for no history.
fn plain(server: &Scripted) -> ClientOptions {
    ClientOptions::new(server.address().to_string())
        .name("test/client")
        .subscription(Subscription::all())
        .resume(false)
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
}

/// Connects to a server that does what the script says, with the client that it has let in.
fn scripted<T: Send + 'static>(
    options: impl FnOnce(ClientOptions) -> ClientOptions,
    script: impl FnOnce(Scripted, Peer) -> T + Send + 'static,
) -> (EventerClient, thread::JoinHandle<T>) {
    let server = Scripted::new();
    let options = options(plain(&server));
    let script = thread::spawn(move || {
        let peer = server.welcome(Status::Operational);
        script(server, peer)
    });
    (EventerClient::connect(options).unwrap(), script)
}

#[test]
fn greeting_says_who_the_client_is_and_what_it_wants() {
    let server = Scripted::new();
    let options = plain(&server)
        .token(Token::new("secret"))
        .subscription(Subscription::new(["a/*", "b"].map(EventType::from)).unwrap())
        .server_id(7)
        .persisted(true);
    let script = thread::spawn(move || {
        let mut peer = server.accept();
        let (conversation, greeting) = peer.hear_greeting();
        peer.say(conversation, &Message::InitRes(Ok(Status::Starting)));
        assert!(peer.try_hear().is_none(), "the client ends without a word");
        greeting
    });
    let client = EventerClient::connect(options).unwrap();
    assert_eq!(client.status(), Status::Starting);
    assert!(client.is_connected());
    let status = Status::Starting;
    assert_eq!(next(&client), Notice::Connected { status });
    client.close();
    assert!(!client.is_connected());
    assert!(client.register(vec![]).unwrap_err().is_closed());
    let greeting = script.join().unwrap();
    assert_eq!(greeting.client_name, "test/client");
    assert_eq!(greeting.client_token.as_deref(), Some("secret"));
    let types = ["a/*", "b"].map(EventType::from);
    assert_eq!(greeting.subscriptions, types);
    assert_eq!((greeting.server_id, greeting.persisted), (Some(7), true));
}

#[test]
fn refused_client_is_told_the_words_of_the_server() {
    let server = Scripted::new();
    let options = plain(&server).token(Token::new("wrong"));
    let script = thread::spawn(move || {
        let mut peer = server.accept();
        let (conversation, _) = peer.hear_greeting();
        let refusal = Message::InitRes(Err("invalid client token".to_owned()));
        peer.say(conversation, &refusal);
        assert!(peer.try_hear().is_none());
    });
    let error = EventerClient::connect(options).unwrap_err();
    assert!(error.is_refused(), "{error}");
    let text = error.to_string();
    assert!(text.ends_with(" refuses: invalid client token"), "{text}");
    assert!(!text.contains("wrong"));
    script.join().unwrap();
}

#[test]
fn greeting_that_is_not_answered_as_it_should_be_is_an_error() {
    type Answer = fn(&mut Peer);
    let cases: [(&str, Answer); 4] = [
        ("garbage", |peer| peer.write(&[1, 3, b'x', b'y', b'z'])),
        ("a frame without bytes", |peer| peer.write(&[0])),
        ("a notification", |peer| {
            peer.tell(&Message::StatusNotify(Status::Standby), true);
        }),
        ("another conversation", |peer| {
            peer.tell(&Message::InitRes(Ok(Status::Standby)), true);
        }),
    ];
    for (what, answer) in cases {
        let server = Scripted::new();
        let options = plain(&server);
        let script = thread::spawn(move || {
            let mut peer = server.accept();
            peer.hear_greeting();
            answer(&mut peer);
            assert!(peer.try_hear().is_none());
        });
        let error = EventerClient::connect(options).unwrap_err();
        assert!(error.is_protocol(), "{what}: {error}");
        script.join().unwrap();
    }
}

#[test]
fn first_connection_that_cannot_be_made_is_not_tried_again() {
    let server = Scripted::new();
    let options = plain(&server);
    let silent = options.clone().connect_timeout(Duration::from_millis(50));
    let error = EventerClient::connect(silent).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    drop(server);
    let error = EventerClient::connect(options).unwrap_err();
    assert!(error.is_connection(), "{error}");
    let options = ClientOptions::new("127.0.0.1:no port");
    let error = EventerClient::connect(options).unwrap_err();
    assert!(matches!(error, EventerError::Option { .. }), "{error}");
}

#[test]
fn requests_are_answered_in_whichever_order_the_answers_come() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            let (one, two) = (peer.hear(), peer.hear());
            for heard in [two, one] {
                let answer = match heard.message {
                    Message::RegisterReq(events) => {
                        assert_eq!(events, [to_register("a")]);
                        Message::RegisterRes(Some(vec![event(1, 2, "a")]))
                    }
                    Message::QueryReq(QueryParams::Latest(_)) => {
                        Message::QueryRes(QueryResult::new(vec![event(1, 1, "b")], true))
                    }
                    other => panic!("{other:?}"),
                };
                assert!(!heard.last);
                peer.say(heard.conversation, &answer);
            }
            let heard = peer.hear();
            peer.say(heard.conversation, &Message::RegisterRes(None));
        },
    );
    thread::scope(|scope| {
        let registered = scope.spawn(|| client.register(vec![to_register("a")]).unwrap());
        let result = client.query(&QueryLatestParams::default().into()).unwrap();
        assert_eq!(result, QueryResult::new(vec![event(1, 1, "b")], true));
        assert_eq!(registered.join().unwrap(), [event(1, 2, "a")]);
    });
    let error = client.register(vec![to_register("a")]).unwrap_err();
    assert!(
        matches!(error, EventerError::NotRegistered { .. }),
        "{error}"
    );
    script.join().unwrap();
}

#[test]
fn close_sends_what_was_registered_without_an_answer() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            let mut count = 0;
            // Unread bytes must not take away what is on its way here.
            peer.tell(&Message::EventsNotify(vec![event(1, 1, "a")]), true);
            while let Some(heard) = peer.try_hear() {
                assert!(heard.last && heard.is_first);
                count += 1;
            }
            count
        },
    );
    for _ in 0..5000 {
        client.register_unanswered(vec![to_register("a")]).unwrap();
    }
    drop(client);
    assert_eq!(script.join().unwrap(), 5000);
}

#[test]
fn notifications_come_in_order_and_are_acknowledged_where_that_is_wanted() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            peer.tell(&Message::EventsNotify(vec![event(1, 1, "a")]), true);
            peer.tell(&Message::StatusNotify(Status::Stopping), true);
            let both = vec![event(1, 2, "a"), event(1, 3, "b")];
            let wanted = peer.tell(&Message::EventsNotify(both), false);
            let heard = peer.hear();
            assert_eq!(heard.message, Message::EventsAck);
            assert_eq!(heard.conversation, wanted);
            assert!(heard.last);
            assert!(peer.try_hear().is_none());
        },
    );
    let notices = until(&client, |notice| {
        events(std::slice::from_ref(notice)).len() == 2
    });
    let status = Status::Operational;
    let expected = [
        Notice::Connected { status },
        Notice::Events(vec![event(1, 1, "a")]),
        Notice::Status(Status::Stopping),
        Notice::Events(vec![event(1, 2, "a"), event(1, 3, "b")]),
    ];
    assert_eq!(notices, expected);
    assert_eq!(client.status(), Status::Stopping);
    drop(client);
    script.join().unwrap();
}

#[test]
fn request_at_a_cut_fails_once_and_the_next_one_waits_for_the_new_connection() {
    let (client, script) = scripted(
        |options| options,
        |server, mut peer| {
            peer.hear();
            drop(peer);
            let mut peer = server.welcome(Status::Standby);
            let heard = peer.hear();
            assert_eq!(heard.message, Message::RegisterReq(vec![to_register("b")]));
            let answer = Message::RegisterRes(Some(vec![event(1, 9, "b")]));
            peer.say(heard.conversation, &answer);
            assert!(peer.try_hear().is_none());
        },
    );
    let error = client.register(vec![to_register("a")]).unwrap_err();
    assert!(error.is_connection(), "{error}");
    let text = error.to_string();
    assert!(text.ends_with("the server closed the connection"), "{text}");
    let registered = client.register(vec![to_register("b")]).unwrap();
    assert_eq!(registered, [event(1, 9, "b")]);
    let notices = until(&client, |notice| {
        let status = Status::Standby;
        *notice == Notice::Connected { status }
    });
    assert!(
        matches!(&notices[1], Notice::Disconnected { reason } if reason == "the server closed the connection")
    );
    drop(client);
    script.join().unwrap();
}

#[test]
fn without_reconnecting_the_end_of_the_connection_is_the_end() {
    let (client, script) = scripted(|options| options.reconnect(false), |_, _| ());
    script.join().unwrap();
    let notices: Vec<_> = client.notices().iter().collect();
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(matches!(notices[1], Notice::Disconnected { .. }));
    let error = client.register(vec![]).unwrap_err();
    assert!(error.is_connection(), "{error}");
}

#[test]
fn what_came_before_the_end_is_handed_over_however_late_it_is_read() {
    let told: Vec<_> = (1..=50).map(|session| event(1, session, "a")).collect();
    let tell = told.clone();
    let (client, script) = scripted(
        |options| options.reconnect(false).notice_capacity(1),
        move |_server, mut peer| {
            for event in tell {
                peer.tell(&Message::EventsNotify(vec![event]), true);
            }
        },
    );
    script.join().unwrap();
    let params = QueryParams::from(QueryLatestParams::default());
    client.query(&params).unwrap_err();
    // Nobody has read anything until the end.
    let notices: Vec<_> = client.notices().iter().collect();
    assert_eq!(events(&notices), told);
    let last = notices.last();
    assert!(
        matches!(last, Some(Notice::Disconnected { .. })),
        "{last:?}"
    );
}

#[test]
fn recorder_hears_at_once_that_the_server_is_gone() {
    // Longer than anybody would wait for this test.
    let patience = Duration::from_secs(24 * 3600);
    let (client, script) = scripted(|options| options.timeout(patience), |_, _| ());
    script.join().unwrap();
    until(&client, |notice| {
        matches!(notice, Notice::Disconnected { .. })
    });
    let error = client.check_connection().unwrap_err();
    assert!(error.is_connection(), "{error}");
    let client = Arc::new(client);
    let mut registrar = ServerRegistrar::new(Arc::clone(&client));
    let error = registrar.register(&[to_register("a")]).unwrap_err();
    assert!(!error.is_final(), "{error}");
    client.close();
    let error = registrar.register(&[to_register("a")]).unwrap_err();
    assert!(error.is_final(), "{error}");
}

#[test]
fn late_answer_is_not_taken_for_another_one() {
    let (client, script) = scripted(
        |options| options.timeout(Duration::from_millis(200)),
        |_, mut peer| {
            let late = peer.hear();
            let prompt = peer.hear();
            let answer = Message::RegisterRes(Some(vec![event(1, 1, "late")]));
            peer.say(late.conversation, &answer);
            let answer = Message::RegisterRes(Some(vec![event(1, 2, "prompt")]));
            peer.say(prompt.conversation, &answer);
            assert!(peer.try_hear().is_none());
        },
    );
    let error = client.register(vec![to_register("late")]).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let registered = client.register(vec![to_register("prompt")]).unwrap();
    assert_eq!(registered, [event(1, 2, "prompt")]);
    drop(client);
    script.join().unwrap();
}

#[test]
fn answer_of_another_type_ends_the_connection() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            let heard = peer.hear();
            let answer = Message::QueryRes(QueryResult::default());
            peer.say(heard.conversation, &answer);
            assert!(peer.try_hear().is_none());
        },
    );
    let error = client.register(vec![]).unwrap_err();
    assert!(error.to_string().contains("MsgQueryRes"), "{error}");
    script.join().unwrap();
    drop(client);
}

#[test]
fn server_that_is_silent_is_given_up() {
    let brief = Duration::from_millis(30);
    let (client, script) = scripted(
        move |options| options.keep_alive(brief, brief),
        // It answers nothing, not even a ping.
        |server, peer| {
            server.accept();
            drop(peer);
        },
    );
    let notices = until(&client, |notice| {
        matches!(notice, Notice::Disconnected { .. })
    });
    let Notice::Disconnected { reason } = &notices[1] else {
        panic!("{notices:?}");
    };
    assert!(reason.contains("silent for too long"), "{reason}");
    script.join().unwrap();
}

#[test]
fn server_that_answers_pings_is_not_given_up() {
    let (answered, has_answered) = bounded(1);
    let (client, script) = scripted(
        |options| options.keep_alive(Duration::from_millis(20), PATIENCE),
        move |_, mut peer| {
            peer.answer_pings(3);
            answered.send(()).unwrap();
            let heard = peer.hear();
            peer.say(heard.conversation, &Message::RegisterRes(Some(vec![])));
            assert!(peer.try_hear().is_none());
        },
    );
    has_answered.recv().unwrap();
    client.register(vec![]).unwrap();
    let status = Status::Operational;
    assert_eq!(next(&client), Notice::Connected { status });
    assert!(client.notices().is_empty());
    drop(client);
    script.join().unwrap();
}

#[test]
fn requests_are_answered_while_nobody_reads_the_notices() {
    let (client, script) = scripted(
        |options| options.notice_capacity(2),
        |_, mut peer| {
            for session in 1..=1000 {
                let told = Message::EventsNotify(vec![event(1, session, "a")]);
                peer.tell(&told, true);
            }
            let heard = peer.hear();
            peer.say(heard.conversation, &Message::RegisterRes(Some(vec![])));
            assert!(peer.try_hear().is_none());
        },
    );
    assert!(client.register(vec![]).unwrap().is_empty());
    let notices = until(&client, |notice| {
        events(std::slice::from_ref(notice))
            .iter()
            .any(|event| event.id.session == 1000)
    });
    let sessions: Vec<_> = events(&notices)
        .iter()
        .map(|event| event.id.session)
        .collect();
    assert_eq!(sessions, (1..=1000).collect::<Vec<_>>());
    drop(client);
    script.join().unwrap();
}

#[test]
fn client_stops_reading_where_too_much_waits_for_its_reader_and_goes_on_after_it() {
    let (stuck, is_stuck) = bounded(1);
    let (client, script) = scripted(
        |options| options.notice_capacity(1).hold_bytes(1 << 16),
        move |_, mut peer| {
            let many: Vec<_> = (1..=1000).map(|at| event(1, at, "a")).collect();
            let told = peer.tell_until_stuck(&Message::EventsNotify(many));
            stuck.send(told).unwrap();
            peer.finish_telling();
            assert!(peer.try_hear().is_none());
        },
    );
    let told = is_stuck.recv().unwrap();
    let mut count = 0;
    while count < told * 1000 {
        count += events(&[next(&client)]).len();
    }
    client.close();
    script.join().unwrap();
}

#[test]
fn many_threads_share_a_client() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            while let Some(heard) = peer.try_hear() {
                let Message::RegisterReq(events) = heard.message else {
                    panic!("{heard:?}");
                };
                let name = events[0].event_type.to_string();
                let answer = Message::RegisterRes(Some(vec![event(1, 1, &name)]));
                peer.say(heard.conversation, &answer);
            }
        },
    );
    thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for at in 0..200 {
                    let name = format!("{thread}/{at}");
                    let events = client.register(vec![to_register(&name)]).unwrap();
                    assert_eq!(events, [event(1, 1, &name)]);
                }
            });
        }
    });
    drop(client);
    script.join().unwrap();
}

#[test]
fn question_that_servers_answer_by_closing_is_refused_here() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| assert!(peer.try_hear().is_none()),
    );
    let negative = QueryTimeseriesParams::default().max_results(-1);
    let no_type = QueryLatestParams::default().event_types([EventType::from("*/a")]);
    let other = QueryServerParams::new(1).after(EventId::new(2, 1, 1));
    for params in [QueryParams::from(negative), no_type.into(), other.into()] {
        client.query(&params).unwrap_err();
    }
    assert!(client.is_connected());
    drop(client);
    script.join().unwrap();
}

#[test]
fn message_over_the_limit_is_refused_and_the_connection_lives_on() {
    let (client, script) = scripted(
        |options| options.max_frame(1000),
        |_, mut peer| {
            let heard = peer.hear();
            peer.say(heard.conversation, &Message::RegisterRes(Some(vec![])));
        },
    );
    let error = client
        .register(vec![to_register(&"x".repeat(1000))])
        .unwrap_err();
    assert!(
        matches!(error, EventerError::TooLarge { limit: 1000, .. }),
        "{error}"
    );
    client.register(vec![]).unwrap();
    script.join().unwrap();
}

#[test]
fn subscriber_misses_nothing_and_gets_nothing_twice_across_restarts() {
    let store = Arc::new(MemoryBackend::new(Callbacks::default()));
    let keep = |session| {
        let event = event(1, session, "a/b");
        store.register(vec![Arc::clone(&event)].into()).unwrap();
        event
    };
    for session in 1..=10 {
        keep(session);
    }
    let server = Scripted::new();
    let address = server.address();
    let options = plain(&server).resume(true);
    let connecting = thread::spawn(move || EventerClient::connect(options));
    let mut peer = server.welcome(Status::Operational);
    // The first thing that is no question comes from us, when the client is there.
    let answering = Arc::clone(&store);
    let serving = thread::spawn(move || {
        peer.answer_queries(&*answering);
        peer
    });
    let client = connecting.join().unwrap().unwrap();
    client.register_unanswered(vec![]).unwrap();
    let mut peer = serving.join().unwrap();
    peer.tell(&Message::EventsNotify(vec![keep(11)]), true);
    next(&client);
    assert_eq!(next(&client), Notice::Events(vec![event(1, 11, "a/b")]));

    let mut session = 11;
    for _ in 0..3 {
        drop(peer);
        // Some are registered while nobody listens, one after the client is there again and before it asks.
        for _ in 0..5 {
            session += 1;
            keep(session);
        }
        peer = server.welcome(Status::Operational);
        session += 1;
        peer.tell(&Message::EventsNotify(vec![keep(session)]), true);
        let answering = Arc::clone(&store);
        let serving = thread::spawn(move || {
            peer.answer_queries(&*answering);
            peer
        });
        let notices = until(&client, |notice| matches!(notice, Notice::Resumed { .. }));
        assert_eq!(notices.last(), Some(&Notice::Resumed { missed: 6 }));
        let sessions: Vec<_> = events(&notices)
            .iter()
            .map(|event| event.id.session)
            .collect();
        assert_eq!(sessions, (session - 5..=session).collect::<Vec<_>>());
        client.register_unanswered(vec![]).unwrap();
        peer = serving.join().unwrap();
        session += 1;
        peer.tell(&Message::EventsNotify(vec![keep(session)]), true);
        assert_eq!(
            next(&client),
            Notice::Events(vec![event(1, session, "a/b")])
        );
    }
    assert_eq!(server.address(), address);
    drop(client);
}

#[test]
fn close_ends_what_waits() {
    let (client, script) = scripted(
        |options| options,
        |_, mut peer| {
            peer.hear();
            // The request is on its way, and is never answered.
            peer.tell(&Message::StatusNotify(Status::Stopping), true);
            assert!(peer.try_hear().is_none());
        },
    );
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.register(vec![]));
        until(&client, |notice| {
            *notice == Notice::Status(Status::Stopping)
        });
        client.close();
        assert!(waiting.join().unwrap().unwrap_err().is_closed());
    });
    script.join().unwrap();
}
