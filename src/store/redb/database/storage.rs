//! Where the bytes of a database live: a file, memory, or what a test puts there.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::{Bound, Range};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{BackendError, StorageBackend};
use parking_lot::{Mutex, RwLock};

/// A place where a database lives; it can be opened again and again.
///
/// The door opens it at the start and after every I/O error, never twice at a time: the [`StorageFile`] of before is dropped
/// first. Tests put their own here, which loses writes or fails.
pub trait Storage: Debug + Send + Sync {
    /// The name for error texts; of a file, its path.
    fn path(&self) -> &Path;

    /// Opens the bytes that are there, or none.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self) -> io::Result<Box<dyn StorageFile>>;
}

/// The bytes of a database, open.
///
/// All methods may be called from any thread. What was written is seen by reads at once, and is durable after [`sync`](Self::sync).
pub trait StorageFile: Debug + Send + Sync {
    /// Takes the bytes for this process alone until the value is dropped; false if another has them.
    ///
    /// # Errors
    /// What the operating system says.
    fn try_lock(&self) -> io::Result<bool>;

    /// Size in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes it larger, with zeros, or cuts it.
    ///
    /// # Errors
    /// What the operating system says.
    fn resize(&self, bytes: u64) -> io::Result<()>;

    /// Fills the whole of `out` from `offset` on.
    ///
    /// # Errors
    /// What the operating system says; `UnexpectedEof` beyond the end.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// What the operating system says; any part of the data may be there then.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Returns when all that was written is durable.
    ///
    /// # Errors
    /// What the operating system says; any part of the unsynced writes may be lost then.
    fn sync(&self) -> io::Result<()>;
}

/// A database in one file.
///
/// The file is made with mode 0600 where there is none, and locked as a whole (`flock`) while it is open.
#[derive(Debug)]
pub struct FileStorage {
    path: PathBuf,
    is_read_only: bool,
}

impl FileStorage {
    /// The file at `path`, whose folder must be there; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_read_only: false,
        }
    }

    /// The file at `path`, which is never made nor written.
    pub(in crate::store::redb) fn read_only(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_read_only: true,
        }
    }
}

impl Storage for FileStorage {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<Box<dyn StorageFile>> {
        if self.is_read_only {
            return Ok(Box::new(File::open(&self.path)?));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        // The name is durable before anything that is told to be; who made the file may have died before he saw to it.
        sync_folder_of(&self.path)?;
        Ok(Box::new(GrowingFile {
            file,
            fresh: Mutex::default(),
        }))
    }
}

/// Makes a folder that only its user can look into, and those above it that are missing, so that their names are durable.
///
/// # Errors
/// What the operating system says.
pub(in crate::store::redb) fn make_folder(path: &Path) -> io::Result<()> {
    make(path, 0o700)
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    if path == Path::new("") {
        return Ok(());
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(above) = path.parent() else {
                return Err(error);
            };
            make(above, 0o777)?;
            // Somebody else may make it at the same time.
            DirBuilder::new().mode(mode).recursive(true).create(path)?;
        }
        Err(_) if path.is_dir() => return Ok(()),
        made => made?,
    }
    sync_folder_of(path)
}

/// Makes the name of a file or a folder durable.
///
/// # Errors
/// What the operating system says.
pub(in crate::store::redb) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl StorageFile for File {
    fn try_lock(&self) -> io::Result<bool> {
        match Self::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file whose new end is filled with zeros ahead of what is written.
///
/// A write into a hole gives the file room on the disk, which a sync has to note there too; among zeros it has nothing to note.
#[derive(Debug)]
struct GrowingFile {
    file: File,
    /// Where the file was made larger and nothing was written yet.
    fresh: Mutex<Range<u64>>,
}

impl StorageFile for GrowingFile {
    fn try_lock(&self) -> io::Result<bool> {
        StorageFile::try_lock(&self.file)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut fresh = self.fresh.lock();
        let before = self.file.size()?;
        self.file.resize(bytes)?;
        let start = if fresh.end == before {
            fresh.start
        } else {
            before
        };
        *fresh = start.min(bytes)..bytes;
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        let mut fresh = self.fresh.lock();
        if end > fresh.start && offset < fresh.end {
            let start = fresh.start;
            fresh.start = end.saturating_add(AHEAD).min(fresh.end);
            if offset.saturating_sub(start) <= AHEAD {
                // It only saves time: a full disk fails the writes that matter.
                let _ = fill(&self.file, start..fresh.start);
            }
        }
        drop(fresh);
        self.file.write(offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn fill(file: &File, range: Range<u64>) -> io::Result<()> {
    let zeros = [0; 16 << 10];
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

/// A database in memory, for tests; a clone is the same one.
///
/// What was written is there when it is opened again. It locks as a file does.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    shared: Arc<Memory>,
}

impl MemoryStorage {
    /// One that holds `bytes` already.
    #[must_use]
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        let storage = Self::default();
        *storage.shared.bytes.write() = bytes;
        storage
    }

    /// A copy of all bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.shared.bytes.read().clone()
    }
}

impl Storage for MemoryStorage {
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn open(&self) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(OpenMemory {
            memory: self.shared.clone(),
            locked: Mutex::new(false),
        }))
    }
}

#[derive(Debug, Default)]
struct Memory {
    bytes: RwLock<Vec<u8>>,
    locked: Mutex<bool>,
}

#[derive(Debug)]
struct OpenMemory {
    memory: Arc<Memory>,
    /// Whether this one holds the lock of the memory.
    locked: Mutex<bool>,
}

impl StorageFile for OpenMemory {
    fn try_lock(&self) -> io::Result<bool> {
        let mut taken = self.memory.locked.lock();
        let free = !*taken;
        if free {
            *taken = true;
            *self.locked.lock() = true;
        }
        Ok(free)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.memory.bytes.read().len() as u64)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.memory.bytes.write().resize(in_memory(bytes)?, 0);
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.memory.bytes.read();
        let from = bytes.get(in_memory(offset)?..);
        let wanted = from.and_then(|from| from.get(..out.len()));
        let wanted = wanted.ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(wanted);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = in_memory(offset)?;
        let end = start
            .checked_add(data.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.memory.bytes.write();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OpenMemory {
    fn drop(&mut self) {
        if *self.locked.get_mut() {
            *self.memory.locked.lock() = false;
        }
    }
}

fn in_memory(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// What stands between the engine and a [`StorageFile`], and can be shut from our side.
///
/// An engine that was dropped after a failure may linger behind a snapshot. Once the gate is shut it can neither read nor write,
/// and the lock of the file is free for the next one.
#[derive(Debug)]
pub(super) struct Gate {
    file: RwLock<Option<Box<dyn StorageFile>>>,
}

impl Gate {
    pub(super) fn new(file: Box<dyn StorageFile>) -> Arc<Self> {
        Arc::new(Self {
            file: RwLock::new(Some(file)),
        })
    }

    /// What the engine is given.
    pub(super) fn engine_side(self: &Arc<Self>) -> impl StorageBackend {
        EngineSide(self.clone())
    }

    pub(super) fn shut(&self) {
        drop(self.file.write().take());
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        self.with(|file| file.size())
    }

    fn with<T>(&self, work: impl FnOnce(&dyn StorageFile) -> io::Result<T>) -> io::Result<T> {
        match &*self.file.read() {
            Some(file) => work(&**file),
            None => Err(io::Error::other("the storage was closed")),
        }
    }
}

/// Empties a file that a crash left while it was made: it has a size, but nothing that the engine or anyone else wrote behind the
/// first sector, and not the engine's name at its start, which is synced before the first transaction.
///
/// # Errors
/// What the operating system says.
pub(super) fn empty_if_unfinished(file: &dyn StorageFile) -> io::Result<()> {
    let size = file.size()?;
    let mut name = [0; NAME_BYTES];
    let has = usize::try_from(size).map_or(NAME_BYTES, |size| size.min(NAME_BYTES));
    file.read(0, &mut name[..has])?;
    if size == 0 || name != [0; NAME_BYTES] {
        return Ok(());
    }
    let mut piece = vec![0; 64 << 10];
    let mut at = SECTOR;
    while at < size {
        let len = (size - at).min(piece.len() as u64) as usize;
        file.read(at, &mut piece[..len])?;
        if piece[..len].iter().any(|byte| *byte != 0) {
            return Ok(());
        }
        at += len as u64;
    }
    file.resize(0)
}

#[derive(Debug)]
struct EngineSide(Arc<Gate>);

impl StorageBackend for EngineSide {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.with(|file| file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.with(|file| file.resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.with(|file| file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.with(|file| file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.shut();
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        // The door has the lock already. The engine takes the whole of it, for we never ask for another mode.
        match (start, end) {
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => Ok(true),
            _ => Err(BackendError::Unsupported),
        }
    }
}

/// Length of the name at the start of every file of the engine.
const NAME_BYTES: usize = 9;
const SECTOR: u64 = 512;

/// So many zeros are written at a time.
const AHEAD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_folders_are_made_and_a_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        make_folder(&deep).unwrap();
        make_folder(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(deep.join("file"), "").unwrap();
        assert!(make_folder(&deep.join("file")).is_err());
        assert!(make_folder(&deep.join("file/d")).is_err());
    }

    #[test]
    fn memory_is_there_when_it_is_opened_again() {
        let storage = MemoryStorage::default();
        storage.open().unwrap().write(3, b"abc").unwrap();
        let file = storage.open().unwrap();
        let mut out = [9; 6];
        file.read(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0abc");
        assert_eq!(
            file.read(1, &mut out).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        file.resize(4).unwrap();
        assert_eq!(storage.to_bytes(), b"\0\0\0a");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn growing_file_holds_what_was_written_and_zeros(
            steps in vec((any::<bool>(), 0..6 * AHEAD, 1..4 * AHEAD as usize), 1..12)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = FileStorage::new(folder.path().join("a")).open().unwrap();
            let memory = MemoryStorage::default();
            let oracle = memory.open().unwrap();
            for (at, (is_write, offset, len)) in steps.into_iter().enumerate() {
                for side in [&file, &oracle] {
                    if is_write {
                        side.write(offset, &vec![at as u8 + 1; len / 64]).unwrap();
                    } else {
                        side.resize(offset).unwrap();
                    }
                }
                let mut found = vec![9; file.size().unwrap() as usize];
                file.read(0, &mut found).unwrap();
                prop_assert!(found == memory.to_bytes());
            }
        }
    }

    #[test]
    fn one_at_a_time_has_the_lock_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = FileStorage::new(folder.path().join("a"));
        for storage in [&MemoryStorage::default() as &dyn Storage, &file] {
            let (one, other) = (storage.open().unwrap(), storage.open().unwrap());
            assert!(one.try_lock().unwrap());
            assert!(!other.try_lock().unwrap());
            drop(one);
            assert!(other.try_lock().unwrap());
        }
    }

    #[test]
    fn a_shut_gate_lets_nothing_through() {
        let storage = MemoryStorage::default();
        let gate = Gate::new(storage.open().unwrap());
        let engine = gate.engine_side();
        engine.write(0, b"a").unwrap();
        gate.shut();
        assert!(engine.write(1, b"b").is_err() && engine.sync_data().is_err());
        assert_eq!(storage.to_bytes(), b"a");
    }
}
