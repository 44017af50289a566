//! Run files: what is written comes back, whatever happens to the writer, the disk or the bytes.

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    Arrival, Bor, CxxTags, DataReceiver, DataRecord, DataTransmitter, DecodeLimits, Encoding, Eor,
    ReceiverOptions, RecordView, Run, RunCondition, RunEvent, RunEvents, RunStart, SenderName,
    Tags, Timestamp, TransmitterOptions, Value, write_record,
};
use acqbus::relay::{
    Conflict, Damage, Ending, Recorded, RelayError, ReplayControl, RunFileEntry, RunFileOptions,
    RunFileReader, RunFileWriter, RunRecorder, Speed, StoredRecord, TailKind, run_file,
};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn bor(sender: &str) -> Bor {
    let mut bor = Bor::new(SenderName::received(sender));
    bor.user_tags = Tags::new().with("operator", "Ada");
    bor.configuration = Tags::new()
        .with("exposure_ms", 1.5)
        .with("raw", vec![0_u8, 255])
        .with("_data", Tags::new().with("queue_size", 32768));
    bor
}

fn eor(sender: &str, run_id: &str) -> Eor {
    let mut eor = Eor::new(SenderName::received(sender));
    eor.metadata = Tags::new()
        .with("run_id", run_id)
        .with("condition_code", 2)
        .with("condition", "INCOMPLETE");
    eor.condition = RunCondition::INCOMPLETE;
    eor
}

fn bytes_of(record: &DataRecord<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_record(&mut bytes, record, Encoding::Compact).expect("a small record");
    bytes
}

fn put(writer: &mut RunFileWriter, record: &DataRecord<'_>, arrival: Arrival) {
    let bytes = bytes_of(record);
    let view = RecordView::decode(&bytes).expect("a record");
    writer.write_record(&view, arrival).expect("room");
}

/// Records 1 to `count` with a block that tells the number.
fn put_many(writer: &mut RunFileWriter, count: u64) {
    for sequence in 1..=count {
        let record = DataRecord::new(sequence).with_block(block_of(sequence));
        put(writer, &record, Arrival::InOrder);
    }
}

fn block_of(sequence: u64) -> Vec<u8> {
    format!("block {sequence}").into_bytes()
}

/// A finished file of so many records.
fn run_of(folder: &Path, count: u64, options: &RunFileOptions) -> PathBuf {
    let mut writer = RunFileWriter::create(folder, &bor("Camera.left"), options).expect("a file");
    put_many(&mut writer, count);
    writer
        .finish(&eor("Camera.left", "night_7"))
        .expect("finished")
        .path
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

/// The numbers of all records, the damage, and how the file ends. Each record must be as it was written.
fn read(bytes: &[u8]) -> (Vec<u64>, Vec<Damage>, Ending) {
    let mut reader = RunFileReader::new(Cursor::new(bytes), "memory", DecodeLimits::default())
        .expect("a header");
    let (mut numbers, mut damage) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().expect("no disk") {
        match entry {
            RunFileEntry::Record(record) => {
                let sequence = record.view.sequence();
                let blocks: Vec<&[u8]> = record.view.blocks().collect();
                assert_eq!(blocks, [&block_of(sequence)[..]]);
                numbers.push(sequence);
            }
            RunFileEntry::Damage(part) => damage.push(part),
            _ => {}
        }
    }
    (numbers, damage, reader.ending().expect("at its end"))
}

#[test]
fn run_comes_back_as_it_was_written() {
    let folder = folder();
    let begin = bor("Camera.left");
    let mut writer =
        RunFileWriter::create(folder.path(), &begin, &RunFileOptions::default()).expect("a file");
    let tags = Tags::new()
        .with("gain", 7)
        .with(
            "at",
            Value::Time(Timestamp::new(1_735_787_045, 123_456_789).expect("a time")),
        )
        .with(
            "list",
            Value::Array(vec![Value::Nil, Value::Uint(u64::MAX)]),
        );
    let records = [
        (
            DataRecord::new(1).with_tags(&tags).with_block(vec![1; 100]),
            Arrival::InOrder,
        ),
        (
            DataRecord::new(4)
                .with_block(vec![2; 3_000_000])
                .with_block(vec![]),
            Arrival::InOrder,
        ),
        (DataRecord::new(3), Arrival::Late),
        (DataRecord::new(4), Arrival::Duplicate),
        (
            DataRecord::new(u64::MAX).with_block(&b"x"[..]),
            Arrival::InOrder,
        ),
    ];
    for (record, arrival) in &records {
        put(&mut writer, record, *arrival);
    }
    let mut end = eor("Camera.left", "night_7");
    end.counts.missed = 1;
    let written = writer.finish(&end).expect("finished");
    assert_eq!(names(folder.path()), ["night_7@Camera.left.acqrun"]);
    assert_eq!(written.run_id.as_deref(), Some("night_7"));
    assert_eq!(
        written.file_bytes,
        fs::metadata(&written.path).expect("a file").len()
    );

    let mut reader = RunFileReader::open(&written.path).expect("a run file");
    assert_eq!(reader.sender(), Some("Camera.left"));
    assert_eq!(reader.user_tags(), Some(&begin.user_tags));
    assert_eq!(reader.configuration(), Some(&begin.configuration));
    for (record, arrival) in &records {
        let Some(RunFileEntry::Record(found)) = reader.next_entry().expect("readable") else {
            panic!("record {} is missing", record.sequence());
        };
        assert_eq!(found.view.as_bytes(), bytes_of(record));
        assert_eq!(found.view.tags(), *record.tags());
        assert_eq!(found.arrival, *arrival);
    }
    let Some(RunFileEntry::Eor(found)) = reader.next_entry().expect("readable") else {
        panic!("no end of run");
    };
    assert_eq!((found.metadata, found.substitute), (end.metadata, false));
    assert_eq!(reader.next_entry().expect("readable"), None);
    assert_eq!(reader.ending(), Some(Ending::Complete));
    let totals = reader.totals().expect("an index");
    assert_eq!(
        (
            totals.records,
            totals.late,
            totals.duplicates,
            totals.missed
        ),
        (5, 1, 1, 1)
    );
    assert_eq!((totals.first_sequence, totals.last_sequence), (1, u64::MAX));
    assert_eq!(totals.payload_bytes, 3_000_101);
}

#[test]
fn file_has_its_final_name_only_when_it_is_whole() {
    let folder = folder();
    let begin = bor("Camera.left");
    let options = RunFileOptions::default().run_id("night_7");
    let mut writer = RunFileWriter::create(folder.path(), &begin, &options).expect("a file");
    put_many(&mut writer, 3);
    assert_eq!(names(folder.path()), ["night_7@Camera.left.acqrun.part"]);
    writer
        .finish(&eor("Camera.left", "other"))
        .expect("finished");
    assert_eq!(names(folder.path()), ["night_7@Camera.left.acqrun"]);
}

#[test]
fn dropped_writer_leaves_a_readable_file_without_an_end() {
    let folder = folder();
    let mut writer = RunFileWriter::create(
        folder.path(),
        &bor("Camera.left"),
        &RunFileOptions::default(),
    )
    .expect("a file");
    put_many(&mut writer, 100);
    let path = writer.path().to_owned();
    drop(writer);
    let bytes = fs::read(&path).expect("readable");
    let (numbers, damage, ending) = read(&bytes);
    assert_eq!(
        (numbers.len(), damage.len(), ending),
        (100, 0, Ending::Unfinished)
    );
    let summary = run_file::inspect(&path).expect("a run file");
    assert_eq!(summary.totals.records, 100);
    assert!(summary.is_checked && !summary.is_whole());
}

#[test]
fn substitute_is_marked() {
    let folder = folder();
    let begin = bor("Camera.left");
    let writer =
        RunFileWriter::create(folder.path(), &begin, &RunFileOptions::default()).expect("a file");
    let mut end = eor("Camera.left", "x");
    end.metadata = Tags::new()
        .with("condition_code", 8)
        .with("condition", "ABORTED");
    let written = writer.finish_substitute(&end).expect("finished");
    assert!(written.substitute && written.run_id.is_none());
    let name = written
        .path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("text");
    assert!(
        name.starts_with("run-") && name.ends_with("Z@Camera.left.acqrun"),
        "{name}"
    );
    let summary = run_file::inspect(&written.path).expect("a run file");
    assert_eq!(summary.condition(), Some(RunCondition::ABORTED));
    assert!(summary.eor.expect("an end").substitute);
}

#[test]
fn names_from_the_wire_cannot_leave_the_directory() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("room");
    for sender in [
        "../../evil.x",
        "/etc/passwd",
        "..",
        "",
        ".hidden",
        &"x".repeat(5000),
    ] {
        let writer = RunFileWriter::create(&inner, &bor(sender), &RunFileOptions::default())
            .expect("a file");
        writer
            .finish(&eor(sender, "../../../run"))
            .expect("finished");
    }
    assert_eq!(names(folder.path()), ["inner"]);
    let names = names(&inner);
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("_._.._.._run~")),
        "{names:?}"
    );
}

#[test]
fn event_of_another_sender_is_refused() {
    let folder = folder();
    let writer = RunFileWriter::create(
        folder.path(),
        &bor("Camera.left"),
        &RunFileOptions::default(),
    )
    .expect("a file");
    let error = writer
        .finish(&eor("Camera.right", "x"))
        .expect_err("another sender");
    assert!(matches!(error, RelayError::WrongSender { .. }), "{error}");
}

/// A killed writer leaves any prefix of its file.
#[test]
fn file_cut_at_every_byte_is_read_up_to_its_last_whole_record() {
    let folder = folder();
    let options = RunFileOptions::default().mark_interval(200);
    let path = run_of(folder.path(), 40, &options);
    let bytes = fs::read(path).expect("readable");
    let (whole, damage, ending) = read(&bytes);
    assert_eq!(
        (whole.len(), damage.len(), ending),
        (40, 0, Ending::Complete)
    );
    let mut complete = 0;
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        if len < run_file::format::HEADER_BYTES {
            let error = RunFileReader::new(Cursor::new(cut), "cut", DecodeLimits::default())
                .expect_err("no header");
            assert!(error.is_bad_data(), "{error}");
            continue;
        }
        let (numbers, damage, ending) = read(cut);
        assert_eq!(numbers, whole[..numbers.len()], "cut at {len}");
        assert!(damage.is_empty(), "cut at {len}: {damage:?}");
        match ending {
            Ending::Torn(tail) => {
                // An entry begins with its checksum, whose first bytes may be zeros.
                let rest = &cut[tail.offset as usize..];
                let kind = match rest.iter().all(|byte| *byte == 0) {
                    true => TailKind::Zeros,
                    false => TailKind::Cut,
                };
                assert_eq!((tail.kind, tail.offset + tail.bytes), (kind, len as u64));
            }
            Ending::Unfinished => {}
            Ending::WithoutIndex => complete += 1,
            other => panic!("cut at {len}: {other}"),
        }
        // What a summary says is the same.
        let reader = RunFileReader::new(Cursor::new(cut), "cut", DecodeLimits::default());
        let summary = run_file::summarise(reader.expect("a header")).expect("no disk");
        assert_eq!(
            (summary.ending, summary.totals.records),
            (ending, numbers.len() as u64)
        );
    }
    assert!(complete > 32, "index and trailer");
}

#[test]
fn every_flipped_bit_is_found_and_costs_at_most_a_stretch() {
    let folder = folder();
    let options = RunFileOptions::default().mark_interval(300);
    let path = run_of(folder.path(), 25, &options);
    let good = fs::read(path).expect("readable");
    let mut bytes = good.clone();
    for bit in 0..good.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if bit / 8 < run_file::format::HEADER_BYTES {
            assert!(RunFileReader::new(Cursor::new(&bytes), "m", DecodeLimits::default()).is_err());
        } else {
            let (numbers, damage, ending) = read(&bytes);
            assert!(numbers.len() >= 15, "bit {bit}: {numbers:?}");
            assert!(
                !damage.is_empty() || ending != Ending::Complete,
                "bit {bit} was not seen"
            );
            let told: u64 = damage.iter().filter_map(|part| part.records).sum();
            // A begin whose kind became that of a record is told as one record.
            let is_begin = damage.first().is_some_and(|part| part.offset < 300);
            let allowed = 25..=25 + u64::from(is_begin);
            let all = numbers.len() as u64 + told;
            assert!(allowed.contains(&all), "bit {bit}: {all} {damage:?}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_record_is_found_by_its_number() {
    let folder = folder();
    for (mark_interval, is_finished) in [(500, true), (1 << 20, true), (500, false)] {
        let options = RunFileOptions::default().mark_interval(mark_interval);
        let path = run_of(folder.path(), 300, &options);
        let mut bytes = fs::read(path).expect("readable");
        if !is_finished {
            bytes.pop();
        }
        let limits = DecodeLimits::default();
        let mut reader = RunFileReader::new(Cursor::new(&bytes), "m", limits).expect("a file");
        assert_eq!(reader.totals().is_some(), is_finished);
        for sequence in (1..=300).rev().step_by(7).chain([1, 300]) {
            assert!(reader.seek(sequence).expect("no disk"));
            let next = reader.next_entry().expect("no disk");
            let Some(RunFileEntry::Record(record)) = next else {
                panic!("{next:?} and no record {sequence}");
            };
            assert_eq!(record.view.sequence(), sequence);
        }
        assert!(reader.seek(17).expect("no disk"));
        for missing in [0, 301, u64::MAX] {
            assert!(!reader.seek(missing).expect("no disk"));
        }
        let Some(RunFileEntry::Record(record)) = reader.next_entry().expect("no disk") else {
            panic!("the place was lost");
        };
        assert_eq!(record.view.sequence(), 17);
    }
}

#[test]
fn strategies_hold_for_whole_runs() {
    let folder = folder();
    let options = RunFileOptions::default();
    let first = run_of(folder.path(), 1, &options);
    let second = run_of(folder.path(), 2, &options);
    assert_eq!(
        names(folder.path()),
        ["night_7@Camera.left-2.acqrun", "night_7@Camera.left.acqrun"]
    );
    assert_eq!(
        run_file::inspect(&second).expect("a file").totals.records,
        2
    );

    let overwrite = options.clone().conflict(Conflict::Overwrite);
    assert_eq!(run_of(folder.path(), 3, &overwrite), first);
    assert_eq!(run_file::inspect(&first).expect("a file").totals.records, 3);

    let error = options.conflict(Conflict::Error);
    let known = error.clone().run_id("night_7");
    let refused = RunFileWriter::create(folder.path(), &bor("Camera.left"), &known);
    assert!(refused.expect_err("taken").is_exists());
    let mut writer =
        RunFileWriter::create(folder.path(), &bor("Camera.left"), &error).expect("not known yet");
    put_many(&mut writer, 4);
    let refused = writer
        .finish(&eor("Camera.left", "night_7"))
        .expect_err("taken");
    let RelayError::Exists {
        kept: Some(kept), ..
    } = refused
    else {
        panic!("{refused}");
    };
    let summary = run_file::check(kept).expect("a file");
    assert_eq!(
        (summary.totals.records, summary.ending),
        (4, Ending::Complete)
    );
    assert_eq!(run_file::inspect(&first).expect("a file").totals.records, 3);
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = folder();
    for (name, bytes, reason) in [
        ("empty", &b""[..], "it is empty"),
        (
            "text",
            b"hello, this is a text and no run file",
            "it begins with other bytes",
        ),
        ("few", b"hello", "it begins with other bytes"),
        ("zeros", &[0; 4096], "it begins with zeros"),
        ("short", b"\x89ACQRUN\n\x01\0", "it ends within its header"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("room");
        let error = RunFileReader::open(&path).expect_err("no run file");
        assert!(error.is_bad_data());
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
    let error = RunFileReader::open(folder.path().join("none")).expect_err("no file");
    assert!(error.is_not_found());
}

#[test]
fn recorder_keeps_senders_apart_and_gives_a_restarted_one_a_new_file() {
    let folder = folder();
    let mut recorder =
        RunRecorder::new(folder.path(), RunFileOptions::default()).expect("a folder");
    let mut paths = Vec::new();
    let mut tell = |recorder: &mut RunRecorder, event: RunEvent| {
        if let Some(Recorded::Finished(run)) = recorder.write(&event).expect("room") {
            paths.push((run.path, run.substitute));
        }
    };
    tell(&mut recorder, RunEvent::Bor(bor("A.a").into()));
    tell(&mut recorder, RunEvent::Bor(bor("B.b").into()));
    assert_eq!(recorder.open_files().count(), 2);
    tell(&mut recorder, RunEvent::Substitute(eor("A.a", "r1").into()));
    let mut again = bor("A.a");
    again.restarted = true;
    tell(&mut recorder, RunEvent::Bor(again.into()));
    tell(&mut recorder, RunEvent::Eor(eor("B.b", "r1").into()));
    tell(&mut recorder, RunEvent::Eor(eor("A.a", "r1").into()));
    // Nobody's.
    tell(&mut recorder, RunEvent::Eor(eor("C.c", "r1").into()));
    assert_eq!(
        paths
            .iter()
            .map(|(_, substitute)| *substitute)
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(
        names(folder.path()),
        ["r1@A.a-2.acqrun", "r1@A.a.acqrun", "r1@B.b.acqrun"]
    );
    let restarted = RunFileReader::open(&paths[2].0).expect("a file");
    assert_eq!(restarted.about().get("restarted"), Some(&Value::Bool(true)));
    let stats = recorder.close().expect("room");
    assert_eq!((stats.begun, stats.finished, stats.failed), (3, 3, 0));
}

#[test]
fn recorder_bounds_the_runs_that_it_keeps_open() {
    let folder = folder();
    let options = RunFileOptions::default().max_runs(2);
    let mut recorder = RunRecorder::new(folder.path(), options).expect("a folder");
    for sender in ["A.a", "B.b"] {
        recorder
            .write(&RunEvent::Bor(bor(sender).into()))
            .expect("room");
    }
    let error = recorder
        .write(&RunEvent::Bor(bor("C.c").into()))
        .expect_err("one too many");
    assert!(
        matches!(error, RelayError::TooManyRuns { limit: 2, .. }),
        "{error}"
    );
    recorder
        .write(&RunEvent::Eor(eor("A.a", "r").into()))
        .expect("room");
    recorder
        .write(&RunEvent::Bor(bor("C.c").into()))
        .expect("room again");
    let stats = recorder.close().expect("room");
    assert_eq!((stats.begun, stats.finished, stats.failed), (3, 1, 1));
    assert_eq!(
        names(folder.path())
            .iter()
            .filter(|name| name.ends_with(".part"))
            .count(),
        2
    );
}

#[test]
fn recorder_goes_on_with_the_others_when_one_run_cannot_be_written() {
    let folder = folder();
    let options = RunFileOptions::default()
        .run_id("r")
        .conflict(Conflict::Error);
    fs::write(folder.path().join("r@A.a.acqrun"), "taken").expect("room");
    let mut recorder = RunRecorder::new(folder.path(), options).expect("a folder");
    let error = recorder
        .write(&RunEvent::Bor(bor("A.a").into()))
        .expect_err("taken");
    assert!(error.is_exists());
    recorder
        .write(&RunEvent::Bor(bor("B.b").into()))
        .expect("free");
    recorder
        .write(&RunEvent::Eor(eor("A.a", "r").into()))
        .expect("told before");
    recorder
        .write(&RunEvent::Eor(eor("B.b", "r").into()))
        .expect("room");
    assert_eq!(names(folder.path()), ["r@A.a.acqrun", "r@B.b.acqrun"]);
    assert_eq!(recorder.stats().failed, 1);
    let error = RunRecorder::new(folder.path().join("none"), RunFileOptions::default());
    assert!(error.expect_err("no folder").is_not_found());
}

/// A limit on the size of files stands for a full disk: the first run does not fit, and that is seen at its end only.
#[test]
fn run_that_cannot_be_closed_does_not_keep_the_next_one_out() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let options = RunFileOptions::default().flush_interval(Duration::MAX);
        let mut recorder = RunRecorder::new(folder, options).expect("a folder");
        let mut large = bor("A.a");
        large.user_tags.insert("much", vec![0_u8; 600_000]);
        recorder
            .write(&RunEvent::Bor(large.into()))
            .expect("in memory");
        let error = recorder
            .write(&RunEvent::Bor(bor("A.a").into()))
            .expect_err("too large");
        assert!(error.is_disk_full(), "{error:?}");
        let recorded = recorder
            .write(&RunEvent::Eor(eor("A.a", "r").into()))
            .expect("room");
        assert!(matches!(recorded, Some(Recorded::Finished(_))));
        let stats = recorder.close().expect("closed");
        assert_eq!((stats.begun, stats.finished, stats.failed), (2, 1, 1));
        return;
    }
    let folder = folder();
    let test = "run_that_cannot_be_closed_does_not_keep_the_next_one_out";
    let shell = "trap '' XFSZ; ulimit -f 1000; exec \"$@\"";
    let status = child(test, folder.path(), shell)
        .status()
        .expect("a process");
    assert!(status.success(), "{status}");
    assert!(
        names(folder.path())
            .iter()
            .any(|name| name == "r@A.a.acqrun"),
    );
}

#[test]
fn failed_runs_leave_their_places_to_others() {
    let folder = folder();
    let options = RunFileOptions::default()
        .run_id("r")
        .max_runs(1)
        .conflict(Conflict::Error);
    fs::write(folder.path().join("r@A.a.acqrun"), "taken").expect("room");
    let mut recorder = RunRecorder::new(folder.path(), options).expect("a folder");
    let error = recorder
        .write(&RunEvent::Bor(bor("A.a").into()))
        .expect_err("taken");
    assert!(error.is_exists());
    recorder
        .write(&RunEvent::Bor(bor("B.b").into()))
        .expect("a place");
}

#[test]
fn limits_of_the_reader_hold_for_records_too() {
    let mut deep = vec![0x93, 1, 0x81, 0xa1, b'k'];
    deep.extend([0x91; 600]);
    deep.extend([0xc0, 0x90]);
    let limits = DecodeLimits::default().depth(1000);
    let view = RecordView::decode_with(&deep, &limits).expect("within these limits");
    let folder = folder();
    let options = RunFileOptions::default();
    let mut writer =
        RunFileWriter::create(folder.path(), &bor("Camera.left"), &options).expect("a file");
    writer
        .write_record(&view, Arrival::InOrder)
        .expect("in memory");
    let path = writer
        .finish(&eor("Camera.left", "r"))
        .expect("finished")
        .path;
    let bytes = fs::read(path).expect("readable");
    let mut reader = RunFileReader::new(Cursor::new(&bytes), "memory", limits).expect("a file");
    let entry = reader.next_entry().expect("readable");
    let Some(RunFileEntry::Record(record)) = entry else {
        panic!("no record: {entry:?}");
    };
    assert_eq!(record.view.as_bytes(), deep);
    let (numbers, damage, _) = read(&bytes);
    assert_eq!((numbers.len(), damage.len()), (0, 1), "{damage:?}");
}

#[test]
fn records_arrive_when_the_caller_says() {
    let folder = folder();
    let options = RunFileOptions::default();
    let mut writer =
        RunFileWriter::create(folder.path(), &bor("Camera.left"), &options).expect("a file");
    let bytes = bytes_of(&DataRecord::new(1).with_block(b"pixels"));
    let view = RecordView::decode(&bytes).expect("a record");
    let now = Instant::now();
    for time in [now + Duration::from_secs(60), now + Duration::from_secs(90)] {
        writer
            .write_record_at(&view, Arrival::InOrder, time)
            .expect("room");
    }
    let path = writer
        .finish(&eor("Camera.left", "r"))
        .expect("finished")
        .path;
    let mut reader = RunFileReader::open(path).expect("a file");
    let mut time = || match reader.next_entry().expect("readable") {
        Some(RunFileEntry::Record(record)) => record.time,
        other => panic!("no record: {other:?}"),
    };
    let (first, second) = (time(), time());
    assert!(first >= Duration::from_secs(60), "{first:?}");
    assert_eq!((second - first).as_secs(), 30);
}

#[test]
fn durable_end_of_run_is_whole() {
    let folder = folder();
    let path = run_of(
        folder.path(),
        10,
        &RunFileOptions::default().fsync_at_eor(true),
    );
    assert!(run_file::check(path).expect("a file").totals.records == 10);
}

/// A transmitter and the events of a receiver that is connected to it.
fn ends() -> (DataTransmitter, DataReceiver, RunEvents) {
    // What a file holds has been on the wire once, so it may be so again.
    let options = TransmitterOptions::default()
        .timeouts(Some(DEADLINE))
        .cxx_tags(CxxTags::Allow);
    let endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    let transmitter = DataTransmitter::bind("Camera.left", &endpoint, options).expect("a port");
    let (receiver, events) =
        DataReceiver::start_with_events(ReceiverOptions::default()).expect("threads");
    receiver
        .add_endpoint(transmitter.endpoint())
        .expect("an endpoint");
    (transmitter, receiver, events)
}

/// Records what comes up to one end of run; gives the file and the end.
fn record_one(mut events: RunEvents, folder: &Path) -> (PathBuf, Eor) {
    let mut recorder = RunRecorder::new(folder, RunFileOptions::default()).expect("a folder");
    let deadline = Instant::now() + DEADLINE;
    while let Ok(event) = events.recv_deadline(deadline) {
        let done = recorder.write(&event).expect("room");
        if let (Some(Recorded::Finished(run)), RunEvent::Eor(eor)) = (done, event) {
            return (run.path, *eor);
        }
    }
    panic!("no end of run");
}

/// What a receiver tells of one run with this many records, two of which get lost.
fn events_of_a_run(records: usize) -> Vec<RunEvent> {
    let (transmitter, _receiver, mut events) = ends();
    let sending = std::thread::spawn(move || {
        let run = Run::begin(&transmitter, RunStart::new("r")).expect("a run");
        for index in 0..records {
            if index == records / 3 {
                // Numbers that nobody sends.
                drop((run.new_data_record(), run.new_data_record()));
            }
            let record = run
                .new_data_record()
                .with_block(block_of(index as u64).repeat(8));
            run.send_data_record(record).expect("room");
        }
        run.finish(RunCondition::GOOD).expect("a receiver");
    });
    let deadline = Instant::now() + DEADLINE;
    let mut told = Vec::new();
    while !matches!(told.last(), Some(RunEvent::Eor(_))) {
        told.push(events.recv_deadline(deadline).expect("an event"));
    }
    sending.join().expect("no panic");
    told
}

#[test]
fn events_written_together_are_in_the_file_as_one_by_one() {
    let folder = folder();
    let events = events_of_a_run(30_000);
    let [RunEvent::Bor(begin), .., RunEvent::Eor(end)] = &events[..] else {
        panic!("no begin or no end");
    };
    let write = |parts: usize, fsync: bool| {
        let options = RunFileOptions::default().fsync_at_eor(fsync);
        let mut writer = RunFileWriter::create(folder.path(), begin, &options).expect("a file");
        if parts == 0 {
            for event in &events {
                writer.write(event).expect("room");
            }
        }
        for part in events.chunks(events.len() / parts.max(1) + 1) {
            if parts > 0 {
                writer.write_all(part).expect("room");
            }
        }
        assert_eq!(writer.records(), 30_000);
        let run = writer.finish(end).expect("finished");
        let totals = run_file::check(&run.path).expect("a file").totals;
        assert_eq!((totals.records, totals.missed), (30_000, 2));
        (run.file_bytes, content(&run.path))
    };
    let one_by_one = write(0, false);
    assert!(one_by_one.0 > 2 << 20, "{} bytes", one_by_one.0);
    for (parts, fsync) in [(1, false), (1, true), (7, true), (1000, false)] {
        assert!(write(parts, fsync) == one_by_one, "{parts} parts");
    }
}

#[test]
fn recorder_takes_events_together_as_one_by_one() {
    let mut events = events_of_a_run(3_000);
    // It has no run any more.
    events.push(events[1].clone());
    let mut first = None;
    for size in [1, 7, events.len()] {
        let folder = folder();
        let mut recorder =
            RunRecorder::new(folder.path(), RunFileOptions::default()).expect("a folder");
        let mut files = Vec::new();
        for mut rest in events.chunks(size) {
            while !rest.is_empty() {
                let (taken, outcome) = recorder.write_some(rest);
                match (outcome.expect("room"), &rest[taken - 1]) {
                    (Some(Recorded::Begun(_)), RunEvent::Bor(_)) => {}
                    (Some(Recorded::Finished(run)), RunEvent::Eor(_)) => files.push(run),
                    (None, _) => assert_eq!(taken, rest.len(), "it ends where something is told"),
                    told => panic!("{told:?}"),
                }
                rest = &rest[taken..];
            }
        }
        let stats = recorder.close().expect("room");
        assert_eq!(
            (stats.begun, stats.finished, stats.failed, stats.unwritten),
            (1, 1, 0, 1)
        );
        let [run] = &files[..] else {
            panic!("{files:?}");
        };
        let content = content(&run.path);
        assert_eq!((run.records, content.len()), (3_000, 3_000));
        assert!(
            *first.get_or_insert(content.clone()) == content,
            "{size} together"
        );
    }
}

#[test]
fn records_of_a_run_that_cannot_be_written_are_counted_together_too() {
    let folder = folder();
    let events = events_of_a_run(300);
    let Some(RunEvent::Bor(begin)) = events.first() else {
        panic!("no begin");
    };
    let taken_name = format!("r@{}.acqrun", begin.sender);
    fs::write(folder.path().join(taken_name), "taken").expect("room");
    let options = RunFileOptions::default()
        .run_id("r")
        .conflict(Conflict::Error);
    let mut recorder = RunRecorder::new(folder.path(), options).expect("a folder");
    let (taken, outcome) = recorder.write_some(&events);
    assert!(outcome.expect_err("taken").is_exists());
    assert_eq!(taken, 1);
    let (taken, outcome) = recorder.write_some(&events[1..]);
    assert_eq!(outcome.expect("nothing to tell"), None);
    assert_eq!(taken, events.len() - 1);
    let stats = recorder.stats();
    assert_eq!((stats.failed, stats.unwritten), (1, 300));
}

#[test]
fn events_of_another_sender_are_refused_together_too() {
    let folder = folder();
    let events = events_of_a_run(3);
    let mut writer = RunFileWriter::create(
        folder.path(),
        &bor("Camera.right"),
        &RunFileOptions::default(),
    )
    .expect("a file");
    let error = writer.write_all(&events).expect_err("another sender");
    assert!(matches!(error, RelayError::WrongSender { .. }), "{error}");
    assert_eq!(writer.records(), 0);
    put_many(&mut writer, 5);
    assert_eq!(writer.records(), 5);
    writer.close().expect("room");
}

/// Every entry but marks, without times.
fn content(path: &Path) -> Vec<(Vec<u8>, Arrival)> {
    let mut reader = RunFileReader::open(path).expect("a run file");
    let mut content = Vec::new();
    while let Some(entry) = reader.next_entry().expect("readable") {
        match entry {
            RunFileEntry::Record(record) => {
                content.push((record.view.as_bytes().to_vec(), record.arrival));
            }
            RunFileEntry::Damage(damage) => panic!("{damage}"),
            _ => {}
        }
    }
    content
}

/// Numbers as a bad network makes them: a gap, late ones, doubled ones, a missing end.
#[test]
fn replayed_run_is_the_run() {
    let (first, second) = (folder(), folder());
    let tags = Tags::new().with("gain", 2.5);
    let path = {
        let mut writer = RunFileWriter::create(
            first.path(),
            &bor("Camera.left"),
            &RunFileOptions::default(),
        )
        .expect("a file");
        for sequence in [1, 2, 5, 4, 4, 9, 1 << 60] {
            let record = DataRecord::new(sequence)
                .with_tags(&tags)
                .with_block(block_of(sequence))
                .with_block(vec![7; 100_000]);
            put(&mut writer, &record, Arrival::InOrder);
        }
        let mut end = eor("Camera.left", "night_7");
        end.metadata.insert("data_records", (1_u64 << 60) + 5);
        writer.finish(&end).expect("finished").path
    };

    let (transmitter, _receiver, events) = ends();
    let from = path.clone();
    let sending = std::thread::spawn(move || {
        let mut reader = RunFileReader::open(from).expect("a run file");
        run_file::replay(&mut reader, &transmitter, Speed::Maximal).expect("sent")
    });
    let (again, end) = record_one(events, second.path());
    let sent = sending.join().expect("no panic");
    assert_eq!(
        (sent.records, sent.damage_count, sent.ending),
        (7, 0, Some(Ending::Complete))
    );
    let (before, after) = (content(&path), content(&again));
    assert_eq!(before.len(), after.len());
    for ((before, _), (after, _)) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(end.counts.records, 7);
    assert_eq!((end.counts.late, end.counts.duplicates), (1, 1));
    assert_eq!(end.counts.missed, (1 << 60) + 5 - 6);
    assert_eq!(end.metadata.get("run_id"), Some(&Value::from("night_7")));
    let arrivals: Vec<Arrival> = after.iter().map(|(_, arrival)| *arrival).collect();
    assert_eq!(arrivals[3..5], [Arrival::Late, Arrival::Duplicate]);
    let summary = run_file::check(&again).expect("a run file");
    assert_eq!(summary.totals.missed, end.counts.missed);
    let mut reader = RunFileReader::open(&again).expect("a run file");
    assert_eq!(
        reader.configuration(),
        Some(&bor("Camera.left").configuration)
    );
    assert_eq!(
        reader.eor().expect("readable").expect("an end").metadata,
        end.metadata
    );
}

#[test]
fn replay_of_a_torn_file_ends_as_aborted() {
    let (first, second) = (folder(), folder());
    let path = run_of(first.path(), 50, &RunFileOptions::default().run_id("torn"));
    let bytes = fs::read(path).expect("readable");
    let (transmitter, _receiver, events) = ends();
    let sending = std::thread::spawn(move || {
        let cut = Cursor::new(&bytes[..bytes.len() / 2]);
        let mut reader = RunFileReader::new(cut, "cut", DecodeLimits::default()).expect("a header");
        run_file::replay(&mut reader, &transmitter, Speed::Maximal).expect("sent")
    });
    let (again, end) = record_one(events, second.path());
    let sent = sending.join().expect("no panic");
    assert!(matches!(sent.ending, Some(Ending::Torn(_))));
    assert_eq!(end.counts.records, sent.records);
    assert_eq!(
        end.condition,
        RunCondition::ABORTED | RunCondition::INCOMPLETE
    );
    assert!(
        again.ends_with("torn@Camera.left.acqrun"),
        "{}",
        again.display()
    );
}

#[test]
fn replay_into_a_run_that_is_under_way_is_refused_and_the_run_goes_on() {
    let (first, second) = (folder(), folder());
    let path = run_of(first.path(), 5, &RunFileOptions::default());
    let (transmitter, _receiver, events) = ends();
    let sending = std::thread::spawn(move || {
        let run = Run::begin(&transmitter, RunStart::new("live")).expect("a receiver");
        let mut reader = RunFileReader::open(path).expect("a run file");
        let error = run_file::replay(&mut reader, &transmitter, Speed::Maximal);
        run.send_data_record(run.new_data_record()).expect("taken");
        run.finish(RunCondition::GOOD).expect("sent");
        error.expect_err("a run is open")
    });
    let (_, end) = record_one(events, second.path());
    let error = sending.join().expect("no panic");
    assert!(matches!(error, RelayError::RunUnderWay { .. }), "{error}");
    let text = "is sending a run already, and a file is a run of its own";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!((end.counts.records, end.condition), (1, RunCondition::GOOD));
}

/// Counts the waits, and does not wait.
#[derive(Default)]
struct Waits {
    times: Vec<Duration>,
    stop_at: Option<u64>,
}

impl ReplayControl for Waits {
    fn record(&mut self, record: &StoredRecord<'_>) -> ControlFlow<()> {
        if Some(record.view.sequence()) == self.stop_at {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn wait(&mut self, time: Duration) -> ControlFlow<()> {
        self.times.push(time);
        ControlFlow::Continue(())
    }
}

#[test]
fn original_speed_waits_as_long_as_the_run_took_and_a_stop_ends_it() {
    let (first, second) = (folder(), folder());
    let begin = bor("Camera.left");
    let mut writer =
        RunFileWriter::create(first.path(), &begin, &RunFileOptions::default()).expect("a file");
    put_many(&mut writer, 1);
    // Time must pass between the records, and this is what they were made to measure.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        std::thread::park_timeout(Duration::from_millis(1500) - start.elapsed());
    }
    for sequence in 2..=4 {
        put(
            &mut writer,
            &DataRecord::new(sequence).with_block(block_of(sequence)),
            Arrival::InOrder,
        );
    }
    let path = writer
        .finish(&eor("Camera.left", "slow"))
        .expect("finished")
        .path;
    let (transmitter, _receiver, events) = ends();
    let sending = std::thread::spawn(move || {
        let mut waits = Waits {
            stop_at: Some(4),
            ..Waits::default()
        };
        let mut reader = RunFileReader::open(path).expect("a run file");
        let speed = Speed::Original;
        let sent = run_file::replay_with(&mut reader, &transmitter, speed, &mut waits);
        (sent.expect("sent"), waits.times)
    });
    let (_, end) = record_one(events, second.path());
    let (sent, times) = sending.join().expect("no panic");
    assert!(sent.is_stopped);
    assert_eq!(
        (sent.records, end.counts.records, end.condition),
        (3, 3, RunCondition::INTERRUPTED)
    );
    let longest = times.into_iter().max().expect("it waited");
    assert!(
        longest <= Duration::from_secs(DEADLINE.as_secs()),
        "{longest:?}"
    );
}

#[test]
fn file_without_its_begin_is_read_but_not_sent() {
    let folder = folder();
    let path = run_of(folder.path(), 5, &RunFileOptions::default());
    let mut bytes = fs::read(path).expect("readable");
    bytes[run_file::format::HEADER_BYTES + 30] ^= 1;
    let (numbers, damage, _) = read(&bytes);
    assert_eq!((numbers.len(), damage.len()), (5, 1));
    let limits = DecodeLimits::default();
    let mut reader = RunFileReader::new(Cursor::new(&bytes), "bad", limits).expect("a header");
    assert_eq!(reader.sender(), None);
    let (transmitter, _receiver, _events) = ends();
    let error = run_file::replay(&mut reader, &transmitter, Speed::Maximal).expect_err("no begin");
    assert!(matches!(error, RelayError::Incomplete { .. }), "{error}");
}

/// Runs this very test in a process of its own, which does what `child` says and then ends or is killed.
fn child(test: &str, folder: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    let program = std::env::current_exe().expect("a test program");
    command
        .args(["-c", shell, "sh"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::null());
    command
}

const CHILD: &str = "ACQBUS_TEST_RUN_FILE_CHILD";

#[test]
fn killed_writer_leaves_all_but_the_last_moment() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let options = RunFileOptions::default().flush_interval(Duration::from_millis(10));
        let mut writer =
            RunFileWriter::create(folder, &bor("Camera.left"), &options).expect("a file");
        put_many(&mut writer, u64::MAX);
        return;
    }
    let folder = folder();
    let test = "killed_writer_leaves_all_but_the_last_moment";
    let mut killed = child(test, folder.path(), "exec \"$@\"")
        .spawn()
        .expect("a process");
    let deadline = Instant::now() + DEADLINE;
    let path = loop {
        assert!(Instant::now() < deadline, "nothing is written");
        let part = names(folder.path())
            .pop()
            .map(|name| folder.path().join(name));
        if let Some(part) = part
            && fs::metadata(&part).is_ok_and(|part| part.len() > 3 << 20)
        {
            break part;
        }
        std::thread::yield_now();
    };
    killed.kill().expect("alive");
    killed.wait().expect("a child");
    let (numbers, damage, ending) = read(&fs::read(&path).expect("readable"));
    assert!(numbers.len() > 10_000 && damage.is_empty());
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(
        matches!(ending, Ending::Torn(_) | Ending::Unfinished),
        "{ending}"
    );
}

/// A limit on the size of files stands for a full disk: the write fails within a chunk.
#[test]
fn full_disk_is_told_with_the_file_and_leaves_it_readable() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let options = RunFileOptions::default();
        let mut writer =
            RunFileWriter::create(folder, &bor("Camera.left"), &options).expect("a file");
        let error = (1..2_000_000)
            .find_map(|sequence| {
                let record = DataRecord::new(sequence).with_block(block_of(sequence));
                let bytes = bytes_of(&record);
                let view = RecordView::decode(&bytes).expect("a record");
                writer.write_record(&view, Arrival::InOrder).err()
            })
            .expect("the limit is reached");
        assert!(error.is_disk_full(), "{error:?}");
        assert!(
            error.to_string().contains("Camera.left.acqrun.part"),
            "{error}"
        );
        let error = writer
            .finish(&eor("Camera.left", "r"))
            .expect_err("still full");
        assert!(error.is_disk_full(), "{error:?}");
        return;
    }
    let folder = folder();
    let test = "full_disk_is_told_with_the_file_and_leaves_it_readable";
    // An ignored signal stays ignored in the program, whose write then fails.
    let shell = "trap '' XFSZ; ulimit -f 5001; exec \"$@\"";
    let status = child(test, folder.path(), shell)
        .status()
        .expect("a process");
    assert!(status.success(), "{status}");
    let names = names(folder.path());
    assert_eq!(names.len(), 1, "{names:?}");
    let bytes = fs::read(folder.path().join(&names[0])).expect("readable");
    let (numbers, damage, ending) = read(&bytes);
    assert!(numbers.len() > 10_000 && damage.is_empty());
    assert!(
        matches!(ending, Ending::Torn(_) | Ending::Unfinished),
        "{ending}"
    );
}
