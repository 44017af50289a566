//! Begins and ends of runs, as JSON and as words.

use serde_json::{Value, json};

use crate::cdtp::{Bor, Eor, Fault, Lost, RunCondition, Tags};
use crate::cli::print::{Colour, Output, bytes, counted, harmless};
use crate::cli::run::values;

/// A begin of run as an object.
pub(super) fn bor(sender: &str, user_tags: &Tags, configuration: &Tags) -> Value {
    json!({
        "notice": "bor",
        "sender": sender,
        "runId": run_id(&[user_tags, configuration]),
        "userTags": values::object(user_tags),
        "configuration": values::object(configuration),
    })
}

/// A begin of run as people read it.
pub(super) fn bor_line(bor: &Bor, out: Output) -> String {
    let name = out.paint(Colour::Name, &harmless(bor.sender.as_str()));
    let mut text = format!("{name} begins a run");
    if bor.restarted {
        text.push_str(" anew");
    }
    if !bor.user_tags.is_empty() {
        text.push_str(&format!(": {}", out.data(&values::line(&bor.user_tags))));
    }
    text
}

/// An end of run as an object; `substitute` for one that its sender has not sent.
pub(super) fn eor(eor: &Eor, substitute: bool, sha256: Option<&str>) -> Value {
    json!({
        "notice": "eor",
        "sender": eor.sender.as_str(),
        "runId": run_id(&[&eor.metadata, &eor.user_tags]),
        "condition": eor.condition.to_string(),
        "conditionCode": eor.condition.bits(),
        "substitute": substitute,
        "records": eor.counts.records,
        "bytes": eor.counts.bytes,
        "missed": eor.counts.missed,
        "late": eor.counts.late,
        "duplicates": eor.counts.duplicates,
        "faults": eor.counts.faults,
        "sha256": sha256,
        "userTags": values::object(&eor.user_tags),
        "metadata": values::object(&eor.metadata),
    })
}

/// An end of run as people read it.
pub(super) fn eor_line(eor: &Eor, substitute: bool, out: Output) -> String {
    let name = out.paint(Colour::Name, &harmless(eor.sender.as_str()));
    let run = run_id(&[&eor.metadata, &eor.user_tags])
        .map_or_else(String::new, |id| format!(" {}", harmless(&id)));
    let condition = out.paint(colour(eor.condition), &eor.condition.to_string());
    let mut text = format!(
        "{name} ends the run{run}: {condition}, {}, {}, {} missed",
        counted(eor.counts.records, "record"),
        bytes(eor.counts.bytes as f64),
        eor.counts.missed,
    );
    for (count, what) in [
        (eor.counts.late, "late"),
        (eor.counts.duplicates, "doubled"),
        (eor.counts.faults, "unusable messages"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if substitute {
        text.push_str(", without an end from its sender");
    }
    text
}

/// Missing records as an object and as words.
pub(super) fn lost(lost: &Lost) -> (Value, String) {
    let sender = lost.sender.as_str();
    (
        json!({"notice": "lost", "sender": sender, "first": lost.first, "count": lost.count}),
        format!(
            "{}: {} missing, from number {} on",
            harmless(sender),
            counted(lost.count, "record"),
            lost.first
        ),
    )
}

/// An unusable message as an object and as words.
pub(super) fn fault(fault: &Fault) -> (Value, String) {
    let sender = fault.sender.as_ref().map(|name| name.as_str());
    let reason = fault.kind.to_string();
    (
        json!({"notice": "fault", "sender": sender, "reason": reason, "records": fault.records, "bytes": fault.bytes}),
        format!(
            "{}: {}",
            harmless(sender.unwrap_or("a sender")),
            harmless(&reason)
        ),
    )
}

/// The id of a run, wherever it stands first.
fn run_id(places: &[&Tags]) -> Option<String> {
    let id = |tags: &&Tags| tags.get("run_id")?.as_str().map(str::to_owned);
    places.iter().find_map(id)
}

fn colour(condition: RunCondition) -> Colour {
    if condition == RunCondition::GOOD {
        Colour::Good
    } else if is_broken(condition) {
        Colour::Bad
    } else {
        Colour::Notice
    }
}

/// Whether something of the run is not there: it is what `run receive` and `run inspect` end with 1 for.
pub(super) fn is_broken(condition: RunCondition) -> bool {
    condition.contains(RunCondition::INCOMPLETE) || condition.contains(RunCondition::ABORTED)
}

#[cfg(test)]
mod tests {
    use crate::cdtp::SenderName;

    use super::*;

    fn ended() -> Eor {
        let mut eor = Eor::new(SenderName::received("Camera.\x1bOne"));
        eor.metadata = Tags::new().with("run_id", "r-7");
        eor.condition = RunCondition::INCOMPLETE;
        eor.counts.records = 2;
        eor.counts.bytes = 4_000;
        eor.counts.missed = 1;
        eor
    }

    #[test]
    fn end_of_run_has_the_members_that_scripts_read() {
        let object = eor(&ended(), false, Some("ab"));
        assert_eq!(object["runId"], "r-7");
        assert_eq!(object["condition"], "INCOMPLETE");
        assert_eq!(object["conditionCode"], 2);
        assert_eq!(object["missed"], 1);
        assert_eq!(object["sha256"], "ab");
        assert_eq!(object["metadata"]["run_id"], "r-7");
    }

    #[test]
    fn end_of_run_is_one_line_for_people() {
        let text = eor_line(&ended(), true, Output::new(false));
        assert_eq!(
            text,
            "Camera.\\u{1b}One ends the run r-7: INCOMPLETE, 2 records, 4.0 kB, 1 missed, \
             without an end from its sender"
        );
    }

    #[test]
    fn begin_of_run_tells_its_tags() {
        let mut begin = Bor::new(SenderName::received("Camera.One"));
        begin.user_tags = Tags::new().with("voltage", 5);
        assert_eq!(
            bor_line(&begin, Output::new(false)),
            "Camera.One begins a run: voltage=5"
        );
        let object = bor("Camera.One", &begin.user_tags, &begin.configuration);
        assert_eq!(object["userTags"]["voltage"], 5);
        assert_eq!(object["runId"], Value::Null);
    }
}
