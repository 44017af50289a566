//! The only door to libzmq: contexts, endpoints, sockets, and who may talk to them.
//!
//! | file | job |
//! |---|---|
//! | `context`, `endpoint`, `options`, `socket`, `frame` | sockets, as libzmq has them, with typed errors and no panic |
//! | `pool` | buffers that go out as frames without a copy, and come back |
//! | `wait` | block on sockets, another thread and a deadline at once |
//! | `monitor` | what happens to connections |
//! | `curve`, `role` | keys, and what their owners may do |
//! | `keyring`, `key_file` | keys on disk |
//! | `shared_keyring` | the same, followed while a server runs |
//! | `zap`, `zap_handler` | who may connect: the protocol, the thread |
//! | `peer` | ends the live connections of one user |
//! | `error` | what can go wrong |
//! | `raw` | the calls that the `zmq` crate lacks |
//!
//! A [`Socket`] belongs to one thread at a time; others reach that thread by a channel and a
//! [`Waker`].

mod context;
mod curve;
mod endpoint;
mod error;
mod frame;
mod key_file;
mod keyring;
mod monitor;
mod options;
mod peer;
mod pool;
mod raw;
mod role;
mod shared_keyring;
mod socket;
mod wait;
mod zap;
mod zap_handler;

pub use crate::wake::{WakeReceiver, Waker};
pub use context::Context;
pub use curve::{CurveKeyPair, PublicKey, SecretKey};
pub use endpoint::{Endpoint, addresses_of};
pub use error::{KeyError, TrySendError, ZsocketError};
pub use frame::Frame;
#[cfg(feature = "cli")]
pub(crate) use key_file::read_private;
pub use keyring::{ClientKeys, KeyRing, Member};
pub use monitor::{HandshakeFailure, Monitor, MonitorEvent};
pub use options::{SocketOptions, SocketSecurity};
pub use peer::PeerTable;
pub use pool::{FramePool, PooledBuffer};
pub use role::Role;
pub use shared_keyring::{ChangeSubscription, KeyRingChange, SharedKeyRing};
pub use socket::{Multipart, Socket, SocketKind};
pub use wait::{Ready, wait, wait_for_room, wait_to_send, wake_pair};
pub use zap::{Authenticate, Credentials, Refusal, ZapReply, ZapRequest, decide};
pub(crate) use zap_handler::LineLimit;
pub use zap_handler::{ZapHandler, ZapStats};
