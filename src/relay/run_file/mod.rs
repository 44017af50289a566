//! Runs on disk: one self-describing file a run, readable whatever happens to its writer.
//!
//! The format is in `docs/run-file.md`.
//!
//! | file | job |
//! |---|---|
//! | [`mod@format`] | the bytes of header, entries, index and trailer |
//! | `entries`, `segments` | a file while it grows: marks, totals, the sparse index in bounded memory |
//! | `output` | large aligned writes by a thread of their own |
//! | `write_back` | bytes that go on to the disk while more are written |
//! | `name` | names of files from names of the wire; what happens when they are taken |
//! | `writer`, `recorder` | one run to its file; the runs of many senders to theirs |
//! | `scan`, `reader` | a file entry by entry, past damage, to wherever it ends |
//! | `ending` | what is said about damage and ends |
//! | `summary` | what a file holds, in one value |
//! | `replay` | a file to a transmitter, as if it were sent again |

mod ending;
mod entries;
pub mod format;
mod name;
mod options;
mod output;
mod reader;
mod recorder;
mod replay;
mod scan;
mod segments;
mod summary;
mod write_back;
mod writer;

pub use ending::{Damage, DamageKind, Ending, Tail, TailKind};
pub use name::{EXTENSION, PART};
pub use options::{Conflict, RunFileOptions};
pub use reader::{RunFileEntry, RunFileReader, RunFileTotals, StoredEor, StoredRecord};
pub use recorder::{Recorded, RecorderStats, RunRecorder};
pub use replay::{ReplayControl, Replayed, Speed, replay, replay_with};
pub use summary::{RunFileSummary, check, inspect, summarise};
pub use writer::{RunFileWriter, WrittenRun};
