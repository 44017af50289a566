//! A service of acqbus that does what `service.py` makes the Python service do: the same lines, the same delegate.
//!
//! Only the checks in tests/interop run it.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acqbus::rpc::{
    ApiCommand, CommandRequest, CommandResponse, CommandResult, Dialect, Event, EventKind,
    PendingCommand, RpcOptions, RpcService, Topic,
};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop_peer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let flag = |name: &str| {
        args.iter()
            .position(|arg| arg == name)
            .map(|at| &args[at + 1])
    };
    let number = |name: &str| flag(name).map_or(Ok(5.0), |text| text.parse::<f64>());
    let dialect = match flag("--as").map(String::as_str) {
        Some("0.9.7") => Dialect::JsonString,
        _ => Dialect::Plain,
    };
    let mut options = RpcOptions::default()
        .ports(
            number("--subscriber-port")? as u16,
            number("--command-port")? as u16,
        )
        .heartbeat_interval(Duration::from_secs_f64(number("--heartbeat")?))
        .dialect(dialect);
    if let Some(identifier) = flag("--identifier") {
        options = options.identifier(identifier);
    }
    if let Some(version) = flag("--as") {
        options = options.version(version);
    }
    let peer = Peer {
        service: RpcService::launch(options)?,
        saw: Arc::default(),
        dialect,
    };
    peer.answer(json!({"result": 100}));
    say(&json!({"ready": true}))?;
    for line in io::stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        match order["op"].as_str() {
            Some("stop") => break,
            Some("answer") => {
                peer.answer(order["with"].clone());
                say(&json!({"done": true}))?;
            }
            Some("publish") => match peer.publish(&order) {
                Ok(()) => say(&json!({"done": true, "accepted": true}))?,
                Err(error) => say(&json!({"done": false, "error": error.to_string()}))?,
            },
            Some("burst") => {
                peer.burst(&order)?;
                say(&json!({"done": true}))?;
            }
            Some("saw") => {
                let saw = std::mem::take(&mut *peer.saw.lock().expect("no holder panics"));
                say(&json!({"saw": saw}))?;
            }
            other => return Err(format!("no such order: {other:?}").into()),
        }
    }
    peer.service.stop();
    say(&json!({"stopped": true}))
}

struct Peer {
    service: RpcService,
    saw: Arc<Mutex<Vec<i64>>>,
    dialect: Dialect,
}

impl Peer {
    fn answer(&self, with: Value) {
        if with.get("none_registered").is_some() {
            self.service.clear_delegate();
            return;
        }
        let (saw, dialect) = (Arc::clone(&self.saw), self.dialect);
        self.service.set_delegate(Delegate { with, saw, dialect });
    }

    fn publish(&self, order: &Value) -> Result<(), Failure> {
        let message = &order["message"];
        let topic = Topic::new(order["topic"].as_u64().unwrap_or_default() as u32);
        match order["api"].as_str() {
            Some("send") => self.service.send(topic, hex(message)?)?,
            Some("send_string") => self.service.send_string(topic, text(message))?,
            Some("send_dict") => self.service.send_dict(topic, &Tagged(message))?,
            Some("send_event_dict") => self.service.send_event_dict(&Tagged(message))?,
            Some("send_event") => {
                let number = |name: &str| message[name].as_i64().unwrap_or_default();
                let when = match &message["when"] {
                    Value::Object(tagged) => tagged["$datetime"].as_f64(),
                    plain => plain.as_f64(),
                };
                let event = Event::new(
                    EventKind::from(number("kind")),
                    when.unwrap_or_default(),
                    number("index"),
                )
                .with_repeat(number("repeat") as u32);
                match &message["context"] {
                    Value::Null => self.service.send_event(&event)?,
                    context => self
                        .service
                        .send_event(&event.with_context(Tagged(context)))?,
                }
            }
            Some("send_command_result") => {
                let command = message["command"].as_i64().unwrap_or_default();
                let command = ApiCommand::from_number(command, self.dialect)
                    .ok_or("no command of this number")?;
                let nonce = message["nonce"].as_i64().ok_or("the nonce is no integer")?;
                let request = CommandRequest::new(command).with_nonce(nonce);
                self.service
                    .send_command_result(&request, &response(message)?)?;
            }
            other => return Err(format!("no such call: {other:?}").into()),
        }
        Ok(())
    }

    /// Many events as fast as they can be queued, and an emergency behind them.
    fn burst(&self, order: &Value) -> Result<(), Failure> {
        let count = order["count"].as_u64().unwrap_or(1000);
        let body = br#"{"kind": 1001, "when": 0.0, "index": 0, "context": null}"#;
        for _ in 0..count {
            self.service.send(Topic::EVENT, body)?;
        }
        Ok(self
            .service
            .send_event(&Event::now(EventKind::EmergencyStop))?)
    }
}

struct Delegate {
    with: Value,
    saw: Arc<Mutex<Vec<i64>>>,
    dialect: Dialect,
}

impl acqbus::rpc::CommandRequestDelegate for Delegate {
    fn handle(&self, request: &CommandRequest) -> Result<CommandResponse, Failure> {
        let command = request.command().number_in(self.dialect);
        self.saw.lock().expect("no holder panics").push(command);
        if let Some(raise) = self.with.get("raise") {
            return Err(text(raise).into());
        }
        if self.with.get("echo").is_some() {
            return Ok(CommandResponse::success().with_data(&json!({
                "command": command,
                "custom": request.custom_command_value(),
                "nonce": request.nonce().value(),
                "data": request.data(),
            })));
        }
        if self.with.get("rig").is_some() {
            return Ok(rig(request));
        }
        response(&self.with)
    }
}

fn rig(request: &CommandRequest) -> CommandResponse {
    if request.command() != ApiCommand::UserDefined {
        return CommandResponse::unavailable();
    }
    let seconds = |default: f64| {
        let given = request.data().get("seconds").and_then(Value::as_f64);
        Duration::from_secs_f64(given.unwrap_or(default))
    };
    let later = |response: CommandResponse| {
        let (pending_response, pending) = request.defer();
        let delay = seconds(0.3);
        std::thread::spawn(move || finish(&pending, delay, &response));
        pending_response
    };
    match request.custom_command() {
        Some(1) => later(CommandResponse::success().with_data(request.data())),
        Some(2) => CommandResponse::exception("delegate raised on purpose"),
        Some(3) => {
            std::thread::sleep(seconds(1.0));
            CommandResponse::success()
        }
        Some(4) => CommandResponse::failed(42, "it is broken"),
        Some(7) => CommandResponse::success().with_data(request.data()),
        Some(9) => CommandResponse::pending(),
        Some(10) => later(CommandResponse::failed(17, "late")),
        _ => CommandResponse::unrecognized(),
    }
}

fn finish(pending: &PendingCommand, delay: Duration, response: &CommandResponse) {
    let _ = pending.progress(&json!({"done": 0.5}));
    std::thread::sleep(delay);
    if let Err(error) = pending.finish(response) {
        eprintln!("interop_peer: {error}");
    }
}

/// The response whose fields a vector names.
fn response(fields: &Value) -> Result<CommandResponse, Failure> {
    let result = fields["result"]
        .as_i64()
        .ok_or("the result is no integer")?;
    let mut response = CommandResponse::new(CommandResult::from_number(result))
        .with_error_code(fields["error_code"].as_i64().unwrap_or_default());
    if let Some(data) = fields.get("data").filter(|data| !data.is_null()) {
        response = response.with_data(&Tagged(data));
    }
    if let Some(message) = fields["error_message"].as_str() {
        response = response.with_error_message(message);
    }
    Ok(response)
}

/// A value of tests/vectors/rpc, as a Rust program would hand it over.
struct Tagged<'a>(&'a Value);

impl Serialize for Tagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => sequence(items, serializer),
            Value::Object(members) => {
                if let (1, Some((tag, content))) = (members.len(), members.iter().next())
                    && tag.starts_with('$')
                {
                    return tagged(tag, content, serializer);
                }
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Tagged(value))?;
                }
                map.end()
            }
            // By its type, not by its digits, so that our own writer of floats is at work.
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => serializer.serialize_i64(integer),
                (None, Some(float)) if number.as_str().contains(['.', 'e', 'E']) => {
                    serializer.serialize_f64(float)
                }
                _ => number.serialize(serializer),
            },
            Value::Null => serializer.serialize_none(),
            plain => plain.serialize(serializer),
        }
    }
}

fn tagged<S: Serializer>(tag: &str, content: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match (tag, content) {
        ("$float", Value::String(text)) => {
            serializer.serialize_f64(text.parse().map_err(S::Error::custom)?)
        }
        ("$int", Value::String(digits)) => {
            let number: serde_json::Number = digits.parse().map_err(S::Error::custom)?;
            number.serialize(serializer)
        }
        ("$uuid" | "$date", text) => text.serialize(serializer),
        ("$datetime", seconds) => serializer.serialize_f64(seconds.as_f64().unwrap_or_default()),
        ("$tuple", Value::Array(items)) => sequence(items, serializer),
        ("$dict", Value::Array(entries)) => {
            let mut map = serializer.serialize_map(Some(entries.len()))?;
            for entry in entries {
                map.serialize_entry(&Tagged(&entry[0]), &Tagged(&entry[1]))?;
            }
            map.end()
        }
        _ => Err(S::Error::custom(format!("{tag} cannot be written"))),
    }
}

fn sequence<S: Serializer>(items: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(items.len()))?;
    for item in items {
        sequence.serialize_element(&Tagged(item))?;
    }
    sequence.end()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn hex(value: &Value) -> Result<Vec<u8>, Failure> {
    let digits = text(value);
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(Failure::from))
        .collect()
}

fn say(line: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
