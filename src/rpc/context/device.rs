//! Contexts of the pellet device, the tunnel and commands to devices.

use serde::{Deserialize, Serialize};

use crate::rpc::context::{EventContext, Vector};
use crate::rpc::kind::EventKind;

/// A step of a device, named by the command that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCommand {
    /// The id of the device command: begin and end of one step have the same.
    pub context: String,
}

impl EventContext for DeviceCommand {
    const KINDS: &'static [EventKind] = &[
        EventKind::PelletLoadBegin,
        EventKind::PelletLoadEnd,
        EventKind::PelletSendBegin,
        EventKind::PelletSendEnd,
        EventKind::PelletCoverBegin,
        EventKind::PelletCoverEnd,
        EventKind::PelletReleaseBegin,
        EventKind::PelletReleaseEnd,
        EventKind::PelletHomeBegin,
        EventKind::PelletHomeEnd,
        EventKind::PelletRetractBegin,
        EventKind::PelletRetractEnd,
        EventKind::TunnelGateOpenBegin,
        EventKind::TunnelGateOpenEnd,
        EventKind::TunnelGateCloseBegin,
        EventKind::TunnelGateCloseEnd,
        EventKind::TunnelFanOnBegin,
        EventKind::TunnelFanOnEnd,
        EventKind::TunnelFanOffBegin,
        EventKind::TunnelFanOffEnd,
        EventKind::DeviceCommandSend,
        EventKind::DeviceCommandAcknowledge,
    ];
}

/// The pellet device was homed again after a number of cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PelletHomeReset {
    /// Cycles since it was homed last.
    pub cycles: i64,
}

impl EventContext for PelletHomeReset {
    const KINDS: &'static [EventKind] = &[EventKind::PelletHomeReset];
}

/// The pellet device was homed again after a drift.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PelletDriftReset {
    /// How far it had drifted.
    pub drift: Vector,
}

impl EventContext for PelletDriftReset {
    const KINDS: &'static [EventKind] = &[EventKind::PelletDriftReset];
}
