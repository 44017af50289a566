//! The control plane.

pub mod answer;
pub mod case;
mod command;
pub mod context;
mod dialect;
mod error;
pub mod json;
mod kind;
pub mod kind_0_9_7;
mod message;
mod number;
mod request;
mod response;
pub mod status;
pub mod status_0_9_7;
mod topic;
pub mod values;

pub use command::{ApiCommand, CommandResult, ErrorKind, UnknownCommand};
pub use context::EventContext;
pub use dialect::Dialect;
pub use error::RpcError;
pub use kind::EventKind;
pub use message::{Heartbeat, Message, append_extras};
pub use number::UnknownName;
pub use request::{CommandRequest, Nonce, decode_request, encode_request};
pub use response::{
    CommandResponse, Response, encode_command_result, encode_reply, encode_unusable_reply,
};
pub use topic::{Topic, UnknownTopic};
