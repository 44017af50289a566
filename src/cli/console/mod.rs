//! `acqbus console`: the remote console.
//!
//! ```text
//! line, complete, help, state   pure: a line becomes an action, a notice becomes something to show
//! find                          which rig is meant, where nobody says so
//! session                       does what a line asks
//! live                          the thread that follows the bus
//! shell, pipe                   where lines come from: a terminal, or anything else
//! ```

mod complete;
mod find;
mod help;
mod line;
mod live;
mod pipe;
mod session;
mod shell;
mod state;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;

use crate::cli::args;
use crate::cli::console::find::Place;
use crate::cli::console::session::Session;
use crate::cli::exit::{Exit, Failure};
use crate::cli::input;
use crate::cli::print::Output;

/// Arguments of `acqbus console`.
#[derive(Debug, Args)]
pub(crate) struct Console {
    #[command(flatten)]
    place: Place,
    /// Do not ask before EMERGENCY_RESUME, starts and stops, and changes of mode
    #[arg(long, env = "ACQBUS_YES", value_parser = clap::builder::FalseyValueParser::new(), hide_env = true)]
    yes: bool,
    /// Seconds to wait for a reply [default: 2], and for pending results when piped input ends [default: 60]
    #[arg(long, value_name = "S", env = "ACQBUS_TIMEOUT", value_parser = args::some_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
}

impl Console {
    /// Runs until the end of input or `quit`, and without a terminal until Ctrl-C.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        if input::is_in_background() {
            return Err(
                Failure::usage("the console reads the terminal, which another job has").with_hint(
                    "the foreground, or lines from a pipe or a file: acqbus console < lines",
                ),
            );
        }
        let interactive = io::stdin().is_terminal() && io::stdout().is_terminal() && !out.is_json();
        let bus = self.place.bus(out, interactive)?;
        let session = Session::open(self, bus, out)?;
        if interactive {
            shell::run(session)
        } else {
            pipe::run(session)
        }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus console
  acqbus console --host rig-7 --key operator.key
  printf 'GET_STATUS\\nUSER_DEFINED 1 seconds=0.2\\n' | acqbus console

In the console: a command by its name, the start of it, or its number, and data as JSON or
member=value; Tab completes, `help` explains. Without an address the console looks for rigs that
announce themselves in the group: it takes the only one, lets you choose among several, or else
tries the default address. Piped input runs line by line; the exit code is that of the worst line.";
