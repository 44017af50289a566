//! `acqbus store`: history on disk, recorded from a bus, asked, followed, moved, verified.
//!
//! | file | is |
//! |---|---|
//! | `record` | from a bus into a store |
//! | `query`, `tail` | what is there; what comes |
//! | `export`, `import`, `csv` | out of a store as text, and back |
//! | `replay` | a recorded stretch on a bus again |
//! | `serve` | a store for other machines |
//! | `check`, `stats` | whether all is well, and how much there is |
//! | `args`, `moment` | what people type |
//! | `claim` | one writer for each server number |
//! | `ask`, `remote`, `following` | a store here or with a server: its answers, its news |
//! | `walk` | all events in the order of time, page by page |
//! | `page` | what is read ahead of a slow output |
//! | `show`, `progress` | events for people and for programs; how far it is |

mod anew;
pub(crate) mod args;
mod ask;
mod check;
pub(crate) mod claim;
mod csv;
mod export;
mod following;
mod import;
pub(crate) mod moment;
mod page;
mod progress;
mod query;
mod record;
mod remote;
mod replay;
mod serve;
mod show;
mod stats;
mod tail;
mod target;
mod walk;

use std::io;

use clap::{Args, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::store::StoreError;

/// Arguments of `acqbus store`.
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Record a bus, until Ctrl-C
    #[command(after_help = record::EXAMPLES)]
    Record(Box<record::Record>),
    /// Ask for the latest events, a stretch of time, or one server
    #[command(after_help = query::EXAMPLES)]
    Query(Box<query::Query>),
    /// Print the last events, then those that come
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::Tail),
    /// Write events to a file, as JSON lines or CSV
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Read events from JSON lines
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Publish recorded messages on a bus again
    #[command(after_help = replay::EXAMPLES)]
    Replay(Box<replay::Replay>),
    /// Serve a store to other machines, and to clients of hat-event
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<serve::Serve>),
    /// Verify every checksum
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// Say what a store holds
    #[command(after_help = stats::EXAMPLES)]
    Stats(stats::Stats),
}

impl Store {
    /// Does what the verb says.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        match &self.what {
            What::Record(verb) => verb.run(out),
            What::Query(verb) => verb.run(out),
            What::Tail(verb) => verb.run(out),
            What::Export(verb) => verb.run(out),
            What::Import(verb) => verb.run(out),
            What::Replay(verb) => verb.run(out),
            What::Serve(verb) => verb.run(out),
            What::Check(verb) => verb.run(out),
            What::Stats(verb) => verb.run(out),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, hint) = match &error {
            StoreError::NotFound { .. } => (
                Exit::Usage,
                Some(
                    "acqbus store record --store DIR, or acqbus simulate --store DIR, which make one",
                ),
            ),
            error if error.is_removed() => (
                Exit::Failed,
                Some("again, with a --store that stays where it is"),
            ),
            error if error.is_in_use() => (
                Exit::Connection,
                Some(
                    "again when the other program has ended; it has the store open and cannot be reached",
                ),
            ),
            error if error.is_damage() => (
                Exit::BadData,
                Some(
                    "acqbus store check, which tells all that is damaged, with --repair makes a new file of what is whole; or acqbus store export --salvage",
                ),
            ),
            error if error.is_full() => {
                (Exit::Failed, Some("room on the disk, or another --store"))
            }
            error if error.is_configuration() => {
                (Exit::Usage, Some("docs/store.md, which has the keys"))
            }
            error if error.is_query() => (Exit::Usage, None),
            StoreError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => (
                    Exit::Failed,
                    Some("as the user whose store it is, or another --store"),
                ),
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    (Exit::Usage, Some("a directory for --store"))
                }
                _ => (Exit::Failed, None),
            },
            _ => (Exit::Failed, None),
        };
        let failure = Self::of(exit, &error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store record --store history
  acqbus store query timeseries 'rig-1/event/*' --from -10m --store history
  acqbus store tail --store history
  acqbus store export --store history --output history.jsonl

One program has a store open at a time; the others ask it, so all of these work while one records.";
