//! Emergency stop and resume of a rig.

use crate::rpc::context::Reason;
use crate::rpc::context::emergency::{EmergencyResume, EmergencyStop};
use crate::rpc::values::{AlarmKind, EmergencyResumeReason, EmergencyStopReason};
use crate::rpc::{CommandResponse, EventKind};
use crate::simulator::SimulatedVersion;
use crate::simulator::answer::{Answer, NOT_STOPPED};
use crate::simulator::occurrence::Occurrence;

/// Whether the rig is stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Emergency {
    pub(crate) is_stopped: bool,
}

impl Emergency {
    /// Answers EMERGENCY_STOP: done, and told every time, also when it was stopped already.
    pub(crate) fn stop(
        &mut self,
        version: SimulatedVersion,
        user: Option<&str>,
        active_alarms: Vec<AlarmKind>,
    ) -> Answer {
        self.is_stopped = true;
        let reason = by("stopped", user);
        let told = match version {
            SimulatedVersion::V0_9_7 => {
                Occurrence::with(EventKind::EmergencyStop, &Reason { reason })
            }
            SimulatedVersion::V0_12_0 => Occurrence::of(&EmergencyStop {
                reason,
                reason_code: EmergencyStopReason::RpcService,
                active_alarms,
            }),
        };
        Answer::reply(CommandResponse::success()).telling(told)
    }

    /// Answers EMERGENCY_RESUME: done and told if the rig was stopped, else failed and not told.
    pub(crate) fn resume(&mut self, version: SimulatedVersion, user: Option<&str>) -> Answer {
        if !self.is_stopped {
            return Answer::reply(CommandResponse::failed(
                NOT_STOPPED,
                "the rig is not stopped",
            ));
        }
        self.is_stopped = false;
        let reason = by("resumed", user);
        let told = match version {
            SimulatedVersion::V0_9_7 => {
                Occurrence::with(EventKind::EmergencyResume, &Reason { reason })
            }
            SimulatedVersion::V0_12_0 => Occurrence::of(&EmergencyResume {
                reason,
                reason_code: EmergencyResumeReason::RpcService,
                resumed_alarms: Vec::new(),
            }),
        };
        Answer::reply(CommandResponse::success()).telling(told)
    }
}

fn by(done: &str, user: Option<&str>) -> String {
    match user {
        Some(user) => format!("{done} by a command of {user}"),
        None => format!("{done} by a command"),
    }
}
