//! `acqbus run inspect`: what a run file holds, and how it ended.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Colour, Output, bytes, counted, harmless, rfc_3339};
use crate::cli::run::digest::Digests;
use crate::cli::run::show;
use crate::cli::run::source::Copied;
use crate::cli::run::values;
use crate::relay::run_file::{check, inspect};
use crate::relay::{Damage, Ending, RunFileEntry, RunFileReader, RunFileSummary};

/// Arguments of `acqbus run inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The run file
    file: PathBuf,
    /// Read and check every byte, and give the SHA-256 of all blocks
    #[arg(long)]
    check: bool,
}

impl Inspect {
    /// Prints what the file holds.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let (summary, sha256) = if self.check {
            (check(&self.file)?, Some(self.sha256()?))
        } else {
            (inspect(&self.file)?, None)
        };
        if out.is_json() {
            out.object(&object(&summary, sha256.as_deref()))?;
        } else {
            out.line(&text(&summary, sha256.as_deref(), out))?;
        }
        Ok(exit(&summary))
    }

    fn sha256(&self) -> Result<String, Failure> {
        let digests = Digests::start(true)?;
        let mut reader = RunFileReader::open(&self.file)?;
        let mut copied = Copied::default();
        while let Some(entry) = reader.next_entry()? {
            if let RunFileEntry::Record(record) = entry {
                for block in record.view.blocks() {
                    copied.add(block);
                }
                if copied.is_large() {
                    digests.add(0, std::mem::take(&mut copied))?;
                }
            }
        }
        digests.add(0, copied)?;
        Ok(digests.of_all()?.unwrap_or_default())
    }
}

/// A file that is not whole is bad data; one of a run that was not whole is a failure of the run.
fn exit(summary: &RunFileSummary) -> Exit {
    if !summary.ending.has_eor() || summary.damage_count > 0 {
        Exit::BadData
    } else if summary.condition().is_some_and(show::is_broken) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn object(summary: &RunFileSummary, sha256: Option<&str>) -> Value {
    let eor = summary.eor.as_ref();
    let condition = summary.condition();
    let totals = &summary.totals;
    let (major, minor) = summary.version;
    let damage: Vec<_> = summary.damage.iter().map(damage_object).collect();
    json!({
        "notice": "run",
        "file": summary.path,
        "fileBytes": summary.file_bytes,
        "format": format!("{major}.{minor}"),
        "ending": ending(&summary.ending),
        "tail": tail(&summary.ending),
        "sender": summary.sender,
        "runId": summary.run_id,
        "started": started(summary),
        "seconds": (summary.duration.as_secs_f64() * 1000.0).round() / 1000.0,
        "condition": condition.map(|condition| condition.to_string()),
        "conditionCode": condition.map(|condition| condition.bits()),
        "substitute": eor.is_some_and(|eor| eor.substitute),
        "records": totals.records,
        "bytes": totals.payload_bytes,
        "missed": totals.missed,
        "late": totals.late,
        "duplicates": totals.duplicates,
        "faults": totals.faults,
        "checked": summary.is_checked,
        "damage": damage,
        "damageCount": summary.damage_count,
        "sha256": sha256,
        "userTags": values::object(&summary.user_tags),
        "configuration": values::object(&summary.configuration),
        "endTags": eor.map(|eor| values::object(&eor.user_tags)),
        "metadata": eor.map(|eor| values::object(&eor.metadata)),
    })
}

fn text(summary: &RunFileSummary, sha256: Option<&str>, out: Output) -> String {
    let totals = &summary.totals;
    let name = out.paint(Colour::Name, &harmless(&summary.path.display().to_string()));
    let whole = match exit(summary) {
        Exit::Done => Colour::Good,
        _ => Colour::Bad,
    };
    let ending = out.paint(whole, &summary.ending.to_string());
    let mut lines = vec![format!(
        "{name}: {ending}; {} in the file",
        bytes(summary.file_bytes as f64)
    )];
    lines.push(format!(
        "run {} of {}, begun {}, {:.3} s",
        harmless(summary.run_id.as_deref().unwrap_or("without an id")),
        harmless(summary.sender.as_deref().unwrap_or("an unknown sender")),
        started(summary),
        summary.duration.as_secs_f64()
    ));
    let condition = summary.condition().map_or_else(
        || "no condition".to_owned(),
        |condition| condition.to_string(),
    );
    let mut counts = format!(
        "{}: {}, {}, {} missed",
        out.paint(whole, &condition),
        counted(totals.records, "record"),
        bytes(totals.payload_bytes as f64),
        totals.missed
    );
    for (count, what) in [
        (totals.late, "late"),
        (totals.duplicates, "doubled"),
        (totals.faults, "unusable messages"),
    ] {
        if count > 0 {
            counts.push_str(&format!(", {count} {what}"));
        }
    }
    lines.push(counts);
    let eor = summary.eor.as_ref();
    for (what, tags) in [
        ("tags", Some(&summary.user_tags)),
        ("configuration", Some(&summary.configuration)),
        ("end tags", eor.map(|eor| &eor.user_tags)),
        ("metadata", eor.map(|eor| &eor.metadata)),
    ] {
        if let Some(tags) = tags.filter(|tags| !tags.is_empty()) {
            lines.push(format!("{what}: {}", out.data(&values::line(tags))));
        }
    }
    for damage in &summary.damage {
        lines.push(format!("damage: {damage}"));
    }
    if let Some(sha256) = sha256 {
        lines.push(format!("sha256 {sha256}"));
    }
    lines.join("\n")
}

fn damage_object(damage: &Damage) -> Value {
    json!({"offset": damage.offset, "bytes": damage.bytes, "records": damage.records, "text": damage.to_string()})
}

/// Where a torn file ends to be of use, and how many bytes are not.
fn tail(ending: &Ending) -> Option<Value> {
    let Ending::Torn(tail) = ending else {
        return None;
    };
    Some(json!({"offset": tail.offset, "bytes": tail.bytes}))
}

fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::WithoutIndex => "withoutIndex",
        Ending::EorDamaged => "eorDamaged",
        Ending::Unfinished => "unfinished",
        Ending::Torn(_) => "torn",
    }
}

fn started(summary: &RunFileSummary) -> String {
    let since = summary.started.duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    rfc_3339(
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        since.subsec_nanos(),
    )
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus run inspect runs/night_7@Camera.Top.acqrun
  acqbus run inspect --check --json runs/night_7@Camera.Top.acqrun | jq -r .sha256

A finished file tells this from its index, at once; --check reads all of it. The exit code is 6
when the file is damaged, torn or has no end of run, and 1 when it is whole and its run INCOMPLETE
or ABORTED. A run that is still being written, or was cut off, is in a file that ends with .part.";
