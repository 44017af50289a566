//! A file that must be on disk when its run ends: its bytes go there while more of them come.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

use crate::relay::run_file::output::Sink;

/// Has the system write to the disk what is in the file, 8 MiB at a time, so that little is left for the last `fsync`.
#[derive(Debug)]
pub(super) struct WriteBack {
    file: File,
    pieces: Pieces,
}

impl WriteBack {
    /// For an empty file.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            pieces: Pieces::default(),
        }
    }
}

impl Write for WriteBack {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(piece) = self.pieces.add(written) {
            begin(&self.file, &piece);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for WriteBack {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Which part of a growing file is to be written to the disk next.
#[derive(Debug, Default)]
struct Pieces {
    /// Size of the file.
    len: u64,
    /// The part before this was begun. A multiple of [`PIECE`].
    begun: u64,
}

impl Pieces {
    /// Adds bytes to the file; gives the part to begin, once for each byte.
    fn add(&mut self, written: usize) -> Option<Range<u64>> {
        self.len += written as u64;
        let end = self.len - self.len % PIECE;
        // Whole pieces only, so that no page is written twice.
        let piece = self.begun..end;
        self.begun = end;
        (!piece.is_empty()).then_some(piece)
    }
}

/// Bytes begun at a time: of 1, 4, 8 and 32 MiB this was the fastest, by a little.
const PIECE: u64 = 8 << 20;

/// Starts writing this part to the disk, and does not wait for it.
#[cfg(target_os = "linux")]
fn begin(file: &File, piece: &Range<u64>) {
    // The name says what is done with clean pages. Dirty ones, as here, are sent to the disk, and stay in memory.
    let len = std::num::NonZeroU64::new(piece.end - piece.start);
    // Only a hint: a failure of the disk is told by `fsync`.
    let _ = rustix::fs::fadvise(file, piece.start, len, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin(_: &File, _: &Range<u64>) {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_in_the_file_over_several_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut file = WriteBack::new(File::create(&path).expect("a file"));
        let all: Vec<u8> = (0..2 * PIECE + 4321).map(|at| (at % 251) as u8).collect();
        for part in all.chunks(1_000_003) {
            file.write_all(part).expect("room");
        }
        file.sync().expect("a disk");
        assert_eq!(file.pieces.begun, 2 * PIECE);
        assert!(std::fs::read(&path).expect("the file") == all);
    }

    proptest! {
        #[test]
        fn every_whole_piece_is_begun_once_and_in_order(writes in prop::collection::vec(0..3 * PIECE as usize, 0..40)) {
            let mut pieces = Pieces::default();
            let mut next = 0;
            let mut len = 0;
            for written in writes {
                len += written as u64;
                if let Some(piece) = pieces.add(written) {
                    prop_assert_eq!(piece.start, next);
                    prop_assert!(piece.start < piece.end && piece.end <= len);
                    next = piece.end;
                }
                prop_assert_eq!((next % PIECE, len - next < PIECE), (0, true));
            }
        }
    }
}
