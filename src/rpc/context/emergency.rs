//! Contexts of emergency stop and resume.

use serde::{Deserialize, Serialize};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;
use crate::rpc::values::{AlarmKind, EmergencyResumeReason, EmergencyStopReason};

/// The rig was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyStop {
    /// The reason, for people.
    pub reason: String,
    /// Who or what stopped it; absent from peers up to 0.10.3, read as unknown then.
    #[serde(default)]
    pub reason_code: EmergencyStopReason,
    /// The alarms that are active.
    #[serde(default)]
    pub active_alarms: Vec<AlarmKind>,
}

impl EventContext for EmergencyStop {
    const KINDS: &'static [EventKind] = &[EventKind::EmergencyStop];
}

/// The rig goes on after an emergency stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyResume {
    /// The reason, for people.
    pub reason: String,
    /// Who or what let it go on; absent from peers up to 0.10.3, read as unknown then.
    #[serde(default)]
    pub reason_code: EmergencyResumeReason,
    /// The alarms that resumed by themselves; empty for any other reason.
    #[serde(default)]
    pub resumed_alarms: Vec<AlarmKind>,
}

impl EventContext for EmergencyResume {
    const KINDS: &'static [EventKind] = &[EventKind::EmergencyResume];
}
