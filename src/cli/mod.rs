//! The `acqbus` program: one file for each verb, and what they share.
//!
//! | file | is |
//! |---|---|
//! | `args`, `config`, `environment`, `origin`, `names`, `kinds` | what people type, and settings from the environment and `acqbus.toml` |
//! | `exit`, `print` | exit codes, messages, standard output |
//! | `bench/` | the figures of this machine beside those of raw libzmq |
//! | `console/` | the remote console: line, completion and state are pure, the shell is thin |
//! | `run/` | the ends of the data plane, and run files |
//! | `store/` | history on disk: recorded, asked, followed, moved, verified |
//! | `discover`, `discovery` | who announces what |
//! | `complete` | completions and manual pages |

mod args;
mod bench;
mod bus;
mod complete;
mod config;
mod console;
mod data;
mod discover;
mod discovery;
mod editor;
mod environment;
mod exit;
mod input;
mod keys;
mod kinds;
mod listen;
mod names;
mod origin;
mod print;
mod progress;
mod run;
mod screen;
mod send;
mod show;
mod signal;
mod simulate;
mod since;
mod store;

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::cli::print::Output;

/// Runs the program with the arguments of this process and gives its exit code.
///
/// Blocks until the verb has ended. The codes are those of `acqbus --help`.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    let exit = match run(&args) {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.is_quiet() {
                print::note(&format!("acqbus: {failure}"));
            }
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

/// The message bus of an acquisition rig: events out, commands in, without a broker.
#[derive(Debug, Parser)]
#[command(name = "acqbus", version, after_help = EXIT_CODES, max_term_width = 100, arg_required_else_help = true)]
struct Program {
    #[command(flatten)]
    common: args::Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a simulated rig: events at a rate, answers to every command
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(Box<simulate::Simulate>),
    /// Send one command and print its reply
    #[command(after_help = send::EXAMPLES, after_long_help = send::long_help())]
    Send(send::Send),
    /// Drive a rig from the keyboard
    #[command(after_help = console::EXAMPLES)]
    Console(console::Console),
    /// Print what the bus publishes
    #[command(after_help = listen::EXAMPLES)]
    Listen(listen::Listen),
    /// Send, receive and inspect runs of data
    #[command(after_help = run::EXAMPLES)]
    Run(run::Run),
    /// Record a bus on disk, ask what was, follow what comes
    #[command(after_help = store::EXAMPLES)]
    Store(store::Store),
    /// Print which services come and go, as CHIRP announces them
    #[command(after_help = discover::EXAMPLES)]
    Discover(discover::Discover),
    /// Make and revoke the keys that a service wants
    #[command(after_help = keys::EXAMPLES)]
    Keys(keys::Keys),
    /// Measure this machine, side by side with raw libzmq
    Bench(bench::Bench),
    /// Print the completion script of a shell
    #[command(
        after_help = "Example:\n  acqbus completions bash > ~/.local/share/bash-completion/completions/acqbus"
    )]
    Completions(complete::Completions),
    /// Print a manual page
    #[command(
        after_help = "Examples:\n  acqbus man send | man -l -\n  acqbus man run send | man -l -"
    )]
    Man(complete::ManPage),
}

fn run(args: &[OsString]) -> Result<Exit, Failure> {
    let (command, file) = with_settings(args)?;
    let parsed = command.clone().try_get_matches_from(args);
    let program = match parsed.and_then(|matches| Program::from_arg_matches(&matches)) {
        Ok(program) => program,
        Err(error) => {
            // Help goes to standard output and is no failure; the rest says what is wrong on standard error.
            match origin::explained(&error, &command, args, file.as_deref()) {
                Some(text) => print::note(text.trim_end()),
                None => drop(error.print()),
            }
            return Ok(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            });
        }
    };
    start_log(program.common.verbose);
    if let Some(file) = &file {
        log::info!("settings are read from {}", file.display());
    }
    program.verb.run(&program.common, command)
}

/// The arguments with what the environment and the file of settings say, and the file.
///
/// Help, versions, completions and manual pages come without settings that cannot be used.
fn with_settings(args: &[OsString]) -> Result<(Command, Option<PathBuf>), Failure> {
    let plain = Program::command();
    let needs_none = match plain.clone().try_get_matches_from(args) {
        Ok(matches) if matches!(matches.subcommand_name(), Some("completions" | "man")) => {
            return Ok((plain, None));
        }
        Ok(_) => false,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ),
    };
    let command = environment::apply(plain);
    if needs_none {
        return Ok(config::apply(command.clone(), args).unwrap_or((command, None)));
    }
    environment::warn_of_unknown(&command);
    config::apply(command, args)
}

impl Verb {
    fn run(&self, common: &args::Common, program: Command) -> Result<Exit, Failure> {
        let out = Output::new(common.json);
        match self {
            Self::Simulate(verb) => verb.run(out),
            Self::Send(verb) => verb.run(out),
            Self::Listen(verb) => verb.run(out),
            Self::Console(verb) => verb.run(out),
            Self::Run(verb) => verb.run(out),
            Self::Store(verb) => verb.run(out),
            Self::Discover(verb) => verb.run(out),
            Self::Keys(verb) => verb.run(out),
            Self::Bench(verb) => verb.run(out),
            Self::Completions(verb) => verb.run(program).map(|()| Exit::Done),
            Self::Man(verb) => verb.run(program).map(|()| Exit::Done),
        }
    }
}

/// Standard error, warnings only unless `-v` or `RUST_LOG` asks for more.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let settings = env_logger::Env::default().default_filter_or(level);
    let mut builder = env_logger::Builder::from_env(settings);
    if verbose > 0 {
        // What is asked for on the command line is over the environment.
        builder.filter_level(level.parse().unwrap_or(log::LevelFilter::Warn));
    }
    builder.format(|out, record| {
        writeln!(
            out,
            "acqbus: {}: {}",
            record.level().as_str().to_lowercase(),
            record.args()
        )
    });
    // Fails only when a log is there already, as in a program that embeds this one.
    let _ = builder.try_init();
}

const EXIT_CODES: &str = "\
Settings: flags, over environment variables (ACQBUS_HOST for --host), over acqbus.toml, over defaults.

Exit codes:
  0 done  1 failed: the peer said so  2 wrong usage  3 could not connect or bind  4 timed out
  5 refused: keys or rights  6 bad data
  129 SIGHUP  130 interrupted  143 SIGTERM; simulate ends with 0 on SIGTERM";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_well_defined() {
        Program::command().debug_assert();
    }
}
