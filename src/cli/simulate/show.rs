//! What the simulated rig does, as a line for people or as a JSON object for programs.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::cli::print::{Colour, Output, counted, harmless, time_of_day};
use crate::rpc::{CommandRequest, CommandResult};
use crate::simulator::{Observation, Occurrence, ScriptAction, SimulatedVersion, SimulatorStats};

/// The object that `--json` prints.
pub(crate) fn object(observation: &Observation, version: SimulatedVersion) -> Value {
    match observation {
        Observation::Command { request, result } => json!({
            "notice": "command",
            "command": request.command().name(),
            "customCommand": request.custom_command_value(),
            "nonce": request.nonce().value(),
            "user": request.user(),
            "data": request.data(),
            "result": result.number(),
        }),
        Observation::Event(occurrence) => json!({
            "notice": "event",
            "kind": occurrence.kind.number(),
            "name": version.kind_name(occurrence.kind),
            "context": occurrence.context,
        }),
        Observation::Property(change) => json!({"notice": "property", "change": change}),
        Observation::Raw { topic, body } => {
            json!({"notice": "raw", "topic": topic.to_string(), "body": body})
        }
        Observation::Result { request, response } => json!({
            "notice": "result",
            "command": request.command().name(),
            "nonce": request.nonce().value(),
            "result": response.result().number(),
        }),
        Observation::Fault(action) => json!({"notice": "fault", "fault": fault(action)}),
        Observation::Restarted { epoch } => json!({"notice": "restarted", "epoch": epoch}),
    }
}

/// One line for people.
pub(crate) fn line(observation: &Observation, version: SimulatedVersion, out: Output) -> String {
    let time = out.paint(Colour::Faint, &time_of_day(SystemTime::now()));
    let what = match observation {
        Observation::Command { request, result } => {
            format!(
                "command {} -> {}",
                command(request, out),
                painted(*result, out)
            )
        }
        Observation::Event(occurrence) => format!("event {}", event(occurrence, version, out)),
        Observation::Property(change) => format!("property {}", out.data(&change.to_string())),
        Observation::Raw { topic, body } => format!("raw {topic} {}", out.data(body)),
        Observation::Result { request, response } => {
            format!(
                "result of {} -> {}",
                command(request, out),
                painted(response.result(), out)
            )
        }
        Observation::Fault(action) => {
            out.paint(Colour::Notice, &format!("fault: {}", fault(action)))
        }
        Observation::Restarted { epoch } => {
            let epoch = epoch
                .map(|epoch| format!(", epoch {epoch}"))
                .unwrap_or_default();
            out.paint(Colour::Notice, &format!("restarted{epoch}"))
        }
    };
    format!("{time} {what}")
}

/// What the rig has counted, in words.
pub(crate) fn stats(stats: &SimulatorStats) -> String {
    let mut text = format!(
        "-- {}, {}, {}, {}",
        counted(stats.commands, "command"),
        counted(stats.events, "event"),
        counted(stats.properties, "property change"),
        counted(stats.results, "result"),
    );
    for (count, what) in [
        (stats.withheld, "withheld by faults"),
        (stats.refused, "refused by the service"),
        (stats.turned_away, "failed for want of room"),
        (stats.unobserved, "not shown"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// What the rig has counted, as the last object of `--json`.
pub(crate) fn ended(stats: &SimulatorStats) -> Value {
    json!({
        "notice": "ended",
        "commands": stats.commands,
        "events": stats.events,
        "properties": stats.properties,
        "results": stats.results,
        "withheld": stats.withheld,
        "refused": stats.refused,
        "turnedAway": stats.turned_away,
        "unobserved": stats.unobserved,
    })
}

fn command(request: &CommandRequest, out: Output) -> String {
    let mut text = request.command().name().to_owned();
    if let Some(number) = request.custom_command().filter(|number| *number != -1) {
        text.push_str(&format!(" {number}"));
    }
    text.push_str(&format!(
        " nonce {}",
        harmless(&request.nonce().to_string())
    ));
    if let Some(user) = request.user() {
        text.push_str(&format!(" by {user}"));
    }
    if !request.data().is_null() {
        text.push_str(&format!(" {}", out.data(&request.data().to_string())));
    }
    text
}

fn event(occurrence: &Occurrence, version: SimulatedVersion, out: Output) -> String {
    let name = match version.kind_name(occurrence.kind) {
        Some(name) => name.to_owned(),
        None => occurrence.kind.number().to_string(),
    };
    let context = occurrence
        .context
        .as_ref()
        .map(|context| format!(" {context}"))
        .unwrap_or_default();
    format!("{}{}", out.paint(Colour::Name, &name), out.data(&context))
}

fn painted(result: CommandResult, out: Output) -> String {
    let colour = match result {
        CommandResult::Success => Colour::Good,
        CommandResult::Pending | CommandResult::PendingWithNotification => Colour::Notice,
        _ => Colour::Bad,
    };
    out.paint(colour, &result.to_string())
}

fn fault(action: &ScriptAction) -> &'static str {
    match action {
        ScriptAction::LateResults { .. } => "late results",
        ScriptAction::LostResults { .. } => "lost results",
        ScriptAction::DoubledResults { .. } => "doubled results",
        ScriptAction::Restart { .. } => "restart",
        ScriptAction::Silence { .. } => "silence",
        ScriptAction::Event(_) | ScriptAction::Property(_) | ScriptAction::Raw { .. } => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_is_told_in_the_singular() {
        let mut counted = SimulatorStats::default();
        (counted.commands, counted.events) = (1, 2);
        let text = "-- 1 command, 2 events, 0 property changes, 0 results";
        assert_eq!(stats(&counted), text);
    }
}
