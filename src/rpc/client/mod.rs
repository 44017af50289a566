//! The other end of the wire: asks a service and follows what it publishes.

mod handshakes;
mod join;
mod moment;
mod options;
mod remote;
mod requester;
mod results;
mod subscription;
mod tracker;
mod unproven;

pub use options::{ClientOptions, Retry};
pub use remote::{Outcome, RemoteClient};
pub use subscription::{Notice, Subscription};
