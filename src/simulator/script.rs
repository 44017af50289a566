//! Scripts: what a simulated rig does at which time, faults included. The format is described in `docs/simulator.md`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::rpc::{EventKind, Topic};
use crate::simulator::error::SimulatorError;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::version::SimulatedVersion;

/// A sequence of things to do, in the order of their times.
///
/// A text of JSON lines: one object a line, each with `at` (seconds since the start) and one thing to do; empty lines
/// and lines that begin with `#` are skipped.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use acqbus::simulator::{Script, ScriptAction, SimulatedVersion};
///
/// let text = r#"
/// ## the rig falls silent for three seconds
/// {"at": 2.5, "fault": "silence", "seconds": 3}
/// "#;
/// let script = Script::parse(text, SimulatedVersion::V0_12_0)?;
/// let step = &script.steps()[0];
/// assert_eq!(step.at, Duration::from_millis(2500));
/// assert_eq!(step.action, ScriptAction::Silence { during: Duration::from_secs(3) });
///
/// let refused = Script::parse(r#"{"at": 1, "event": "brewed"}"#, SimulatedVersion::V0_12_0).unwrap_err();
/// assert_eq!(refused.to_string(), r#"line 1 of the script: event: no event kind is called "brewed""#);
/// # Ok::<(), acqbus::simulator::SimulatorError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script(Vec<ScriptStep>);

/// One line of a script.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ScriptStep {
    /// When, since the start.
    pub at: Duration,
    /// What.
    pub action: ScriptAction,
}

/// What a line of a script does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ScriptAction {
    /// Publishes an event.
    Event(Occurrence),
    /// Publishes a property change.
    Property(Value),
    /// Publishes a body as it is, on any topic.
    Raw {
        /// The topic.
        topic: Topic,
        /// The body.
        body: String,
    },
    /// The next results of commands come late.
    LateResults {
        /// By how much.
        by: Duration,
        /// How many of them; `None` is all from then on.
        count: Option<u32>,
    },
    /// The next results of commands never come.
    LostResults {
        /// How many of them; `None` is all from then on.
        count: Option<u32>,
    },
    /// The next results of commands come twice.
    DoubledResults {
        /// How many of them; `None` is all from then on.
        count: Option<u32>,
    },
    /// The service stops and starts anew at the same ports, with a new epoch.
    Restart {
        /// How long it is away.
        down: Duration,
    },
    /// Nothing is published, no heartbeat either; commands are still answered.
    Silence {
        /// How long.
        during: Duration,
    },
}

impl Script {
    /// Reads a script; the names of kinds are those of `version`.
    ///
    /// # Errors
    /// [`SimulatorError::Script`] with the first line that cannot be used, and the member that is wrong in it.
    pub fn parse(text: &str, version: SimulatedVersion) -> Result<Self, SimulatorError> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let step =
                step(line, version).map_err(|Wrong { field, reason }| SimulatorError::Script {
                    line: index + 1,
                    field,
                    reason,
                })?;
            steps.push(step);
        }
        // Stable: lines of the same time keep their order.
        steps.sort_by_key(|step| step.at);
        Ok(Self(steps))
    }

    /// Reads the script in a file.
    ///
    /// # Errors
    /// [`SimulatorError::Read`], else as [`parse`](Self::parse).
    pub fn read(path: &Path, version: SimulatedVersion) -> Result<Self, SimulatorError> {
        let text = std::fs::read_to_string(path).map_err(|source| SimulatorError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, version)
    }

    /// The steps, in the order of their times.
    #[must_use]
    pub fn steps(&self) -> &[ScriptStep] {
        &self.0
    }
}

/// What is wrong with a line.
struct Wrong {
    field: String,
    reason: String,
}

impl Wrong {
    fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// The members of a line; what is taken out is known, what is left at the end is not.
struct Members(Map<String, Value>);

impl Members {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    fn seconds(&mut self, name: &str) -> Result<Option<Duration>, Wrong> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let seconds = value
            .as_f64()
            .filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
        match seconds {
            Some(seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
            None => {
                let reason = format!("{value} is not a number of seconds from 0 to {MAX_SECONDS}");
                Err(Wrong::new(name, reason))
            }
        }
    }

    fn needed_seconds(&mut self, name: &str) -> Result<Duration, Wrong> {
        self.seconds(name)?
            .ok_or_else(|| Wrong::new(name, "is missing"))
    }

    /// How many results: 1 unless given, 0 is all.
    fn count(&mut self) -> Result<Option<u32>, Wrong> {
        let Some(value) = self.take("count") else {
            return Ok(Some(1));
        };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        match count {
            Some(0) => Ok(None),
            Some(count) => Ok(Some(count)),
            None => Err(Wrong::new(
                "count",
                format!("{value} is not a whole number from 0 on"),
            )),
        }
    }

    fn finish(self) -> Result<(), Wrong> {
        match self.0.keys().next() {
            Some(name) => Err(Wrong::new(name, "does not belong into this line")),
            None => Ok(()),
        }
    }
}

fn step(line: &str, version: SimulatedVersion) -> Result<ScriptStep, Wrong> {
    let members: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| Wrong::new("line", format!("not a JSON object: {error}")))?;
    let mut members = Members(members);
    let at = members.needed_seconds("at")?;
    let action = action(&mut members, version)?;
    members.finish()?;
    Ok(ScriptStep { at, action })
}

fn action(members: &mut Members, version: SimulatedVersion) -> Result<ScriptAction, Wrong> {
    if let Some(kind) = members.take("event") {
        let kind = event_kind(&kind, version)?;
        let context = members.take("context").filter(|context| !context.is_null());
        return Ok(ScriptAction::Event(Occurrence { kind, context }));
    }
    if let Some(property) = members.take("property") {
        return match property {
            Value::Object(_) => Ok(ScriptAction::Property(property)),
            other => Err(Wrong::new("property", format!("{other} is not an object"))),
        };
    }
    if let Some(topic) = members.take("topic") {
        let topic = parse_topic(&topic)?;
        return match members.take("body") {
            Some(Value::String(body)) => Ok(ScriptAction::Raw { topic, body }),
            Some(body) => Ok(ScriptAction::Raw {
                topic,
                body: body.to_string(),
            }),
            None => Err(Wrong::new("body", "is missing")),
        };
    }
    match members.take("fault") {
        Some(Value::String(fault)) => parse_fault(&fault, members),
        Some(other) => Err(Wrong::new("fault", format!("{other} is not a name"))),
        None => Err(Wrong::new(
            "line",
            "has none of event, property, topic and fault",
        )),
    }
}

fn event_kind(kind: &Value, version: SimulatedVersion) -> Result<EventKind, Wrong> {
    match kind {
        Value::String(name) => version
            .parse_kind(name)
            .map_err(|error| Wrong::new("event", error.to_string())),
        other => match other.as_i64() {
            Some(number) => Ok(number.into()),
            None => Err(Wrong::new(
                "event",
                format!("{other} is neither a name nor a number"),
            )),
        },
    }
}

fn parse_topic(topic: &Value) -> Result<Topic, Wrong> {
    match topic {
        Value::String(name) => name
            .parse()
            .map_err(|_| Wrong::new("topic", format!("no topic is called {name:?}"))),
        other => match other.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Topic::new(number)),
            None => Err(Wrong::new(
                "topic",
                format!("{other} is no number of a topic"),
            )),
        },
    }
}

fn parse_fault(fault: &str, members: &mut Members) -> Result<ScriptAction, Wrong> {
    Ok(match fault {
        "late" => ScriptAction::LateResults {
            by: members.needed_seconds("seconds")?,
            count: members.count()?,
        },
        "lost" => ScriptAction::LostResults {
            count: members.count()?,
        },
        "doubled" => ScriptAction::DoubledResults {
            count: members.count()?,
        },
        "restart" => ScriptAction::Restart {
            down: members.seconds("seconds")?.unwrap_or_default(),
        },
        "silence" => ScriptAction::Silence {
            during: members.needed_seconds("seconds")?,
        },
        other => {
            let known = "late, lost, doubled, restart and silence";
            return Err(Wrong::new("fault", format!("{other:?} is none of {known}")));
        }
    })
}

/// A year: beyond it is a typing error.
const MAX_SECONDS: f64 = 31_536_000.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_line_of_the_example_is_read() {
        let text = include_str!("../../examples/scripts/faults.jsonl");
        let script = Script::parse(text, SimulatedVersion::V0_12_0).unwrap();
        let lines = text.lines().filter(|line| line.starts_with('{')).count();
        assert_eq!(script.steps().len(), lines);
        assert!(
            script
                .steps()
                .windows(2)
                .all(|pair| pair[0].at <= pair[1].at)
        );
    }

    #[test]
    fn actions_are_read() {
        for (line, expected) in [
            (
                r#"{"at": 1, "event": "tunnelEnter"}"#,
                ScriptAction::Event(Occurrence::new(EventKind::TunnelEnter)),
            ),
            (
                r#"{"at": 1, "event": 77, "context": {"a": 1}}"#,
                ScriptAction::Event(Occurrence::with(EventKind::Other(77), &json!({"a": 1}))),
            ),
            (
                r#"{"at": 1, "property": {"a": 1}}"#,
                ScriptAction::Property(json!({"a": 1})),
            ),
            (
                r#"{"at": 1, "topic": "event", "body": "not JSON"}"#,
                ScriptAction::Raw {
                    topic: Topic::EVENT,
                    body: "not JSON".to_owned(),
                },
            ),
            (
                r#"{"at": 1, "topic": 77, "body": [1]}"#,
                ScriptAction::Raw {
                    topic: Topic::new(77),
                    body: "[1]".to_owned(),
                },
            ),
            (
                r#"{"at": 1, "fault": "late", "seconds": 2}"#,
                ScriptAction::LateResults {
                    by: Duration::from_secs(2),
                    count: Some(1),
                },
            ),
            (
                r#"{"at": 1, "fault": "lost", "count": 0}"#,
                ScriptAction::LostResults { count: None },
            ),
            (
                r#"{"at": 1, "fault": "doubled", "count": 3}"#,
                ScriptAction::DoubledResults { count: Some(3) },
            ),
            (
                r#"{"at": 1, "fault": "restart"}"#,
                ScriptAction::Restart {
                    down: Duration::ZERO,
                },
            ),
        ] {
            let script = Script::parse(line, SimulatedVersion::V0_12_0).unwrap();
            assert_eq!(script.steps()[0].action, expected, "{line}");
        }
    }

    #[test]
    fn kinds_have_the_names_of_the_version() {
        let line = r#"{"at": 0, "event": "acquisitionStarted"}"#;
        let script = Script::parse(line, SimulatedVersion::V0_9_7).unwrap();
        let started = Occurrence::new(EventKind::from(301));
        assert_eq!(script.steps()[0].action, ScriptAction::Event(started));
        assert!(Script::parse(line, SimulatedVersion::V0_12_0).is_err());
    }

    #[test]
    fn steps_are_sorted_and_equal_times_keep_their_order() {
        let text =
            "{\"at\": 2, \"event\": 1}\n{\"at\": 1, \"event\": 2}\n{\"at\": 1, \"event\": 3}";
        let script = Script::parse(text, SimulatedVersion::V0_12_0).unwrap();
        let kinds = script.steps().iter().map(|step| match &step.action {
            ScriptAction::Event(occurrence) => occurrence.kind.number(),
            other => panic!("{other:?}"),
        });
        assert_eq!(kinds.collect::<Vec<_>>(), [2, 3, 1]);
    }

    #[test]
    fn an_error_names_the_line_and_the_member() {
        for (line, field) in [
            ("{", "line"),
            ("[]", "line"),
            (r#"{"at": 1}"#, "line"),
            (r#"{"event": "tunnelEnter"}"#, "at"),
            (r#"{"at": -1, "event": "tunnelEnter"}"#, "at"),
            (r#"{"at": "now", "event": "tunnelEnter"}"#, "at"),
            (r#"{"at": 1, "event": "brewed"}"#, "event"),
            (r#"{"at": 1, "event": 1.5}"#, "event"),
            (
                r#"{"at": 1, "event": "tunnelEnter", "contxt": {}}"#,
                "contxt",
            ),
            (r#"{"at": 1, "property": 3}"#, "property"),
            (r#"{"at": 1, "topic": "brew", "body": "x"}"#, "topic"),
            (r#"{"at": 1, "topic": -1, "body": "x"}"#, "topic"),
            (r#"{"at": 1, "topic": 4001}"#, "body"),
            (r#"{"at": 1, "fault": "late"}"#, "seconds"),
            (r#"{"at": 1, "fault": "late", "seconds": 1e99}"#, "seconds"),
            (r#"{"at": 1, "fault": "lost", "count": -1}"#, "count"),
            (r#"{"at": 1, "fault": "explode"}"#, "fault"),
            (r#"{"at": 1, "fault": 3}"#, "fault"),
        ] {
            let text = format!("# a comment\n\n{line}\n");
            let refused = Script::parse(&text, SimulatedVersion::V0_12_0).unwrap_err();
            let SimulatorError::Script {
                line: number,
                field: found,
                ..
            } = &refused
            else {
                panic!("{refused:?}");
            };
            assert_eq!((*number, found.as_str()), (3, field), "{line}: {refused}");
        }
    }

    #[test]
    fn every_truncation_of_a_line_is_refused() {
        let line = r#"{"at": 1, "topic": "event", "body": "not JSON"}"#;
        for end in 1..line.len() {
            assert!(
                Script::parse(&line[..end], SimulatedVersion::V0_12_0).is_err(),
                "{end}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in any::<String>(), seconds in any::<f64>(), count in any::<i64>()) {
            let lines = [
                text,
                json!({"at": seconds, "fault": "late", "seconds": seconds, "count": count}).to_string(),
                json!({"at": 1, "event": count}).to_string(),
                json!({"at": 1, "topic": count, "body": count}).to_string(),
            ];
            for version in [SimulatedVersion::V0_9_7, SimulatedVersion::V0_12_0] {
                let _ = Script::parse(&lines.join("\n"), version);
            }
        }
    }
}
