//! What a rig does about a command.

use std::time::Duration;

use crate::rpc::{CommandResponse, CommandResult};
use crate::simulator::occurrence::Occurrence;

/// What a rig does about a command.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How the delegate answers.
    pub action: Action,
    /// What is published because of the command, in order.
    pub occurrences: Vec<Occurrence>,
}

/// How a delegate answers.
#[derive(Debug, Clone)]
pub enum Action {
    /// It answers at once.
    Reply(CommandResponse),
    /// It answers that the command is pending; the outcome is published later.
    Defer {
        /// How long the command takes.
        after: Duration,
        /// What is published then.
        outcome: CommandResponse,
    },
    /// It answers late, and no other command is handled meanwhile.
    Block {
        /// How long.
        during: Duration,
        /// The answer.
        outcome: CommandResponse,
    },
    /// It raises an error with this text.
    Raise(String),
}

impl Action {
    /// The result in the reply to the command.
    pub(crate) const fn result(&self) -> CommandResult {
        match self {
            Self::Reply(response)
            | Self::Block {
                outcome: response, ..
            } => response.result(),
            Self::Defer { .. } => CommandResult::PendingWithNotification,
            Self::Raise(_) => CommandResult::Exception,
        }
    }
}

impl Answer {
    pub(crate) const fn reply(response: CommandResponse) -> Self {
        Self {
            action: Action::Reply(response),
            occurrences: Vec::new(),
        }
    }

    pub(crate) fn telling(mut self, occurrence: Occurrence) -> Self {
        self.occurrences.push(occurrence);
        self
    }
}

/// The error code of a command whose data cannot be used.
pub(crate) const BAD_DATA: i64 = 1;
/// The error code of a resume without a stop.
pub(crate) const NOT_STOPPED: i64 = 2;
