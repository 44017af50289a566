//! A process that registers is killed at random points, and what it was told is kept is there.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Json, QueryParams, QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{Backend, Callbacks, Durability, RedbBackend, StoreConfig};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_a_kill_in_committed_mode() {
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let mut kills = 0;
    while kills < COMMITTED_KILLS {
        let dir = tempfile::tempdir().unwrap();
        let mut acknowledged = HashMap::new();
        for _ in 0..KILLS_PER_STORE {
            let told = run_and_kill(dir.path(), "committed", &mut random);
            for line in told {
                let Told::Acknowledged(id) = line else {
                    continue;
                };
                let last: &mut EventId = acknowledged.entry(id.server).or_insert(id);
                *last = id.max(*last);
            }
            let stored = stored(dir.path(), Durability::Committed);
            for (server, last) in &acknowledged {
                let ids = &stored[server];
                assert!(
                    ids.binary_search(last).is_ok(),
                    "{last} was acknowledged and is gone, kill {kills}"
                );
                assert_complete(ids);
            }
            kills += 1;
        }
        assert!(!acknowledged.is_empty(), "no child ever registered");
    }
}

#[test]
fn nothing_older_than_the_last_flush_is_lost_and_no_id_given_twice_in_periodic_mode() {
    let mut random = Pcg64Mcg::seed_from_u64(SEED + 1);
    for _ in 0..PERIODIC_KILLS / KILLS_PER_STORE {
        let dir = tempfile::tempdir().unwrap();
        let (mut flushed, mut handed_out) = (HashMap::new(), HashSet::new());
        for _ in 0..KILLS_PER_STORE {
            for line in run_and_kill(dir.path(), "periodic", &mut random) {
                match line {
                    Told::Acknowledged(id) => {
                        let last: &mut EventId = flushed.entry(id.server).or_insert(id);
                        *last = id.max(*last);
                    }
                    Told::HandedOut(server, session) => {
                        let is_new = handed_out.insert((server, session));
                        assert!(
                            is_new,
                            "session {session} of server {server} was handed out twice"
                        );
                    }
                }
            }
            let stored = stored(dir.path(), Durability::Periodic);
            for (server, last) in &flushed {
                assert!(
                    stored[server].binary_search(last).is_ok(),
                    "{last} was flushed and is gone"
                );
            }
        }
        assert!(!flushed.is_empty(), "no child ever flushed");
    }
}

/// Not a test of its own: what the others start and kill.
#[test]
fn child() {
    let (Ok(dir), Ok(mode)) = (
        std::env::var("ACQBUS_KILLED_STORE"),
        std::env::var("ACQBUS_KILLED_MODE"),
    ) else {
        return;
    };
    let durability = if mode == "committed" {
        Durability::Committed
    } else {
        Durability::Periodic
    };
    let callbacks = Callbacks::default().flushed(move |events| {
        if let (Durability::Periodic, Some(last)) = (durability, events.last()) {
            tell(&format!("acknowledged {}", last.id));
        }
    });
    let store =
        Arc::new(RedbBackend::open(Path::new(&dir), config(durability), callbacks).unwrap());
    let threads: Vec<_> = (1..=SERVERS)
        .map(|server| {
            let store = Arc::clone(&store);
            thread::spawn(move || register_for_ever(&store, server, durability))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn register_for_ever(store: &RedbBackend, server: i64, durability: Durability) {
    let mut session = store.session_floor(server).unwrap();
    let mut reserved = session;
    loop {
        session += 1;
        if session > reserved {
            reserved = session + 50;
            store.reserve_sessions(server, reserved).unwrap();
        }
        if durability == Durability::Periodic {
            tell(&format!("session {server} {session}"));
        }
        let count = 1 + session % 7 * 5;
        let events: Vec<_> = (1..=count)
            .map(|instance| event(EventId::new(server, session, instance), count))
            .collect();
        let last = events.last().map(|event| event.id);
        store.register(events.into()).unwrap();
        if let (Durability::Committed, Some(last)) = (durability, last) {
            tell(&format!("acknowledged {last}"));
        }
    }
}

/// What an event is follows from its id, so that a mixed up one is seen. The payload says how many its session has.
fn event(id: EventId, count: i64) -> Arc<Event> {
    let event_type = EventType::new(["rig", &format!("{}", id.instance % 5)]);
    let json = Json::new(format!(
        "[{}, {}, {}, {count}]",
        id.server, id.session, id.instance
    ))
    .unwrap();
    let timestamp = Timestamp::new(1_700_000_000 + id.session, 0);
    let event =
        Event::new(id, event_type, timestamp).with_payload(acqbus::event::Payload::Json(json));
    Arc::new(event.with_source_timestamp(Timestamp::new(-id.session, id.instance as u32)))
}

fn count_of(event: &Event) -> i64 {
    let json = event
        .payload
        .as_ref()
        .and_then(|payload| payload.as_json())
        .unwrap();
    json.to_value()[3].as_i64().unwrap()
}

enum Told {
    Acknowledged(EventId),
    HandedOut(i64, i64),
}

fn run_and_kill(dir: &Path, mode: &str, random: &mut Pcg64Mcg) -> Vec<Told> {
    let one_at_a_time = SPAWNING.lock().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env("ACQBUS_KILLED_STORE", dir)
        .env("ACQBUS_KILLED_MODE", mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    drop(one_at_a_time);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::scope(|scope| {
        // Begins with the first acknowledgement, so that the child is killed at work and not before.
        let (begun, begins) = std::sync::mpsc::channel();
        let reader = scope.spawn(move || {
            let mut told = Vec::new();
            while let Some(Ok(line)) = lines.next() {
                let Some(line) = parse(&line) else { continue };
                if matches!(line, Told::Acknowledged(_)) {
                    let _ = begun.send(());
                }
                told.push(line);
            }
            told
        });
        let begins = begins.recv_timeout(Duration::from_secs(20));
        thread::sleep(Duration::from_micros(u64::from(
            random.next_u32() % KILL_WITHIN_US,
        )));
        child.kill().unwrap();
        child.wait().unwrap();
        begins.expect("the child told nothing");
        reader.join().unwrap()
    })
}

/// The last line may be cut.
fn parse(line: &str) -> Option<Told> {
    let mut words = line.strip_suffix('.')?.split(' ');
    match words.next()? {
        "acknowledged" => Some(Told::Acknowledged(words.next()?.parse().ok()?)),
        "session" => Some(Told::HandedOut(
            words.next()?.parse().ok()?,
            words.next()?.parse().ok()?,
        )),
        _ => None,
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have gone.
    let _ = writeln!(out, "{line}.");
    let _ = out.flush();
}

/// The ids of every server, from the time series; they are the same in every index, in order, and each once.
fn stored(dir: &Path, durability: Durability) -> HashMap<i64, Vec<EventId>> {
    let config = config(durability).timeseries_max_results(usize::MAX);
    let _no_child = SPAWNING.lock().unwrap();
    let store = RedbBackend::open(dir, config, Callbacks::default()).unwrap();
    let mut ids: HashMap<i64, Vec<EventId>> =
        (1..=SERVERS).map(|server| (server, Vec::new())).collect();
    let params = QueryTimeseriesParams::default().order(acqbus::event::Order::Ascending);
    visit(&store, &params.clone().into(), &mut |event| {
        assert_eq!(
            **event,
            *self::event(event.id, count_of(event)),
            "an event is not what was registered"
        );
        ids.get_mut(&event.id.server).unwrap().push(event.id);
    });
    let mut by_source = HashSet::new();
    visit(
        &store,
        &params
            .order_by(acqbus::event::OrderBy::SourceTimestamp)
            .into(),
        &mut |event| {
            assert!(by_source.insert(event.id), "{} twice", event.id);
        },
    );
    for ids in ids.values() {
        assert!(
            ids.is_sorted_by(|a, b| a < b),
            "an event is doubled or out of order"
        );
        assert!(
            ids.iter().all(|id| by_source.remove(id)),
            "an event is missing by source timestamp"
        );
        if let Some(last) = ids.last() {
            assert_eq!(store.last_event_id(last.server).unwrap(), *last);
        }
    }
    assert!(
        by_source.is_empty(),
        "events missing by timestamp: {by_source:?}"
    );
    ids
}

/// Every session is whole, and none is missing before the last.
fn assert_complete(ids: &[EventId]) {
    let mut sessions = HashMap::new();
    for id in ids {
        *sessions.entry(id.session).or_insert(0) += 1;
    }
    for (session, count) in sessions {
        assert_eq!(count, 1 + session % 7 * 5, "session {session} is not whole");
    }
}

fn visit(store: &RedbBackend, params: &QueryParams, visit: &mut dyn FnMut(&Arc<Event>)) {
    let more = store.visit(params, &mut |event| {
        visit(event);
        ControlFlow::Continue(())
    });
    assert!(!more.unwrap());
}

fn config(durability: Durability) -> StoreConfig {
    StoreConfig::default()
        .durability(durability)
        .flush_period(Duration::from_millis(8))
}

/// A child that is being started has all files of its parent for a moment, and with them the lock of a store.
static SPAWNING: Mutex<()> = Mutex::new(());

const SEED: u64 = 20_261_121;
const SERVERS: i64 = 2;
const COMMITTED_KILLS: u32 = 300;
const PERIODIC_KILLS: u32 = 100;
const KILLS_PER_STORE: u32 = 10;
const KILL_WITHIN_US: u32 = 25_000;
