//! One process owns a store directory; others ask it over `DIR/store.sock`.
//!
//! ```text
//! process A: StoreHandle (owner) ── RedbBackend ── DIR/store.redb        process B: StoreHandle (guest)
//!                 │                                                                 │
//!                 └── desk, hub ── acqbus-store-door ══ DIR/store.sock ═════════════┘
//! ```
//!
//! | file | is |
//! |---|---|
//! | `message` | requests and answers: bytes |
//! | `queue` | what a follower has not read yet: state |
//! | `hub` | all followers of a store |
//! | `desk` | what the owner answers, without a socket |
//! | `lines`, `place` | lines over a stream; the path of the socket, and who may come |
//! | `server`, `guest` | both ends of the socket |
//! | `owner`, `access`, `handle` | the store of this process; the way to whoever owns it; what users hold |
//! | `presence` | whether the store is still there |
//! | `follower`, `carrier` | what is there, then what comes; the thread that brings it |
//! | `past`, `told` | what is there, read in pieces; how it joins what comes |
//! | `settings` | the configuration, kept beside the store |
//!
//! The lines are written down in `docs/store.md`; all of it is *ours*.

mod access;
mod carrier;
mod desk;
mod follower;
mod guest;
mod handle;
mod hub;
mod lines;
mod message;
mod owner;
mod past;
mod place;
mod presence;
mod queue;
mod server;
mod settings;
mod told;

pub use follower::{FollowOptions, Follower};
pub use handle::{OpenOptions, StoreHandle, open};
pub use message::FaultKind;
pub use queue::Followed;
