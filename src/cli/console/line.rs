//! One line of the console as an action, without a terminal and without a bus.

use serde_json::{Map, Value};

use crate::cli::data::{first_json, member, split_word, starts_json, whole_json};
use crate::cli::exit::Failure;
use crate::cli::kinds::KindFilter;
use crate::cli::names::{self, Named};
use crate::rpc::{ApiCommand, Dialect, Topic};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// An empty line, or a comment.
    Nothing,
    /// Sends a command.
    Send(Typed),
    /// Shows live messages of this topic only.
    FilterTopic(Topic),
    /// Shows live events of this kind only.
    FilterKind(KindFilter),
    /// Shows all live messages but heartbeats again.
    FilterOff,
    /// Shows no live messages.
    Mute,
    /// Shows live messages again.
    Unmute,
    /// Shows how the connection is.
    Status,
    /// Lists the commands that have not ended.
    Pending,
    /// Waits until no command is pending.
    Wait,
    /// Explains, one word of the console or all of it.
    Help(Option<String>),
    /// Ends.
    Quit,
}

/// A command as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Typed {
    /// The command and its number.
    pub(crate) named: Named,
    /// The custom command of USER_DEFINED.
    pub(crate) custom_command: Option<i64>,
    /// The data; null if there are none.
    pub(crate) data: Value,
    /// The nonce, if the user wants a certain one.
    pub(crate) nonce: Option<i64>,
    /// Whether to wait for the result before the next line.
    pub(crate) wait: bool,
}

impl Typed {
    /// Whether to ask before it is sent: it changes what the rig does, and is not the emergency stop.
    pub(crate) const fn wants_confirmation(&self) -> bool {
        matches!(
            self.named.command,
            ApiCommand::EmergencyResume
                | ApiCommand::StartAcquisition
                | ApiCommand::StopAcquisition
                | ApiCommand::SetApplicationMode
                | ApiCommand::SetTrainingMode
        )
    }
}

/// Reads one line. `dialect` decides the number behind a command's name.
pub(crate) fn parse(line: &str, dialect: Dialect) -> Result<Action, Failure> {
    let line = line.trim();
    let (word, rest) = split_word(line);
    // The console's own words are whole; everything else is a command or the start of one.
    match word {
        "" => Ok(Action::Nothing),
        _ if word.starts_with('#') => Ok(Action::Nothing),
        "filter" => filter(rest),
        "send" => send(rest, dialect),
        "help" | "?" => Ok(Action::Help((!rest.is_empty()).then(|| rest.to_owned()))),
        "mute" | "unmute" | "status" | "pending" | "wait" | "quit" | "exit" if !rest.is_empty() => {
            Err(Failure::usage(format!("`{word}` takes nothing behind it")))
        }
        "mute" => Ok(Action::Mute),
        "unmute" => Ok(Action::Unmute),
        "status" => Ok(Action::Status),
        "pending" => Ok(Action::Pending),
        "wait" => Ok(Action::Wait),
        "quit" | "exit" => Ok(Action::Quit),
        _ => send(line, dialect).map_err(|failure| or_a_word(failure, word)),
    }
}

/// The words of the console that are not commands of the bus.
pub(crate) const WORDS: &[&str] = &[
    "exit", "filter", "help", "mute", "pending", "quit", "send", "status", "unmute", "wait",
];

fn filter(rest: &str) -> Result<Action, Failure> {
    let (what, value) = split_word(rest);
    match (what, value) {
        ("off", "") => Ok(Action::FilterOff),
        ("topic", "") | ("kind", "") => Err(Failure::usage(format!(
            "`filter {what}` wants a {what} behind it"
        ))),
        ("topic", name) => names::topic(name).map(Action::FilterTopic),
        ("kind", name) => KindFilter::parse(name).map(Action::FilterKind),
        _ => Err(Failure::usage("a filter is on a topic or a kind")
            .with_hint("filter topic EVENT, filter kind sessionStarted, or filter off")),
    }
}

fn send(text: &str, dialect: Dialect) -> Result<Action, Failure> {
    let (word, mut rest) = split_word(text);
    let mut typed = Typed {
        named: names::command(word, dialect)?,
        custom_command: None,
        data: Value::Null,
        nonce: None,
        wait: false,
    };
    let mut members = Map::new();
    while !rest.is_empty() {
        rest = take_argument(&mut typed, &mut members, rest)?;
    }
    if !members.is_empty() {
        if !typed.data.is_null() {
            return Err(Failure::usage(
                "data come either as JSON or as member=value, not as both",
            ));
        }
        typed.data = Value::Object(members);
    }
    Ok(Action::Send(typed))
}

/// Takes what comes next from `rest`, and gives what is behind it.
fn take_argument<'a>(
    typed: &mut Typed,
    members: &mut Map<String, Value>,
    rest: &'a str,
) -> Result<&'a str, Failure> {
    let (word, behind) = split_word(rest);
    let (option, value) = match word.split_once('=') {
        Some((option, _)) if option.starts_with("--") => (option, &rest[option.len() + 1..]),
        _ => (word, behind),
    };
    match option {
        "--wait" => {
            typed.wait = true;
            Ok(behind)
        }
        "--custom-command" => {
            let (number, behind) = split_word(value);
            typed.custom_command = Some(integer(option, number)?);
            Ok(behind)
        }
        "--nonce" => {
            let (number, behind) = split_word(value);
            typed.nonce = Some(integer(option, number)?);
            Ok(behind)
        }
        "--data" => take_data(typed, value),
        _ if option.starts_with("--") => {
            Err(Failure::usage(format!("`{option}` is no option here"))
                .with_hint("--data JSON, --custom-command N, --nonce N or --wait"))
        }
        _ if starts_json(rest) => take_data(typed, rest),
        _ => take_word(typed, members, rest),
    }
}

fn take_word<'a>(
    typed: &mut Typed,
    members: &mut Map<String, Value>,
    rest: &'a str,
) -> Result<&'a str, Failure> {
    let (word, behind) = split_word(rest);
    if let Some((name, value, behind)) = member(rest)? {
        members.insert(name, value);
        return Ok(behind);
    }
    if typed.named.command == ApiCommand::UserDefined && typed.custom_command.is_none() {
        typed.custom_command = Some(integer("the custom command", word)?);
        return Ok(behind);
    }
    take_data(typed, rest)
}

fn take_data<'a>(typed: &mut Typed, text: &'a str) -> Result<&'a str, Failure> {
    if !typed.data.is_null() {
        return Err(Failure::usage(format!(
            "there is more behind the data: `{text}`"
        )));
    }
    // People write data in quotes, as a shell wants them.
    let text = text.trim_start();
    if let Some(quoted) = text.strip_prefix('\'') {
        let Some((inside, behind)) = quoted.split_once('\'') else {
            return Err(Failure::usage("the data have no closing `'`"));
        };
        typed.data = whole_json(inside)?;
        return Ok(behind.trim_start());
    }
    let (value, behind) = first_json(text)?;
    typed.data = value;
    Ok(behind)
}

fn integer(what: &str, word: &str) -> Result<i64, Failure> {
    word.parse()
        .map_err(|_| Failure::usage(format!("{what} wants an integer, not `{word}`")))
}

fn or_a_word(failure: Failure, word: &str) -> Failure {
    match names::near(word, WORDS.iter().copied()).first() {
        Some(near) => failure.with_hint(*near),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn typed(line: &str) -> Typed {
        match parse(line, Dialect::Plain) {
            Ok(Action::Send(typed)) => typed,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        parse(line, Dialect::Plain).unwrap_err().to_string()
    }

    #[test]
    fn command_stands_alone_or_behind_send() {
        for line in ["GET_STATUS", "get_s", "  400  ", "send GET_STATUS"] {
            assert_eq!(typed(line).named.command, ApiCommand::GetStatus, "{line}");
        }
    }

    #[test]
    fn data_are_json_or_members() {
        let wanted = json!({"enabled": true});
        for line in [
            r#"set_auto_clamp_enabled {"enabled": true}"#,
            r#"set_auto_clamp_enabled '{"enabled": true}'"#,
            r#"set_auto_clamp_enabled --data {"enabled": true}"#,
            r#"set_auto_clamp_enabled --data='{"enabled": true}' --wait"#,
            "set_auto_clamp_enabled enabled=true",
        ] {
            assert_eq!(typed(line).data, wanted, "{line}");
        }
        assert_eq!(
            typed(r#"user 7 name=rig-1 size=2.5 tags=["a", "b"] note="two words""#).data,
            json!({"name": "rig-1", "size": 2.5, "tags": ["a", "b"], "note": "two words"})
        );
        assert_eq!(typed("user 7 5").data, json!(5));
        assert_eq!(typed("get_status").data, Value::Null);
    }

    #[test]
    fn options_are_those_of_send() {
        let line =
            typed(r#"USER_DEFINED --custom-command 1 --nonce=-5 --data {"seconds":0.2} --wait"#);
        assert_eq!(line.custom_command, Some(1));
        assert_eq!(line.nonce, Some(-5));
        assert_eq!(line.data, json!({"seconds": 0.2}));
        assert!(line.wait);
        assert_eq!(typed("user 4").custom_command, Some(4));
    }

    #[test]
    fn words_of_the_console_are_understood() {
        for (line, action) in [
            ("", Action::Nothing),
            ("  # a note", Action::Nothing),
            ("mute", Action::Mute),
            ("unmute", Action::Unmute),
            ("status", Action::Status),
            ("pending", Action::Pending),
            ("wait", Action::Wait),
            ("quit", Action::Quit),
            ("exit", Action::Quit),
            ("help", Action::Help(None)),
            ("help filter", Action::Help(Some("filter".to_owned()))),
            ("filter off", Action::FilterOff),
            ("filter topic event", Action::FilterTopic(Topic::EVENT)),
        ] {
            assert_eq!(parse(line, Dialect::Plain).unwrap(), action, "{line}");
        }
        let kind = parse("filter kind sessionStarted", Dialect::Plain).unwrap();
        assert_eq!(
            kind,
            Action::FilterKind(KindFilter::parse("sessionStarted").unwrap())
        );
    }

    #[test]
    fn mistakes_are_answered_with_the_next_step() {
        assert!(refused("GET_STAUTS").contains("try: GET_STATUS"));
        assert!(refused("stauts").contains("try: status"));
        assert!(refused("filter").contains("filter topic EVENT"));
        assert!(refused("filter topic").contains("wants a topic"));
        assert!(refused("get_status {").contains("not JSON"));
        assert!(refused("get_status '{}").contains("closing"));
        assert!(refused("get_status {} {}").contains("more behind"));
        assert!(refused("get_status {} a=1").contains("not as both"));
        assert!(refused("get_status --wiat").contains("--wait"));
        assert!(refused("user x").contains("integer"));
        assert!(refused("mute now").contains("nothing behind"));
    }

    #[test]
    fn emergency_stop_is_immediate_and_resume_is_asked() {
        assert!(!typed("EMERGENCY_STOP").wants_confirmation());
        assert!(!typed("GET_STATUS").wants_confirmation());
        for line in [
            "EMERGENCY_RESUME",
            "50",
            "55",
            "SET_APPLICATION_MODE",
            "set_training",
        ] {
            assert!(typed(line).wants_confirmation(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in any::<String>()) {
            let _ = parse(&line, Dialect::Plain);
        }

        #[test]
        fn no_argument_is_too_odd(line in r#"(user|400) ([-=a-z0-9{}"' \[\]é]|--data|--nonce){0,20}"#) {
            let _ = parse(&line, Dialect::Plain);
        }

        #[test]
        fn members_come_back(number in any::<i64>(), flag in any::<bool>()) {
            let line = format!("user 7 a={number} b={flag}");
            prop_assert_eq!(typed(&line).data, json!({"a": number, "b": flag}));
        }
    }
}
