//! Our transmitter, receiver, codec or CHIRP manager, told what to do by the same lines of JSON as `ends.py`.
//!
//! Only the checks in tests/interop run it.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use serde_json::{Map, Value as Json, json};

mod chirp;
mod codec;
mod forms;
mod receive;
mod transmit;

type Failure = Box<dyn Error + Send + Sync>;

/// One end of what is checked.
trait End {
    /// Does what a line says; the answer is an object, or null where there is nothing to say.
    fn order(&mut self, op: &str, order: &Json) -> Result<Json, Failure>;
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop_ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let args = Args(std::env::args().collect());
    let (mut end, ready): (Box<dyn End>, Json) = match args.0.get(1).map(String::as_str) {
        Some("transmit") => transmit::begin(&args)?,
        Some("receive") => receive::begin(&args)?,
        Some("codec") => codec::begin(&args)?,
        Some("chirp") => chirp::begin(&args)?,
        other => return Err(format!("no such end: {other:?}").into()),
    };
    say(&merged(json!({"ready": true}), ready))?;
    for line in io::stdin().lock().lines() {
        let order: Json = serde_json::from_str(&line?)?;
        let op = order["op"].as_str().ok_or("an order without an op")?;
        match end.order(op, &order) {
            Ok(Json::Null) => say(&json!({"done": true}))?,
            Ok(answer) => say(&answer)?,
            Err(error) => say(&json!({"error": with_causes(&*error)}))?,
        }
    }
    Ok(())
}

/// The arguments, of which only the values of flags are asked for.
struct Args(Vec<String>);

impl Args {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|arg| arg == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|arg| arg == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number<N: std::str::FromStr<Err: Error + Send + Sync + 'static>>(
        &self,
        name: &str,
        default: N,
    ) -> Result<N, Failure> {
        match self.text(name) {
            Some(text) => Ok(text.parse()?),
            None => Ok(default),
        }
    }
}

/// One line; a whole one, whichever thread says it.
fn say(line: &Json) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn merged(first: Json, second: Json) -> Json {
    let members = |value| match value {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let mut all = members(first);
    all.extend(members(second));
    Json::Object(all)
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

fn text<'a>(order: &'a Json, name: &str) -> Result<&'a str, Failure> {
    let found = order[name].as_str();
    found.ok_or_else(|| format!("{name} is no text").into())
}

fn number(order: &Json, name: &str) -> Result<u64, Failure> {
    let found = order[name].as_u64();
    found.ok_or_else(|| format!("{name} is no number").into())
}

fn list<'a>(order: &'a Json, name: &str) -> Result<&'a [Json], Failure> {
    let found = order[name].as_array();
    Ok(found.ok_or_else(|| format!("{name} is no list"))?)
}
