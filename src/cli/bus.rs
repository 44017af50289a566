//! The client side that `send`, `listen` and `console` share: connecting, and asking while Ctrl-C works.

use std::fs::File;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};
use serde_json::Value;

use crate::cli::args::Bus;
use crate::cli::exit::{Exit, Failure};
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
        let keys =
            ClientKeys::load(path).map_err(|error| Failure::from(error).while_doing("--key"))?;
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
                return ended.recv().map_err(|_| broken())?.map_err(explained);
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

/// Data of a command from the command line: JSON, or `@file`, or `@-` for standard input.
pub(crate) fn data(text: &str) -> Result<Value, Failure> {
    let Some(name) = text.strip_prefix('@') else {
        return serde_json::from_str(text).map_err(|error| {
            Failure::usage(format!("--data `{text}` is not JSON: {error}"))
                .with_hint("--data '{\"enabled\": true}', or --data @file")
        });
    };
    let mut content = String::new();
    let read = if name == "-" {
        io::stdin().read_to_string(&mut content)
    } else {
        File::open(name).and_then(|mut file| file.read_to_string(&mut content))
    };
    read.map_err(|error| Failure::usage(format!("--data @{name} cannot be read: {error}")))?;
    serde_json::from_str(&content).map_err(|error| {
        Failure::new(
            Exit::BadData,
            format!("--data @{name} is not JSON: {error}"),
        )
    })
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
