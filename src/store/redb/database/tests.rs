//! The door when the disk loses writes, fails, is full, or shows something else than was written.

use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[path = "../../../../tests/store_support/mod.rs"]
mod store_support;

use self::store_support::{FailingStorage, LoggedStorage, Random};
use super::super::blocks::BlockWriter;
use super::super::chunks::{ChunkWriter, Entry};
use super::*;
use crate::event::{Binary, Event, EventId, EventType, Payload, Timestamp};

#[test]
fn every_crash_image_has_whole_transactions_and_all_that_were_acknowledged() {
    let storage = LoggedStorage::default();
    let expected = run(&storage, |number| storage.acknowledge(number));
    let (mut images, mut lost) = (0, 0);
    storage.crash_images(700, 1, |image| {
        let file = MemoryStorage::with_bytes(image.bytes);
        let database =
            open(Arc::new(file)).unwrap_or_else(|error| panic!("at {}: {error}", image.at));
        let found = dump(&database);
        let number = expected.iter().position(|expected| *expected == found);
        let number = number.unwrap_or_else(|| panic!("at {}: half a transaction", image.at)) as u64;
        assert!(
            number == image.acknowledged || number == image.acknowledged + 1,
            "at {}: {number} transactions, of {} acknowledged",
            image.at,
            image.acknowledged
        );
        lost += u64::from(number == image.acknowledged);
        images += 1;
        if images % 20 == 0 {
            assert!(database.check_integrity().unwrap(), "at {}", image.at);
            assert_eq!(dump(&database), found);
        }
    });
    assert!(lost > 100 && images - lost > 10, "{lost} of {images}");
}

#[test]
fn after_an_error_of_any_call_everything_goes_on() {
    let clean = FailingStorage::new(MemoryStorage::default(), usize::MAX, io::ErrorKind::Other);
    let expected = run(&clean, |_| ());
    let full = FailingStorage::new(
        MemoryStorage::default(),
        usize::MAX,
        io::ErrorKind::StorageFull,
    );
    run(&full, |_| ());
    for (kind, calls) in [
        (io::ErrorKind::Other, clean.calls()),
        (io::ErrorKind::StorageFull, full.calls()),
    ] {
        for after in (0..calls).step_by(calls / 150) {
            let storage = FailingStorage::new(MemoryStorage::default(), after, kind);
            fail_once(&storage, kind, &expected);
        }
    }
}

/// Runs the workload, heals the storage when it fails, and tries again what failed.
fn fail_once(storage: &FailingStorage, kind: io::ErrorKind, expected: &[Dump]) {
    let is_typed = |error: StoreError| {
        let is_full = error.is_full() && kind == io::ErrorKind::StorageFull;
        let is_io = matches!(error, StoreError::Io { .. } | StoreError::Database { .. });
        assert!(
            is_io && (kind == io::ErrorKind::Other || is_full),
            "{error:?}"
        );
        storage.heal();
    };
    let database = open(Arc::new(storage.clone())).unwrap_or_else(|error| {
        is_typed(error);
        open(Arc::new(storage.clone())).unwrap()
    });
    let mut number = 0;
    while number < TRANSACTIONS {
        match transaction(&database, number) {
            Ok(()) => number += 1,
            Err(error) => {
                is_typed(error);
                // Where committing failed it may be there all the same.
                let found = dump(&database);
                let at = expected.iter().position(|expected| *expected == found);
                let at = at.expect("whole transactions") as u64;
                assert!(at == number || at == number + 1);
                number = at;
            }
        }
    }
    assert_eq!(dump(&database), expected[TRANSACTIONS as usize]);
    drop(database);
    storage.heal();
    let database = open(Arc::new(storage.clone())).unwrap();
    assert_eq!(dump(&database), expected[TRANSACTIONS as usize]);
}

#[test]
fn no_snapshot_sees_what_is_written_later() {
    let database = open(Arc::new(MemoryStorage::default())).unwrap();
    let mut snapshots = Vec::new();
    for number in 0..20 {
        snapshots.push((database.snapshot().unwrap(), dump(&database)));
        transaction(&database, number).unwrap();
    }
    for (snapshot, expected) in snapshots {
        assert_eq!(dump_of(&snapshot), expected);
    }
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let database = open(Arc::new(MemoryStorage::default())).unwrap();
    transaction(&database, 0).unwrap();
    let before = dump(&database);
    let failed: Result<(), _> = database.write(Commit::Fast, |tx| {
        tx.put(Table::Meta, b"a", b"b")?;
        Err(StoreError::Closed)
    });
    assert!(failed.unwrap_err().is_closed());
    assert_eq!(dump(&database), before);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ = database.write(Commit::Fast, |tx| -> Result<(), StoreError> {
            tx.put(Table::Meta, b"a", b"b")?;
            panic!("a fault of the caller");
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(dump(&database), before);
    transaction(&database, 1).unwrap();
}

#[test]
fn a_storage_has_one_database_and_is_free_when_it_is_closed() {
    let storage = Arc::new(MemoryStorage::default());
    let database = open(storage.clone()).unwrap();
    assert!(open(storage.clone()).unwrap_err().is_in_use());
    let snapshot = database.snapshot().unwrap();
    database.close();
    database.close();
    assert!(database.snapshot().unwrap_err().is_closed());
    assert!(transaction(&database, 0).unwrap_err().is_closed());
    assert!(!snapshot.is_current());
    // The snapshot is still held.
    open(storage).unwrap();
}

#[test]
fn bits_that_flip_and_tails_that_are_cut_are_damage_or_change_nothing() {
    let storage = MemoryStorage::default();
    let expected = run(&storage, |_| ());
    let bytes = storage.to_bytes();
    let mut random = Random(7);
    let mut damaged = 0;
    for round in 0..300 {
        let mut wrong = bytes.clone();
        if round % 4 == 0 {
            wrong.truncate(random.below(bytes.len()));
        } else {
            let bit = random.below(bytes.len() * 8);
            wrong[bit / 8] ^= 1 << (bit % 8);
        }
        let storage = Arc::new(MemoryStorage::with_bytes(wrong));
        let found = open(storage).and_then(|database| {
            let whole = database.check_integrity();
            try_dump(&database.snapshot()?).and_then(|found| whole.map(|whole| (found, whole)))
        });
        match found {
            Ok((found, _)) if found == expected[TRANSACTIONS as usize] => {}
            // An empty file is a new database.
            Ok((found, _)) if found == expected[0] => damaged += 1,
            Ok((_, whole)) => {
                assert!(!whole, "other content is told as right");
                damaged += 1;
            }
            Err(error) => {
                let is_typed = error.is_damage()
                    || matches!(
                        error,
                        StoreError::Version { .. } | StoreError::Database { .. }
                    );
                assert!(is_typed, "{error:?}");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 50, "{damaged}");
}

const TRANSACTIONS: u64 = 40;

type Dump = Vec<(usize, Vec<u8>, Vec<u8>)>;

/// Runs the workload, and gives the whole content after none, one, two … of its transactions.
fn run(storage: &(impl Storage + Clone + 'static), done: impl Fn(u64)) -> Vec<Dump> {
    let database = open(Arc::new(storage.clone())).unwrap();
    let mut states = vec![dump(&database)];
    for number in 0..TRANSACTIONS {
        transaction(&database, number).unwrap();
        done(number + 1);
        states.push(dump(&database));
    }
    states
}

/// Some events and entries more, and some out.
fn transaction(database: &Database, number: u64) -> Result<(), StoreError> {
    let commit = match number % 3 {
        0 => Commit::QuickRepair,
        _ => Commit::Fast,
    };
    let first = number * 30;
    let slots = first..first + 30;
    database.write(commit, |tx| {
        let events: Vec<_> = slots.clone().map(event).collect();
        let events: Vec<_> = events.iter().map(|event| (event, 0)).collect();
        let mut blocks = BlockWriter::new(tx);
        blocks.append(first, &events)?;
        let chunks = ChunkWriter::new(tx);
        let entries: Vec<_> = slots.clone().map(entry).collect();
        chunks.merge(b"a", &entries)?;
        chunks.merge(&[b'b', (number % 5) as u8], &entries)?;
        if number % 4 == 3 {
            let old: Vec<_> = (first - 90..first - 40).collect();
            let keys: Vec<_> = old.iter().map(|slot| entry(*slot).key).collect();
            chunks.remove(b"a", &keys)?;
            blocks.retire(&old)?;
            blocks.join(first - 60..first)?;
        }
        tx.put(Table::Meta, b"transactions", &number.to_le_bytes())
    })
}

fn event(slot: u64) -> Event {
    let id = EventId::new(1, 1, slot as i64);
    let payload = Binary::new("b", vec![slot as u8; 10 + slot as usize % 50]);
    Event::new(id, EventType::from("a"), Timestamp::new(slot as i64, 0))
        .with_payload(Payload::Binary(payload))
}

fn entry(slot: u64) -> Entry {
    let mut key = [0; 36];
    key[..8].copy_from_slice(&slot.to_be_bytes());
    Entry {
        key,
        type_number: 0,
        slot,
    }
}

fn open(storage: Arc<dyn Storage>) -> Result<Database, StoreError> {
    Database::open(storage, DatabaseOptions::default())
}

fn dump(database: &Database) -> Dump {
    dump_of(&database.snapshot().unwrap())
}

fn dump_of(snapshot: &Snapshot) -> Dump {
    try_dump(snapshot).unwrap()
}

fn try_dump(snapshot: &Snapshot) -> Result<Dump, StoreError> {
    let mut found = Vec::new();
    for table in Table::ALL {
        for pair in snapshot.range(table, (Bound::Unbounded, Bound::Unbounded))? {
            let (key, value) = pair?;
            found.push((table as usize, key.to_vec(), value.to_vec()));
        }
    }
    Ok(found)
}
