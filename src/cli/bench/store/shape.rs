//! What is measured with: small events of 100 types, a millisecond apart, and a folder for the stores of a run.

use std::env;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cli::bench::measure::Plan;
use crate::cli::exit::{Exit, Failure};
use crate::event::{Event, EventId, EventType, Events, Json, Payload, Timestamp};
use crate::store::{Backend, Callbacks, RedbBackend, StoreConfig};

/// Events of one register call, which is a session.
pub(super) const BATCH: u64 = 100;

/// How many types there are.
pub(super) const TYPES: u64 = 100;

/// The type of a number.
pub(super) fn event_type(number: u64) -> EventType {
    EventType::new(["rig-1", "event", &format!("kind{number:02}")])
}

/// All types.
pub(super) fn event_types() -> Vec<EventType> {
    (0..TYPES).map(event_type).collect()
}

/// The events of a range of numbers, in register calls.
pub(super) fn batches(numbers: Range<u64>) -> Result<Vec<Events>, Failure> {
    let types = event_types();
    let mut batches = Vec::new();
    let mut begin = numbers.start;
    while begin < numbers.end {
        let end = (begin + BATCH).min(numbers.end);
        let events: Result<Events, Failure> = (begin..end)
            .map(|number| event(number, &types).map(Arc::new))
            .collect();
        batches.push(events?);
        begin = end;
    }
    Ok(batches)
}

/// Opens a store in a directory.
pub(super) fn open(dir: &Path, config: StoreConfig) -> Result<RedbBackend, Failure> {
    Ok(RedbBackend::open(dir, config, Callbacks::default())?)
}

/// What hat-event's default is, without cleanups in the middle of a measurement.
pub(super) fn config() -> StoreConfig {
    StoreConfig::default().cleanup_period(Duration::from_secs(3600))
}

/// Registers events that are not timed, and flushes.
pub(super) fn fill(store: &RedbBackend, numbers: Range<u64>) -> Result<(), Failure> {
    let mut begin = numbers.start;
    while begin < numbers.end {
        let end = (begin + AT_ONCE).min(numbers.end);
        for batch in batches(begin..end)? {
            store.register(batch)?;
        }
        // What is not on disk has a limit.
        store.flush()?;
        begin = end;
    }
    Ok(())
}

/// The timestamp of a number.
pub(super) fn timestamp(number: u64) -> Timestamp {
    let seconds = i64::try_from(number / 1000).unwrap_or(i64::MAX >> 1);
    // Below 1,000,000 by the remainder.
    Timestamp::new(BEGIN + seconds, (number % 1000) as u32 * 1000)
}

/// The id of a number.
pub(super) fn id(number: u64) -> EventId {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    EventId::new(1, part(number / BATCH + 1), part(number % BATCH + 1))
}

fn event(number: u64, types: &[EventType]) -> Result<Event, Failure> {
    // In an order that is not that of the types.
    let event_type = types[(number * 37 % TYPES) as usize].clone();
    let text =
        format!(r#"{{"kind": 1331, "when": 1700000000.25, "index": {number}, "context": null}}"#);
    let payload = Json::new(text).map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(Event::new(id(number), event_type, timestamp(number)).with_payload(Payload::Json(payload)))
}

/// A folder of this measurement, removed with what is in it.
pub(in crate::cli::bench) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::cli::bench) fn new(plan: &Plan) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "acqbus-bench-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = plan.dir.clone().unwrap_or_else(env::temp_dir).join(name);
        fs::create_dir_all(&path)
            .map_err(|error| Failure::from(error).while_doing(path.display()))?;
        Ok(Self(path))
    }

    pub(in crate::cli::bench) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left to whoever cleans the folder when the system does not let us.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BEGIN: i64 = 1_700_000_000;

/// Events that are made at a time.
pub(super) const AT_ONCE: u64 = 50_000;
