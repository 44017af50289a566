//! The error of the simulated rig.

use std::io;
use std::path::PathBuf;

use crate::rpc::RpcError;

/// What went wrong with a simulated rig.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The file of a script cannot be read.
    #[error("script {path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line of a script is not one.
    #[error("line {line} of the script: {field}: {reason}")]
    Script {
        /// The line, counted from 1.
        line: usize,
        /// The member that is wrong, or "line" when the line as a whole is.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The service of the rig failed.
    #[error("the service of the simulated rig failed")]
    Rpc(#[from] RpcError),
    /// The operating system gave no thread.
    #[error("thread {name} cannot be started")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The rig is stopped, or between the end of its service and the start of the next.
    #[error("the simulated rig is not running")]
    NotRunning,
}

impl SimulatorError {
    /// Whether a script could not be understood.
    #[must_use]
    pub const fn is_bad_data(&self) -> bool {
        matches!(self, Self::Script { .. })
    }
}
