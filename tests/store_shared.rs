//! A store directory that several handles use: one owns it, the others ask it.
//!
//! Handles of one process stand for those of several: the lock of the database and the socket tell them apart no better.
//! Processes, and one that is killed, are in `cli_store.rs`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use acqbus::event::{
    Binary, Event, EventId, EventType, Events, Json, Payload, QueryLatestParams, QueryServerParams,
    QueryTimeseriesParams, Subscription, Timestamp,
};
use acqbus::store::{
    Backend, FollowOptions, Followed, Follower, OpenOptions, StoreConfig, StoreError, StoreHandle,
};

/// How long a test waits for what must come; only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(20);

fn open(dir: &Path) -> StoreHandle {
    StoreHandle::open(dir, OpenOptions::default().patience(LIMIT)).unwrap()
}

/// An owner and a guest.
fn pair(dir: &Path) -> (StoreHandle, StoreHandle) {
    let (owner, guest) = (open(dir), open(dir));
    assert!(owner.is_owner() && !guest.is_owner());
    (owner, guest)
}

fn event(number: i64) -> Arc<Event> {
    let id = EventId::new(1, number, 1);
    let name = if number % 2 == 0 { "even" } else { "odd" };
    let payload = Json::new(format!("{{\"number\":\n {number}.0}}")).unwrap();
    let event = Event::new(
        id,
        EventType::new(["rig", name]),
        Timestamp::new(1000 + number, 0),
    );
    Arc::new(event.with_payload(Payload::Json(payload)))
}

fn events(numbers: impl IntoIterator<Item = i64>) -> Events {
    numbers.into_iter().map(event).collect()
}

fn numbers(events: &[Arc<Event>]) -> Vec<i64> {
    events.iter().map(|event| event.id.session).collect()
}

fn all(store: &dyn Backend) -> Vec<i64> {
    let page = store.query(&QueryServerParams::new(1).into()).unwrap();
    numbers(&page.events)
}

/// The next events of a follower, until there are so many.
fn follow(follower: &Follower, count: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match follower.news().recv_timeout(LIMIT).unwrap() {
            Followed::Events(events) => seen.extend(numbers(&events)),
            other => panic!("{other:?}"),
        }
    }
    seen
}

#[test]
fn event_that_no_line_can_carry_is_told_and_the_next_question_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    let id = EventId::new(1, 1, 1);
    // Twice as long in hexadecimal.
    let large = Payload::Binary(Binary::new("image", vec![7; 40 << 20]));
    let event = Event::new(id, EventType::new(["large"]), Timestamp::new(1, 0));
    let events = vec![Arc::new(event.with_payload(large))];
    owner.register(events.into()).unwrap();
    let params = QueryTimeseriesParams::default();
    let error = guest.query(&params.into()).unwrap_err().to_string();
    assert!(error.contains("more than the 67108864"), "{error}");
    assert_eq!(guest.last_event_id(1).unwrap(), id);
    assert!(!guest.is_owner());
}

#[test]
fn nobody_else_can_look_into_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join("above/history");
    let config = StoreConfig::default();
    let _owner = StoreHandle::open(&history, OpenOptions::default().config(config)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&history), 0o700);
    for file in ["store.redb", "store.json", "store.sock"] {
        assert_eq!(mode(&history.join(file)), 0o600, "{file}");
    }
}

#[test]
fn guest_that_only_asked_writes_nothing_when_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let slow = StoreConfig::from_json(r#"{"flush_period": 3600}"#).unwrap();
    let owner = StoreHandle::open(dir.path(), OpenOptions::default().config(slow)).unwrap();
    owner.register(events(1..=3)).unwrap();
    let reader = open(dir.path());
    assert_eq!(all(&reader), [1, 2, 3]);
    reader.close().unwrap();
    assert_eq!(owner.stats().unwrap().unflushed, 3);
    let writer = open(dir.path());
    writer.register(events(4..=4)).unwrap();
    writer.close().unwrap();
    assert_eq!(owner.stats().unwrap().unflushed, 0);
}

#[test]
fn guest_answers_as_the_owner_does() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    guest.register(events(1..=3)).unwrap();
    owner.register(events(4..=6)).unwrap();
    assert_eq!(all(&owner), [1, 2, 3, 4, 5, 6]);
    assert_eq!(all(&guest), all(&owner));
    let latest = QueryLatestParams::default().into();
    let mut seen = guest.query(&latest).unwrap().events;
    seen.sort_by_key(|event| event.id);
    assert_eq!(seen, [event(5), event(6)], "byte for byte");
    let series = QueryTimeseriesParams::default()
        .event_types([EventType::new(["rig", "odd"])])
        .max_results(2);
    let page = guest.query(&series.into()).unwrap();
    assert_eq!(
        (numbers(&page.events), page.more_follows),
        (vec![5, 3], true)
    );
    assert_eq!(guest.last_event_id(1).unwrap(), EventId::new(1, 6, 1));
    assert_eq!(
        guest.last_timestamp(1).unwrap(),
        Some(Timestamp::new(1006, 0))
    );
    assert_eq!(guest.last_timestamp(9).unwrap(), None);
    guest.reserve_sessions(1, 100).unwrap();
    assert_eq!(owner.session_floor(1).unwrap(), 100);
    assert_eq!(guest.session_floor(1).unwrap(), 100);
    guest.flush().unwrap();
    let stats = guest.stats().unwrap();
    assert_eq!(stats.servers[0].last_event_id, EventId::new(1, 6, 1));
    let mut damages = 0;
    guest.check(&mut |_| damages += 1).unwrap();
    assert_eq!(damages, 0);
}

#[test]
fn visitor_that_has_enough_ends_the_visit_and_may_ask_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    owner.register(events(1..=3000)).unwrap();
    let mut seen = 0;
    let more = guest
        .visit(&QueryServerParams::new(1).into(), &mut |_| {
            seen += 1;
            assert_eq!(guest.last_event_id(1).unwrap().session, 3000);
            if seen == 5 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!((seen, more), (5, true));
    assert_eq!(guest.last_event_id(1).unwrap().session, 3000);
}

#[test]
fn error_of_the_owner_is_one_of_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let (_owner, guest) = pair(dir.path());
    let negative = QueryTimeseriesParams::default().max_results(-1);
    let error = guest.query(&negative.into()).unwrap_err();
    assert!(error.is_query(), "{error}");
    assert!(error.to_string().contains("max_results is -1"), "{error}");
    guest.register(events(1..=1)).unwrap();
}

#[test]
fn follower_sees_the_past_then_what_comes_without_gap_or_double() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    owner.register(events(1..=10)).unwrap();
    let owner = Arc::new(owner);
    let writer = thread::spawn({
        let owner = Arc::clone(&owner);
        move || {
            for number in 11..=500 {
                owner.register(events([number])).unwrap();
            }
        }
    });
    // Begun in the middle of the writing, again and again.
    for store in [&*owner, &guest, &*owner, &guest] {
        let follower = store.follow(&FollowOptions::default().last(5)).unwrap();
        let mut seen = Vec::new();
        while seen.last() != Some(&500) {
            seen.extend(follow(&follower, 1));
        }
        assert_eq!(seen, (seen[0]..=500).collect::<Vec<_>>());
    }
    writer.join().unwrap();
    let after = FollowOptions::default().after([EventId::new(1, 490, 1)]);
    let follower = guest.follow(&after).unwrap();
    assert_eq!(follow(&follower, 10), (491..=500).collect::<Vec<_>>());
}

#[test]
fn follower_gets_the_types_that_it_wants() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    owner.register(events(1..=6)).unwrap();
    let odd = Subscription::new([EventType::new(["?", "odd"])]).unwrap();
    let follower = guest
        .follow(&FollowOptions::default().event_types(odd).last(2))
        .unwrap();
    owner.register(events(7..=10)).unwrap();
    assert_eq!(follow(&follower, 4), [3, 5, 7, 9]);
}

#[test]
fn persisted_follower_waits_for_the_flush() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::default().flush_period(Duration::from_secs(3600));
    let options = OpenOptions::default().config(config);
    let owner = StoreHandle::open(dir.path(), options).unwrap();
    let guest = open(dir.path());
    let live = guest.follow(&FollowOptions::default()).unwrap();
    let durable = guest
        .follow(&FollowOptions::default().persisted(true))
        .unwrap();
    owner.register(events(1..=2)).unwrap();
    assert_eq!(follow(&live, 2), [1, 2]);
    assert!(durable.news().try_recv().is_err());
    owner.flush().unwrap();
    assert_eq!(follow(&durable, 2), [1, 2]);
}

#[test]
fn follower_that_does_not_read_is_told_what_it_lost_and_slows_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    let sleeper = guest.follow(&FollowOptions::default()).unwrap();
    let mut registered = 0;
    // Far more than the queues on the way hold.
    for batch in 0..400 {
        owner
            .register(events(batch * 1000 + 1..=batch * 1000 + 1000))
            .unwrap();
        registered += 1000;
    }
    let (mut seen, mut lost, mut last) = (0, 0, 0);
    while seen + lost < registered {
        match sleeper.news().recv_timeout(LIMIT).unwrap() {
            Followed::Events(events) => {
                seen += events.len() as u64;
                for number in numbers(&events) {
                    assert!(number > last, "{number} behind {last}");
                    last = number;
                }
            }
            Followed::Lost(count) => lost += count,
            _ => {}
        }
    }
    assert_eq!(seen + lost, registered);
    assert!(lost > 0 && seen > 0, "{seen} seen, {lost} lost");
}

#[test]
fn event_of_a_type_without_series_is_not_lost_where_past_and_present_join() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::from_json(
        r#"{"timeseries": [{"order_by": "TIMESTAMP", "subscriptions": [["rig", "odd"]]}]}"#,
    );
    let options = OpenOptions::default().config(config.unwrap());
    let owner = Arc::new(StoreHandle::open(dir.path(), options).unwrap());
    let guest = open(dir.path());
    owner.register(events(1..=9)).unwrap();
    let (count, is_over) = (
        Arc::new(AtomicI64::new(9)),
        Arc::new(AtomicBool::new(false)),
    );
    let writer = thread::spawn({
        let (owner, count, is_over) = (owner.clone(), count.clone(), is_over.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                let next = count.load(Ordering::Relaxed) + 1;
                owner.register(events([next])).unwrap();
                count.store(next, Ordering::Release);
            }
        }
    });
    for store in [&*owner, &guest].repeat(5) {
        let follower = store.follow(&FollowOptions::default().last(5)).unwrap();
        let begun = count.load(Ordering::Acquire) + 1;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| *last < begun + 50) {
            seen.extend(follow(&follower, 1));
        }
        let last = *seen.last().unwrap();
        // What came while it was begun to follow may come in two parts, of which the later one has what no series keeps.
        let mut live: Vec<_> = seen.into_iter().filter(|number| *number > begun).collect();
        live.sort_unstable();
        assert_eq!(live, (begun + 1..=last).collect::<Vec<_>>());
    }
    is_over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn past_that_is_read_slowly_is_read_again_where_the_present_was_faster() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    let register = |thousands: std::ops::Range<i64>| {
        for thousand in thousands {
            let numbers = thousand * 1000 + 1..=thousand * 1000 + 1000;
            owner.register(events(numbers)).unwrap();
        }
    };
    register(0..20);
    let last = FollowOptions::default().last(15_000);
    let after = FollowOptions::default().after([EventId::new(1, 5_000, 1)]);
    let followers = [
        owner.follow(&last).unwrap(),
        guest.follow(&last).unwrap(),
        guest.follow(&after).unwrap(),
    ];
    // Nobody reads meanwhile, and this is more than waits for a reader.
    register(20..110);
    for follower in followers {
        let mut next = 5_001;
        while next <= 110_000 {
            match follower.news().recv_timeout(LIMIT).unwrap() {
                Followed::Events(events) => {
                    for number in numbers(&events) {
                        assert_eq!(number, next);
                        next += 1;
                    }
                }
                other => panic!("{other:?} at {next}"),
            }
        }
    }
}

#[test]
fn past_beyond_a_page_comes_in_the_order_of_time_from_all_servers() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    // Sessions of many events with one timestamp, of two servers in turns.
    for session in 1..=6 {
        for server in 1..=2 {
            let batch = (1..=3000).map(|instance| {
                let id = EventId::new(server, session, instance);
                let at = Timestamp::new(session * 10 + server, 0);
                Arc::new(Event::new(id, EventType::new(["a"]), at))
            });
            owner.register(batch.collect()).unwrap();
        }
    }
    let ids = |follower: &Follower, count: usize| {
        let mut seen = Vec::new();
        while seen.len() < count {
            match follower.news().recv_timeout(LIMIT).unwrap() {
                Followed::Events(events) => seen.extend(events.iter().map(|event| event.id)),
                other => panic!("{other:?}"),
            }
        }
        seen
    };
    let all: Vec<_> = (1..=6)
        .flat_map(|session| [(1, session), (2, session)])
        .flat_map(|(server, session)| {
            (1..=3000).map(move |instance| EventId::new(server, session, instance))
        })
        .collect();
    for store in [&owner, &guest] {
        let last = store
            .follow(&FollowOptions::default().last(20_001))
            .unwrap();
        assert!(ids(&last, 20_001) == all[all.len() - 20_001..]);
        let begins = [EventId::new(1, 2, 1500), EventId::new(2, 1, 3000)];
        let after = store
            .follow(&FollowOptions::default().after(begins))
            .unwrap();
        let wanted = |id: &EventId| *id > begins[usize::from(id.server == 2)];
        let wanted: Vec<_> = all.iter().copied().filter(wanted).collect();
        assert!(ids(&after, wanted.len()) == wanted);
    }
}

#[test]
fn guest_becomes_the_owner_when_the_owner_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, guest) = pair(dir.path());
    let other = open(dir.path());
    guest.register(events(1..=2)).unwrap();
    let follower = guest.follow(&FollowOptions::default()).unwrap();
    drop(owner);
    assert!(
        follower.news().recv_timeout(LIMIT).is_err(),
        "the following ends with the owner"
    );
    guest.register(events(3..=3)).unwrap();
    assert!(guest.is_owner());
    assert_eq!(all(&other), [1, 2, 3]);
    assert!(!other.is_owner());
    guest.close().unwrap();
    assert!(matches!(guest.flush(), Err(StoreError::Closed)));
    assert_eq!(all(&other), [1, 2, 3]);
    assert!(other.is_owner());
}

#[test]
fn stale_socket_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    // As a killed owner leaves it: the file is there and nobody listens.
    drop(UnixListener::bind(dir.path().join("store.sock")).unwrap());
    let (owner, guest) = pair(dir.path());
    owner.register(events(1..=1)).unwrap();
    assert_eq!(all(&guest), [1]);
    let mode = fs::metadata(dir.path().join("store.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    drop(guest);
    drop(owner);
    assert!(!dir.path().join("store.sock").exists());
}

#[test]
fn path_of_any_length_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a".repeat(100)).join("b".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let (owner, guest) = pair(&deep);
    owner.register(events(1..=1)).unwrap();
    assert_eq!(all(&guest), [1]);
}

#[test]
fn store_is_made_only_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let error = StoreHandle::open(dir.path(), OpenOptions::default().create(false)).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn configuration_stays_with_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::default().timeseries_max_results(2);
    let options = OpenOptions::default().config(config);
    let store = StoreHandle::open(dir.path(), options).unwrap();
    store.register(events(1..=5)).unwrap();
    drop(store);
    let again = open(dir.path());
    let page = again
        .query(&QueryTimeseriesParams::default().into())
        .unwrap();
    assert_eq!(numbers(&page.events), [5, 4]);
}

#[test]
fn nonsense_at_the_socket_is_answered_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (_owner, guest) = pair(dir.path());
    let mut stream = UnixStream::connect(dir.path().join("store.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in [
        "",
        "{}",
        "null",
        "{\"coffee\":{}}",
        "{\"query\":{\"kind\":\"latest\"",
        "\u{0}\u{1}",
        "{\"register\":[{\"id\":[1]}]}",
    ] {
        writeln!(stream, "{line}").unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains("\"request\""), "{line:?}: {answer}");
    }
    writeln!(stream, "{{\"last_event_id\":1}}").unwrap();
    let answer = answers.next().unwrap().unwrap();
    assert_eq!(answer, "{\"event_id\":[1,0,0]}");
    stream.write_all(b"{\"flush\":").unwrap();
    drop((stream, answers));
    guest.register(events(1..=1)).unwrap();
}

#[test]
fn guests_beyond_the_limit_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_owner, guest) = pair(dir.path());
    let path = dir.path().join("store.sock");
    let mut streams = Vec::new();
    let refused = loop {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        // Refused when the owner has closed it already.
        let _ = (&stream).write_all(b"{\"session_floor\":1}\n");
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        if answer.contains("busy") {
            break streams.len();
        }
        assert!(streams.len() < 1000, "all were let in");
        streams.push(stream);
    };
    assert!(refused > 30, "only {refused} were let in");
    assert_eq!(guest.last_event_id(1).unwrap(), EventId::none(1));
}
