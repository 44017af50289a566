//! TLS of both ends: what is presented and what is trusted.

mod client;
mod server;

pub use client::ClientTls;
pub use server::ServerTls;

use crate::eventer::EventerError;

fn refused(
    reason: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EventerError {
    EventerError::Tls {
        reason: reason.to_owned(),
        source: Some(source.into()),
    }
}
