//! The store's network face: the protocol of hat-event, both ends.
//!
//! Bytes and state know no socket: [`sbs`] writes values, [`chatter`] frames them and keeps conversations apart, [`message`] is
//! what server and client say to each other.

pub mod chatter;
mod client;
mod error;
pub mod message;
pub mod sbs;
mod tls;
mod token;

pub use client::{ClientOptions, EventerClient, Notice, Pages};
pub use error::EventerError;
pub use tls::ClientTls;
pub use token::Token;
