//! One flipped bit, or a tail that is cut off: the damage is told, and no event comes back other than it was.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use acqbus::event::{
    Event, EventId, EventType, Json, Order, OrderBy, Payload, QueryLatestParams, QueryParams,
    QueryServerParams, QueryTimeseriesParams, Timestamp,
};
use acqbus::store::{Backend, Callbacks, Durability, MemoryStorage, RedbBackend, StoreConfig};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

#[test]
fn a_flipped_bit_is_reported_and_no_event_comes_back_changed() {
    let outcomes = flip_bits(&Original::new(Durability::Periodic), SEED);
    assert_eq!(outcomes.get(&Outcome::TakenBack), None, "{outcomes:?}");
}

#[test]
fn a_flipped_bit_is_reported_where_events_are_committed_and_not_flushed() {
    flip_bits(&Original::new(Durability::Committed), SEED + 2);
}

/// Flips a bit of a byte that is not zero: most of the others are free, and so are many of these.
fn flip_bits(original: &Original, seed: u64) -> HashMap<Outcome, usize> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let used: Vec<_> = (0..original.bytes.len())
        .filter(|at| original.bytes[*at] != 0)
        .collect();
    let mut outcomes = HashMap::new();
    for case in 0..FLIPS {
        let at = used[random.next_u32() as usize % used.len()];
        let mut bytes = original.bytes.clone();
        bytes[at] ^= 1 << (random.next_u32() % 8);
        let outcome = original.judge(bytes, &format!("case {case}, bit of byte {at}"));
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    assert!(outcomes[&Outcome::Reported] > FLIPS / 20, "{outcomes:?}");
    outcomes
}

#[test]
fn a_cut_tail_is_reported_and_no_event_comes_back_changed() {
    let mut random = Pcg64Mcg::seed_from_u64(SEED + 1);
    let original = Original::new(Durability::Periodic);
    let mut outcomes = HashMap::new();
    for case in 0..CUTS {
        let len = random.next_u32() as usize % original.bytes.len();
        let outcome = original.judge(
            original.bytes[..len].to_vec(),
            &format!("case {case}, cut to {len}"),
        );
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    assert!(
        outcomes
            .get(&Outcome::Reported)
            .is_some_and(|count| *count > CUTS / 4)
            && outcomes
                .get(&Outcome::Salvaged)
                .is_some_and(|count| *count > CUTS / 10),
        "{outcomes:?}"
    );
}

#[test]
fn a_damaged_latest_event_costs_no_other_and_a_new_one_takes_its_place() {
    let config = StoreConfig::default().timeseries([]);
    let storage = MemoryStorage::default();
    let store = open(&storage, &config).unwrap();
    let batch: Vec<_> = (1..=4).map(|instance| event(1, instance)).collect();
    store.register(batch.into()).unwrap();
    store.close().unwrap();
    let mut bytes = storage.to_bytes();
    let wanted = b"\"value\": 2.5";
    let places: Vec<_> = (0..bytes.len() - wanted.len())
        .filter(|at| bytes[*at..].starts_with(wanted))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    let store = open(&MemoryStorage::with_bytes(bytes), &config).unwrap();
    let mut damages = Vec::new();
    store.check(&mut |damage| damages.push(damage)).unwrap();
    assert!(!damages.is_empty());
    let latest = |types: &[&str]| {
        let types = types.iter().map(|one| EventType::from(*one));
        let params = QueryLatestParams::default().event_types(types);
        let result = store.query(&params.into());
        result.map(|result| result.events.len())
    };
    assert_eq!(latest(&["rig/1", "rig/3"]).unwrap(), 2);
    for types in [&["rig/2"], &["rig/?"], &["*"]] {
        assert!(latest(types).unwrap_err().is_damage(), "{types:?}");
    }
    let new = event(3, 2);
    store.register(vec![Arc::clone(&new)].into()).unwrap();
    store.flush().unwrap();
    assert_eq!(latest(&["*"]).unwrap(), 4);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    /// When it was opened, or by the check.
    Reported,
    /// When it was opened, which failed, and events can be got out all the same.
    Salvaged,
    /// The bytes are of no use: every answer is as before.
    Harmless,
    /// It looks like a crash within the last commit, which is as if it had never been.
    TakenBack,
}

/// A store that is in order, and everything that it answers.
struct Original {
    config: StoreConfig,
    bytes: Vec<u8>,
    events: HashMap<EventId, Arc<Event>>,
    answers: Vec<Vec<EventId>>,
    /// Before the last commit.
    answers_before: Vec<Vec<EventId>>,
}

impl Original {
    fn new(durability: Durability) -> Self {
        let config = StoreConfig::default()
            .durability(durability)
            .flush_period(Duration::from_secs(1000));
        let storage = MemoryStorage::default();
        let store = open(&storage, &config).unwrap();
        let mut events = HashMap::new();
        let mut answers_before = Vec::new();
        for session in 1..=30 {
            if session == 30 && durability == Durability::Committed {
                answers_before = ask(&store, &events, "before the last").unwrap();
            }
            let batch: Vec<_> = (1..=10).map(|instance| event(session, instance)).collect();
            events.extend(batch.iter().map(|event| (event.id, Arc::clone(event))));
            store.register(batch.into()).unwrap();
            if session % 7 == 0 {
                store.flush().unwrap();
            }
        }
        // In committed mode the last sessions stay out of the indexes, as after a crash.
        if durability == Durability::Periodic {
            store.flush().unwrap();
        }
        let bytes = storage.to_bytes();
        let answers = ask(&store, &events, "the original").unwrap();
        assert_eq!(answers[0].len(), 300);
        Self {
            config,
            bytes,
            events,
            answers,
            answers_before,
        }
    }

    fn judge(&self, bytes: Vec<u8>, case: &str) -> Outcome {
        let storage = MemoryStorage::with_bytes(bytes);
        let untouched = storage.to_bytes();
        let mut told = 0;
        let looked = RedbBackend::check_in(Arc::new(storage.clone()), &mut |_| told += 1);
        let salvaged = self.salvage(&storage, case);
        assert!(
            storage.to_bytes() == untouched,
            "{case}: looking changed it"
        );
        let Ok(store) = open(&storage, &self.config) else {
            assert!(looked.is_err() || told > 0, "{case}: the check is content");
            return if salvaged.is_some() {
                Outcome::Salvaged
            } else {
                Outcome::Reported
            };
        };
        let salvaged = salvaged.unwrap_or_else(|| panic!("{case}: opened, not salvaged"));
        if told == 0 && looked.is_ok() {
            assert!(
                [290, 300].contains(&salvaged),
                "{case}: {salvaged} salvaged"
            );
        }
        let answers = ask(&store, &self.events, case);
        let mut damages = Vec::new();
        let checked = store.check(&mut |damage| damages.push(damage));
        if checked.is_err() || !damages.is_empty() {
            return Outcome::Reported;
        }
        if answers.as_ref() == Some(&self.answers_before) {
            return Outcome::TakenBack;
        }
        assert_eq!(
            answers.as_ref(),
            Some(&self.answers),
            "{case}: not reported"
        );
        Outcome::Harmless
    }
}

impl Original {
    /// How many events can be got out, each as it was; `None` where the database cannot read its file.
    fn salvage(&self, storage: &MemoryStorage, case: &str) -> Option<usize> {
        let mut seen = HashMap::new();
        let salvaged =
            RedbBackend::salvage_in(Arc::new(storage.clone()), &mut |_| {}, &mut |event| {
                let original = self.events.get(&event.id);
                assert_eq!(original, Some(event), "{case}: salvaged a wrong event");
                let last = seen.insert(event.id.server, event.id);
                assert!(last < Some(event.id), "{case}: {} out of order", event.id);
                ControlFlow::Continue(())
            });
        salvaged.ok().map(|count| count as usize)
    }
}

/// The ids of all answers; every event is compared. `None` where one was an error.
fn ask(
    store: &RedbBackend,
    events: &HashMap<EventId, Arc<Event>>,
    case: &str,
) -> Option<Vec<Vec<EventId>>> {
    let mut answers = Vec::new();
    let mut is_whole = true;
    for params in questions() {
        let mut ids = Vec::new();
        let outcome = store.visit(&params, &mut |event| {
            let original = events.get(&event.id);
            assert_eq!(
                original,
                Some(event),
                "{case}: a wrong event for {params:?}"
            );
            ids.push(event.id);
            ControlFlow::Continue(())
        });
        is_whole &= outcome.is_ok();
        if let QueryParams::Latest(_) = params {
            ids.sort();
        }
        answers.push(ids);
    }
    is_whole.then_some(answers)
}

fn questions() -> Vec<QueryParams> {
    let series = QueryTimeseriesParams::default;
    vec![
        series().into(),
        series()
            .order(Order::Ascending)
            .order_by(OrderBy::SourceTimestamp)
            .into(),
        series().event_types([EventType::from("rig/1")]).into(),
        series()
            .after(EventId::new(2, 14, 4))
            .max_results(50)
            .into(),
        QueryServerParams::new(1).into(),
        QueryServerParams::new(2).into(),
        QueryLatestParams::default().into(),
    ]
}

fn open(
    storage: &MemoryStorage,
    config: &StoreConfig,
) -> Result<RedbBackend, acqbus::store::StoreError> {
    RedbBackend::open_in(
        Arc::new(storage.clone()),
        config.clone(),
        Callbacks::default(),
    )
}

fn event(session: i64, instance: i64) -> Arc<Event> {
    let id = EventId::new(1 + session % 2, session, instance);
    let event_type = EventType::new(["rig", &format!("{}", instance % 4)]);
    let payload = Payload::Json(
        Json::new(format!(
            r#"{{"session": {session}, "value": {instance}.5}}"#
        ))
        .unwrap(),
    );
    let event = Event::new(id, event_type, Timestamp::new(1_700_000_000 + session, 0))
        .with_payload(payload);
    Arc::new(event.with_source_timestamp(Timestamp::new(session * instance % 50, 0)))
}

const SEED: u64 = 20_261_122;
/// In each mode.
const FLIPS: usize = 800;
const CUTS: usize = 400;
