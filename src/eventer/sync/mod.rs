//! Two servers that stand in for each other: one follows the other's history, and takes over when it has gone.
//!
//! ```text
//!   clients ──> server R ──────────────── persisted events of R ───────────────> Synchronizer ──> backend of S
//!               OPERATIONAL <── event/S/synced/R: CONNECTED, SYNCING, SYNCED ──               server S, STANDBY
//! ```
//!
//! Every server registers with a server id of its own, so that what two of them register never collides. Source: hat-event 0.9.44,
//! which keeps pairs of servers in step in this way; when to take over is *ours*, it asks a monitor.

mod options;
mod sessions;
mod standby;
mod synchronizer;
mod watch;

pub use options::{StandbyOptions, SyncOptions};
pub use standby::Standby;
pub use synchronizer::{SyncState, Synchronizer};
