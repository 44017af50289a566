//! Storage that loses writes, or fails. Its parent has `Storage` and `StorageFile` in scope.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Storage, StorageFile};

/// Storage in memory that notes every write and sync, so that what a crash may leave can be made of it.
#[derive(Debug, Clone, Default)]
pub struct LoggedStorage {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

/// One thing that happened to the storage.
#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Resize(usize),
    Sync,
    /// The test was told that everything up to this one is durable.
    Acknowledged(u64),
}

/// What a crash left.
#[derive(Debug)]
pub struct CrashImage {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// The last that the test was told to be durable.
    pub acknowledged: u64,
    /// After how many steps it crashed.
    pub at: usize,
}

impl LoggedStorage {
    /// Notes that everything up to `number` was told to be durable.
    pub fn acknowledge(&self, number: u64) {
        self.log.lock().steps.push(Step::Acknowledged(number));
    }

    /// Shows what crashes at `count` random points may leave. Of what was not synced each sector of 512 bytes is there or not, and
    /// the writes came to the disk in any order.
    pub fn crash_images(&self, count: usize, seed: u64, mut show: impl FnMut(CrashImage)) {
        let log = self.log.lock();
        let mut random = Random(seed);
        let mut points: Vec<_> = (0..count)
            .map(|_| random.below(log.steps.len() + 1))
            .collect();
        points.sort_unstable();
        let (mut synced, mut synced_at, mut acknowledged, mut at) = (Vec::new(), 0, 0, 0);
        for point in points {
            for step in &log.steps[at..point] {
                at += 1;
                match step {
                    Step::Sync => {
                        for step in &log.steps[synced_at..at] {
                            step.apply(&mut synced);
                        }
                        synced_at = at;
                    }
                    Step::Acknowledged(number) => acknowledged = *number,
                    Step::Write(..) | Step::Resize(_) => {}
                }
            }
            let bytes = crashed(&synced, &log.steps[synced_at..point], &mut random);
            show(CrashImage {
                bytes,
                acknowledged,
                at: point,
            });
        }
    }
}

/// A state between the synced one and that with all `unsynced` steps.
fn crashed(synced: &[u8], unsynced: &[Step], random: &mut Random) -> Vec<u8> {
    let mut bytes = synced.to_vec();
    let mut left: Vec<Step> = Vec::new();
    // Now and then all of a kind: nothing lost, everything lost.
    let chance = [0, 10, 50, 90, 100][random.below(5)];
    for step in unsynced {
        match step {
            Step::Write(offset, data) => {
                let mut start = 0;
                while start < data.len() {
                    let end = ((offset + start) / SECTOR + 1) * SECTOR - offset;
                    let end = end.min(data.len());
                    if random.below(100) < chance {
                        left.push(Step::Write(offset + start, data[start..end].to_vec()));
                    }
                    start = end;
                }
            }
            Step::Resize(size) if random.below(100) < chance => left.push(Step::Resize(*size)),
            _ => {}
        }
    }
    // Writes to the same sector stay in their order: the later one was in the system's memory when either went to the disk.
    if random.below(2) == 0 {
        left.sort_by_key(|step| match step {
            Step::Write(offset, _) => *offset,
            _ => usize::MAX,
        });
    }
    for step in &left {
        step.apply(&mut bytes);
    }
    bytes
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Resize(size) => bytes.resize(*size, 0),
            Self::Sync | Self::Acknowledged(_) => {}
        }
    }
}

impl Storage for LoggedStorage {
    fn path(&self) -> &Path {
        Path::new("logged")
    }

    fn open(&self) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(self.clone()))
    }
}

impl StorageFile for LoggedStorage {
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.log.lock().bytes.len() as u64)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.log.lock().take(Step::Resize(bytes as usize));
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let log = self.log.lock();
        let wanted = log.bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let step = Step::Write(offset as usize, data.to_vec());
        self.log.lock().take(step);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.log.lock().take(Step::Sync);
        Ok(())
    }
}

impl Log {
    fn take(&mut self, step: Step) {
        step.apply(&mut self.bytes);
        self.steps.push(step);
    }
}

/// Storage over another one that fails from some call on, until it is healed.
#[derive(Debug, Clone)]
pub struct FailingStorage {
    inner: Arc<dyn Storage>,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug)]
struct Faults {
    /// Calls until the first that fails.
    left: usize,
    kind: io::ErrorKind,
    /// Calls so far.
    calls: usize,
    has_failed: bool,
}

impl FailingStorage {
    /// Fails from call number `after` on with this error; a full disk refuses only what writes.
    pub fn new(inner: impl Storage + 'static, after: usize, kind: io::ErrorKind) -> Self {
        Self {
            inner: Arc::new(inner),
            faults: Arc::new(Mutex::new(Faults {
                left: after,
                kind,
                calls: 0,
                has_failed: false,
            })),
        }
    }

    /// No call fails from now on.
    pub fn heal(&self) {
        self.faults.lock().left = usize::MAX;
    }

    /// Every call fails from now on.
    pub fn fail(&self) {
        self.fail_after(0);
    }

    /// Every call fails after so many more.
    pub fn fail_after(&self, calls: usize) {
        let mut faults = self.faults.lock();
        (faults.left, faults.has_failed) = (calls, false);
    }

    /// Whether a call failed.
    pub fn has_failed(&self) -> bool {
        self.faults.lock().has_failed
    }

    /// How many calls there were that could have failed.
    pub fn calls(&self) -> usize {
        self.faults.lock().calls
    }

    fn call(&self, writes: bool) -> io::Result<()> {
        let mut faults = self.faults.lock();
        if faults.kind == io::ErrorKind::StorageFull && !writes {
            return Ok(());
        }
        faults.calls += 1;
        if faults.left > 0 {
            // A healed one never gets there.
            faults.left -= usize::from(faults.left != usize::MAX);
            return Ok(());
        }
        faults.has_failed = true;
        Err(faults.kind.into())
    }
}

impl Storage for FailingStorage {
    fn path(&self) -> &Path {
        Path::new("failing")
    }

    fn open(&self) -> io::Result<Box<dyn StorageFile>> {
        self.call(false)?;
        Ok(Box::new(FailingFile {
            inner: self.inner.open()?,
            storage: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Box<dyn StorageFile>,
    storage: FailingStorage,
}

impl StorageFile for FailingFile {
    fn try_lock(&self) -> io::Result<bool> {
        self.storage.call(false)?;
        self.inner.try_lock()
    }

    fn size(&self) -> io::Result<u64> {
        self.storage.call(false)?;
        self.inner.size()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.storage.call(true)?;
        self.inner.resize(bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.call(false)?;
        self.inner.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let called = self.storage.call(true);
        if called.is_err() {
            // Some of it got there.
            self.inner.write(offset, &data[..data.len() / 2])?;
        }
        called?;
        self.inner.write(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.call(true)?;
        self.inner.sync()
    }
}

/// A small source of numbers that are the same for the same seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

const SECTOR: usize = 512;
