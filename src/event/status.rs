//! What a server is doing.

use serde::{Deserialize, Serialize};

/// What a server of events is doing.
///
/// Its form is the name in capitals. Source: hat-event 0.9.44.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Another server registers events.
    Standby,
    /// It will register events.
    Starting,
    /// It registers events.
    Operational,
    /// It will register no more events.
    Stopping,
}
