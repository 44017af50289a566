//! `acqbus run`: the ends of the data plane, and the files between them.
//!
//! | file | is |
//! |---|---|
//! | `send`, `sending` | a run from a file, standard input or a generator, over CDTP: the verb, and its thread |
//! | `source`, `generate`, `pace`, `halt` | where its blocks come from, when each is due, how it ends early |
//! | `receive`, `take`, `idle` | runs from any number of senders, into files or counted: the verb, its thread, and its patience |
//! | `inspect` | what a run file holds |
//! | `progress`, `totals`, `digest` | what is told while data move, and behind them |
//! | `show`, `values` | begins and ends of runs, and tags, as JSON and as words |

mod digest;
mod generate;
mod halt;
mod idle;
mod inspect;
mod pace;
pub(in crate::cli) mod progress;
mod receive;
mod send;
mod sending;
mod show;
mod source;
mod take;
mod totals;
mod values;

use std::io::ErrorKind;

use clap::{Args, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;
use crate::relay::RelayError;

/// Arguments of `acqbus run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Send a run: from a file, standard input, or generated
    #[command(after_help = send::EXAMPLES)]
    Send(Box<send::Send>),
    /// Receive runs, into files or counted
    #[command(after_help = receive::EXAMPLES)]
    Receive(Box<receive::Receive>),
    /// Say what a run file holds, and how it ended
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Inspect),
}

impl Run {
    /// Sends, receives or inspects.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        match &self.what {
            What::Send(verb) => verb.run(out),
            What::Receive(verb) => verb.run(out),
            What::Inspect(verb) => verb.run(out),
        }
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        let (exit, hint) = match &error {
            error if error.is_not_found() || is_folder(error) => {
                (Exit::Usage, Some("the path of a run file"))
            }
            error if error.is_exists() => (
                Exit::Failed,
                Some("--conflict rename or overwrite, or another --output"),
            ),
            error if error.is_disk_full() => (
                Exit::Failed,
                Some("another --output, or room on the disk; what was written can be read"),
            ),
            error if error.is_bad_data() => (Exit::BadData, None),
            _ => (Exit::Failed, None),
        };
        let failure = Self::of(exit, &error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

fn is_folder(error: &RelayError) -> bool {
    matches!(error, RelayError::Io { source, .. } if source.kind() == ErrorKind::IsADirectory)
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus run receive --output runs
  acqbus run send --name Camera.Top --records 100000";
