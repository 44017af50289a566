//! The store's network face: the protocol of hat-event, both ends.
//!
//! Bytes and state know no socket: [`sbs`] writes values, [`chatter`] frames them and keeps conversations apart, [`message`] is
//! what server and client say to each other. [`EventerServer`] serves a store to many clients, [`EventerClient`] is one of
//! them, and [`Standby`] is a server that takes over for another.

pub mod chatter;
mod client;
mod error;
pub mod message;
pub mod sbs;
mod server;
mod sync;
mod tls;
mod token;

pub use client::{ClientOptions, EventerClient, Notice, Pages};
pub use error::EventerError;
pub use server::{ClientInfo, EventerServer, Notifier, ServerOptions, ServerStats};
pub use sync::{Standby, StandbyOptions, SyncOptions, SyncState, Synchronizer};
pub use tls::{ClientTls, ServerTls};
pub use token::Token;

/// The Rust code of the page about the store on the network, compiled and run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/eventer.md")]
struct Page;
