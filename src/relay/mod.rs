//! What carries one wing's output into another, or to disk.
//!
//! [`RunRecorder`] writes what a [`DataReceiver`](crate::cdtp::DataReceiver) gets, one file a run; [`RunFileReader`] reads such a
//! file, whole or left behind by a crash.
//!
//! [`BusRecorder`] writes what a service publishes into a store of events, and [`StoreHistory`] gives it back to clients that ask;
//! [`BusMemory`] is both for an application that embeds a service. A recorder registers with a [`Registrar`]: an engine here, or a
//! server elsewhere.

mod error;
mod history;
pub mod recorder;
pub mod run_file;

pub use error::RelayError;
pub use history::{BusMemory, StoreHistory};
pub use recorder::{BusRecorder, BusRecorderOptions, BusRecorderStats, Registrar, ServerRegistrar};
pub use run_file::{
    Conflict, Damage, DamageKind, Ending, Recorded, RecorderStats, ReplayControl, Replayed,
    RunFileEntry, RunFileOptions, RunFileReader, RunFileSummary, RunFileTotals, RunFileWriter,
    RunRecorder, Speed, StoredEor, StoredRecord, Tail, TailKind, WrittenRun,
};
