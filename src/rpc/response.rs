//! Responses: what a delegate answers, how it stands in the reply frame, and what a client reads there.

use std::error::Error;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::rpc::command::{ApiCommand, CommandResult, ErrorKind};
use crate::rpc::dialect::Dialect;
use crate::rpc::error::{RpcError, chain};
use crate::rpc::json::{self, Shape};
use crate::rpc::nonce::Nonce;
use crate::wire::DecodeError;

/// What a delegate answers to a command.
///
/// Command and nonce of the reply are those of the request, whatever the delegate does.
///
/// ```
/// use acqbus::rpc::{CommandResponse, CommandResult};
///
/// let done = CommandResponse::success().with_data(&serde_json::json!({"is_on": true}));
/// assert_eq!(done.data_text(), Some(&br#"{"isOn": true}"#[..]));
///
/// let broken = CommandResponse::failed(42, "the motor is stuck");
/// assert_eq!((broken.result(), broken.error_code()), (CommandResult::Failed, 42));
/// ```
#[derive(Debug, Clone)]
pub struct CommandResponse {
    result: CommandResult,
    data: Payload,
    error_code: i64,
    error_message: Option<String>,
}

#[derive(Debug, Clone)]
enum Payload {
    Null,
    Text(Vec<u8>),
    Failed,
}

impl CommandResponse {
    /// The command is done.
    pub const fn success() -> Self {
        Self::new(CommandResult::Success)
    }

    /// The command is accepted, and nothing more will be heard of it.
    pub const fn pending() -> Self {
        Self::new(CommandResult::Pending)
    }

    /// The command is not known.
    pub const fn unrecognized() -> Self {
        Self::new(CommandResult::Unrecognized)
    }

    /// The command is known, but not possible now.
    pub const fn unavailable() -> Self {
        Self::new(CommandResult::Unavailable)
    }

    /// The command is not done; a code of 0 means that there is none.
    pub fn failed(code: i64, message: impl Into<String>) -> Self {
        Self::new(CommandResult::Failed)
            .with_error_code(code)
            .with_error_message(message)
    }

    /// Handling the command raised an error.
    pub fn exception(message: impl Into<String>) -> Self {
        Self::new(CommandResult::Exception).with_error_message(message)
    }

    /// A response with a result and nothing else.
    pub const fn new(result: CommandResult) -> Self {
        Self {
            result,
            data: Payload::Null,
            error_code: 0,
            error_message: None,
        }
    }

    /// Sets the result.
    #[must_use]
    pub const fn with_result(mut self, result: CommandResult) -> Self {
        self.result = result;
        self
    }

    /// Sets the data, written as JSON with camelCase keys now; later changes to the value change nothing.
    ///
    /// The keys are rewritten at every depth and in maps too. A type that is also read with [`Response::data_as`] wants
    /// `#[serde(rename_all = "camelCase")]`.
    ///
    /// A value that cannot be written makes the reply a system error, see [`encode_reply`].
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        let mut text = Vec::new();
        self.data = match json::to_camel_json(data, &mut text) {
            Ok(_) => Payload::Text(text),
            Err(_) => Payload::Failed,
        };
        self
    }

    /// The same with data that are JSON text already.
    pub(crate) fn with_data_text(mut self, text: Vec<u8>) -> Self {
        self.data = Payload::Text(text);
        self
    }

    /// Sets the error code; 0 means none.
    #[must_use]
    pub const fn with_error_code(mut self, code: i64) -> Self {
        self.error_code = code;
        self
    }

    /// Sets the error text.
    #[must_use]
    pub fn with_error_message(mut self, message: impl Into<String>) -> Self {
        self.error_message = Some(message.into());
        self
    }

    /// The result.
    pub const fn result(&self) -> CommandResult {
        self.result
    }

    /// The data as JSON text; `None` when they could not be written.
    pub fn data_text(&self) -> Option<&[u8]> {
        match &self.data {
            Payload::Null => Some(b"null"),
            Payload::Text(text) => Some(text),
            Payload::Failed => None,
        }
    }

    /// The error code, 0 if there is none.
    pub const fn error_code(&self) -> i64 {
        self.error_code
    }

    /// The error text.
    pub fn error_message(&self) -> Option<&str> {
        self.error_message.as_deref()
    }

    const fn error_kind(&self) -> ErrorKind {
        match self.data {
            Payload::Failed => ErrorKind::SystemError,
            _ if self.error_code != 0 => ErrorKind::CommandError,
            _ => ErrorKind::None,
        }
    }
}

impl<E: Error> From<Result<Self, E>> for CommandResponse {
    /// An error becomes an exception with its text and that of its causes.
    fn from(outcome: Result<Self, E>) -> Self {
        outcome.unwrap_or_else(|error| Self::exception(chain(&error)))
    }
}

/// Appends the reply to a command, exactly as auto-trainer-api 0.12.0 writes it.
///
/// Section 4.3 of `docs/wire.md` lists the members. Command and nonce are those of the request. Data that could not be
/// written become null, with error kind 1, error code 0 and a fixed text in place of the delegate's own; the result
/// stays. In the string dialect the text is compact.
pub fn encode_reply(
    nonce: &Nonce,
    command: ApiCommand,
    response: &CommandResponse,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(b"{\"nonce\": ");
    json::write_value(nonce.value(), out);
    write_integer("command", command.number_in(dialect), out);
    write_integer("result", response.result.number(), out);
    write_key("data", out);
    out.extend_from_slice(response.data_text().unwrap_or(b"null"));
    write_integer("errorKind", response.error_kind().number(), out);
    write_error(response, out);
    close(dialect, start, out);
}

/// Appends the reply to a request that cannot be used.
///
/// It is that of auto-trainer-api 0.12.0, with what was wrong as its error text (*ours*; section 4.4 of
/// `docs/wire.md`). Nonce, command and result are 0, since the request told none.
pub fn encode_unusable_reply(message: &str, dialect: Dialect, out: &mut Vec<u8>) {
    let response = CommandResponse::unrecognized().with_error_message(message);
    encode_reply(&Nonce::from(0), ApiCommand::None, &response, dialect, out);
}

/// Appends the body of a message on topic COMMAND_RESULT, still plain in either dialect.
///
/// Data that could not be written become null, as in [`encode_reply`] (*ours*: the reference dies of them).
pub fn encode_command_result(
    command: ApiCommand,
    nonce: &Nonce,
    response: &CommandResponse,
    dialect: Dialect,
    out: &mut Vec<u8>,
) -> Shape {
    out.extend_from_slice(b"{\"result\": ");
    out.extend_from_slice(
        itoa::Buffer::new()
            .format(response.result.number())
            .as_bytes(),
    );
    write_key("data", out);
    out.extend_from_slice(response.data_text().unwrap_or(b"null"));
    write_error(response, out);
    write_integer("command", command.number_in(dialect), out);
    write_key("nonce", out);
    json::write_value(nonce.value(), out);
    out.push(b'}');
    Shape {
        object: true,
        reserved: false,
    }
}

/// A reply, or the body of a command result, as a client reads it.
///
/// Written with serde it is the object that came, with all its members.
#[derive(Debug, Clone)]
pub struct Response {
    raw: String,
    members: Map<String, Value>,
    nonce: Nonce,
    result: CommandResult,
}

impl Response {
    /// Decodes a reply frame, or the body of a command result, of any dialect.
    ///
    /// It is an object, or a string that holds the text of one. Only `result` is needed.
    ///
    /// # Errors
    /// What [`json::parse`] refuses; [`DecodeError::Type`] when there is no object or `result` is no integer;
    /// [`DecodeError::Missing`] without a `result`.
    ///
    /// # Examples
    /// ```
    /// use acqbus::rpc::{CommandResult, Response};
    ///
    /// let reply = Response::decode(br#"{"nonce": 1, "command": 400, "result": 201}"#, 64)?;
    /// assert_eq!(reply.result(), CommandResult::PendingWithNotification);
    /// assert!(Response::decode(b"\"no object\"", 64).is_err());
    /// # Ok::<(), acqbus::wire::DecodeError>(())
    /// ```
    pub fn decode(frame: &[u8], depth_limit: usize) -> Result<Self, DecodeError> {
        let (members, raw) = match json::parse(frame, depth_limit)? {
            Value::String(text) => (json::parse(text.as_bytes(), depth_limit)?, text),
            // What has been parsed is UTF-8.
            other => (other, String::from_utf8_lossy(frame).into_owned()),
        };
        let members = match members {
            Value::Object(members) => members,
            other => return Err(wrong_type("the reply", "an object", &other)),
        };
        let Some(result) = members.get("result") else {
            return Err(DecodeError::Missing {
                what: "the reply",
                name: "result",
            });
        };
        let Some(result) = json::integer(result) else {
            return Err(wrong_type("`result`", "an integer", result));
        };
        Ok(Self {
            raw,
            nonce: Nonce::new(members.get("nonce").cloned().unwrap_or_default()),
            result: CommandResult::from_number(result),
            members,
        })
    }

    /// The nonce of the request; null if the reply has none.
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The number of the command; 0 if the reply has none.
    pub fn command(&self) -> i64 {
        self.integer("command").unwrap_or(0)
    }

    /// The result.
    pub const fn result(&self) -> CommandResult {
        self.result
    }

    /// The data, null if there are none.
    pub fn data(&self) -> &Value {
        self.members.get("data").unwrap_or(&Value::Null)
    }

    /// The data as a type of the caller.
    ///
    /// The keys are read as they stand on the wire, where they are camelCase. A type with fields of more than one word wants
    /// `#[serde(rename_all = "camelCase")]`, though writing it works without: `is_on` is written as `isOn`, and only then read
    /// again.
    ///
    /// # Errors
    /// [`RpcError::Data`] when they are not of that type; the text names the member.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        T::deserialize(self.data()).map_err(RpcError::Data)
    }

    /// Whose error is reported; a command result does not say, but has an error code or not.
    pub fn error_kind(&self) -> ErrorKind {
        match self.integer("errorKind") {
            Some(kind) => ErrorKind::from_number(kind),
            None if self.error_code() != 0 => ErrorKind::CommandError,
            None => ErrorKind::None,
        }
    }

    /// The error code, 0 if there is none.
    pub fn error_code(&self) -> i64 {
        self.integer("errorCode").unwrap_or(0)
    }

    /// The error text.
    pub fn error_message(&self) -> Option<&str> {
        self.members.get("errorMessage")?.as_str()
    }

    /// Whether the command is done.
    pub fn is_success(&self) -> bool {
        self.result == CommandResult::Success
    }

    /// Whether the command is accepted and not yet done.
    pub const fn is_pending(&self) -> bool {
        matches!(
            self.result,
            CommandResult::Pending | CommandResult::PendingWithNotification
        )
    }

    /// The JSON text of the object that came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.members.get(name).and_then(json::integer)
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

fn wrong_type(what: &'static str, expected: &'static str, found: &Value) -> DecodeError {
    DecodeError::Type {
        what,
        expected,
        found: json::type_name(found),
    }
}

fn write_key(key: &str, out: &mut Vec<u8>) {
    for part in [", \"", key, "\": "] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_integer(key: &str, integer: i64, out: &mut Vec<u8>) {
    write_key(key, out);
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
}

fn write_error(response: &CommandResponse, out: &mut Vec<u8>) {
    let (code, message) = match response.data {
        Payload::Failed => (0, Some(UNSERIALISABLE)),
        _ => (response.error_code, response.error_message()),
    };
    write_integer("errorCode", code, out);
    write_key("errorMessage", out);
    match message {
        Some(message) => json::write_string(message, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Ends the object that starts at `start`, in the form of the dialect.
fn close(dialect: Dialect, start: usize, out: &mut Vec<u8>) {
    out.push(b'}');
    if dialect == Dialect::JsonString {
        let text = json::compact(&out[start..]);
        out.truncate(start);
        out.extend_from_slice(&text);
    }
}

/// What the reference says of data that it cannot write; its clients look for this text.
const UNSERIALISABLE: &str = "An error occurred serializing the 'data' element of the response.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(response: &CommandResponse, dialect: Dialect) -> String {
        let mut out = Vec::new();
        encode_reply(
            &Nonce::from(5),
            ApiCommand::GetStatus,
            response,
            dialect,
            &mut out,
        );
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn reply_is_that_of_the_reference() {
        let response = CommandResponse::success().with_data(&json!({"is_on": true, "at": "A B"}));
        assert_eq!(
            reply(&response, Dialect::Plain),
            r#"{"nonce": 5, "command": 400, "result": 100, "data": {"isOn": true, "at": "A B"}, "errorKind": 0, "errorCode": 0, "errorMessage": null}"#
        );
        assert_eq!(
            reply(&response, Dialect::JsonString),
            r#"{"nonce":5,"command":400,"result":100,"data":{"isOn":true,"at":"A B"},"errorKind":0,"errorCode":0,"errorMessage":null}"#
        );
    }

    #[test]
    fn error_code_makes_a_command_error_and_a_message_does_not() {
        let failed = reply(&CommandResponse::failed(42, "it is broken"), Dialect::Plain);
        assert!(
            failed.ends_with(r#""errorKind": 2, "errorCode": 42, "errorMessage": "it is broken"}"#)
        );
        let raised = reply(&CommandResponse::exception("boom"), Dialect::Plain);
        assert!(raised.ends_with(r#""errorKind": 0, "errorCode": 0, "errorMessage": "boom"}"#));
    }

    #[test]
    fn data_that_cannot_be_written_become_a_system_error() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("on purpose"))
            }
        }
        let response = CommandResponse::failed(5, "lost").with_data(&Refuses);
        let text = reply(&response, Dialect::Plain);
        assert!(text.contains(r#""result": 400, "data": null, "errorKind": 1, "errorCode": 0"#));
        assert!(text.contains(UNSERIALISABLE));
    }

    #[test]
    fn error_of_a_delegate_becomes_an_exception_with_its_text() {
        let outcome: Result<CommandResponse, std::fmt::Error> = Err(std::fmt::Error);
        let response = CommandResponse::from(outcome);
        assert_eq!(response.result(), CommandResult::Exception);
        assert_eq!(
            response.error_message(),
            Some(std::fmt::Error.to_string().as_str())
        );
    }

    #[test]
    fn replies_of_every_dialect_are_read() {
        let response = CommandResponse::failed(3, "x").with_data(&[1]);
        let plain = reply(&response, Dialect::Plain);
        let mut string = Vec::new();
        json::write_string(&plain, &mut string);
        let compact = reply(&response, Dialect::JsonString);
        for frame in [plain.as_bytes(), compact.as_bytes(), &string] {
            let read = Response::decode(frame, 64).expect("a reply");
            assert_eq!(read.nonce(), &Nonce::from(5));
            assert_eq!(
                (read.command(), read.result()),
                (400, CommandResult::Failed)
            );
            assert_eq!(read.data_as::<Vec<u8>>().expect("numbers"), [1]);
            assert_eq!(
                (read.error_kind(), read.error_code()),
                (ErrorKind::CommandError, 3)
            );
            assert_eq!(read.error_message(), Some("x"));
            assert!(read.raw().starts_with('{'));
            for length in 0..frame.len() {
                assert!(Response::decode(&frame[..length], 64).is_err());
            }
        }
    }

    #[test]
    fn command_result_has_the_members_of_the_reference_and_reads_back() {
        let mut body = Vec::new();
        let response = CommandResponse::failed(17, "late").with_data(&json!({"a_b": 1}));
        let shape = encode_command_result(
            ApiCommand::UserDefined,
            &Nonce::from(8),
            &response,
            Dialect::Plain,
            &mut body,
        );
        assert_eq!(
            shape,
            Shape {
                object: true,
                reserved: false
            }
        );
        assert_eq!(
            String::from_utf8_lossy(&body),
            r#"{"result": 400, "data": {"aB": 1}, "errorCode": 17, "errorMessage": "late", "command": 99999, "nonce": 8}"#
        );
        let read = Response::decode(&body, 64).expect("a result");
        assert_eq!(
            (read.command(), read.error_kind()),
            (99999, ErrorKind::CommandError)
        );
    }

    #[test]
    fn reply_with_odd_members_is_read_as_far_as_it_goes() {
        let read =
            Response::decode(br#"{"result":100.0,"errorKind":"x","more":1}"#, 64).expect("a reply");
        assert!(read.is_success());
        assert_eq!((read.command(), read.error_kind()), (0, ErrorKind::None));
        assert_eq!(read.nonce().to_string(), "null");
        for text in [
            "{}",
            "1",
            "\"1\"",
            "{\"result\":\"100\"}",
            "{\"result\":null}",
        ] {
            assert!(Response::decode(text.as_bytes(), 64).is_err(), "{text}");
        }
    }
}
