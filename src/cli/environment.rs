//! Settings from the environment: every flag can be set by the variable `ACQBUS_` and its name.

use std::env;
use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

use crate::cli::names;
use crate::cli::print::note;

/// Lets every flag of a command and of the verbs below it take its value from its variable.
///
/// A flag that names a variable keeps that one.
pub(crate) fn apply(command: Command) -> Command {
    command.mut_args(with_variable).mut_subcommands(|sub| {
        if sub.get_name() == "help" {
            sub
        } else {
            apply(sub)
        }
    })
}

/// Warns of variables that look like settings and are none, with the nearest name.
pub(crate) fn warn_of_unknown(command: &Command) {
    let mut known: Vec<String> = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    variables(command, &mut known);
    for (name, _) in env::vars_os() {
        if let Some(text) = unknown(&name, &known) {
            note(&format!("acqbus: warning: {text}"));
        }
    }
}

/// Whether a file or a variable can set this flag.
pub(crate) fn is_settable(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Set | ArgAction::SetTrue | ArgAction::Append | ArgAction::Count
    ) && arg.get_long().is_some()
}

/// The variable of a flag, unless the flag names another.
pub(crate) fn variable_of(long: &str) -> String {
    format!("{PREFIX}{}", long.to_ascii_uppercase().replace('-', "_"))
}

fn with_variable(arg: Arg) -> Arg {
    let Some(name) = arg.get_long().filter(|_| is_settable(&arg)) else {
        return arg;
    };
    let name = variable_of(name);
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    // A comma may stand in the value of a `KEY=VALUE`.
    let is_pair = arg
        .get_value_names()
        .is_some_and(|names| names.iter().any(|name| name.contains('=')));
    let list = matches!(arg.get_action(), ArgAction::Append) && !is_pair;
    let arg = if arg.get_env().is_none() {
        arg.env(name).hide_env(true)
    } else {
        arg
    };
    let arg = if switch {
        arg.value_parser(ValueParser::new(boolean))
    } else {
        arg
    };
    if list { arg.value_delimiter(',') } else { arg }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Ok(true),
        "" | "0" | "false" | "no" | "off" | "n" | "f" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

fn variables(command: &Command, found: &mut Vec<String>) {
    let named = command.get_arguments().filter_map(Arg::get_env);
    found.extend(named.map(|name| name.to_string_lossy().into_owned()));
    for sub in command.get_subcommands() {
        variables(sub, found);
    }
}

fn unknown(name: &OsString, known: &[String]) -> Option<String> {
    let name = name.to_str().filter(|name| name.starts_with(PREFIX))?;
    if known.iter().any(|known| known == name) {
        return None;
    }
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let short: Vec<_> = known.iter().map(|name| bare(name)).collect();
    let near = names::near(&bare(name), short.iter().map(String::as_str));
    let hint = near
        .first()
        .map(|near| format!("\n  try: {PREFIX}{near}"))
        .unwrap_or_default();
    Some(format!("{name} sets nothing{hint}"))
}

const PREFIX: &str = "ACQBUS_";

/// Variables of the tests and the scripts.
const OTHERS: &[&str] = &["ACQBUS_VECTORS", "ACQBUS_PYTHON", "ACQBUS_BENCH_PYTHON"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_is_known_by_its_variable() {
        let flag = Arg::new("x").long("no-input").action(ArgAction::SetTrue);
        let command = apply(Command::new("acqbus").subcommand(Command::new("send").arg(flag)));
        let mut found = Vec::new();
        variables(&command, &mut found);
        assert_eq!(found, ["ACQBUS_NO_INPUT"]);
    }

    #[test]
    fn unknown_variable_is_told_with_the_nearest() {
        let known = ["ACQBUS_HOST".to_owned()];
        let text = unknown(&"ACQBUS_HOTS".into(), &known).unwrap();
        assert!(text.ends_with("try: ACQBUS_HOST"), "{text}");
        assert!(unknown(&"ACQBUS_HOST".into(), &known).is_none());
        assert!(unknown(&"HOTS".into(), &known).is_none());
    }

    #[test]
    fn switch_is_true_or_false_and_nothing_else() {
        assert_eq!(boolean("Yes"), Ok(true));
        assert_eq!(boolean(""), Ok(false));
        assert!(boolean("maybe").is_err());
    }
}
