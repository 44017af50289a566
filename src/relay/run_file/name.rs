//! Names of run files, made from names that came over the wire, and never another file's.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crc32c::crc32c;

use crate::relay::RelayError;
use crate::relay::run_file::options::Conflict;
use crate::time::civil;

/// The extension of a finished run file, without its dot.
pub const EXTENSION: &str = "acqrun";

/// What is added to the name of a run file while it is written, without its dot.
pub const PART: &str = "part";

/// A file that is being written under its temporary name, and where it goes when it is whole.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    /// The present name: `STEM.acqrun.part`, with a number when that was taken.
    part: PathBuf,
    conflict: Conflict,
}

impl Place {
    /// Makes the temporary file: a new one always, whatever the strategy says.
    ///
    /// `expected` is the stem of the final name where it is known by now; under [`Conflict::Error`] a file of that name is
    /// reason to fail before anything is written.
    pub(super) fn create(
        directory: &Path,
        stem: &str,
        expected: Option<&str>,
        conflict: Conflict,
    ) -> Result<(Self, File), RelayError> {
        if let (Conflict::Error, Some(expected)) = (conflict, expected) {
            let path = named(directory, expected, 1);
            if path.symlink_metadata().is_ok() {
                return Err(RelayError::Exists { path, kept: None });
            }
        }
        for number in 1..=MAX_NUMBER {
            let mut part = named(directory, stem, number).into_os_string();
            part.push(".");
            part.push(PART);
            let part = PathBuf::from(part);
            match create_new(&part) {
                Ok(file) => {
                    let place = Self {
                        directory: directory.to_owned(),
                        part,
                        conflict,
                    };
                    return Ok((place, file));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RelayError::io("create", part)(error)),
            }
        }
        Err(RelayError::NoFreeName {
            path: named(directory, stem, 1),
            limit: MAX_NUMBER,
        })
    }

    /// The temporary name.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the whole file its final name, which is returned.
    ///
    /// Two programs never take one name. After a failure the run is where it was.
    pub(super) fn publish(&self, stem: &str) -> Result<PathBuf, RelayError> {
        let numbers = match self.conflict {
            Conflict::Rename => 1..=MAX_NUMBER,
            Conflict::Error | Conflict::Overwrite => 1..=1,
        };
        for number in numbers {
            let path = named(&self.directory, stem, number);
            let outcome = match rename_new(&self.part, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.conflict != Conflict::Overwrite {
                        continue;
                    }
                    fs::rename(&self.part, &path)
                }
                outcome => outcome,
            };
            return match outcome {
                Ok(()) => Ok(path),
                Err(error) => Err(RelayError::io("rename a run to", path)(error)),
            };
        }
        let path = named(&self.directory, stem, 1);
        Err(match self.conflict {
            Conflict::Rename => RelayError::NoFreeName {
                path,
                limit: MAX_NUMBER,
            },
            Conflict::Error | Conflict::Overwrite => RelayError::Exists {
                path,
                kept: Some(self.part.clone()),
            },
        })
    }

    /// Makes the names in the directory durable, as an fsync of the file alone does not.
    pub(super) fn sync_directory(&self) -> Result<(), RelayError> {
        let directory = if self.directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.directory
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(RelayError::io("fsync", directory))
    }
}

/// The stem of a run's file: `RUN@SENDER`, each part made safe.
///
/// The `@` never comes out of [`safe`], so two pairs of names never meet in one stem.
pub(super) fn stem(run_id: &str, sender: &str) -> String {
    format!("{}@{}", safe(run_id), safe(sender))
}

/// The stem of a run whose id is not known yet: by the second of its beginning, in UTC.
pub(super) fn stem_by_time(started: u64, sender: &str) -> String {
    // Nanoseconds of 64 bits are no more seconds than fit.
    let seconds = (started / 1_000_000_000) as i64;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let run = format!("run-{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
    stem(&run, sender)
}

/// A name from the wire as a part of a file name: ASCII letters, digits, `_`, `-` and inner dots, at most 80 bytes.
///
/// What had to be changed ends in `~` and a checksum of the original, so that two such names do not become one.
fn safe(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    // A dot in front hides a file, and a `-` makes it an option of every command.
    let is_safe = !name.is_empty()
        && name.len() <= MAX_PART
        && name.bytes().all(is_plain)
        && !name.starts_with(['.', '-']);
    if is_safe {
        return name.to_owned();
    }
    let mut out: String = name
        .bytes()
        .take(MAX_PART - 9)
        .map(|byte| {
            if is_plain(byte) {
                char::from(byte)
            } else {
                '_'
            }
        })
        .collect();
    if out.is_empty() || out.starts_with(['.', '-']) {
        out.replace_range(..out.len().min(1), "_");
    }
    format!("{out}~{:08x}", crc32c(name.as_bytes()))
}

fn named(directory: &Path, stem: &str, number: u32) -> PathBuf {
    directory.join(if number == 1 {
        format!("{stem}.{EXTENSION}")
    } else {
        format!("{stem}-{number}.{EXTENSION}")
    })
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Renames a file to a name that nobody has, in one step; [`io::ErrorKind::AlreadyExists`] when somebody has.
#[cfg(target_os = "linux")]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot, such as NFS.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_over_own(from, to),
        outcome => outcome.map_err(io::Error::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_over_own(from, to)
}

/// The same in two steps: an empty file takes the name, which only one program can do, and then the file replaces that.
///
/// Only where it must be: ext4 (`auto_da_alloc`) and btrfs begin to write a whole file to the disk when it replaces another, and
/// the rename takes as long as that.
fn rename_over_own(from: &Path, to: &Path) -> io::Result<()> {
    create_new(to)?;
    fs::rename(from, to).inspect_err(|_| {
        // Ours and empty; that it may stay is no second failure.
        let _ = fs::remove_file(to);
    })
}

/// Longest part of a stem: two of them, a number and the extensions stay far below the 255 bytes of a file name.
const MAX_PART: usize = 80;

/// Largest number behind a name that is taken.
const MAX_NUMBER: u32 = 100_000;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn put(directory: &Path, conflict: Conflict, text: &str) -> Result<PathBuf, RelayError> {
        let (place, mut file) = Place::create(directory, "start", Some("r@s"), conflict)?;
        file.write_all(text.as_bytes()).expect("room");
        place.publish("r@s")
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("a directory")
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

    #[test]
    fn names_as_people_write_them_stay() {
        assert_eq!(stem("run_42", "Camera.Top"), "run_42@Camera.Top");
        assert_eq!(
            stem_by_time(1_735_787_045_500_000_000, "Sputnik.One"),
            "run-20250102T030405Z@Sputnik.One"
        );
    }

    #[test]
    fn names_from_the_wire_stay_in_the_directory() {
        for (name, begin) in [
            ("", "_~"),
            (".", "_~"),
            ("..", "_.~"),
            ("../../etc/passwd", "_._.._etc_passwd~"),
            ("/etc", "_etc~"),
            (".hidden", "_hidden~"),
            ("-rf", "_rf~"),
            ("a@b", "a_b~"),
            ("a\0b", "a_b~"),
            ("a\\b:c", "a_b_c~"),
            ("a\nb", "a_b~"),
            ("Kamera.Ä", "Kamera.__~"),
        ] {
            let safe = safe(name);
            assert!(safe.starts_with(begin), "{name:?} became {safe}");
        }
    }

    #[test]
    fn different_names_do_not_become_one() {
        assert_ne!(safe("a/b"), safe("a_b"));
        assert_ne!(safe(&"a".repeat(100)), safe(&"a".repeat(101)));
        assert_ne!(stem("a_b", "c.d"), stem("a", "b_c.d"));
    }

    #[test]
    fn taken_name_gets_a_number() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["one", "two", "three"] {
            put(folder.path(), Conflict::Rename, text).expect("a free name");
        }
        assert_eq!(
            names(folder.path()),
            ["r@s-2.acqrun", "r@s-3.acqrun", "r@s.acqrun"]
        );
        let first = fs::read_to_string(folder.path().join("r@s.acqrun")).expect("readable");
        assert_eq!(first, "one");
    }

    #[test]
    fn error_strategy_refuses_before_it_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), Conflict::Error, "one").expect("a free name");
        let error = put(folder.path(), Conflict::Error, "two").expect_err("taken");
        assert!(
            matches!(&error, RelayError::Exists { kept: None, .. }),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["r@s.acqrun"]);
    }

    #[test]
    fn name_taken_during_the_run_keeps_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let (place, _file) =
            Place::create(folder.path(), "start", None, Conflict::Error).expect("free");
        fs::write(folder.path().join("r@s.acqrun"), "other").expect("room");
        let error = place.publish("r@s").expect_err("taken");
        let RelayError::Exists {
            kept: Some(kept), ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(kept.exists());
        let other = fs::read_to_string(folder.path().join("r@s.acqrun")).expect("readable");
        assert_eq!(other, "other");
    }

    #[test]
    fn overwriting_keeps_the_old_file_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = put(folder.path(), Conflict::Overwrite, "one").expect("a free name");
        let (place, mut file) =
            Place::create(folder.path(), "start", Some("r@s"), Conflict::Overwrite).expect("free");
        file.write_all(b"two").expect("room");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "one");
        assert_eq!(place.publish("r@s").expect("replaced"), path);
        assert_eq!(fs::read_to_string(&path).expect("readable"), "two");
        assert_eq!(names(folder.path()), ["r@s.acqrun"]);
    }

    #[test]
    fn both_ways_to_a_new_name_take_a_free_one_only() {
        for rename in [rename_new, rename_over_own] {
            let folder = tempfile::tempdir().expect("a folder");
            let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
            fs::write(&from, "run").expect("room");
            fs::write(&to, "other").expect("room");
            let error = rename(&from, &to).expect_err("taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&to).expect("readable"), "other");
            fs::remove_file(&to).expect("removed");
            rename(&from, &to).expect("free");
            assert_eq!(fs::read_to_string(&to).expect("readable"), "run");
            assert!(rename(&from, &folder.path().join("none")).is_err());
            assert_eq!(names(folder.path()), ["to"]);
        }
    }

    #[test]
    fn racing_writers_get_one_name_each() {
        let folder = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        put(folder.path(), Conflict::Rename, "mine").expect("a free name");
                    }
                });
            }
        });
        assert_eq!(names(folder.path()).len(), 80);
    }

    #[test]
    fn missing_directory_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = put(&folder.path().join("none"), Conflict::Rename, "x").expect_err("missing");
        assert!(error.is_not_found());
        assert!(error.to_string().contains("start.acqrun.part"), "{error}");
    }

    proptest! {
        #[test]
        fn any_name_is_a_plain_file_name(name in ".{0,120}", sender in any::<String>()) {
            let stem = stem(&name, &sender);
            prop_assert!(stem.len() <= 2 * MAX_PART + 1);
            prop_assert!(stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.@~".contains(&byte)));
            prop_assert!(!stem.starts_with(['.', '-']));
            prop_assert_eq!(stem.matches('@').count(), 1);
        }
    }
}
