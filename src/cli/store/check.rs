//! `acqbus store check`: verifies everything that is stored, and goes on past what is damaged.

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, harmless};
use crate::cli::store::args::Place;
use crate::cli::store::show;
use crate::store::{Damage, RedbBackend, StoreError};

/// Arguments of `acqbus store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    place: Place,
}

impl Check {
    /// Prints each damage, and how much was looked at.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let (mut damaged, mut failed) = (0_u64, None);
        let mut report = |damage| {
            damaged += 1;
            if failed.is_none() {
                failed = tell(&damage, out).err();
            }
        };
        // One that is too damaged to be opened is looked at too; one that another program has open, by that.
        let summary = match RedbBackend::check_file(&self.place.dir, &mut report) {
            Err(error) if error.is_in_use() => self.place.open()?.check(&mut report)?,
            Err(error) => return Err(unreadable(error)),
            Ok(summary) => summary,
        };
        if let Some(failure) = failed {
            return Err(failure);
        }
        if out.is_json() {
            out.object(&json!({
                "notice": "end",
                "events": summary.events,
                "entries": summary.entries,
                "latest": summary.latest,
                "damaged": damaged,
            }))?;
        } else {
            let colour = if damaged == 0 {
                Colour::Good
            } else {
                Colour::Bad
            };
            let verdict = match damaged {
                0 => "no damage".to_owned(),
                1 => "1 damage".to_owned(),
                _ => format!("{damaged} damages"),
            };
            out.line(&format!(
                "{} in {}, {} entries of indexes, {} latest events",
                out.paint(colour, &verdict),
                show::events(summary.events),
                summary.entries,
                summary.latest
            ))?;
        }
        Ok(if damaged == 0 {
            Exit::Done
        } else {
            Exit::BadData
        })
    }
}

/// The database cannot read its own file: there is no next verb for that.
pub(super) fn unreadable(error: StoreError) -> Failure {
    if !error.is_damage() {
        return error.into();
    }
    Failure::of(Exit::BadData, &error)
        .with_hint("a copy of the store; the database cannot read this file at all")
}

fn tell(damage: &Damage, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.object(&json!({
            "notice": "damage",
            "what": damage.what,
            "reason": damage.reason,
        }));
    }
    let text = harmless(&damage.to_string());
    out.line(&out.paint(Colour::Bad, &text))
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus store check --store history
  acqbus store check --store history --json

Nothing is changed. Each damage is a line, and the exit code is 6 when there is any; all that is whole can still be
read, if need be with `acqbus store export --salvage`, which `acqbus store import` takes into a new store.";
