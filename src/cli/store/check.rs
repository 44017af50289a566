//! `acqbus store check`: verifies everything that is stored, and goes on past what is damaged.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, harmless};
use crate::cli::store::args::{Place, Site, open};
use crate::cli::store::show;
use crate::store::{Damage, RedbBackend, StoreError, StoreHandle};

/// Arguments of `acqbus store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    place: Place,
    /// Put a damaged store in order: all that is whole goes into a new file, the damaged one stays beside it
    #[arg(long)]
    repair: bool,
}

impl Check {
    /// Prints each damage, and how much was looked at.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let dir = match self.place.site()? {
            Site::Here(dir) => dir,
            Site::There(server) => {
                return Err(Failure::usage(format!(
                    "{} tells its events, not how its files are: checksums are verified where those are",
                    harmless(server)
                ))
                .with_hint("acqbus store check --store DIR, on the machine of the server"));
            }
        };
        let (mut damaged, mut failed) = (0_u64, None);
        let mut report = |damage| {
            damaged += 1;
            if failed.is_none() {
                failed = tell(&damage, out).err();
            }
        };
        // One that is too damaged to be opened is looked at too; one that another program has open, by that.
        let summary = match RedbBackend::check_file(dir, &mut report) {
            Err(error) if error.is_in_use() && !self.repair => open(dir)?.check(&mut report)?,
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
        if damaged == 0 {
            return Ok(Exit::Done);
        }
        if self.repair {
            return repair(dir, out);
        }
        Ok(Exit::BadData)
    }
}

/// What is damaged was told.
fn repair(dir: &Path, out: Output) -> Result<Exit, Failure> {
    let repair = StoreHandle::repair(dir, None, &mut |_| {})?;
    let aside = repair.aside.display().to_string();
    if out.is_json() {
        out.object(&json!({"notice": "repaired", "events": repair.events, "damagedFile": aside}))?;
    } else {
        out.line(&format!(
            "{} with {}; the damaged file is {aside}",
            out.paint(Colour::Good, "repaired"),
            show::events(repair.events),
        ))?;
    }
    Ok(Exit::Done)
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
  acqbus store check --repair --store history

Each damage is a line, and the exit code is 6 when there is any. Nothing is changed without --repair, which needs room
for a second file and ends with 0; the damaged file stays as store.redb.damaged. All that is whole can also be read
with `acqbus store export --salvage`, which `acqbus store import` takes into a new store.";
