//! What the other threads of a simulated rig ask of its worker.

use std::time::Instant;

use crate::rpc::{CommandRequest, CommandResponse, PendingCommand};
use crate::simulator::shared::Promise;

/// What others ask of the thread.
pub(crate) enum Order {
    /// Publish this result when it is due.
    Result(Box<DueResult>),
    /// End.
    Stop,
}

/// A result that is promised.
pub(crate) struct DueResult {
    pub(crate) at: Instant,
    pub(crate) pending: PendingCommand,
    pub(crate) _promise: Promise,
    pub(crate) request: CommandRequest,
    pub(crate) outcome: CommandResponse,
    pub(crate) is_doubled: bool,
}
