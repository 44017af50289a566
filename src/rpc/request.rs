//! Requests: what a client asks, and how it stands in its one frame.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rpc::command::ApiCommand;
use crate::rpc::defer::{Deferred, Origin, PendingCommand};
use crate::rpc::dialect::Dialect;
use crate::rpc::error::RpcError;
use crate::rpc::json;
use crate::rpc::nonce::Nonce;
use crate::rpc::response::CommandResponse;
use crate::wire::DecodeError;

/// A command with all that came, or goes, with it.
///
/// ```
/// use acqbus::rpc::{ApiCommand, CommandRequest};
/// use serde_json::json;
///
/// let request = CommandRequest::new(ApiCommand::UserDefined)
///     .with_custom_command(7)
///     .with_data(&json!({"seconds": 0.5}))?;
/// assert_eq!(request.custom_command(), Some(7));
/// assert_eq!(request.data()["seconds"], 0.5);
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
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

    /// Sets the nonce: an `i64`, or any JSON value by [`Nonce::new`] (a `u64`: `Nonce::new(number.into())`).
    #[must_use]
    pub fn with_nonce(mut self, nonce: impl Into<Nonce>) -> Self {
        self.nonce = nonce.into();
        self
    }

    /// Sets the data, written as JSON with camelCase keys, at every depth and in maps too.
    ///
    /// A type that is also read with [`data_as`](Self::data_as) wants `#[serde(rename_all = "camelCase")]`.
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
    /// The keys are read as they stand on the wire, where they are camelCase. A type with fields of more than one word wants
    /// `#[serde(rename_all = "camelCase")]`, though writing it works without: `is_on` is written as `isOn`, and only then read
    /// again.
    ///
    /// # Errors
    /// [`RpcError::Data`] when they are not of that type; the text names the member.
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

    /// Answers now and finishes later.
    ///
    /// Gives the response PENDING_WITH_NOTIFICATION, for the delegate to return, and the handle that publishes the result, for
    /// whichever thread does the work. The command is pending from this call on.
    ///
    /// Where [`RpcOptions::max_pending`](crate::rpc::RpcOptions::max_pending) commands are pending already, the response is
    /// UNAVAILABLE and says so, [`PendingCommand::is_open`] is `false`, and the handle's calls return [`RpcError::Finished`]: ask
    /// before the work is begun, or it runs for a client that was told no. A request that no service received (one made in a
    /// test) gives a handle that is not open either, and whose calls return [`RpcError::Stopped`].
    #[must_use]
    pub fn defer(&self) -> (CommandResponse, PendingCommand) {
        PendingCommand::open(
            &self.origin,
            Deferred {
                command: self.command,
                custom_command: self.custom_command(),
                nonce: self.nonce.clone(),
                user: self.user.clone(),
            },
        )
    }

    pub(crate) fn set_user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }
}

/// Decodes a request frame, as auto-trainer-api 0.12.0 reads it apart from its damage to text.
///
/// Only `command` is needed. It is compared by value: `400.0` and `4e2` are 400, `false` is 0; a text, null, `true`
/// and a number that the dialect does not know are [`ApiCommand::UserDefined`]. `customCommand` (also spelled
/// `custom_command`) is -1 if absent, `nonce` 0, `data` null; each may be any JSON value. `clientId` counts if it is a
/// text of 1 to [`MAX_CLIENT_ID`] bytes (*ours*). All else is ignored. A lone surrogate becomes U+FFFD (*ours*: the
/// peers echo it).
///
/// # Errors
/// What [`json::parse`] refuses; [`DecodeError::Type`] when the text is no object, or `command` an array or object;
/// [`DecodeError::Missing`] without a `command`.
///
/// # Examples
/// ```
/// use acqbus::rpc::{ApiCommand, Dialect, decode_request};
///
/// let request = decode_request(br#"{"command": 400, "nonce": 7}"#, 64, Dialect::Plain)?;
/// assert_eq!(request.command(), ApiCommand::GetStatus);
/// assert_eq!(request.nonce().as_i64(), Some(7));
/// assert!(decode_request(b"[400]", 64, Dialect::Plain).is_err());
/// # Ok::<(), acqbus::wire::DecodeError>(())
/// ```
pub fn decode_request(
    frame: &[u8],
    depth_limit: usize,
    dialect: Dialect,
) -> Result<CommandRequest, DecodeError> {
    let members = match json::parse(frame, depth_limit)? {
        Value::Object(members) => members,
        other => {
            return Err(DecodeError::Type {
                what: "the request",
                expected: "an object",
                found: json::type_name(&other),
            });
        }
    };
    let mut asked = None;
    let mut request = CommandRequest {
        nonce: Nonce::from(0),
        ..CommandRequest::new(ApiCommand::None)
    };
    for (key, value) in members {
        match key.as_str() {
            "command" => asked = Some(value),
            "customCommand" | "custom_command" => request.custom_command = value,
            "nonce" => request.nonce = Nonce::new(value),
            "data" => request.data = value,
            "clientId" => request.client_id = client_id(value),
            _ => {}
        }
    }
    let asked = asked.ok_or(DecodeError::Missing {
        what: "the request",
        name: "command",
    })?;
    if matches!(asked, Value::Array(_) | Value::Object(_)) {
        return Err(DecodeError::Type {
            what: "`command`",
            expected: "a number",
            found: json::type_name(&asked),
        });
    }
    let number = json::integer(&asked);
    request.command = number
        .and_then(|number| ApiCommand::from_number(number, dialect))
        .unwrap_or(ApiCommand::UserDefined);
    request.number = number.unwrap_or_else(|| ApiCommand::UserDefined.number());
    Ok(request)
}

/// Encodes a request frame in the form that services of every version read unharmed.
///
/// Keys are in lower camelCase and exponents have a small `e`. `client_id` makes a service of ours execute the
/// request once however often it comes (*ours*).
pub fn encode_request(request: &CommandRequest, client_id: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"command\": ");
    out.extend_from_slice(itoa::Buffer::new().format(request.number).as_bytes());
    for (key, value) in [
        ("customCommand", &request.custom_command),
        ("nonce", request.nonce.value()),
        ("data", &request.data),
    ] {
        out.extend_from_slice(b", \"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\": ");
        json::write_value(value, &mut out);
    }
    if let Some(client_id) = client_id {
        out.extend_from_slice(b", \"clientId\": ");
        json::write_string(client_id, &mut out);
    }
    out.push(b'}');
    out
}

/// The longest identity of a client, in bytes; a longer one is ignored.
pub const MAX_CLIENT_ID: usize = 128;

fn client_id(value: Value) -> Option<String> {
    match value {
        Value::String(id) if (1..=MAX_CLIENT_ID).contains(&id.len()) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> CommandRequest {
        decode_request(text.as_bytes(), 64, Dialect::Plain).expect("a usable request")
    }

    #[test]
    fn command_is_compared_by_value() {
        for (text, command, number) in [
            ("400", ApiCommand::GetStatus, 400),
            ("400.0", ApiCommand::GetStatus, 400),
            ("4e2", ApiCommand::GetStatus, 400),
            ("400.5", ApiCommand::UserDefined, 99999),
            ("\"400\"", ApiCommand::UserDefined, 99999),
            ("null", ApiCommand::UserDefined, 99999),
            ("true", ApiCommand::UserDefined, 1),
            ("false", ApiCommand::None, 0),
            ("-0.0", ApiCommand::None, 0),
            ("77777", ApiCommand::UserDefined, 77777),
            ("1e400", ApiCommand::UserDefined, 99999),
            ("99999999999999999999", ApiCommand::UserDefined, 99999),
        ] {
            let request = read(&format!(r#"{{"command":{text}}}"#));
            assert_eq!(
                (request.command(), request.number()),
                (command, number),
                "{text}"
            );
        }
    }

    #[test]
    fn absent_members_have_their_defaults() {
        let request = read(r#"{"command":400,"extra":[1],"custom-command":7}"#);
        assert_eq!(request.nonce(), &Nonce::from(0));
        assert_eq!(request.custom_command(), Some(-1));
        assert_eq!(request.data(), &Value::Null);
        assert_eq!((request.client_id(), request.user()), (None, None));
    }

    #[test]
    fn both_spellings_of_the_custom_command_are_read() {
        for key in ["customCommand", "custom_command"] {
            let request = read(&format!(r#"{{"command":99999,"{key}":7}}"#));
            assert_eq!(request.custom_command(), Some(7));
        }
    }

    #[test]
    fn text_in_a_request_stays_as_it_is() {
        let request = read(r#"{"command":1,"nonce":"My Nonce","data":{"Name":"John Smith"}}"#);
        assert_eq!(request.nonce().to_string(), "\"My Nonce\"");
        assert_eq!(request.data(), &json!({"Name": "John Smith"}));
    }

    #[test]
    fn unusable_requests_say_what_is_wrong() {
        for (text, said) in [
            ("", "the JSON text is empty"),
            ("{\"nonce\":1}", "the request has no member `command`"),
            ("[1]", "the request is an array, not an object"),
            ("null", "the request is null, not an object"),
            ("{\"command\":[]}", "`command` is an array, not a number"),
            (
                "{\"command\":1}x",
                "bytes follow the end of the JSON value at byte 13",
            ),
        ] {
            let error = decode_request(text.as_bytes(), 64, Dialect::Plain).expect_err(text);
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn client_id_counts_only_as_a_short_text() {
        let id = |text: &str| read(&format!(r#"{{"command":1,"clientId":{text}}}"#)).client_id;
        assert_eq!(id("\"c1\""), Some("c1".to_owned()));
        assert_eq!(id("\"\""), None);
        assert_eq!(id("7"), None);
        assert_eq!(id(&format!("\"{}\"", "x".repeat(MAX_CLIENT_ID + 1))), None);
    }

    #[test]
    fn encoded_request_is_that_of_the_reference_and_reads_back() {
        let request = CommandRequest::new(ApiCommand::UserDefined)
            .with_custom_command(7)
            .with_nonce(9)
            .with_data(&json!({"wait_for": 1e-7, "who": "A_B"}))
            .expect("serialisable");
        let frame = encode_request(&request, Some("c1"));
        assert_eq!(
            String::from_utf8_lossy(&frame),
            r#"{"command": 99999, "customCommand": 7, "nonce": 9, "data": {"waitFor": 1e-07, "who": "A_B"}, "clientId": "c1"}"#
        );
        let read = decode_request(&frame, 64, Dialect::Plain).expect("usable");
        assert_eq!(read.data(), request.data());
        assert_eq!(read.client_id(), Some("c1"));
        for length in 0..frame.len() {
            assert!(decode_request(&frame[..length], 64, Dialect::Plain).is_err());
        }
    }

    #[test]
    fn nonces_are_equal_by_their_text() {
        let of = |text: &str| read(&format!(r#"{{"command":1,"nonce":{text}}}"#)).nonce;
        assert_eq!(of("1e5"), of("100000.0"));
        assert_ne!(of("1"), of("1.0"));
        assert_ne!(of("1"), of("\"1\""));
        assert_eq!(of("123456789012345678901234567890").as_i64(), None);
    }
}
