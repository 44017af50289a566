//! Our eventer client or server, told what to do by lines of JSON.
//!
//! Only the checks in tests/interop run it.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

mod client;
mod server;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args(std::env::args().collect());
    let done = match args.0.get(1).map(String::as_str) {
        Some("client") => client::run(),
        Some("server") => server::run(&args),
        other => Err(format!("no such end: {other:?}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop_eventer: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The arguments, of which only the values of flags are asked for.
struct Args(Vec<String>);

impl Args {
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn needed(&self, name: &str) -> Result<&str, Failure> {
        let text = self.text(name);
        text.ok_or_else(|| format!("{name} is missing").into())
    }
}

/// One line, of the text that payloads came with.
fn say(line: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
