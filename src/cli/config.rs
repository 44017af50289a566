//! Settings from `acqbus.toml`: they become the defaults of the flags, under the environment and the flags themselves.
//!
//! A key is the name of a flag. At the top it holds for every verb that has the flag; in a table with the name of a
//! verb, for that verb and the verbs below it:
//!
//! ```toml
//! host = "rig-7"
//! [simulate]
//! rate = 20
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::{Table, Value};

use crate::cli::environment;
use crate::cli::exit::{Exit, Failure};
use crate::cli::names;
use crate::cli::print::note;

/// Puts the settings of the file, if there is one, into the command as defaults.
///
/// The file is the one of `--config` in `args` or of `ACQBUS_CONFIG`, which must exist, or else `acqbus.toml` here or in
/// the user's configuration folder; its path is given back.
pub(crate) fn apply(
    command: Command,
    args: &[OsString],
) -> Result<(Command, Option<PathBuf>), Failure> {
    let Some((path, text)) = find_and_read(args)? else {
        return Ok((command, None));
    };
    let told = |what: Failure| what.while_doing(path.display());
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        told(Failure::usage(
            error.message().to_owned() + &place(&text, &error),
        ))
    })?;
    let command = with_defaults(command, &table).map_err(told)?;
    Ok((command, Some(path)))
}

/// The folder of a kind of file by the XDG rules: `variable`, or else `fallback` in the home folder.
pub(crate) fn user_folder(variable: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(fallback)))
        .map(|folder| folder.join("acqbus"))
}

/// The user's folder of settings.
pub(crate) fn settings_folder() -> Option<PathBuf> {
    user_folder("XDG_CONFIG_HOME", ".config")
}

fn find_and_read(args: &[OsString]) -> Result<Option<(PathBuf, String)>, Failure> {
    let given =
        config_in(args).or_else(|| env::var_os("ACQBUS_CONFIG").filter(|name| !name.is_empty()));
    if let Some(path) = given.map(PathBuf::from) {
        return read(&path)
            .map(|text| Some((path, text)))
            .map_err(|error| unreadable_settings(error, true));
    }
    let places = [
        Some(PathBuf::from(FILE)),
        settings_folder().map(|folder| folder.join(FILE)),
    ];
    for path in places.into_iter().flatten() {
        match read(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            // Of another user, whose environment this is (`su` keeps HOME): nobody asked for it.
            Err((path, error))
                if path.is_absolute() && error.kind() == io::ErrorKind::PermissionDenied =>
            {
                note(&format!(
                    "acqbus: warning: the settings in {} are left out: {error}",
                    path.display()
                ));
            }
            Err(failed) => return Err(unreadable_settings(failed, false)),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<String, (PathBuf, io::Error)> {
    fs::read_to_string(path).map_err(|error| (path.to_owned(), error))
}

fn unreadable_settings((path, error): (PathBuf, io::Error), given: bool) -> Failure {
    let failure = Failure::new(
        Exit::Usage,
        format!("the settings in {} cannot be read: {error}", path.display()),
    );
    if given {
        failure.with_hint("another file for --config or ACQBUS_CONFIG")
    } else {
        failure
    }
}

/// The value of `--config`, which must be known before the arguments are parsed.
fn config_in(args: &[OsString]) -> Option<OsString> {
    let mut args = args
        .iter()
        .skip(1)
        .take_while(|arg| *arg != OsStr::new("--"));
    while let Some(arg) = args.next() {
        if arg == OsStr::new("--config") {
            return args.next().cloned();
        }
        if let Some(value) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(value.into());
        }
    }
    None
}

/// A key holds for the command and for all verbs below it, a table for the verb of its name.
fn with_defaults(mut command: Command, table: &Table) -> Result<Command, Failure> {
    for (key, value) in table {
        command = match value {
            Value::Table(settings) => with_table(command, key, settings)?,
            _ => with_setting(command, key, value)?,
        };
    }
    Ok(command)
}

fn with_table(mut command: Command, verb: &str, settings: &Table) -> Result<Command, Failure> {
    let Some(sub) = command.find_subcommand_mut(verb) else {
        let verbs = command.get_subcommands().map(Command::get_name);
        return Err(unknown("a verb", &format!("[{verb}]"), verb, verbs));
    };
    let changed = with_defaults(std::mem::take(sub), settings)
        .map_err(|failure| failure.while_doing(format!("[{verb}]")))?;
    *sub = changed;
    Ok(command)
}

fn with_setting(command: Command, key: &str, value: &Value) -> Result<Command, Failure> {
    let text = text_of(key, value)?;
    let mut known = Vec::new();
    all_flags(&command, &mut known);
    if !known.iter().any(|flag| flag == key) {
        return Err(unknown(
            "a flag",
            key,
            key,
            known.iter().map(String::as_str),
        ));
    }
    Ok(everywhere(command, key, &text))
}

fn everywhere(command: Command, key: &str, text: &[String]) -> Command {
    let command = if has(&command, key) {
        with_default(command, key, text)
    } else {
        command
    };
    command.mut_subcommands(|sub| everywhere(sub, key, text))
}

fn all_flags(command: &Command, found: &mut Vec<String>) {
    found.extend(flags(command).map(str::to_owned));
    for sub in command.get_subcommands() {
        all_flags(sub, found);
    }
}

fn with_default(command: Command, key: &str, text: &[String]) -> Command {
    command.mut_args(|arg| {
        if arg.get_long() != Some(key) {
            return arg;
        }
        arg.default_values(text.to_vec()).required(false)
    })
}

fn has(command: &Command, key: &str) -> bool {
    flags(command).any(|flag| flag == key)
}

/// The flags that a file can set.
fn flags(command: &Command) -> impl Iterator<Item = &str> {
    command
        .get_arguments()
        .filter(|arg| environment::is_settable(arg))
        .filter_map(Arg::get_long)
        .filter(|name| *name != "config")
}

fn text_of(key: &str, value: &Value) -> Result<Vec<String>, Failure> {
    let single = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    };
    let texts = match value {
        Value::Array(items) => items.iter().map(single).collect(),
        other => single(other).map(|text| vec![text]),
    };
    texts.ok_or_else(|| {
        Failure::usage(format!(
            "{key} is {}, and no flag takes one",
            value.type_str()
        ))
    })
}

fn unknown<'a>(
    what: &str,
    shown: &str,
    word: &str,
    names: impl Iterator<Item = &'a str>,
) -> Failure {
    let failure = Failure::usage(format!("{shown} is not the name of {what}"));
    match names::near(word, names).first() {
        Some(name) => failure.with_hint(*name),
        None => failure,
    }
}

fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return String::new();
    };
    let line = text.get(..span.start).unwrap_or(text).matches('\n').count() + 1;
    format!(" (line {line})")
}

const FILE: &str = "acqbus.toml";

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn program() -> Command {
        let host = || Arg::new("host").long("host").default_value("127.0.0.1");
        let flag = Arg::new("no-input")
            .long("no-input")
            .action(ArgAction::SetTrue);
        Command::new("acqbus")
            .arg(
                Arg::new("json")
                    .long("json")
                    .action(ArgAction::SetTrue)
                    .global(true),
            )
            .subcommand(Command::new("simulate").arg(host()).arg(flag))
            .subcommand(Command::new("send").arg(host()))
            .subcommand(Command::new("bench").subcommand(Command::new("rpc").arg(host())))
    }

    fn host(settings: &str, args: &[&str]) -> String {
        let command = with_defaults(program(), &settings.parse().unwrap()).unwrap();
        let matches = command.get_matches_from(args);
        let (_, sub) = matches.subcommand().unwrap();
        sub.get_one::<String>("host").unwrap().clone()
    }

    fn refused(settings: &str) -> String {
        with_defaults(program(), &settings.parse().unwrap())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn file_is_over_the_default_and_under_the_flag() {
        assert_eq!(host("", &["acqbus", "send"]), "127.0.0.1");
        assert_eq!(host("host = 'rig'", &["acqbus", "send"]), "rig");
        assert_eq!(
            host("host = 'rig'", &["acqbus", "send", "--host", "other"]),
            "other"
        );
    }

    #[test]
    fn table_of_a_verb_is_for_that_verb_only() {
        let settings = "[simulate]\nhost = 'rig'";
        assert_eq!(host(settings, &["acqbus", "simulate"]), "rig");
        assert_eq!(host(settings, &["acqbus", "send"]), "127.0.0.1");
    }

    #[test]
    fn flag_that_must_be_given_may_be_in_the_file() {
        let dir = Arg::new("store").long("store").required(true);
        let program = Command::new("acqbus").subcommand(Command::new("tail").arg(dir));
        let program = with_defaults(program, &"store = 'history'".parse().unwrap()).unwrap();
        let matches = program.get_matches_from(["acqbus", "tail"]);
        let tail = matches.subcommand().unwrap().1;
        assert_eq!(tail.get_one::<String>("store").unwrap(), "history");
    }

    #[test]
    fn verbs_below_a_verb_are_reached() {
        for settings in [
            "host = 'rig'",
            "[bench]\nhost = 'rig'",
            "[bench.rpc]\nhost = 'rig'",
        ] {
            let command = with_defaults(program(), &settings.parse().unwrap()).unwrap();
            let matches = command.get_matches_from(["acqbus", "bench", "rpc"]);
            let rpc = matches.subcommand().unwrap().1.subcommand().unwrap().1;
            assert_eq!(rpc.get_one::<String>("host").unwrap(), "rig", "{settings}");
        }
    }

    #[test]
    fn switches_can_be_set() {
        let settings = "json = true\n[simulate]\nno-input = true".parse().unwrap();
        let matches = with_defaults(program(), &settings)
            .unwrap()
            .get_matches_from(["acqbus", "simulate"]);
        assert!(matches.get_flag("json"));
        assert!(matches.subcommand().unwrap().1.get_flag("no-input"));
    }

    #[test]
    fn unknown_name_is_refused_with_the_nearest() {
        assert!(refused("hots = 'rig'").contains("try: host"));
        assert!(refused("[simulat]\nhost = 'rig'").contains("try: simulate"));
        assert!(refused("[send]\nno-inptu = true").contains("not the name of a flag"));
        assert!(refused("host = 1979-05-27").contains("no flag takes one"));
    }

    #[test]
    fn config_flag_is_found_before_parsing() {
        let args = |list: &[&str]| config_in(&list.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(args(&["acqbus", "send", "--config", "a"]), Some("a".into()));
        assert_eq!(args(&["acqbus", "--config=a", "send"]), Some("a".into()));
        assert_eq!(args(&["acqbus", "send", "--", "--config", "a"]), None);
        assert_eq!(args(&["acqbus", "send"]), None);
    }
}
