//! The maps against a `BTreeMap`, their bytes, and what damage does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::format::*;
use super::*;
use crate::event::Order;
use crate::store::StoreError;
use crate::store::redb::database::{
    Commit, Database, DatabaseOptions, MemoryStorage, Snapshot, Table,
};

#[test]
fn a_chunk_has_these_bytes() {
    let entry = entry(7, 0x0102_0304, 9);
    let mut value = Vec::new();
    encode(b"pp", &[entry.to_bytes()], &mut value);
    let mut expected = vec![0x90, 0x6f, 0x0a, 0xb9, 2, b'p', b'p'];
    expected.extend([0, 0, 0, 7]);
    expected.extend([0; 32]);
    expected.extend([4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(value, expected);
    let mut key = vec![2, b'p', b'p', 0, 0, 0, 7];
    key.extend([0; 32]);
    assert_eq!(table_key(b"pp", &entry.key), key);
    assert_eq!(check(&key, &value).unwrap(), 7);
    assert_eq!(
        encode_count(b"\x02pp", 5),
        [0x6a, 0xe4, 0x1c, 0x09, 5, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_changed_or_cut_chunk_is_damage() {
    let entries: Vec<_> = (0..3).map(|n| entry(n, 1, 2).to_bytes()).collect();
    let mut value = Vec::new();
    encode(b"p", &entries, &mut value);
    let key = table_key(b"p", key_of(&entries[0]));
    assert!(check(&key, &value).is_ok());
    for bit in 0..value.len() * 8 {
        let mut wrong = value.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&key, &wrong).unwrap_err().is_damage(), "bit {bit}");
    }
    for len in 0..value.len() {
        assert!(check(&key, &value[..len]).is_err(), "{len} bytes");
    }
    for bit in 0..key.len() * 8 {
        let mut wrong = key.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&wrong, &value).is_err(), "bit {bit} of the key");
    }
}

#[test]
fn a_damaged_chunk_is_told_and_the_scan_goes_on_behind_it() {
    let database = database();
    let entries: Vec<_> = (0..500).map(|n| entry(n, 0, u64::from(n))).collect();
    write(&database, |writer| writer.merge(b"p", &entries).map(drop));
    database
        .write(Commit::Fast, |tx| {
            let key = table_key(b"p", &entries[168].key);
            let mut value = tx.get(Table::Chunks, &key)?.unwrap();
            value[1000] ^= 1;
            tx.put(Table::Chunks, &key, &value)
        })
        .unwrap();
    let reader = ChunkReader::new(&database.snapshot().unwrap());
    for order in [Order::Ascending, Order::Descending] {
        let found: Vec<_> = reader.all(b"p", order).unwrap().collect();
        let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), 500 - 168);
        assert!(bad.len() == 1 && bad[0].as_ref().unwrap_err().is_damage());
    }
}

#[test]
fn appends_fill_chunks_to_the_last_entry() {
    let database = database();
    for batch in 0..40 {
        let entries: Vec<_> = (0..50).map(|n| entry(batch * 50 + n, 0, 0)).collect();
        write(&database, |writer| writer.merge(b"p", &entries).map(drop));
    }
    let snapshot = database.snapshot().unwrap();
    assert_eq!(snapshot.len(Table::Chunks).unwrap(), 2000_u64.div_ceil(168));
    assert_eq!(ChunkReader::new(&snapshot).count(b"p").unwrap(), 2000);
}

#[test]
fn a_removal_from_the_front_leaves_no_small_chunks() {
    let database = database();
    let entries: Vec<_> = (0..2000).map(|n| entry(n, 0, 0)).collect();
    write(&database, |writer| writer.merge(b"p", &entries).map(drop));
    for batch in entries.chunks(30).take(60) {
        let keys: Vec<_> = batch.iter().map(|entry| entry.key).collect();
        write(&database, |writer| writer.remove(b"p", &keys).map(drop));
    }
    let snapshot = database.snapshot().unwrap();
    assert!(snapshot.len(Table::Chunks).unwrap() <= 3);
    let reader = ChunkReader::new(&snapshot);
    assert_eq!(reader.first(b"p").unwrap(), Some(entries[1800]));
    assert_eq!(reader.last(b"p").unwrap(), Some(entries[1999]));
    assert_eq!(reader.count(b"p").unwrap(), 200);
}

#[test]
fn an_entry_is_found_and_changed_by_the_leading_part_of_its_key() {
    let database = database();
    let entries: Vec<_> = (0..1000).map(|n| entry(n, n, u64::from(n))).collect();
    write(&database, |writer| writer.merge(b"s", &entries).map(drop));
    let keys: Vec<_> = (0..1200_u32).map(u32::to_be_bytes).collect();
    let found = database.write(Commit::Fast, |tx| {
        ChunkWriter::new(tx).modify(b"s", &keys, |entry| {
            entry.key[35] = 200;
            if entry.slot % 3 == 0 {
                return Fate::Remove;
            }
            entry.slot += 1;
            Fate::Keep
        })
    });
    assert_eq!(found.unwrap(), 1000);
    let reader = ChunkReader::new(&database.snapshot().unwrap());
    let found: Result<Vec<_>, _> = reader.all(b"s", Order::Ascending).unwrap().collect();
    let found = found.unwrap();
    assert_eq!(
        (found.len() as u64, 666),
        (reader.count(b"s").unwrap(), found.len())
    );
    assert!(found.iter().all(|entry| entry.key[35] == 200
        && entry.slot == u64::from(entry.type_number) + 1
        && entry.type_number % 3 != 0));
}

#[derive(Debug, Clone)]
enum Step {
    Merge(u8, Vec<(u16, u32)>),
    Append(u8, u16),
    Remove(u8, Vec<u16>),
    RemoveFrom(u8, u16, u16),
    Modify(u8, Vec<u16>),
    Snapshot,
    Scan(usize, u8, Bound<u16>, Bound<u16>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let map = 0..3_u8;
    let key = 0..2000_u16;
    let bound = prop_oneof![
        Just(Bound::Unbounded),
        key.clone().prop_map(Bound::Included),
        key.clone().prop_map(Bound::Excluded)
    ];
    let step = prop_oneof![
        (map.clone(), vec((key.clone(), any::<u32>()), 0..400))
            .prop_map(|(map, batch)| Step::Merge(map, batch)),
        (map.clone(), 1..400_u16).prop_map(|(map, count)| Step::Append(map, count)),
        (map.clone(), vec(key.clone(), 0..300)).prop_map(|(map, keys)| Step::Remove(map, keys)),
        (map.clone(), key.clone(), 0..600_u16)
            .prop_map(|(map, from, count)| Step::RemoveFrom(map, from, count)),
        (map.clone(), vec(key, 0..300)).prop_map(|(map, keys)| Step::Modify(map, keys)),
        Just(Step::Snapshot),
        (any::<usize>(), map, bound.clone(), bound)
            .prop_map(|(at, map, from, to)| Step::Scan(at, map, from, to)),
    ];
    vec(step, 1..40)
}

type Model = [BTreeMap<EntryKey, Entry>; 3];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sorted_maps_are_as_a_btree_map_would_be(steps in steps()) {
        let database = database();
        let mut model = Model::default();
        let mut snapshots = vec![(database.snapshot().unwrap(), model.clone())];
        for step in steps {
            match step {
                Step::Merge(map, batch) => {
                    let batch: BTreeMap<_, _> = batch.into_iter().map(|(n, with)| {
                        let entry = entry(n.into(), with, u64::from(with) << 20);
                        (entry.key, entry)
                    }).collect();
                    merge(&database, &mut model, map, batch);
                }
                Step::Append(map, count) => {
                    let last = model[usize::from(map)].last_key_value().map_or(0, |(key, _)| {
                        u32::from_be_bytes([key[0], key[1], key[2], key[3]])
                    });
                    let batch = (1..=u32::from(count)).map(|n| {
                        let entry = entry(last + n, n, 5);
                        (entry.key, entry)
                    }).collect();
                    merge(&database, &mut model, map, batch);
                }
                Step::Remove(map, keys) => remove(&database, &mut model, map, keys),
                Step::RemoveFrom(map, from, count) => {
                    remove(&database, &mut model, map, (from..from + count).collect());
                }
                Step::Modify(map, mut keys) => {
                    keys.sort_unstable();
                    keys.dedup();
                    let keys: Vec<_> = keys.into_iter().map(|n| entry(n.into(), 0, 0).key).collect();
                    let mut found = 0;
                    for key in &keys {
                        if let Some(entry) = model[usize::from(map)].get_mut(key) {
                            entry.slot ^= 0xff;
                            found += 1;
                        }
                    }
                    let modified = database.write(Commit::Fast, |tx| {
                        ChunkWriter::new(tx).modify(&[map], &keys, |entry| {
                            entry.slot ^= 0xff;
                            Fate::Keep
                        })
                    });
                    prop_assert_eq!(modified.unwrap(), found);
                }
                Step::Snapshot => snapshots.push((database.snapshot().unwrap(), model.clone())),
                Step::Scan(at, map, from, to) => {
                    let (snapshot, model) = &snapshots[at % snapshots.len()];
                    scan(snapshot, &model[usize::from(map)], map, from, to)?;
                }
            }
        }
        snapshots.push((database.snapshot().unwrap(), model));
        for (snapshot, model) in &snapshots {
            for map in 0..3 {
                scan(snapshot, &model[usize::from(map)], map, Bound::Unbounded, Bound::Unbounded)?;
            }
        }
    }

    #[test]
    fn no_bytes_make_a_chunk_panic(key in vec(any::<u8>(), 0..60), value in vec(any::<u8>(), 0..200)) {
        prop_assert!(check(&key, &value).is_err());
        prop_assert!(decode_count(&key, &value).is_err());
    }
}

fn merge(database: &Database, model: &mut Model, map: u8, batch: BTreeMap<EntryKey, Entry>) {
    let entries: Vec<_> = batch.values().copied().collect();
    let model = &mut model[usize::from(map)];
    let before = model.len();
    model.extend(batch);
    let added = database.write(Commit::Fast, |tx| {
        ChunkWriter::new(tx).merge(&[map], &entries)
    });
    assert_eq!(added.unwrap(), (model.len() - before) as u64);
}

fn remove(database: &Database, model: &mut Model, map: u8, mut keys: Vec<u16>) {
    keys.sort_unstable();
    keys.dedup();
    let keys: Vec<_> = keys
        .into_iter()
        .map(|n| entry(n.into(), 0, 0).key)
        .collect();
    let model = &mut model[usize::from(map)];
    let gone = keys.iter().filter(|key| model.remove(*key).is_some());
    let gone = gone.count() as u64;
    let removed = database.write(Commit::Fast, |tx| {
        ChunkWriter::new(tx).remove(&[map], &keys)
    });
    assert_eq!(removed.unwrap(), gone);
}

fn scan(
    snapshot: &Snapshot,
    model: &BTreeMap<EntryKey, Entry>,
    map: u8,
    from: Bound<u16>,
    to: Bound<u16>,
) -> Result<(), TestCaseError> {
    let key = |n: u16| entry(n.into(), 0, 0).key;
    let range = (from.map(key), to.map(key));
    let reader = ChunkReader::new(snapshot);
    let mut expected: Vec<_> = model.values().copied().collect();
    expected.retain(|entry| {
        std::ops::RangeBounds::contains(&(range.0.as_ref(), range.1.as_ref()), &entry.key)
    });
    for order in [Order::Ascending, Order::Descending] {
        let found: Result<Vec<_>, _> = reader.scan(&[map], range, order).unwrap().collect();
        prop_assert_eq!(&found.unwrap(), &expected);
        expected.reverse();
    }
    prop_assert_eq!(reader.count(&[map]).unwrap(), model.len() as u64);
    prop_assert_eq!(
        reader.first(&[map]).unwrap(),
        model.values().next().copied()
    );
    prop_assert_eq!(reader.last(&[map]).unwrap(), model.values().last().copied());
    Ok(())
}

fn entry(n: u32, type_number: u32, slot: u64) -> Entry {
    let mut key = LOWEST;
    key[..4].copy_from_slice(&n.to_be_bytes());
    Entry {
        key,
        type_number,
        slot,
    }
}

fn database() -> Database {
    let storage = Arc::new(MemoryStorage::default());
    Database::open(storage, DatabaseOptions::default()).unwrap()
}

fn write(database: &Database, work: impl FnOnce(&ChunkWriter<'_, '_>) -> Result<(), StoreError>) {
    let written = database.write(Commit::Fast, |tx| work(&ChunkWriter::new(tx)));
    written.unwrap();
}
