//! The control plane.

pub mod answer;
pub mod case;
mod command;
mod dialect;
mod error;
pub mod json;
mod message;
mod request;
mod response;
mod topic;

pub use command::{ApiCommand, CommandResult, ErrorKind, UnknownCommand};
pub use dialect::Dialect;
pub use error::RpcError;
pub use message::{Heartbeat, Message, append_extras};
pub use request::{CommandRequest, Nonce, decode_request, encode_request};
pub use response::{
    CommandResponse, Response, encode_command_result, encode_reply, encode_unusable_reply,
};
pub use topic::{Topic, UnknownTopic};
