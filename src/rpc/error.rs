//! The error of the control plane.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::DecodeError;
use crate::zsocket::{KeyError, ZsocketError};

/// What went wrong on the control plane.
///
/// Ask the predicates rather than the text. A reply that says FAILED is no error: see
/// [`Response::is_success`](crate::rpc::Response::is_success).
///
/// ```
/// use acqbus::rpc::{RpcOptions, RpcService, Topic};
///
/// let service = RpcService::new(RpcOptions::default().bind(["192.0.2.1"]));
/// assert!(service.send_string(Topic::ANY, "too early").is_err());
/// let error = service.start().unwrap_err(); // an address off the loopback wants keys
/// assert!(error.is_refused() && !error.is_timeout());
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// A value cannot be written as JSON; the text says which part of it.
    #[error("the value cannot be written as JSON: {reason}")]
    Serialize {
        /// What could not be written.
        reason: String,
    },
    /// Data that came is not of the type that the caller wants; the text names the member.
    #[error("the data is not of the wanted type: {0}{hint}", hint = case_hint(_0))]
    Data(serde_json::Error),
    /// Bytes that came cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A socket refused; the text names the endpoint and the reason.
    #[error(transparent)]
    Socket(#[from] ZsocketError),
    /// The keys cannot be read or followed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The operating system gave no thread.
    #[error("thread {name} cannot be started")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// No address to bind is given, or an interface has none.
    #[error("there is no address to bind")]
    NoAddress,
    /// An address off the loopback wants keys.
    #[error(
        "{address} can be reached from other machines and the service has no keys; give it keys, or allow it with `insecure`"
    )]
    Exposed {
        /// The address.
        address: IpAddr,
    },
    /// The service was not started yet.
    #[error("the service is not started")]
    NotStarted,
    /// The service runs already.
    #[error("the service is started already")]
    AlreadyStarted,
    /// The service or the client was stopped; a service is never started again.
    #[error("the service is stopped, and is never started again")]
    Stopped,
    /// The queue of messages to publish is full; the message was not taken.
    #[error(
        "a message of {bytes} bytes does not fit the publishing queue of {message_limit} messages and {byte_limit} bytes"
    )]
    QueueFull {
        /// Size of the refused body.
        bytes: usize,
        /// Limit of the queue in messages.
        message_limit: usize,
        /// Limit of the queue in bytes.
        byte_limit: usize,
    },
    /// As many commands are pending as the service allows.
    #[error("{limit} commands are pending already, which is the limit")]
    TooManyPending {
        /// The limit.
        limit: usize,
    },
    /// The pending command has its result already.
    #[error("the pending command has its result already")]
    Finished,
    /// No service answers at the endpoint: the connection was never made.
    #[error("no service at {endpoint} after {}", seconds(*waited))]
    NoService {
        /// The endpoint.
        endpoint: String,
        /// How long the client tried.
        waited: Duration,
    },
    /// The service is connected and did not answer in time.
    #[error("no answer from {endpoint} within {} ({})", seconds(*waited), attempt_count(*attempts))]
    TimedOut {
        /// The endpoint.
        endpoint: String,
        /// How long the client waited.
        waited: Duration,
        /// How often it asked.
        attempts: u32,
    },
    /// The service refuses this client's key, or wants one.
    #[error("{endpoint} refuses the connection: {reason}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// What the handshake said.
        reason: String,
    },
    /// The reply announced a result, and none came in time.
    #[error("no result for nonce {nonce} within {}", seconds(*waited))]
    NoResult {
        /// Nonce of the request.
        nonce: String,
        /// How long the client waited.
        waited: Duration,
    },
    /// The reply announced a result, and the service was started anew before it came.
    #[error("the service was started anew; there will be no result for nonce {nonce}")]
    ResultLost {
        /// Nonce of the request.
        nonce: String,
    },
    /// Another thread of this client waits for the result of a request with this nonce.
    #[error("nonce {nonce} is in use: another request of this client with it waits for its result")]
    NonceInUse {
        /// Nonce of both requests.
        nonce: String,
    },
    /// The service gives no history.
    #[error("the service gives no history: {reason}")]
    NoHistory {
        /// What it said.
        reason: String,
    },
    /// The reply belongs to another request.
    #[error("the reply carries nonce {found}, the request had {expected}")]
    WrongNonce {
        /// Nonce of the request.
        expected: String,
        /// Nonce of the reply.
        found: String,
    },
}

impl RpcError {
    /// Whether what came from the other side could not be read.
    pub fn is_bad_data(&self) -> bool {
        matches!(
            self,
            Self::Data(_) | Self::Decode(_) | Self::WrongNonce { .. }
        )
    }

    /// Whether the service was there and gave no answer in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::NoResult { .. })
    }

    /// Whether no connection could be made, or no port bound.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::NoService { .. } | Self::Socket(_) | Self::NoAddress
        )
    }

    /// Whether the keys or the rules of who may connect stand in the way.
    pub fn is_refused(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Exposed { .. } | Self::Keys(_)
        )
    }

    /// Whether the service keeps no history, or gives none to this client.
    pub fn is_no_history(&self) -> bool {
        matches!(self, Self::NoHistory { .. })
    }

    /// Whether the service or the client is stopped.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

impl serde::ser::Error for RpcError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Serialize {
            reason: message.to_string(),
        }
    }
}

/// The text of an error and of its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// What to add where a type of the caller wants a member that no writer of the wire ever writes.
fn case_hint(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    let name = text.strip_prefix("missing field `");
    let name = name.and_then(|rest| rest.split('`').next());
    match name {
        Some(name) if name.contains('_') => {
            " (keys on the wire are camelCase: `#[serde(rename_all = \"camelCase\")]` reads them)"
        }
        _ => "",
    }
}

/// A time that somebody waited, to the millisecond.
fn seconds(waited: Duration) -> String {
    format!("{:.3} s", waited.as_secs_f64())
}

fn attempt_count(attempts: u32) -> String {
    match attempts {
        1 => "asked once".to_owned(),
        more => format!("asked {more} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zsocket::Endpoint;

    #[test]
    fn wrapped_errors_tell_their_reason_once() {
        let endpoint: Endpoint = "tcp://127.0.0.1:5556".parse().unwrap();
        let error = RpcError::from(ZsocketError::AddressInUse { endpoint });
        let text = "tcp://127.0.0.1:5556 is in use by another program or socket";
        assert_eq!(
            (error.to_string(), chain(&error)),
            (text.into(), text.into())
        );
        let missing = serde_json::from_str::<Position>("{}").unwrap_err();
        let error = RpcError::Data(missing);
        let text = error.to_string();
        assert!(text.contains("missing field `x`"), "{text}");
        assert_eq!(chain(&error), text);
    }

    #[test]
    fn missing_snake_case_member_hints_at_camel_case() {
        let error = RpcError::Data(serde_json::from_str::<Switch>("{\"isOn\":1}").unwrap_err());
        let text = error.to_string();
        assert!(
            text.contains("`is_on`") && text.contains("camelCase"),
            "{text}"
        );
        let error = RpcError::Data(serde_json::from_str::<Position>("{}").unwrap_err());
        assert!(!error.to_string().contains("camelCase"), "{error}");
    }

    #[derive(Debug, serde::Deserialize)]
    struct Position {
        #[serde(rename = "x")]
        _x: f64,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Switch {
        #[serde(rename = "is_on")]
        _on: u8,
    }
}
