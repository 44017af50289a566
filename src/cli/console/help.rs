//! What `help` says.

use crate::cli::console::complete;
use crate::cli::exit::Failure;
use crate::cli::names;
use crate::rpc::{ApiCommand, Dialect};

/// The text on a command or a word of the console, or on all of it.
pub(crate) fn text(word: Option<&str>) -> Result<String, Failure> {
    let Some(word) = word else {
        return Ok(overview());
    };
    match word {
        "filter" | "mute" | "unmute" | "status" | "pending" | "wait" | "help" | "quit" | "exit"
        | "send" => Ok(WORDS.to_owned()),
        _ => names::command(word, Dialect::Plain).map(|named| of_command(named.command)),
    }
}

fn overview() -> String {
    let mut text = String::from("Commands of the bus:\n");
    for command in ApiCommand::all(Dialect::Plain) {
        text.push_str(&format!("  {:>5}  {}\n", command.number(), command.name()));
    }
    text.push_str(WORDS);
    text
}

fn of_command(command: ApiCommand) -> String {
    let mut text = format!("{} ({})", command.name(), command.number());
    for (member, values) in complete::members(command) {
        text.push_str(&format!("\n  {member}={}", values.join("|")));
    }
    match command {
        ApiCommand::UserDefined => {
            text.push_str(
                "\n  USER_DEFINED N [data]: N tells the application's own commands apart",
            );
        }
        ApiCommand::StartAcquisition | ApiCommand::StopAcquisition => {
            text.push_str("\n  obsolete; only services of 0.9.7 know it");
        }
        command if command.is_query() => text.push_str("\n  changes nothing"),
        _ => {}
    }
    text
}

const WORDS: &str = "\
Data are JSON or members: SET_AUTO_CLAMP_ENABLED enabled=true, USER_DEFINED 1 {\"seconds\": 0.2}
Options of a command: --data JSON, --custom-command N, --nonce N, --wait
Words of the console:
  filter topic T, filter kind K, filter off   which live messages are shown
  mute, unmute                                no live messages, and again
  status                                      connection, heartbeat, losses
  pending, wait                               commands that have not ended; wait for them
  help [command], quit";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overview_names_every_command() {
        let text = text(None).unwrap();
        for command in ApiCommand::all(Dialect::Plain) {
            assert!(text.contains(command.name()), "{command}");
        }
    }

    #[test]
    fn help_on_a_command_shows_its_members() {
        assert!(
            text(Some("set_auto_clamp"))
                .unwrap()
                .contains("enabled=true|false")
        );
        assert!(text(Some("filter")).unwrap().contains("filter kind"));
        assert!(text(Some("nonsense")).is_err());
    }
}
