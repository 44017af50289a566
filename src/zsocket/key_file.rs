//! Files that only their owner may read, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use crate::zsocket::error::KeyError;

/// Reads a file whose mode is 0600 or narrower; the text is erased when dropped.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = io_error("read", path);
    let file = File::open(path).map_err(&failed)?;
    let metadata = file.metadata().map_err(&failed)?;
    // The mode of the opened file, not of the path: nobody can swap the two.
    check_mode(path, metadata.mode(), false)?;
    if !metadata.is_file() {
        return Err(format_error(path, "it is not a file"));
    }
    // The whole length at once: a growing buffer would leave pieces of the secret behind.
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if len > MAX_FILE_LEN {
        return Err(format_error(path, "it is larger than 4 MiB"));
    }
    let mut bytes = Zeroizing::new(vec![0u8; len]);
    let mut reader = file.take(len as u64);
    let mut read = 0;
    while read < len {
        match reader.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let text =
        std::str::from_utf8(&bytes[..read]).map_err(|_| format_error(path, "it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a file of mode 0600 so that a reader sees the old content or the new one, also after a
/// crash.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), KeyError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let failed = io_error("write", path);
    let directory = path.parent().unwrap_or(Path::new("."));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".new-{}-{number}", std::process::id()));
    let written = (|| {
        // A leftover of a crashed process with the same number.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Makes a directory of mode 0700; refuses an existing one that others may use.
pub(super) fn create_private_dir(path: &Path) -> Result<(), KeyError> {
    // Its mode is not ours to change: it may be somebody's home.
    if path.exists() {
        return check_private_dir(path);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(io_error("create", path))
}

/// Refuses a directory that others may use.
pub(super) fn check_private_dir(path: &Path) -> Result<(), KeyError> {
    let metadata = fs::metadata(path).map_err(io_error("read", path))?;
    if !metadata.is_dir() {
        return Err(format_error(path, "it is not a directory"));
    }
    check_mode(path, metadata.mode(), true)
}

/// Keeps other processes from changing the directory until the answer is dropped; blocks while one
/// does.
pub(super) fn lock(directory: &Path) -> Result<File, KeyError> {
    let path = directory.join(".lock");
    let failed = io_error("lock", &path);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(&failed)?;
    file.lock().map_err(&failed)?;
    Ok(file)
}

pub(super) fn format_error(path: &Path, reason: impl Into<String>) -> KeyError {
    KeyError::Format {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Where a JSON text is wrong, without a word of it: it may hold a secret.
pub(super) fn json_error(path: &Path, error: &serde_json::Error) -> KeyError {
    let reason = format!("line {}, column {} is wrong", error.line(), error.column());
    format_error(path, reason)
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> KeyError + 'a {
    move |source| KeyError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn check_mode(path: &Path, mode: u32, is_directory: bool) -> Result<(), KeyError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(KeyError::WideMode {
        path: path.to_owned(),
        mode: mode & 0o7777,
        is_directory,
    })
}

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const OTHERS: u32 = 0o077;
const MAX_FILE_LEN: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_files_are_private_and_replace_the_old_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.key");
        for text in ["one", "", "a longer text"] {
            write_private(&path, text).unwrap();
            assert_eq!(*read_private(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn existing_directory_keeps_its_mode_and_is_refused_if_wide() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        let text = create_private_dir(&path).unwrap_err().to_string();
        assert!(
            text.contains(&format!("chmod 700 {}", path.display())),
            "{text}"
        );
        assert_eq!(mode(), 0o750);
    }

    #[test]
    fn wide_modes_are_refused_with_the_command_that_helps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.key");
        write_private(&path, "secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644, 0o666, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let text = read_private(&path).unwrap_err().to_string();
            assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
            assert!(
                text.contains(&format!("chmod 600 {}", path.display())),
                "{text}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(*read_private(&path).unwrap(), "secret");
    }
}
