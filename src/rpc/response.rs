//! Responses: what a delegate answers, how it stands in the reply frame, and what a client reads there.

use std::error::Error;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::rpc::command::{ApiCommand, CommandResult, ErrorKind};
use crate::rpc::dialect::Dialect;
use crate::rpc::error::RpcError;
use crate::rpc::json::{self, Shape};
use crate::rpc::request::Nonce;
use crate::wire::DecodeError;

/// What a delegate answers to a command.
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

    /// Sets the data, written as JSON now; later changes to the value change nothing.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        let mut text = Vec::new();
        self.data = match json::to_camel_json(data, &mut text) {
            Ok(_) => Payload::Text(text),
            Err(_) => Payload::Failed,
        };
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
}

impl<E: Error> From<Result<Self, E>> for CommandResponse {
    /// An error becomes an exception with its text.
    fn from(outcome: Result<Self, E>) -> Self {
        outcome.unwrap_or_else(|error| Self::exception(error.to_string()))
    }
}

/// Appends the reply to a command.
pub fn encode_reply(
    nonce: &Nonce,
    command: ApiCommand,
    response: &CommandResponse,
    dialect: Dialect,
    out: &mut Vec<u8>,
) {
    let _ = (nonce, command, response, dialect, out);
}

/// Appends the reply to a request that cannot be used.
pub fn encode_unusable_reply(message: &str, dialect: Dialect, out: &mut Vec<u8>) {
    let _ = (message, dialect, out);
}

/// Appends the body of a message on topic COMMAND_RESULT.
pub fn encode_command_result(
    command: ApiCommand,
    nonce: &Nonce,
    response: &CommandResponse,
    out: &mut Vec<u8>,
) -> Shape {
    let _ = (command, nonce, response, out);
    Shape::default()
}

/// A reply, or the body of a command result, as a client reads it.
#[derive(Debug, Clone)]
pub struct Response {
    raw: String,
    nonce: Nonce,
    command: i64,
    result: CommandResult,
    data: Value,
    error_kind: ErrorKind,
    error_code: i64,
    error_message: Option<String>,
}

impl Response {
    /// Decodes a reply frame, or the body of a command result, of any dialect.
    ///
    /// # Errors
    /// A [`DecodeError`] that says what was wrong.
    pub fn decode(frame: &[u8], depth_limit: usize) -> Result<Self, DecodeError> {
        let value = json::parse(frame, depth_limit)?;
        Ok(Self {
            raw: String::from_utf8_lossy(frame).into_owned(),
            nonce: Nonce::new(value["nonce"].clone()),
            command: 0,
            result: CommandResult::Success,
            data: Value::Null,
            error_kind: ErrorKind::None,
            error_code: 0,
            error_message: None,
        })
    }

    /// The nonce of the request.
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The number of the command.
    pub const fn command(&self) -> i64 {
        self.command
    }

    /// The result.
    pub const fn result(&self) -> CommandResult {
        self.result
    }

    /// The data, null if there are none.
    pub const fn data(&self) -> &Value {
        &self.data
    }

    /// The data as a type of the caller.
    ///
    /// # Errors
    /// [`RpcError::Data`] when they are not of that type.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, RpcError> {
        T::deserialize(&self.data).map_err(RpcError::Data)
    }

    /// Whose error is reported.
    pub const fn error_kind(&self) -> ErrorKind {
        self.error_kind
    }

    /// The error code, 0 if there is none.
    pub const fn error_code(&self) -> i64 {
        self.error_code
    }

    /// The error text.
    pub fn error_message(&self) -> Option<&str> {
        self.error_message.as_deref()
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
}

impl Serialize for Response {
    /// Writes the object of the wire.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.raw)
    }
}
