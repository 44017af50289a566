//! TLS of both ends: what is presented and what is trusted.

mod client;

pub use client::ClientTls;
