//! Who is to blame for a value that a flag cannot take: the command line, a variable or the file of settings.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::{Arg, Command};

use crate::cli::environment;

/// The text of an error of the arguments, with the source of the value where nobody typed the flag.
pub(crate) fn explained(
    error: &clap::Error,
    command: &Command,
    args: &[OsString],
    file: Option<&Path>,
) -> Option<String> {
    let Some(ContextValue::String(blamed)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // A flag that is wanted or not known was set by nobody.
    error.get(ContextKind::InvalidValue)?;
    let name = blamed.strip_prefix("--")?;
    let name = name.split([' ', '=', '[', '.']).next().unwrap_or(name);
    let arg = find(command, name)?;
    if is_typed(arg, args) {
        return None;
    }
    let variable = arg.get_env().filter(|name| env::var_os(name).is_some());
    let source = match (variable, file) {
        (Some(name), _) => format!("{} in the environment", name.to_string_lossy()),
        (None, Some(file)) => format!("'{name}' in {}", file.display()),
        (None, None) => return None,
    };
    Some(error.to_string().replace(&format!("'{blamed}'"), &source))
}

/// A flag as people know it: by its variable where that set it, since nobody typed the flag.
///
/// For a value that the flag can take, and that turns out to be wrong later.
pub(crate) fn of_flag(long: &'static str) -> String {
    let arg = Arg::new(long).long(long);
    let args: Vec<_> = env::args_os().collect();
    let variable = environment::variable_of(long);
    if !is_typed(&arg, &args) && env::var_os(&variable).is_some() {
        format!("{variable} in the environment:")
    } else {
        format!("--{long}")
    }
}

/// Where the value of a flag comes from that has one; what is nearer to the user is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// The file of settings.
    File,
    /// A variable.
    Environment,
    /// The command line.
    Typed,
}

/// Who has set a flag that has a value and no default.
pub(crate) fn nearness(long: &'static str) -> Nearness {
    let args: Vec<_> = env::args_os().collect();
    if is_typed(&Arg::new(long).long(long), &args) {
        Nearness::Typed
    } else if env::var_os(environment::variable_of(long)).is_some() {
        Nearness::Environment
    } else {
        Nearness::File
    }
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
        .or_else(|| command.get_subcommands().find_map(|sub| find(sub, name)))
}

fn is_typed(arg: &Arg, args: &[OsString]) -> bool {
    let mut longs = arg.get_all_aliases().unwrap_or_default();
    longs.extend(arg.get_long());
    let typed = |text: &str| {
        let long = text.strip_prefix("--").is_some_and(|text| {
            let name = text.split('=').next().unwrap_or(text);
            longs.contains(&name)
        });
        let short = arg
            .get_short()
            .is_some_and(|short| is_short(text) && text.contains(short));
        long || short
    };
    args.iter()
        .skip(1)
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.to_str().is_some_and(typed))
}

fn is_short(text: &str) -> bool {
    text.starts_with('-') && !text.starts_with("--")
}
