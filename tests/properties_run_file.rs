//! Damaged run files: the reader ends, tells what is wrong, and shows no record that was not written.
//!
//! `ACQBUS_RUN_FILES` is how many, 100,000 by default; a million take some minutes.

use std::env;
use std::fs;
use std::io::Cursor;
use std::thread;

use acqbus::cdtp::{
    Arrival, Bor, DataRecord, DecodeLimits, Encoding, Eor, RecordView, SenderName, Tags, Value,
    write_record,
};
use acqbus::relay::{Ending, RunFileEntry, RunFileOptions, RunFileReader, RunFileWriter, run_file};
use proptest::prelude::*;

#[path = "common/mutate.rs"]
mod mutate;

use mutate::Dice;

/// Files of all kinds, small: empty runs, marks often or never, tags, late records, no end.
fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seeds = Vec::new();
    for (records, mark_interval, is_finished) in [
        (0, 64, true),
        (1, 1 << 20, true),
        (6, 64, true),
        (12, 200, false),
        (9, 1 << 20, true),
    ] {
        let sender = SenderName::received("Camera.left");
        let mut bor = Bor::new(sender.clone());
        bor.configuration = Tags::new().with("exposure_ms", 1.5);
        let options = RunFileOptions::default().mark_interval(mark_interval);
        let mut writer = RunFileWriter::create(folder.path(), &bor, &options).expect("a file");
        for sequence in 1..=records {
            let record = record(sequence, (sequence % 3) as usize);
            let arrival =
                [Arrival::InOrder, Arrival::Late, Arrival::Duplicate][sequence as usize % 3];
            let view = RecordView::decode(&record).expect("a record");
            writer.write_record(&view, arrival).expect("room");
        }
        let path = if is_finished {
            writer.finish(&Eor::new(sender)).expect("finished").path
        } else {
            let path = writer.path().to_owned();
            writer.close().expect("room");
            path
        };
        seeds.push(fs::read(path).expect("readable"));
    }
    seeds
}

/// A record whose bytes are told by its number and its shape.
fn record(sequence: u64, blocks: usize) -> Vec<u8> {
    let tags = Tags::new().with("number", sequence);
    let mut record = DataRecord::new(sequence).with_tags(&tags);
    for _ in 0..blocks {
        record.add_block(format!("block of {sequence}").into_bytes());
    }
    let mut bytes = Vec::new();
    write_record(&mut bytes, &record, Encoding::Compact).expect("a small record");
    bytes
}

/// Makes the checksums right again, as far as sizes lead: a hostile file has right ones.
fn reseal(bytes: &mut [u8]) {
    if let Some(header) = bytes.first_chunk_mut::<64>() {
        let crc = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
    }
    let mut at = 64;
    while let Some(head) = bytes.get(at..at + 16) {
        let len = u32::from_le_bytes(head[4..8].try_into().expect("4 bytes")) as usize;
        let end = at.saturating_add(16).saturating_add(len);
        let Some(rest) = bytes.get(at + 4..end) else {
            break;
        };
        let crc = crc32c::crc32c(rest);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
    if let Some(trailer) = bytes.last_chunk_mut::<32>() {
        let crc = crc32c::crc32c(&trailer[..20]);
        trailer[20..24].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Reads everything in every way, and checks what must hold for any bytes. Gives how the file ends.
///
/// Where no checksum was made right, every record must be one that was written.
fn read(bytes: &[u8], seed: &str, is_honest: bool) -> Option<Ending> {
    let limits = DecodeLimits::default().frame_bytes(1 << 20);
    let mut reader = RunFileReader::new(Cursor::new(bytes), "memory", limits).ok()?;
    // An entry takes 16 bytes, and so does each step over damage but those to a mark.
    let most = bytes.len() / 4 + 8;
    let mut entries = 0;
    let mut numbers = Vec::new();
    while let Some(entry) = reader.next_entry().expect("no disk") {
        entries += 1;
        assert!(
            entries <= most,
            "{seed}: more entries than the file has room for"
        );
        match entry {
            RunFileEntry::Record(stored) => {
                let view = stored.view;
                let sequence = view.sequence();
                if is_honest {
                    let written = record(sequence, view.block_count());
                    assert_eq!(view.as_bytes(), written, "{seed}");
                }
                numbers.push(sequence);
            }
            RunFileEntry::Damage(damage) => {
                assert!(
                    damage.offset + damage.bytes <= bytes.len() as u64,
                    "{seed}: {damage}"
                );
            }
            _ => {}
        }
    }
    let ending = reader.ending().expect("at its end");
    if let Ending::Torn(tail) = ending {
        assert_eq!(tail.offset + tail.bytes, bytes.len() as u64, "{seed}");
        assert!(tail.bytes > 0, "{seed}");
    }
    let _end = reader.eor().expect("no disk");
    if let Some(&number) = numbers.first() {
        let found = reader.seek(number).expect("no disk");
        assert!(
            found || reader.totals().is_some(),
            "{seed}: {number} was there"
        );
    }
    if !is_honest {
        run_file::summarise(reader).expect("no disk");
    }
    Some(ending)
}

#[test]
fn damaged_files_are_read_without_harm() {
    let files = match env::var("ACQBUS_RUN_FILES") {
        Ok(files) => files.parse().expect("a number of files"),
        Err(_) => 100_000,
    };
    let seeds = &seeds();
    let complete = thread::scope(|scope| {
        let share = |seed| move || damage(seeds, Dice(0x0acb_0b05 + seed), files / THREADS);
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(share(seed))).collect();
        let counts = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        counts.sum::<u64>()
    });
    println!("{complete} of {files} still complete");
    assert!(
        complete > files / 1000,
        "most of the damage is to the end: {complete}"
    );
}

/// Reads damaged files, and counts those that are complete all the same.
fn damage(seeds: &[Vec<u8>], mut dice: Dice, files: u64) -> u64 {
    let mut bytes = Vec::new();
    let mut complete = 0;
    for round in 0..files {
        let seed = &seeds[dice.below(seeds.len())];
        dice.mutate(seed, &mut bytes);
        let is_honest = round % 2 == 0;
        if !is_honest {
            reseal(&mut bytes);
        }
        let ending = read(&bytes, &format!("round {round}"), is_honest);
        complete += u64::from(ending == Some(Ending::Complete));
    }
    complete
}

const THREADS: u64 = 4;

#[test]
fn seeds_are_good() {
    for (place, bytes) in seeds().iter().enumerate() {
        let expected = if place == 3 {
            Ending::Unfinished
        } else {
            Ending::Complete
        };
        assert_eq!(read(bytes, "seed", true), Some(expected));
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        ".{0,20}".prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..50).prop_map(Value::Bin),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop::collection::vec(inner, 0..5).prop_map(Value::Array)
    })
}

fn tags() -> impl Strategy<Value = Tags> {
    prop::collection::vec((".{0,10}", value()), 0..5)
        .prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_run_comes_back(
        sender in ".{0,40}",
        (begin, configuration, end, metadata) in (tags(), tags(), tags(), tags()),
        records in prop::collection::vec(
            (any::<u64>(), tags(), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)),
            0..30,
        ),
        mark_interval in 64..2000_u64,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let sender = SenderName::received(&sender);
        let mut bor = Bor::new(sender.clone());
        (bor.user_tags, bor.configuration) = (begin, configuration);
        let options = RunFileOptions::default().mark_interval(mark_interval);
        let mut writer = RunFileWriter::create(folder.path(), &bor, &options).expect("a file");
        let mut written = Vec::new();
        for (sequence, tags, blocks) in &records {
            let mut record = DataRecord::new(*sequence).with_tags(tags);
            blocks.iter().for_each(|block| record.add_block(block.as_slice()));
            let mut bytes = Vec::new();
            write_record(&mut bytes, &record, Encoding::Cxx).expect("a small record");
            writer.write_record(&RecordView::decode(&bytes).expect("a record"), Arrival::InOrder).expect("room");
            written.push(bytes);
        }
        let mut eor = Eor::new(sender.clone());
        (eor.user_tags, eor.metadata) = (end, metadata);
        let path = writer.finish(&eor).expect("finished").path;
        prop_assert_eq!(path.parent(), Some(folder.path()));

        let mut reader = RunFileReader::open(&path).expect("a run file");
        prop_assert_eq!(reader.sender(), Some(sender.as_str()));
        prop_assert_eq!(reader.user_tags(), Some(&bor.user_tags));
        prop_assert_eq!(reader.configuration(), Some(&bor.configuration));
        for bytes in &written {
            let Some(RunFileEntry::Record(found)) = reader.next_entry().expect("readable") else {
                panic!("a record is missing");
            };
            prop_assert_eq!(found.view.as_bytes(), &bytes[..]);
        }
        let Some(RunFileEntry::Eor(found)) = reader.next_entry().expect("readable") else {
            panic!("no end");
        };
        prop_assert_eq!((found.user_tags, found.metadata), (eor.user_tags, eor.metadata));
        prop_assert_eq!(reader.next_entry().expect("readable"), None);
        prop_assert_eq!(reader.ending(), Some(Ending::Complete));
        for (sequence, ..) in &records {
            prop_assert!(reader.seek(*sequence).expect("readable"));
        }
        let fast = run_file::inspect(&path).expect("a run file");
        let mut slow = run_file::check(&path).expect("a run file");
        prop_assert_eq!(slow.records_read.take(), Some(records.len() as u64));
        slow.is_checked = false;
        prop_assert_eq!(fast, slow);
    }
}
