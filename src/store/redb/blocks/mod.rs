//! The events themselves, packed into blocks by slot.
//!
//! A slot is the place of one event, given in the order of registering and never again. A block holds the events of slots that follow
//! each other, up to 256 events or 32,000 bytes, so that it fills one page of 32 KiB at most; a larger event has a block of its own.
//! The table `blocks` has them by their first slot, the table `live` says which of their events are still in use.
//! `docs/store-file.md` has the bytes.

mod cache;
mod format;
mod live;
mod reader;
mod writer;

pub(super) use cache::BlockCache;
pub(super) use reader::{BlockReader, Stored, average_bytes, check_live};
pub(super) use writer::BlockWriter;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Binary, Event, EventId, EventType, Json, Payload, Timestamp};
    use crate::store::redb::database::{
        Commit, Database, DatabaseOptions, MemoryStorage, Snapshot, Table,
    };
    use crate::store::redb::types::TypeNames;

    #[test]
    fn a_block_has_these_bytes() {
        let database = database();
        let events = [event(5, 0), event(6, 0)];
        append(&database, 258, &events);
        let snapshot = database.snapshot().unwrap();
        let key = 258_u64.to_be_bytes();
        let record = |event| {
            let mut out = Vec::new();
            super::super::record::encode(event, 0, &mut out).unwrap();
            out
        };
        let mut expected = vec![0x03, 0xa8, 0x8f, 0x2c];
        expected.extend([2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 49, 0, 0, 0]);
        expected.extend(record(&events[0]));
        expected.extend(record(&events[1]));
        let value = snapshot.get(Table::Blocks, &key).unwrap().unwrap();
        assert_eq!(&*value, expected);
        assert!(snapshot.get(Table::Live, &key).unwrap().is_none());
        change(&database, |blocks| blocks.retire(&[258]));
        let snapshot = database.snapshot().unwrap();
        let live = snapshot.get(Table::Live, &key).unwrap().unwrap();
        assert_eq!(&*live, [0x40, 0x86, 0xcd, 0x9e, 2, 0, 0, 0, 0b10]);
    }

    #[test]
    fn events_fill_blocks_and_large_ones_have_their_own() {
        let database = database();
        let sizes = [vec![0; 600], vec![100_000], vec![1000; 40]].concat();
        let events: Vec<_> = (0..).zip(sizes).map(|(n, size)| event(n, size)).collect();
        append(&database, 0, &events);
        let snapshot = database.snapshot().unwrap();
        assert_eq!(snapshot.len(Table::Blocks).unwrap(), 3 + 1 + 2);
        let reader = reader(&snapshot);
        for (slot, event) in (0..).zip(&events) {
            assert_eq!(*reader.event(slot).unwrap(), *event);
        }
        assert!(reader.event(events.len() as u64).unwrap_err().is_damage());
    }

    #[test]
    fn small_blocks_are_joined_without_what_is_dead() {
        let database = database();
        for slot in 0..500 {
            append(&database, slot, &[event(slot, 10)]);
        }
        let dead: Vec<_> = (0..500).step_by(3).collect();
        change(&database, |blocks| {
            blocks.retire(&dead)?;
            blocks.join(0..500)
        });
        let snapshot = database.snapshot().unwrap();
        assert_eq!(snapshot.len(Table::Blocks).unwrap(), 2);
        let found: Result<Vec<_>, _> = reader(&snapshot).walk(0).unwrap().collect();
        let slots: Vec<_> = found.unwrap().iter().map(|stored| stored.slot).collect();
        let expected: Vec<_> = (0..500).filter(|slot| slot % 3 != 0).collect();
        assert_eq!(slots, expected);
    }

    #[test]
    fn blocks_with_pages_of_their_own_are_joined_where_that_saves_pages() {
        // Twice 12 KB fill as many pages as once 24 KB; thrice 9 KB fill one page less.
        for (size, count, left) in [(12_000, 4, 4), (9_000, 6, 2), (5_500, 5, 1), (300, 2, 1)] {
            let database = database();
            for slot in 0..count {
                append(&database, slot, &[event(slot, size)]);
            }
            change(&database, |blocks| blocks.join(0..count));
            let snapshot = database.snapshot().unwrap();
            assert_eq!(snapshot.len(Table::Blocks).unwrap(), left, "{size} bytes");
            for slot in 0..count {
                assert_eq!(*reader(&snapshot).event(slot).unwrap(), event(slot, size));
            }
        }
    }

    #[test]
    fn a_block_with_few_events_in_use_is_thinned_out_and_goes_with_the_last() {
        let database = database();
        let events: Vec<_> = (0..100).map(|n| event(n, 200)).collect();
        append(&database, 0, &events);
        let size = |database: &Database| {
            let snapshot = database.snapshot().unwrap();
            let value = snapshot.get(Table::Blocks, &[0; 8]).unwrap();
            value.map_or(0, |value| value.len())
        };
        let full = size(&database);
        change(&database, |blocks| {
            blocks.retire(&(1..80).collect::<Vec<_>>())
        });
        assert!(size(&database) < full / 4);
        assert!(reader(&database.snapshot().unwrap()).event(99).is_ok());
        change(&database, |blocks| {
            blocks.retire(&(80..100).collect::<Vec<_>>())
        });
        change(&database, |blocks| blocks.retire(&[0]));
        let snapshot = database.snapshot().unwrap();
        assert_eq!(snapshot.len(Table::Blocks).unwrap(), 0);
        assert_eq!(snapshot.len(Table::Live).unwrap(), 0);
    }

    #[test]
    fn damage_is_told_by_slot_and_the_walk_goes_on_behind_it() {
        let database = database();
        let events: Vec<_> = (0..600).map(|n| event(n, 30)).collect();
        append(&database, 0, &events);
        database
            .write(Commit::Fast, |tx| {
                // The last record of the first block, and the head of the second.
                for (base, at) in [(0_u64, None), (256, Some(20))] {
                    let key = base.to_be_bytes();
                    let mut value = tx.get(Table::Blocks, &key)?.unwrap();
                    let at = at.unwrap_or(value.len() - 1);
                    value[at] ^= 4;
                    tx.put(Table::Blocks, &key, &value)?;
                }
                Ok(())
            })
            .unwrap();
        let reader = reader(&database.snapshot().unwrap());
        let (good, bad): (Vec<_>, Vec<_>) = reader.walk(0).unwrap().partition(Result::is_ok);
        assert_eq!(good.len(), 255 + 88);
        let bad: Vec<_> = bad
            .into_iter()
            .map(|bad| bad.unwrap_err().to_string())
            .collect();
        assert_eq!(bad.len(), 2);
        assert!(
            bad[0].starts_with("the event in slot 255 is damaged"),
            "{bad:?}"
        );
        assert!(bad[1].starts_with("block 256 is damaged"), "{bad:?}");
        for slot in [255, 256, 511] {
            assert!(reader.event(slot).unwrap_err().is_damage());
        }
        assert_eq!(*reader.event(254).unwrap(), events[254]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<usize>),
        AppendOneByOne(u8),
        Retire(Vec<u64>),
        Join(u64, u64),
        Truncate(u64),
        Snapshot,
        Read(usize, Vec<u64>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let slot = 0..1500_u64;
        let size = prop_oneof![6 => 0..200_usize, 1 => 5000..40_000_usize];
        let step = prop_oneof![
            vec(size, 0..300).prop_map(Step::Append),
            any::<u8>().prop_map(Step::AppendOneByOne),
            vec(slot.clone(), 0..300).prop_map(Step::Retire),
            (slot.clone(), slot.clone()).prop_map(|(from, to)| Step::Retire((from..to).collect())),
            (slot.clone(), slot.clone()).prop_map(|(from, to)| Step::Join(from, to)),
            slot.clone().prop_map(Step::Truncate),
            Just(Step::Snapshot),
            (any::<usize>(), vec(slot, 1..50)).prop_map(|(at, slots)| Step::Read(at, slots)),
        ];
        vec(step, 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_event_in_use_is_read_in_every_snapshot(steps in steps()) {
            let database = database();
            let cache = Arc::new(BlockCache::new(200_000));
            let take = || BlockReader::new(&database.snapshot().unwrap(), cache.clone(), types());
            let mut model = BTreeMap::new();
            // A slot is not used again, not even one that was truncated: a cache may know it.
            let mut next = 0;
            let mut snapshots = vec![(take(), model.clone())];
            for step in steps {
                match step {
                    Step::Append(sizes) => {
                        let events: Vec<_> = (next..).zip(sizes).map(|(n, size)| event(n, size)).collect();
                        append(&database, next, &events);
                        model.extend((next..).zip(events.iter().cloned()));
                        next += events.len() as u64;
                    }
                    Step::AppendOneByOne(count) => {
                        for _ in 0..count {
                            let event = event(next, 20);
                            append(&database, next, std::slice::from_ref(&event));
                            model.insert(next, event);
                            next += 1;
                        }
                    }
                    Step::Retire(mut slots) => {
                        slots.sort_unstable();
                        slots.dedup();
                        change(&database, |blocks| blocks.retire(&slots));
                        model.retain(|slot, _| slots.binary_search(slot).is_err());
                    }
                    Step::Join(from, to) => change(&database, |blocks| blocks.join(from..to.max(from))),
                    Step::Truncate(slot) => {
                        change(&database, |blocks| blocks.truncate(slot));
                        model.split_off(&slot);
                    }
                    Step::Snapshot => snapshots.push((take(), model.clone())),
                    Step::Read(at, slots) => {
                        let (reader, model) = &snapshots[at % snapshots.len()];
                        for slot in slots {
                            if let Some(event) = model.get(&slot) {
                                prop_assert_eq!(&*reader.event(slot).unwrap(), event);
                            }
                        }
                    }
                }
            }
            let in_use = model.len();
            snapshots.push((take(), model));
            for (reader, mut model) in snapshots {
                for (slot, event) in &model {
                    prop_assert_eq!(&*reader.event(*slot).unwrap(), event);
                }
                let mut last = None;
                for stored in reader.walk(0).unwrap() {
                    let stored = stored.unwrap();
                    prop_assert!(last < Some(stored.slot));
                    last = Some(stored.slot);
                    prop_assert_eq!(stored.event.id.instance, stored.slot as i64);
                    model.remove(&stored.slot);
                }
                prop_assert!(model.is_empty(), "not walked: {:?}", model.keys());
            }
            prop_assert!(cache.bytes() <= 200_000);
            let all = (Bound::Unbounded, Bound::Unbounded);
            let snapshot = database.snapshot().unwrap();
            let live = snapshot.range(Table::Blocks, all).unwrap().map(|pair| {
                let (key, value) = pair.unwrap();
                match snapshot.get(Table::Live, &key).unwrap() {
                    Some(live) => live::Live::decode(&key, &live).unwrap().len() as usize,
                    None => format::Block::check(&key, &value).unwrap().count(),
                }
            });
            prop_assert_eq!(live.sum::<usize>(), in_use);
            prop_assert!(check_live(&snapshot).unwrap().all(|found| found.is_ok()));
        }

        #[test]
        fn no_bytes_make_a_block_panic(key in vec(any::<u8>(), 0..10), value in vec(any::<u8>(), 0..200), slot in any::<u64>()) {
            prop_assert!(format::Block::check(&key, &value).is_err());
            prop_assert_eq!(live::Live::decode(&key, &value), None);
            if let Some(block) = format::Block::parse(&value) {
                let _ = (block.find(slot), block.find(block.base()));
                for at in 0..=block.count() {
                    let _ = (block.slot(at), block.record(at), block.record_on(at));
                }
            }
        }

        #[test]
        fn a_changed_or_cut_block_gives_no_wrong_event(bit in any::<usize>(), cut in any::<usize>()) {
            let events: Vec<_> = (0..20).map(|n| event(n, 10)).collect();
            let database = database();
            append(&database, 0, &events);
            database.write(Commit::Fast, |tx| {
                let mut value = tx.get(Table::Blocks, &[0; 8])?.unwrap();
                let bit = bit % (value.len() * 8);
                value[bit / 8] ^= 1 << (bit % 8);
                tx.put(Table::Blocks, &[0; 8], &value)
            }).unwrap();
            let changed = reader(&database.snapshot().unwrap());
            database.write(Commit::Fast, |tx| {
                let value = tx.get(Table::Blocks, &[0; 8])?.unwrap();
                tx.put(Table::Blocks, &[0; 8], &value[..cut % value.len()])
            }).unwrap();
            let cut = reader(&database.snapshot().unwrap());
            for reader in [changed, cut] {
                let mut wrong = 0;
                for (slot, event) in (0..).zip(&events) {
                    match reader.event(slot) {
                        Ok(found) => prop_assert_eq!(&*found, event),
                        Err(error) => {
                            prop_assert!(error.is_damage());
                            wrong += 1;
                        }
                    }
                }
                prop_assert!(wrong > 0);
            }
        }
    }

    /// Its slot is its instance.
    fn event(slot: u64, size: usize) -> Event {
        let id = EventId::new(1, 1, slot as i64);
        let event = Event::new(id, EventType::from("a"), Timestamp::new(slot as i64, 0));
        match (size, slot % 2) {
            (0, _) => event,
            (_, 0) => {
                let text = format!("\"{}\"", "x".repeat(size));
                event.with_payload(Payload::Json(Json::new(text).unwrap()))
            }
            _ => event.with_payload(Payload::Binary(Binary::new("b", vec![7; size]))),
        }
    }

    fn types() -> Arc<TypeNames> {
        Arc::new(TypeNames::new(vec![EventType::from("a")]))
    }

    fn reader(snapshot: &Snapshot) -> BlockReader {
        BlockReader::new(snapshot, Arc::new(BlockCache::new(1 << 20)), types())
    }

    fn database() -> Database {
        let storage = Arc::new(MemoryStorage::default());
        Database::open(storage, DatabaseOptions::default()).unwrap()
    }

    fn append(database: &Database, slot: u64, events: &[Event]) {
        let events: Vec<_> = events.iter().map(|event| (event, 0)).collect();
        change(database, |blocks| blocks.append(slot, &events));
    }

    fn change(
        database: &Database,
        work: impl FnOnce(&mut BlockWriter<'_, '_>) -> Result<(), crate::store::StoreError>,
    ) {
        let written = database.write(Commit::Fast, |tx| work(&mut BlockWriter::new(tx)));
        written.unwrap();
    }
}
