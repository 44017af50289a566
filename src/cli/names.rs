//! What people type for a command, a topic or a kind of event, and what they meant.

use crate::cli::exit::Failure;
use crate::rpc::{ApiCommand, Dialect, Topic};

/// A command and the number to send for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The command.
    pub(crate) command: ApiCommand,
    /// Its number, which depends on the version for starting and stopping an acquisition.
    pub(crate) number: i64,
}

/// Finds a command by its name in any case, a prefix that only it has, or its number.
///
/// `dialect` says which number a name stands for; numbers of both dialects are understood.
pub(crate) fn command(typed: &str, dialect: Dialect) -> Result<Named, Failure> {
    if let Ok(number) = typed.trim().parse::<i64>() {
        return by_number(number);
    }
    let wanted = typed.trim().to_ascii_uppercase().replace('-', "_");
    let found = by_prefix(&wanted, ApiCommand::all(Dialect::Plain), |command| {
        command.name()
    });
    match found.as_slice() {
        [command] => Ok(Named {
            command: *command,
            number: command.number_in(dialect),
        }),
        [] => Err(unknown_command(typed, &wanted)),
        several => {
            let names: Vec<_> = several.iter().map(|command| command.name()).collect();
            Err(Failure::usage(format!("`{typed}` can be {}", or(&names)))
                .with_hint("more letters of the one that is meant"))
        }
    }
}

/// Those whose name is `wanted`, or else those whose name starts with it.
pub(crate) fn by_prefix<T: Copy>(wanted: &str, all: &[T], name: impl Fn(&T) -> &str) -> Vec<T> {
    let same = |item: &&T| name(item).eq_ignore_ascii_case(wanted);
    if let Some(exact) = all.iter().find(same) {
        return vec![*exact];
    }
    let starts = |item: &&T| has_start(name(item), wanted);
    if wanted.is_empty() {
        Vec::new()
    } else {
        all.iter().filter(starts).copied().collect()
    }
}

/// Finds a topic by its name in any case, a prefix that only it has, or its number.
pub(crate) fn topic(typed: &str) -> Result<Topic, Failure> {
    if let Ok(topic) = typed.parse() {
        return Ok(topic);
    }
    let wanted = typed.trim().replace('-', "_");
    match by_prefix(&wanted, &Topic::NAMED, topic_name).as_slice() {
        [topic] => Ok(*topic),
        [_, _, ..] => {
            let several = by_prefix(&wanted, &Topic::NAMED, topic_name);
            let names: Vec<_> = several.iter().map(topic_name).collect();
            Err(Failure::usage(format!("`{typed}` can be {}", or(&names)))
                .with_hint("more letters of the one that is meant"))
        }
        [] => {
            let names: Vec<_> = Topic::NAMED.iter().map(topic_name).collect();
            Err(Failure::usage(format!("`{typed}` is no topic"))
                .with_hint(format!("a number, or {}", or(&names))))
        }
    }
}

/// The names that are close to a word, the closest first, at most three.
pub(crate) fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_ascii_lowercase();
    let mut close: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((closeness(&word, &name.to_ascii_lowercase())?, name)))
        .collect();
    close.sort_unstable();
    // Both versions know most kinds of events.
    close.dedup();
    close.into_iter().map(|(_, name)| name).take(3).collect()
}

/// Those of the texts that start with the word in any case, in order, each once.
pub(crate) fn starting<'a>(word: &str, texts: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<_> = texts
        .into_iter()
        .filter(|text| has_start(text, word))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a text starts with another, in any case.
pub(crate) fn has_start(text: &str, start: &str) -> bool {
    text.get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// "a", "a or b", "a, b or c".
pub(crate) fn or(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

fn by_number(number: i64) -> Result<Named, Failure> {
    [Dialect::Plain, Dialect::JsonString]
        .into_iter()
        .find_map(|dialect| ApiCommand::from_number(number, dialect))
        .map(|command| Named { command, number })
        .ok_or_else(|| {
            Failure::usage(format!("{number} is the number of no command")).with_hint(format!(
                "USER_DEFINED --custom-command {number}, if it is the application's own"
            ))
        })
}

fn unknown_command(typed: &str, wanted: &str) -> Failure {
    let names = ApiCommand::all(Dialect::Plain)
        .iter()
        .map(|command| command.name());
    let failure = Failure::usage(format!("`{typed}` is no command"));
    match near(wanted, names).as_slice() {
        [] => failure.with_hint("GET_STATUS, or `acqbus send --help` for all of them"),
        close => failure.with_hint(or(close)),
    }
}

fn topic_name(topic: &Topic) -> &str {
    // Only topics with a name are asked for theirs.
    topic.name().unwrap_or_default()
}

/// The distance if the two are alike: some letters differ, or one holds the other.
fn closeness(word: &str, name: &str) -> Option<usize> {
    let limit = word.len().max(3) / 3;
    let distance = edits(word, name);
    if distance <= limit {
        return Some(distance);
    }
    let holds = word.len() >= 3 && name.contains(word);
    holds.then(|| limit + name.len() - word.len())
}

/// How many letters must be changed, added, removed, or swapped with their neighbour.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(typed: &str) -> (ApiCommand, i64) {
        let named = command(typed, Dialect::Plain).unwrap();
        (named.command, named.number)
    }

    fn refused(typed: &str) -> String {
        command(typed, Dialect::Plain).unwrap_err().to_string()
    }

    #[test]
    fn command_is_found_by_name_prefix_and_number() {
        for typed in [
            "GET_STATUS",
            "get-status",
            "Get_Status",
            "get_s",
            "400",
            " 400 ",
        ] {
            assert_eq!(found(typed), (ApiCommand::GetStatus, 400), "{typed}");
        }
        assert_eq!(found("user"), (ApiCommand::UserDefined, 99999));
    }

    #[test]
    fn whole_name_wins_over_a_longer_one() {
        assert_eq!(found("none").0, ApiCommand::None);
        assert_eq!(
            found("set_application_mode").0,
            ApiCommand::SetApplicationMode
        );
    }

    #[test]
    fn numbers_of_the_old_version_are_understood() {
        assert_eq!(found("100"), (ApiCommand::StartAcquisition, 100));
        assert_eq!(found("50"), (ApiCommand::StartAcquisition, 50));
        let old = command("start_acq", Dialect::JsonString).unwrap();
        assert_eq!(old.number, 100);
    }

    #[test]
    fn ambiguous_prefix_lists_what_it_can_be() {
        let text = refused("emergency");
        assert!(
            text.contains("EMERGENCY_STOP or EMERGENCY_RESUME"),
            "{text}"
        );
    }

    #[test]
    fn unknown_command_is_refused_with_what_is_near() {
        assert!(refused("GET_STAUTS").contains("try: GET_STATUS"));
        assert!(refused("status").contains("GET_STATUS"));
        assert!(refused("12345").contains("--custom-command 12345"));
        assert!(refused("zzzzzz").contains("--help"));
        assert!(refused("").contains("no command"));
        assert!(refused("é").contains("no command"));
    }

    #[test]
    fn topic_is_found_by_name_prefix_and_number() {
        for typed in ["EVENT", "event", "eve", "4001"] {
            assert_eq!(topic(typed).unwrap(), Topic::EVENT, "{typed}");
        }
        assert_eq!(topic("77").unwrap(), Topic::new(77));
        assert_eq!(topic("property-ch").unwrap(), Topic::PROPERTY_CHANGE);
        for typed in ["", "e", "events", "-1", "4294967296"] {
            assert!(topic(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn near_names_are_few_and_the_closest_comes_first() {
        let names = [
            "sessionStarted",
            "sessionEnded",
            "trialStarted",
            "tunnelEnter",
        ];
        assert_eq!(near("sesionStarted", names)[0], "sessionStarted");
        assert_eq!(near("sessionEnd", names), ["sessionEnded"]);
        assert!(near("x", names).is_empty());
    }
}
