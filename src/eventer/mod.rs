//! The store's network face: the protocol of hat-event, both ends.

mod error;

pub use error::EventerError;
