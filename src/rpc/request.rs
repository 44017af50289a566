//! Requests: what a client asks, and how it stands in its one frame.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rpc::command::ApiCommand;
use crate::rpc::defer::Origin;
use crate::rpc::dialect::Dialect;
use crate::rpc::error::RpcError;
use crate::rpc::json;
use crate::wire::DecodeError;

/// What ties a reply, and a later command result, to its request.
///
/// Clients of this family send integers; any JSON value is echoed.
#[derive(Clone)]
pub struct Nonce(Value);

/// A command with all that came with it.
#[derive(Debug, Clone)]
pub struct CommandRequest {
    command: ApiCommand,
    number: i64,
    custom_command: Value,
    nonce: Nonce,
    data: Value,
    client_id: Option<String>,
    user: Option<String>,
    origin: Origin,
}

impl Nonce {
    /// A nonce of any JSON value.
    pub const fn new(value: Value) -> Self {
        Self(value)
    }

    /// The JSON value.
    pub const fn value(&self) -> &Value {
        &self.0
    }

    /// The number, if it is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

impl From<i64> for Nonce {
    fn from(number: i64) -> Self {
        Self(Value::from(number))
    }
}

impl fmt::Display for Nonce {
    /// The JSON text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({})", self.text())
    }
}

impl PartialEq for Nonce {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Nonce {}

impl Hash for Nonce {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl CommandRequest {
    /// A request without data, with nonce -1 and custom command -1.
    pub fn new(command: ApiCommand) -> Self {
        Self {
            command,
            number: command.number(),
            custom_command: Value::from(-1),
            nonce: Nonce::from(-1),
            data: Value::Null,
            client_id: None,
            user: None,
            origin: Origin::default(),
        }
    }

    /// Sends this number in place of the command's own, for a service of another version.
    #[must_use]
    pub const fn with_number(mut self, number: i64) -> Self {
        self.number = number;
        self
    }

    /// Sets the custom command, by which an application tells its own commands apart.
    #[must_use]
    pub fn with_custom_command(mut self, custom_command: impl Into<Value>) -> Self {
        self.custom_command = custom_command.into();
        self
    }

    /// Sets the nonce.
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl Into<Nonce>) -> Self {
        self.nonce = nonce.into();
        self
    }

    /// Sets the data.
    ///
    /// # Errors
    /// [`RpcError::Serialize`] when the value cannot be written as JSON.
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Result<Self, RpcError> {
        let mut text = Vec::new();
        json::to_camel_json(data, &mut text)?;
        self.data = json::parse(&text, usize::MAX)?;
        Ok(self)
    }

    /// The command.
    pub const fn command(&self) -> ApiCommand {
        self.command
    }

    /// The number that stands in the request, also when it is no command's.
    pub const fn number(&self) -> i64 {
        self.number
    }

    /// The custom command, if it is an integer of 64 bits.
    pub fn custom_command(&self) -> Option<i64> {
        self.custom_command.as_i64()
    }

    /// The custom command as it came.
    pub const fn custom_command_value(&self) -> &Value {
        &self.custom_command
    }

    /// The nonce.
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
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

    /// The identity of the client, if it is one of ours (*ours*).
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// The name of the user whose keys the client has, if the service runs with keys (*ours*).
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn set_user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }
}

/// Decodes a request frame.
///
/// # Errors
/// A [`DecodeError`] that says what was wrong.
pub fn decode_request(
    frame: &[u8],
    depth_limit: usize,
    dialect: Dialect,
) -> Result<CommandRequest, DecodeError> {
    let value = json::parse(frame, depth_limit)?;
    let number = value["command"].as_i64().unwrap_or(99999);
    let command = ApiCommand::from_number(number, dialect).unwrap_or(ApiCommand::UserDefined);
    Ok(CommandRequest::new(command).with_nonce(Nonce(value["nonce"].clone())))
}

/// Encodes a request frame.
pub fn encode_request(request: &CommandRequest, client_id: Option<&str>) -> Vec<u8> {
    let _ = client_id;
    let mut out = Vec::new();
    let _ = json::to_json(
        &serde_json::json!({
            "command": request.number,
            "customCommand": request.custom_command,
            "nonce": request.nonce.0,
            "data": request.data,
        }),
        &mut out,
    );
    out
}
