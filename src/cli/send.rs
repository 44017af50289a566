//! `acqbus send`: one command, its reply, and with `--wait` its later result.

use std::time::Duration;

use clap::Args;

use crate::cli::args::{self, Bus};
use crate::cli::bus::{self, Data, Patience};
use crate::cli::exit::{Exit, Failure};
use crate::cli::names;
use crate::cli::print::{Output, harmless};
use crate::cli::show;
use crate::cli::signal::Stop;
use crate::rpc::{ApiCommand, CommandRequest, Dialect, Nonce, Response};

/// Arguments of `acqbus send`.
#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    bus: Bus,
    /// Name of the command in any case, the start of one, or its number
    command: String,
    /// Which of the application's own commands, for USER_DEFINED
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    custom_command: Option<i64>,
    /// Data of the command: JSON, or @file, or @- for standard input
    #[arg(long, value_name = "JSON", value_parser = Data::parse)]
    data: Option<Data>,
    /// Wait for the result that a pending reply announces
    #[arg(long)]
    wait: bool,
    /// Number that ties the reply and the result to the command [default: a fresh one]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    nonce: Option<i64>,
    /// Seconds to wait for the reply [default: 2], or with --wait for the result, too [default: 60]
    #[arg(long, value_name = "S", env = "ACQBUS_TIMEOUT", value_parser = args::some_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Ask again this often when no reply comes, under the same nonce
    #[arg(
        long,
        value_name = "N",
        env = "ACQBUS_RETRIES",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    retries: u32,
}

impl Send {
    /// Sends the command and prints what comes back.
    pub(crate) fn run(&self, out: Output) -> Result<Exit, Failure> {
        let request = self.request()?;
        let stop = Stop::on_ctrl_c()?;
        let reply_timeout = self.timeout.unwrap_or(REPLY_TIMEOUT);
        let client = bus::client(&self.bus, reply_timeout, self.retries)?;
        let patience = if self.wait {
            Patience::Result(self.timeout.unwrap_or(RESULT_TIMEOUT))
        } else {
            Patience::Reply
        };
        let outcome = bus::ask(&client, &request, patience, &stop, |report| {
            print(out, report)
        })?;
        let last = outcome.last();
        if is_unusable(&request, last) {
            if out.is_json() {
                out.object(last)?;
            }
            let name = request.command().name();
            let reason = harmless(last.error_message().unwrap_or("it does not say why"));
            return Err(Failure::new(
                Exit::BadData,
                format!("{name}: the service cannot use the request: {reason}"),
            ));
        }
        // A reply that announces a result was a report already.
        print(out, last)?;
        Ok(bus::exit_of(request.command(), outcome.last(), &self.bus))
    }

    fn request(&self) -> Result<CommandRequest, Failure> {
        let named = names::command(&self.command, Dialect::Plain)?;
        let mut request = CommandRequest::new(named.command).with_number(named.number);
        if let Some(number) = self.custom_command {
            request = request.with_custom_command(number);
        }
        if let Some(nonce) = self.nonce {
            request = request.with_nonce(Nonce::from(nonce));
        }
        if let Some(data) = &self.data {
            request = request.with_data(&data.read()?)?;
        }
        Ok(request)
    }
}

/// Whether a reply is to nothing that was asked: the service could not read the request.
fn is_unusable(request: &CommandRequest, reply: &Response) -> bool {
    request.command() != ApiCommand::None
        && reply.command() == ApiCommand::None.number_in(Dialect::Plain)
        && reply.nonce().as_i64() == Some(0)
}

fn print(out: Output, response: &Response) -> Result<(), Failure> {
    if out.is_json() {
        out.object(response)
    } else {
        out.line(&show::response_line(response, out))
    }
}

/// The end of the long help: the examples and the names of all commands.
pub(crate) fn long_help() -> String {
    let mut text = format!("{EXAMPLES}\n\nCommands:");
    for command in ApiCommand::all(Dialect::Plain) {
        let number = command.number_in(Dialect::Plain);
        text.push_str(&format!("\n  {number:>5}  {}", command.name()));
    }
    text
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  acqbus send GET_STATUS --json
  acqbus send set_auto_clamp --data '{\"enabled\": true}'
  acqbus send USER_DEFINED --custom-command 1 --data '{\"seconds\": 0.2}' --wait
  acqbus send 400 --host rig-7 --key viewer.key

Members of --data and of replies are written in camelCase on the wire: session_id becomes sessionId.
The exit code is 1 when the peer answers anything but success or pending.";

const REPLY_TIMEOUT: Duration = Duration::from_secs(2);
const RESULT_TIMEOUT: Duration = Duration::from_secs(60);
