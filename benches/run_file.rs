//! A run to disk beside a plain sequential write of the same bytes, in turns; `run_file_plain` is the limit.
//!
//! `cargo bench --bench run_file` prints, for blocks of 64 B and 64 KiB, the medians over the turns of bytes and records a second
//! and of their ratios, without and with an fsync at the end. `ACQBUS_BENCH_DIR` is the directory to write to, the system's
//! temporary one by default; `ACQBUS_BENCH_MB` how much is written each time, 1024 MB by default; `ACQBUS_BENCH_TURNS` how often, 7
//! by default.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use acqbus::cdtp::{Arrival, Bor, DataRecord, Encoding, Eor, RecordView, SenderName, write_record};
use acqbus::relay::{RelayError, RunFileOptions, RunFileReader, RunFileWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` only asks whether it starts.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let parent = env::var_os("ACQBUS_BENCH_DIR").map_or_else(env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent)?;
    let (megabytes, turns) = (
        number("ACQBUS_BENCH_MB", 1024),
        number("ACQBUS_BENCH_TURNS", 7),
    );
    println!("block    fsync  run file MB/s  records/s   plain MB/s  ratio   read MB/s");
    for block in [64, 65_536] {
        for fsync in [false, true] {
            let mut all = Vec::new();
            for _ in 0..turns {
                all.push(Turn::take(folder.path(), block, megabytes << 20, fsync)?);
            }
            let median = |of: fn(&Turn) -> f64| {
                let mut values: Vec<f64> = all.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{block:>6}   {fsync:<5}  {:>13.0}  {:>9.0}   {:>10.0}  {:>5.2}   {:>9.0}",
                median(|turn| turn.bytes / turn.ours / 1e6),
                median(|turn| turn.records / turn.ours),
                median(|turn| turn.bytes / turn.plain / 1e6),
                median(|turn| turn.plain / turn.ours),
                median(|turn| turn.bytes / turn.read / 1e6),
            );
        }
    }
    Ok(())
}

/// One file written by us, and its very bytes written plainly. Seconds.
struct Turn {
    bytes: f64,
    records: f64,
    ours: f64,
    plain: f64,
    read: f64,
}

impl Turn {
    fn take(
        folder: &Path,
        block: usize,
        bytes: usize,
        fsync: bool,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut record = Vec::new();
        let blocks = vec![0x5a; block];
        let sample = DataRecord::new(1 << 20).with_block(&blocks[..]);
        write_record(&mut record, &sample, Encoding::Compact)?;
        // As they come: records follow each other in messages of 128 KiB.
        let message = record.repeat((131_072 / block).max(1));
        let views = message.chunks_exact(record.len()).map(RecordView::decode);
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let count = bytes / (record.len() + 16);

        let start = Instant::now();
        let path = write(folder, &views, count, fsync)?;
        let ours = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let mut reader = RunFileReader::open(&path)?;
        let mut records = 0;
        while reader.next_entry()?.is_some() {
            records += 1;
        }
        assert_eq!(records, count + 1, "records and the end of the run");
        let read = start.elapsed().as_secs_f64();

        let bytes = fs::metadata(&path)?.len();
        fs::remove_file(&path)?;
        // So that neither writes while the disk still has the other's bytes to write.
        rustix::fs::sync();
        let plain = write_plain(&folder.join("plain"), bytes, fsync)?;
        rustix::fs::sync();
        Ok(Self {
            bytes: bytes as f64,
            records: count as f64,
            ours,
            plain,
            read,
        })
    }
}

fn write(
    folder: &Path,
    views: &[RecordView<'_>],
    count: usize,
    fsync: bool,
) -> Result<std::path::PathBuf, RelayError> {
    let sender = SenderName::received("Bench.file");
    let options = RunFileOptions::default().fsync_at_eor(fsync);
    let mut writer = RunFileWriter::create(folder, &Bor::new(sender.clone()), &options)?;
    let mut left = count;
    while left > 0 {
        let now = Instant::now();
        for view in &views[..left.min(views.len())] {
            writer.write_record_at(view, Arrival::InOrder, now)?;
        }
        left = left.saturating_sub(views.len());
    }
    Ok(writer.finish(&Eor::new(sender))?.path)
}

/// As many bytes, in the same 1 MiB writes, with nothing done to them.
fn write_plain(path: &Path, bytes: u64, fsync: bool) -> io::Result<f64> {
    let chunk = vec![0x5a; 1 << 20];
    let start = Instant::now();
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len() as u64);
        file.write_all(&chunk[..now as usize])?;
        left -= now;
    }
    if fsync {
        file.sync_all()?;
    }
    drop(file);
    let took = start.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(took)
}

fn number(name: &str, default: usize) -> usize {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
