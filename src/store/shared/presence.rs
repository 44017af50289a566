//! Whether the store that a process has open is still the one in its directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::StoreError;

/// The file of the database as it was when it was opened; by its path nobody finds what is written after it was removed.
#[derive(Debug)]
pub(super) struct Presence {
    dir: PathBuf,
    path: PathBuf,
    /// Device and number; `None` where the system would not tell, and where nothing can be told then.
    identity: Option<(u64, u64)>,
    looked: Mutex<Instant>,
}

impl Presence {
    /// Takes the file that is there now.
    pub(super) fn of(dir: &Path, file: &str) -> Self {
        let path = dir.join(file);
        Self {
            dir: dir.to_owned(),
            identity: identity(&path).ok(),
            path,
            looked: Mutex::new(Instant::now()),
        }
    }

    /// Fails once the file is gone or another one; looks again a second after the last look that found it.
    pub(super) fn look_sometimes(&self) -> Result<(), StoreError> {
        let mut looked = self.looked.lock();
        if looked.elapsed() < BETWEEN {
            return Ok(());
        }
        self.look()?;
        *looked = Instant::now();
        Ok(())
    }

    /// The same now.
    pub(super) fn look(&self) -> Result<(), StoreError> {
        let Some(opened) = self.identity else {
            return Ok(());
        };
        let is_gone = match identity(&self.path) {
            Ok(found) => found != opened,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        };
        if is_gone {
            return Err(StoreError::Removed {
                path: self.dir.clone(),
            });
        }
        Ok(())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Between two looks while events are registered.
const BETWEEN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_and_replaced_files_are_noticed_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let presence = Presence::of(dir.path(), "file");
        presence.look().unwrap();
        fs::write(&path, "the same file").unwrap();
        presence.look().unwrap();
        fs::rename(&path, dir.path().join("kept")).unwrap();
        assert!(presence.look().unwrap_err().is_removed());
        // Not looked at again so soon.
        presence.look_sometimes().unwrap();
        fs::write(&path, "another").unwrap();
        assert!(presence.look().unwrap_err().is_removed());
        // What was looked for long ago is looked for again, and each time from then on.
        *presence.looked.lock() -= BETWEEN;
        for _ in 0..2 {
            assert!(presence.look_sometimes().unwrap_err().is_removed());
        }
    }
}
