//! What carries one wing's output into another, or to disk.
//!
//! [`RunRecorder`] writes what a [`DataReceiver`](crate::cdtp::DataReceiver) gets, one file a run; [`RunFileReader`] reads such a
//! file, whole or left behind by a crash.

mod error;
pub mod run_file;

pub use error::RelayError;
pub use run_file::{
    Conflict, Damage, DamageKind, Ending, Recorded, RecorderStats, ReplayControl, Replayed,
    RunFileEntry, RunFileOptions, RunFileReader, RunFileSummary, RunFileTotals, RunFileWriter,
    RunRecorder, Speed, StoredEor, StoredRecord, Tail, TailKind, WrittenRun,
};
