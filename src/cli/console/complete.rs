//! What can come next in a line of the console, without a terminal.

use crate::cli::console::line::WORDS;
use crate::cli::editor::Candidate;
use crate::cli::{kinds, names};
use crate::rpc::{ApiCommand, Dialect, Topic};

/// Where in `line`, up to the cursor, the completion starts, and what can stand there.
pub(crate) fn complete(line: &str) -> (usize, Vec<Candidate>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |space| {
        space + line[space..].chars().next().map_or(1, char::len_utf8)
    });
    let word = &line[start..];
    let before: Vec<_> = line[..start].split_whitespace().collect();
    match before.as_slice() {
        [] => (start, first_words(word)),
        ["send" | "help" | "?"] => (start, commands(word)),
        ["filter"] => (start, of_texts(word, ["topic", "kind", "off"])),
        ["filter", "topic"] => (
            start,
            of_texts(word, Topic::NAMED.iter().filter_map(|t| t.name())),
        ),
        ["filter", "kind"] => (start, of_texts(word, kinds::all_names())),
        ["filter", ..] | ["help" | "?", ..] => (start, Vec::new()),
        ["send", command, behind @ ..] | [command, behind @ ..] => {
            match names::command(command, Dialect::Plain) {
                Ok(named) => arguments(line, start, named.command, behind),
                Err(_) => (start, Vec::new()),
            }
        }
    }
}

/// The members that the data of a command can have, each with values to offer.
pub(crate) fn members(command: ApiCommand) -> &'static [(&'static str, &'static [&'static str])] {
    match command {
        ApiCommand::SetApplicationMode => &[("mode", &["0", "100", "200", "300", "1000", "1100"])],
        ApiCommand::SetTrainingMode => &[("mode", &["0", "100", "200", "300"])],
        ApiCommand::UserDefined => &[("seconds", &["0.3", "1"])],
        command if command.name().ends_with("_ENABLED") => &[("enabled", &["true", "false"])],
        _ => &[],
    }
}

fn first_words(word: &str) -> Vec<Candidate> {
    let mut found = of_texts(word, WORDS.iter().copied());
    // An empty line offers the commands, which are what people look for.
    if word.is_empty() {
        found.clear();
    }
    found.extend(commands(word));
    found
}

fn commands(word: &str) -> Vec<Candidate> {
    let wanted = word.replace('-', "_");
    let all = ApiCommand::all(Dialect::Plain);
    let show = |command: &ApiCommand| {
        Candidate::shown(
            command.name(),
            format!("{} ({})", command.name(), command.number()),
        )
    };
    let numbered = |command: &&ApiCommand| command.number().to_string().starts_with(word);
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return all.iter().filter(numbered).map(show).collect();
    }
    let start = |command: &&ApiCommand| names::has_start(command.name(), &wanted);
    let found: Vec<_> = all.iter().filter(start).map(show).collect();
    if !found.is_empty() || wanted.len() < 3 {
        return found;
    }
    // `status` finds GET_STATUS.
    let inside = wanted.to_ascii_uppercase();
    all.iter()
        .filter(|command| command.name().contains(&inside))
        .map(show)
        .collect()
}

fn arguments(
    line: &str,
    start: usize,
    command: ApiCommand,
    behind: &[&str],
) -> (usize, Vec<Candidate>) {
    if let Some((start, typed)) = json_member(line) {
        let members = members(command)
            .iter()
            .filter(|(name, _)| names::has_start(name, typed));
        return (
            start,
            members
                .map(|(name, _)| Candidate::shown(format!("\"{name}\": "), *name))
                .collect(),
        );
    }
    let word = &line[start..];
    if let Some((name, value)) = word
        .split_once('=')
        .filter(|(name, _)| !name.starts_with('-'))
    {
        let values = members(command)
            .iter()
            .filter(|(member, _)| *member == name)
            .flat_map(|(_, values)| *values);
        return (start + name.len() + 1, of_texts(value, values.copied()));
    }
    match behind.last() {
        Some(&"--data") => return (start, of_texts(word, ["{\""])),
        Some(&"--nonce") => return (start, Vec::new()),
        Some(&"--custom-command") => return (start, custom_commands(word)),
        _ => {}
    }
    let mut found = Vec::new();
    if command == ApiCommand::UserDefined && behind.is_empty() && !word.starts_with('-') {
        found.extend(custom_commands(word));
    }
    found.extend(
        members(command)
            .iter()
            .filter(|(name, _)| names::has_start(name, word))
            .map(|(name, _)| Candidate::shown(format!("{name}="), *name)),
    );
    if !word.is_empty() || found.is_empty() {
        found.extend(of_texts(
            word,
            ["--custom-command", "--data", "--nonce", "--wait"],
        ));
    }
    (start, found)
}

/// The test commands of the simulated rig.
fn custom_commands(word: &str) -> Vec<Candidate> {
    [
        ("1", "1 pending, then success"),
        ("2", "2 raises"),
        ("3", "3 blocks, then success"),
        ("4", "4 fails with code 42"),
        ("7", "7 gives the data back"),
        ("9", "9 pending for ever"),
        ("10", "10 pending, then failure"),
    ]
    .into_iter()
    .filter(|(number, _)| number.starts_with(word))
    .map(|(number, display)| Candidate::shown(number, display))
    .collect()
}

/// The start of a member's name in an unfinished JSON object, and what of it is typed.
fn json_member(line: &str) -> Option<(usize, &str)> {
    let open = line.find('{')?;
    let begin = line[open..].rfind(['{', ','])? + open + 1;
    let skipped = line[begin..].len() - line[begin..].trim_start().len();
    let start = begin + skipped;
    let typed = line[start..].strip_prefix('"').unwrap_or(&line[start..]);
    typed
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_')
        .then_some((start, typed))
}

fn of_texts<'a>(word: &str, texts: impl IntoIterator<Item = &'a str>) -> Vec<Candidate> {
    names::starting(word, texts)
        .into_iter()
        .map(Candidate::plain)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replacements(line: &str) -> Vec<String> {
        complete(line)
            .1
            .into_iter()
            .map(|candidate| candidate.replacement)
            .collect()
    }

    #[test]
    fn commands_are_completed_from_name_part_and_number() {
        assert_eq!(replacements("get_s"), ["GET_STATUS"]);
        assert_eq!(replacements("GET-ST"), ["GET_STATUS"]);
        assert_eq!(replacements("40"), ["GET_STATUS"]);
        assert_eq!(replacements("send clamp"), ["SET_AUTO_CLAMP_ENABLED"]);
        assert_eq!(replacements("emer"), ["EMERGENCY_STOP", "EMERGENCY_RESUME"]);
        assert_eq!(replacements("").len(), 21);
        assert_eq!(complete("get_s").1[0].display, "GET_STATUS (400)");
    }

    #[test]
    fn words_of_the_console_are_completed() {
        assert_eq!(replacements("pen"), ["pending"]);
        assert_eq!(replacements("filter "), ["kind", "off", "topic"]);
        assert_eq!(replacements("filter topic ev"), ["EVENT"]);
        assert_eq!(
            replacements("filter kind sessionSt"),
            ["sessionStarted", "sessionStarting"]
        );
        assert_eq!(replacements("help get_an"), ["GET_ANIMALS"]);
        assert!(replacements("filter topic EVENT ").is_empty());
    }

    #[test]
    fn data_members_are_completed_in_both_forms() {
        assert_eq!(replacements("set_auto_clamp_enabled "), ["enabled="]);
        assert_eq!(
            replacements("set_auto_clamp_enabled enabled="),
            ["false", "true"]
        );
        assert_eq!(replacements("set_auto_clamp_enabled enabled=t"), ["true"]);
        assert_eq!(
            replacements(r#"set_auto_clamp_enabled {"en"#),
            [r#""enabled": "#]
        );
        assert_eq!(
            replacements("set_auto_clamp_enabled --data { "),
            [r#""enabled": "#]
        );
        assert_eq!(replacements("set_training_mode mode=2"), ["200"]);
        assert_eq!(replacements("get_status --w"), ["--wait"]);
        assert_eq!(replacements("user 1"), ["1", "10"]);
        assert_eq!(replacements("user 1 s"), ["seconds="]);
        assert!(replacements("nonsense en").is_empty());
    }

    #[test]
    fn completion_starts_where_the_word_does() {
        assert_eq!(complete("  get_s").0, 2);
        assert_eq!(complete("set_auto_clamp_enabled enabled=t").0, 31);
        assert_eq!(complete(r#"set_auto_clamp_enabled {"en"#).0, 24);
    }

    proptest! {
        #[test]
        fn completion_starts_at_a_letter(line in any::<String>()) {
            prop_assert!(line.is_char_boundary(complete(&line).0));
        }

        #[test]
        fn completion_starts_at_a_letter_of_arguments(line in r#"user [{}",=a-zé \u2003-]{0,20}"#) {
            prop_assert!(line.is_char_boundary(complete(&line).0));
        }
    }
}
