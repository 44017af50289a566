//! The control plane: events out, commands in, and the results of slow commands under their nonce.
//!
//! ```text
//!        RpcService                                             RemoteClient, or any client of auto-trainer-api
//! send_event ──> topic frame, body frame ── PUB 5556 ── SUB ──> subscribe() ──> Notice
//!   delegate <── request ──────────────── REP 5557 ── REQ <──── request()
//!            ──> reply ─────────────────────────────────────> Response
//! PendingCommand ──> COMMAND_RESULT ───── PUB ─────── SUB ──> request_and_wait() ──> Outcome
//! ```
//!
//! | who | uses |
//! |---|---|
//! | an acquisition application | [`RpcService`], [`RpcOptions`], [`CommandRequestDelegate`], [`Event`], [`PendingCommand`], [`Publisher`], [`Tap`] |
//! | a program that drives one | [`RemoteClient`], [`ClientOptions`], [`Subscription`], [`Notice`], [`Response`] |
//! | both | [`Topic`], [`ApiCommand`], [`CommandResult`], [`EventKind`], [`context`], [`status`], [`values`], [`RpcError`] |
//! | whoever speaks the wire himself | [`Message`], [`decode_request`], [`encode_reply`], [`answer`], [`json`], [`case`], [`Dialect`] |
//!
//! The wire, with what is ours marked, is written down in `docs/wire.md`. Rooms: `service` and `client` own sockets and
//! threads; all other files are bytes and values, without either.

pub mod answer;
pub mod case;
mod client;
mod command;
pub mod context;
mod defer;
mod dialect;
mod error;
mod event;
mod history;
pub mod json;
mod kind;
pub mod kind_0_9_7;
mod message;
mod nonce;
mod number;
mod request;
mod response;
mod service;
pub mod status;
pub mod status_0_9_7;
mod topic;
pub mod values;

pub use client::{ClientOptions, Notice, Outcome, RemoteClient, Retry, Subscription};
pub use command::{ApiCommand, CommandResult, ErrorKind, UnknownCommand};
pub use context::EventContext;
pub use defer::PendingCommand;
pub use dialect::Dialect;
pub use error::RpcError;
pub(crate) use error::chain;
pub use event::Event;
pub use history::{
    BAD_HISTORY_REQUEST, HISTORY_BUSY, HISTORY_COMMAND, History, HistoryMessage, HistoryPage,
    HistoryRequest, HistoryStart, MAX_PAGE_MESSAGES, Position, Verdict,
};
pub use kind::EventKind;
pub use message::{Heartbeat, Message, append_extras};
pub use nonce::Nonce;
pub use number::UnknownName;
pub use request::{CommandRequest, MAX_CLIENT_ID, decode_request, encode_request};
pub use response::{
    CommandResponse, Response, encode_command_result, encode_reply, encode_unusable_reply,
};
pub use service::{
    Announcement, CommandRequestDelegate, NONCE_REUSED, NOT_PERMITTED, Overflow, PendingInfo,
    Publisher, RpcOptions, RpcService, Stats, Tap,
};
pub use topic::{Topic, UnknownTopic};
