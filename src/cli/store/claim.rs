//! Who writes into a store under a server number: one program at a time, or two would give the same ids.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::cli::exit::{Exit, Failure};

/// The number of a server, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Locked; the file stays, for a lock on a file that is removed locks nobody out.
    _file: File,
}

impl Claim {
    /// Takes the number, or says who should take another one.
    pub(crate) fn take(dir: &Path, server: i64) -> Result<Self, Failure> {
        let path = dir.join(format!("server-{server}.lock"));
        let failed =
            |error: std::io::Error| Failure::of(Exit::Failed, &error).while_doing(path.display());
        let mut options = File::options();
        let file = options
            .create(true)
            // Whoever may open it may lock it.
            .mode(0o600)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "another program writes into {} as server {server}",
                    dir.display()
                ),
            )
            .with_hint(format!("--server-id {}, or another --store", server + 1))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_take_a_number_away() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let _claim = Claim::take(dir.path(), 1).unwrap();
        let lock = dir.path().join("server-1.lock").metadata().unwrap();
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn number_is_taken_once_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Claim::take(dir.path(), 1).unwrap();
        let refused = Claim::take(dir.path(), 1).unwrap_err().to_string();
        assert!(refused.contains("--server-id 2"), "{refused}");
        Claim::take(dir.path(), 2).unwrap();
        drop(first);
        Claim::take(dir.path(), 1).unwrap();
    }
}
