//! The ten settings of a rig that are turned on and off, and the gates between them.

use serde_json::Value;

use crate::rpc::context::Enabled;
use crate::rpc::status::EnabledData;
use crate::rpc::{ApiCommand, CommandResponse, EventKind};
use crate::simulator::answer::{Answer, BAD_DATA};
use crate::simulator::occurrence::Occurrence;

/// One setting; the order is that of the commands 1000 to 1090.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    LiveAnalysis,
    PelletDelivery,
    PelletCover,
    IntertrialPelletShift,
    HomeOnExcessiveDrift,
    TrianglePelletDistanceDetection,
    AutoCloseGateOnIntertrial,
    AutoClamp,
    TunnelSweep,
    BatchTrials,
}

/// The values of the settings.
///
/// A setting behind a closed gate keeps its value: changing it is unavailable, and turning the gate off changes none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings([bool; 10]);

impl Setting {
    /// The setting that a command changes, if it is one of the ten.
    pub(crate) const fn of(command: ApiCommand) -> Option<Self> {
        Some(match command {
            ApiCommand::SetLiveAnalysisEnabled => Self::LiveAnalysis,
            ApiCommand::SetPelletDeliveryEnabled => Self::PelletDelivery,
            ApiCommand::SetPelletCoverEnabled => Self::PelletCover,
            ApiCommand::SetIntertrialPelletShiftEnabled => Self::IntertrialPelletShift,
            ApiCommand::SetHomeOnExcessiveDriftEnabled => Self::HomeOnExcessiveDrift,
            ApiCommand::SetTrianglePelletDistanceDetectionEnabled => {
                Self::TrianglePelletDistanceDetection
            }
            ApiCommand::SetAutoCloseGateOnIntertrialEnabled => Self::AutoCloseGateOnIntertrial,
            ApiCommand::SetAutoClampEnabled => Self::AutoClamp,
            ApiCommand::SetTunnelSweepEnabled => Self::TunnelSweep,
            ApiCommand::SetBatchTrialsEnabled => Self::BatchTrials,
            _ => return None,
        })
    }

    /// The setting that must be on for this one to be changed.
    const fn gate(self) -> Option<Self> {
        match self {
            Self::PelletDelivery
            | Self::IntertrialPelletShift
            | Self::HomeOnExcessiveDrift
            | Self::TrianglePelletDistanceDetection => Some(Self::LiveAnalysis),
            Self::PelletCover => Some(Self::PelletDelivery),
            _ => None,
        }
    }
}

impl Settings {
    /// Everything is on.
    pub(crate) const fn new() -> Self {
        Self([true; 10])
    }

    pub(crate) const fn is_on(&self, setting: Setting) -> bool {
        self.0[setting as usize]
    }

    /// Sets a value without asking its gate, and says whether it is another one.
    pub(crate) const fn put(&mut self, setting: Setting, is_on: bool) -> bool {
        let is_change = self.0[setting as usize] != is_on;
        self.0[setting as usize] = is_on;
        is_change
    }

    /// Answers the command of a setting.
    pub(crate) fn set(&mut self, setting: Setting, data: &Value) -> Answer {
        let Some(&Value::Bool(wanted)) = data.get("enabled") else {
            let refused = CommandResponse::failed(
                BAD_DATA,
                match data.get("enabled") {
                    Some(value) => format!("enabled is {value}, not a boolean"),
                    None => "the data have no enabled".to_owned(),
                },
            );
            return Answer::reply(refused.with_data(&self.data(setting)));
        };
        let closed_gate = setting.gate().filter(|gate| !self.is_on(*gate));
        if wanted != self.is_on(setting)
            && let Some(gate) = closed_gate
        {
            let refused = CommandResponse::unavailable().with_error_message(format!(
                "{setting:?} cannot be changed while {gate:?} is off"
            ));
            return Answer::reply(refused.with_data(&self.data(setting)));
        }
        let is_change = self.put(setting, wanted);
        let answer = Answer::reply(CommandResponse::success().with_data(&self.data(setting)));
        if is_change && setting == Setting::AutoClamp {
            let enabled = Enabled { is_enabled: wanted };
            return answer.telling(Occurrence::with(
                EventKind::AutoClampEnabledChanged,
                &enabled,
            ));
        }
        answer
    }

    const fn data(&self, setting: Setting) -> EnabledData {
        EnabledData {
            enabled: self.is_on(setting),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rpc::CommandResult;
    use crate::simulator::answer::Action;

    #[test]
    fn a_setting_is_changed_and_read_back_in_the_answer() {
        for command in COMMANDS {
            let mut settings = Settings::new();
            let setting = Setting::of(command).unwrap();
            let (result, data) = set(&mut settings, setting, json!({"enabled": false}));
            assert_eq!(
                (result, data),
                (CommandResult::Success, json!({"enabled": false})),
                "{setting:?}"
            );
            assert!(!settings.is_on(setting));
        }
    }

    #[test]
    fn a_setting_behind_a_closed_gate_keeps_its_value() {
        for (gate, gated) in GATES {
            let mut settings = Settings::new();
            settings.put(gate, false);
            assert!(
                settings.is_on(gated),
                "closing {gate:?} changes nothing else"
            );
            let (result, data) = set(&mut settings, gated, json!({"enabled": false}));
            let kept = (CommandResult::Unavailable, json!({"enabled": true}));
            assert_eq!((result, data), kept, "{gated:?} behind {gate:?}");

            let (result, _) = set(&mut settings, gated, json!({"enabled": true}));
            assert_eq!(
                result,
                CommandResult::Success,
                "{gated:?} holds the wanted value"
            );

            settings.put(gate, true);
            let (result, _) = set(&mut settings, gated, json!({"enabled": false}));
            assert_eq!(
                result,
                CommandResult::Success,
                "{gated:?} behind the open {gate:?}"
            );
        }
    }

    #[test]
    fn there_are_no_other_gates() {
        let gated: Vec<_> = COMMANDS
            .iter()
            .filter_map(|&command| Setting::of(command)?.gate())
            .collect();
        assert_eq!(gated.len(), GATES.len());
    }

    #[test]
    fn data_without_a_boolean_are_refused_with_the_value_in_force() {
        let wrong = [
            json!(null),
            json!({}),
            json!({"enabled": 1}),
            json!({"enabled": "true"}),
            json!([]),
        ];
        for data in wrong {
            let mut settings = Settings::new();
            let (result, answer) = set(&mut settings, Setting::LiveAnalysis, data.clone());
            assert_eq!(
                (result, answer),
                (CommandResult::Failed, json!({"enabled": true})),
                "{data}"
            );
        }
    }

    #[test]
    fn only_a_change_of_the_clamp_is_told() {
        for command in COMMANDS {
            let mut settings = Settings::new();
            let setting = Setting::of(command).unwrap();
            let unchanged = settings.set(setting, &json!({"enabled": true}));
            assert!(unchanged.occurrences.is_empty());
            let changed = settings.set(setting, &json!({"enabled": false}));
            let kinds: Vec<_> = changed.occurrences.iter().map(|told| told.kind).collect();
            let expected: &[EventKind] = match setting {
                Setting::AutoClamp => &[EventKind::AutoClampEnabledChanged],
                _ => &[],
            };
            assert_eq!(kinds, expected, "{setting:?}");
        }
    }

    fn set(settings: &mut Settings, setting: Setting, data: Value) -> (CommandResult, Value) {
        let Action::Reply(response) = settings.set(setting, &data).action else {
            panic!("a setting is answered at once");
        };
        let data = serde_json::from_slice(response.data_text().unwrap()).unwrap();
        (response.result(), data)
    }

    const COMMANDS: [ApiCommand; 10] = [
        ApiCommand::SetLiveAnalysisEnabled,
        ApiCommand::SetPelletDeliveryEnabled,
        ApiCommand::SetPelletCoverEnabled,
        ApiCommand::SetIntertrialPelletShiftEnabled,
        ApiCommand::SetHomeOnExcessiveDriftEnabled,
        ApiCommand::SetTrianglePelletDistanceDetectionEnabled,
        ApiCommand::SetAutoCloseGateOnIntertrialEnabled,
        ApiCommand::SetAutoClampEnabled,
        ApiCommand::SetTunnelSweepEnabled,
        ApiCommand::SetBatchTrialsEnabled,
    ];

    const GATES: [(Setting, Setting); 5] = [
        (Setting::LiveAnalysis, Setting::PelletDelivery),
        (Setting::LiveAnalysis, Setting::IntertrialPelletShift),
        (Setting::LiveAnalysis, Setting::HomeOnExcessiveDrift),
        (
            Setting::LiveAnalysis,
            Setting::TrianglePelletDistanceDetection,
        ),
        (Setting::PelletDelivery, Setting::PelletCover),
    ];
}
