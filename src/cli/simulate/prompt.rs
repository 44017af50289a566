//! One line at the prompt of the simulated rig, without a terminal and without a rig.

use serde_json::Value;

use crate::cli::data::{data, split_word};
use crate::cli::editor::Candidate;
use crate::cli::exit::Failure;
use crate::cli::names;
use crate::rpc::Topic;
use crate::simulator::{Occurrence, SimulatedVersion};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// An empty line, or a comment.
    Nothing,
    /// Publishes an event.
    Event(Occurrence),
    /// Publishes a property change.
    Property(Value),
    /// Publishes a body as it is.
    Raw {
        /// The topic.
        topic: Topic,
        /// The body.
        body: String,
    },
    /// Shows the status of the rig.
    Status,
    /// Shows what the rig has counted.
    Stats,
    /// Explains.
    Help,
    /// Ends.
    Quit,
}

/// Reads one line; kinds are named as in `version`.
pub(crate) fn parse(line: &str, version: SimulatedVersion) -> Result<Action, Failure> {
    let (word, rest) = split_word(line);
    match word {
        "" => Ok(Action::Nothing),
        _ if word.starts_with('#') => Ok(Action::Nothing),
        "property" if rest.is_empty() => {
            Err(Failure::usage("`property` wants the change behind it")
                .with_hint("property name=gate newValue=true oldValue=false"))
        }
        "property" => data(rest).map(Action::Property),
        "raw" => raw(rest),
        "event" => event(rest, version),
        "status" => Ok(Action::Status),
        "stats" => Ok(Action::Stats),
        "help" | "?" => Ok(Action::Help),
        "quit" | "exit" => Ok(Action::Quit),
        _ => event(line, version),
    }
}

/// Where the completion of a line starts, and what can stand there.
pub(crate) fn complete(line: &str, version: SimulatedVersion) -> (usize, Vec<Candidate>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |space| {
        space + line[space..].chars().next().map_or(1, char::len_utf8)
    });
    let word = &line[start..];
    let kinds = || {
        version
            .kinds()
            .into_iter()
            .filter_map(move |kind| version.kind_name(kind))
    };
    let found = match line[..start]
        .split_whitespace()
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] if word.is_empty() => starting(word, kinds()),
        [] => starting(word, WORDS.iter().copied().chain(kinds())),
        ["event"] => starting(word, kinds()),
        ["raw"] => starting(word, Topic::NAMED.iter().filter_map(|topic| topic.name())),
        ["property", ..] => starting(word, ["name=", "newValue=", "oldValue=", "target="]),
        _ => Vec::new(),
    };
    (start, found)
}

/// What `help` says.
pub(crate) const HELP: &str = "\
  KIND [data]              publish an event: sessionStarted sessionId=s1, 1331 {\"sessionId\": \"s1\"}
  property [data]          publish a property change: property name=gate newValue=true oldValue=false
  raw TOPIC text           publish a body as it is
  status, stats            the rig's status; what it has counted
  help, quit";

fn event(text: &str, version: SimulatedVersion) -> Result<Action, Failure> {
    let (name, rest) = split_word(text);
    let kind = version
        .parse_kind(name)
        .map_err(|_| unknown_kind(name, version))?;
    let context = data(rest)?;
    Ok(Action::Event(Occurrence {
        kind,
        context: Some(context).filter(|context| !context.is_null()),
    }))
}

fn raw(text: &str) -> Result<Action, Failure> {
    let (topic, body) = split_word(text);
    if topic.is_empty() {
        return Err(
            Failure::usage("`raw` wants a topic and a body behind it").with_hint("raw EVENT {}")
        );
    }
    Ok(Action::Raw {
        topic: names::topic(topic)?,
        body: body.to_owned(),
    })
}

fn unknown_kind(name: &str, version: SimulatedVersion) -> Failure {
    let kinds = version.kinds();
    let all = kinds
        .iter()
        .filter_map(|kind| version.kind_name(*kind))
        .chain(WORDS.iter().copied());
    let failure = Failure::usage(format!("`{name}` is no kind of event of {version}"));
    match names::near(name, all).as_slice() {
        [] => failure.with_hint("a name such as sessionStarted, a number, or help"),
        close => failure.with_hint(names::or(close)),
    }
}

fn starting<'a>(word: &str, texts: impl IntoIterator<Item = &'a str>) -> Vec<Candidate> {
    names::starting(word, texts)
        .into_iter()
        .map(Candidate::plain)
        .collect()
}

const WORDS: &[&str] = &[
    "event", "exit", "help", "property", "quit", "raw", "stats", "status",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::rpc::EventKind;

    use super::*;

    const NEW: SimulatedVersion = SimulatedVersion::V0_12_0;

    fn refused(line: &str) -> String {
        parse(line, NEW).unwrap_err().to_string()
    }

    #[test]
    fn events_are_published_by_name_or_number() {
        let started = Action::Event(Occurrence {
            kind: EventKind::SessionStarted,
            context: Some(json!({"sessionId": "s1"})),
        });
        for line in [
            "sessionStarted sessionId=s1",
            "event session-started {\"sessionId\": \"s1\"}",
            "1331 '{\"sessionId\": \"s1\"}'",
        ] {
            assert_eq!(parse(line, NEW).unwrap(), started, "{line}");
        }
        let bare = Action::Event(Occurrence {
            kind: EventKind::TunnelEnter,
            context: None,
        });
        assert_eq!(parse("tunnelEnter", NEW).unwrap(), bare);
    }

    #[test]
    fn kinds_are_those_of_the_version() {
        let old = parse("sessionStarted", SimulatedVersion::V0_9_7).unwrap();
        assert!(matches!(old, Action::Event(occurrence) if occurrence.kind.number() == 1302));
    }

    #[test]
    fn other_lines_do_what_they_say() {
        for (line, action) in [
            ("", Action::Nothing),
            ("# note", Action::Nothing),
            (
                "property name=gate newValue=true",
                Action::Property(json!({"name": "gate", "newValue": true})),
            ),
            (
                "raw 77 two words",
                Action::Raw {
                    topic: Topic::new(77),
                    body: "two words".to_owned(),
                },
            ),
            ("status", Action::Status),
            ("stats", Action::Stats),
            ("help", Action::Help),
            ("quit", Action::Quit),
        ] {
            assert_eq!(parse(line, NEW).unwrap(), action, "{line}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_the_next_step() {
        assert!(refused("sesionStarted").contains("sessionStarted"));
        assert!(refused("stauts").contains("status"));
        assert!(refused("sessionStarted {").contains("not JSON"));
        assert!(refused("property").contains("newValue"));
        assert!(refused("raw").contains("topic"));
    }

    #[test]
    fn kinds_are_completed() {
        let (start, found) = complete("event sessionSt", NEW);
        assert_eq!(start, 6);
        assert_eq!(found, [Candidate::plain("sessionStarted")]);
        assert!(complete("", NEW).1.len() > 100);
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in any::<String>()) {
            let _ = parse(&line, NEW);
            prop_assert!(line.is_char_boundary(complete(&line, NEW).0));
        }
    }
}
