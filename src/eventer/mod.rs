//! The store's network face: the protocol of hat-event, both ends.

mod error;
mod tls;
mod token;

pub use error::EventerError;
pub use tls::ClientTls;
pub use token::Token;
