//! The client side that `send`, `listen` and `console` share: connecting, and asking while Ctrl-C works.

use std::fs::File;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use serde_json::Value;

use crate::cli::args::Bus;
use crate::cli::exit::{Exit, Failure};
use crate::cli::origin;
use crate::cli::signal::Stop;
use crate::rpc::{
    ApiCommand, ClientOptions, CommandRequest, NOT_PERMITTED, Outcome, RemoteClient, Response,
    RpcError,
};
use crate::zsocket::ClientKeys;

/// How a command is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Until the reply.
    Reply,
    /// Until the result that the reply announces, for this long in all.
    Result(Duration),
}

/// A client of the bus. It connects by itself, so that this succeeds without a service.
pub(crate) fn client(bus: &Bus, timeout: Duration, retries: u32) -> Result<RemoteClient, Failure> {
    let mut options = ClientOptions::default()
        .host(&bus.host)
        .ports(bus.subscriber_port, bus.command_port)
        .timeout(timeout)
        .retries(retries);
    if let Some(path) = &bus.key {
        let keys = ClientKeys::load(path).map_err(|error| {
            let failure = Failure::from(error).while_doing("--key");
            if path.file_name().is_some_and(|name| name == "server.key") {
                let hint = "a file of `acqbus keys add`, in the folder clients; this is the service's own key file";
                failure.with_hint(hint)
            } else {
                failure
            }
        })?;
        options = options.keys(keys);
    }
    RemoteClient::connect(options).map_err(Failure::from)
}

/// Sends a command on a thread of its own, so that Ctrl-C ends the waiting; `progress` is called here for each report.
pub(crate) fn ask(
    client: &RemoteClient,
    request: &CommandRequest,
    patience: Patience,
    stop: &Stop,
    mut progress: impl FnMut(&Response) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let (reports, reported) = bounded(16);
    let (done, ended) = bounded(1);
    let large = request.data().to_string().len() >= USUAL_LIMIT;
    let (client, request) = (client.clone(), request.clone());
    thread::Builder::new()
        .name("acqbus-ask".to_owned())
        .spawn(move || {
            let outcome = match patience {
                Patience::Reply => client.send(&request).map(|reply| Outcome {
                    reply,
                    result: None,
                }),
                Patience::Result(timeout) => client.send_and_wait(&request, timeout, |report| {
                    // Nobody listens any more after Ctrl-C.
                    let _ = reports.send(report.clone());
                }),
            };
            let _ = done.send(outcome);
        })?;
    loop {
        select! {
            recv(reported) -> report => if let Ok(report) = report { progress(&report)? } else {
                // The thread has said all; its outcome is next.
                let outcome = ended.recv().map_err(|_| broken())?;
                return outcome.map_err(|error| {
                    let is_cut = error.is_timeout() && large;
                    let failure = explained(error);
                    if is_cut { failure.with_hint(TOO_LARGE) } else { failure }
                });
            },
            recv(stop.asked()) -> exit => return Err(Failure::quiet(exit.unwrap_or(Exit::Interrupted))),
        }
    }
}

/// The exit code that a reply or a result stands for; `bus` tells whether rights are checked there.
///
/// Services answer NONE in several ways, 0.12.0 as if it were unknown; each of them proves that the service lives.
pub(crate) fn exit_of(command: ApiCommand, response: &Response, bus: &Bus) -> Exit {
    if command == ApiCommand::None {
        return Exit::Done;
    }
    let exit = Exit::of_result(response.result());
    let not_permitted = bus.key.is_some() && response.error_code() == NOT_PERMITTED;
    if exit == Exit::Failed && not_permitted {
        Exit::Refused
    } else {
        exit
    }
}

/// Data of a command, as they are given with `--data`.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// JSON.
    Given(Value),
    /// `@file`, or `@-` for standard input: a file of this name, which is read when it is needed.
    In(String),
}

impl Data {
    /// Reads the value of the flag.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(name) => Ok(Self::In(name.to_owned())),
            None => parsed(text).map(Self::Given).map_err(|error| {
                format!("not JSON: {error}\n  try: --data '{{\"enabled\": true}}', or --data @file")
            }),
        }
    }

    /// The data; may block on standard input.
    pub(crate) fn read(&self) -> Result<Value, Failure> {
        let name = match self {
            Self::Given(value) => return Ok(value.clone()),
            Self::In(name) => name,
        };
        let mut content = String::new();
        let read = if name == "-" {
            io::stdin().read_to_string(&mut content)
        } else {
            File::open(name).and_then(|mut file| file.read_to_string(&mut content))
        };
        let flag = origin::of_flag("data");
        read.map_err(|error| Failure::usage(format!("{flag} @{name} cannot be read: {error}")))?;
        parsed(&content).map_err(|error| {
            let text = format!("{flag} @{name} is not JSON: {error}");
            Failure::new(Exit::BadData, text)
        })
    }
}

/// JSON whose numbers can be sent: one that is too large for a float would become null.
fn parsed(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match too_large(&value) {
        Some(number) => Err(format!("the number {number} is too large")),
        None => Ok(value),
    }
}

fn too_large(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            // Integers of any size pass as they are.
            let is_float = text.contains(['.', 'e', 'E']);
            let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
            (is_float && !finite).then_some(text)
        }
        Value::Array(items) => items.iter().find_map(too_large),
        Value::Object(members) => members.values().find_map(too_large),
        _ => None,
    }
}

/// An error with the next step to try.
pub(crate) fn explained(error: RpcError) -> Failure {
    let failure = Failure::from(error);
    let hint = match failure.exit() {
        Exit::Connection => {
            "`acqbus simulate` in another terminal, or the right --host, --subscriber-port and --command-port"
        }
        Exit::TimedOut => "a longer --timeout, or `acqbus listen` to see whether the service lives",
        Exit::Refused => {
            "--key FILE with a key that the service knows (`acqbus keys add` makes one)"
        }
        _ => return failure,
    };
    failure.with_hint(hint)
}

fn broken() -> Failure {
    Failure::new(
        Exit::Failed,
        "the thread that asked the service has ended without an answer",
    )
}

/// What a service of this crate takes in one request, unless told otherwise.
const USUAL_LIMIT: usize = 1 << 20;

const TOO_LARGE: &str = "less data: the request is larger than 1 MiB, at which services cut the connection unless told otherwise";
