//! The simulated client application as a state: commands in, answers and occurrences out, no socket and no clock.

use crate::rpc::context::Reason;
use crate::rpc::kind_0_9_7::EventKind097;
use crate::rpc::status::SystemStatus;
use crate::rpc::status_0_9_7::{AppStatus097, Configuration097, Status097};
use crate::rpc::{ApiCommand, CommandRequest, CommandResponse};
use crate::simulator::SimulatedVersion;
use crate::simulator::animals::Animals;
use crate::simulator::answer::Answer;
use crate::simulator::custom;
use crate::simulator::emergency::Emergency;
use crate::simulator::modes::Modes;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::plant::{self, Plant};
use crate::simulator::settings::{Setting, Settings};

/// A simulated rig: what it is set to, what it would report, how it answers.
///
/// It holds no socket and no clock; [`Simulator`](crate::simulator::Simulator) gives it both.
///
/// # Examples
/// ```
/// use acqbus::rpc::{ApiCommand, CommandRequest, CommandResult};
/// use acqbus::simulator::{Action, Rig, SimulatedVersion};
///
/// let mut rig = Rig::new(SimulatedVersion::V0_12_0);
/// let answer = rig.handle(&CommandRequest::new(ApiCommand::EmergencyResume));
/// let Action::Reply(response) = answer.action else { panic!("it answers at once") };
/// assert_eq!(response.result(), CommandResult::Failed);
/// assert!(answer.occurrences.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Rig {
    pub(crate) version: SimulatedVersion,
    pub(crate) modes: Modes,
    pub(crate) settings: Settings,
    pub(crate) emergency: Emergency,
    pub(crate) animals: Animals,
    pub(crate) plant: Plant,
    pub(crate) is_acquiring: bool,
}

impl Rig {
    /// A rig that was just started: idle, manual training, every setting on, three animals.
    #[must_use]
    pub fn new(version: SimulatedVersion) -> Self {
        Self {
            version,
            modes: Modes::new(),
            settings: Settings::new(),
            emergency: Emergency::default(),
            animals: Animals::new(),
            plant: Plant::new(),
            is_acquiring: false,
        }
    }

    /// Handles a command: changes the state and says how to answer and what to publish.
    pub fn handle(&mut self, request: &CommandRequest) -> Answer {
        match request.command() {
            ApiCommand::None => Answer::reply(CommandResponse::success()),
            ApiCommand::EmergencyStop => {
                let alarms = self.plant.active_alarms();
                self.emergency.stop(self.version, request.user(), alarms)
            }
            ApiCommand::EmergencyResume => self.emergency.resume(self.version, request.user()),
            ApiCommand::UserDefined => custom::answer(request),
            command => match self.version {
                SimulatedVersion::V0_9_7 => self.handle_0_9_7(command),
                SimulatedVersion::V0_12_0 => self.handle_0_12_0(command, request),
            },
        }
    }

    /// The answer to GET_STATUS of 0.12.0.
    #[must_use]
    pub fn status(&self) -> SystemStatus {
        let animal = self.animals.selected().cloned();
        self.plant.status(&self.modes, &self.settings, animal)
    }

    /// Whether trials of a session that starts now are analysed in batches.
    #[must_use]
    pub const fn is_batch_enabled(&self) -> bool {
        self.settings.is_on(Setting::BatchTrials)
    }

    fn handle_0_12_0(&mut self, command: ApiCommand, request: &CommandRequest) -> Answer {
        if let Some(setting) = Setting::of(command) {
            return self.settings.set(setting, request.data());
        }
        let success = CommandResponse::success();
        match command {
            ApiCommand::SetApplicationMode => self
                .modes
                .set_application(request.data(), self.emergency.is_stopped),
            ApiCommand::SetTrainingMode => self
                .modes
                .set_training(request.data(), self.animals.selected().is_some()),
            ApiCommand::GetConfiguration => {
                Answer::reply(success.with_data(&plant::configuration()))
            }
            ApiCommand::GetStatus => Answer::reply(success.with_data(&self.status())),
            ApiCommand::GetAnimals => Answer::reply(success.with_data(self.animals.all())),
            _ => Answer::reply(CommandResponse::unrecognized()),
        }
    }

    fn handle_0_9_7(&mut self, command: ApiCommand) -> Answer {
        let success = CommandResponse::success();
        match command {
            ApiCommand::StartAcquisition => self.acquire(true),
            ApiCommand::StopAcquisition => self.acquire(false),
            ApiCommand::GetConfiguration => {
                Answer::reply(success.with_data(&self.configuration_0_9_7()))
            }
            ApiCommand::GetStatus => Answer::reply(success.with_data(&self.status_0_9_7())),
            _ => Answer::reply(CommandResponse::unrecognized()),
        }
    }

    /// Starts or stops the acquisition of 0.9.7; told only when it is a change, refused while the rig is stopped.
    fn acquire(&mut self, wanted: bool) -> Answer {
        if self.is_acquiring == wanted {
            return Answer::reply(CommandResponse::success());
        }
        if wanted && self.emergency.is_stopped {
            let refused = CommandResponse::unavailable().with_error_message("the rig is stopped");
            return Answer::reply(refused);
        }
        self.is_acquiring = wanted;
        let kind = if wanted {
            EventKind097::AcquisitionStarted
        } else {
            EventKind097::AcquisitionEnded
        };
        let reason = Reason {
            reason: "a command".to_owned(),
        };
        Answer::reply(CommandResponse::success()).telling(Occurrence::with(kind, &reason))
    }

    fn configuration_0_9_7(&self) -> Configuration097 {
        let configuration = plant::configuration();
        Configuration097 {
            device_id: configuration.device_id,
            configuration_location: configuration.configuration_location,
            data_location: configuration.data_location,
            animal_location: configuration.animal_location,
            log_location: configuration.log_location,
            inference_model: configuration.inference_model,
        }
    }

    fn status_0_9_7(&self) -> Status097 {
        Status097 {
            app_status: if self.is_acquiring {
                AppStatus097::Acquiring
            } else {
                AppStatus097::Idle
            },
            training_mode: self.modes.training,
            animal_id: self
                .animals
                .selected()
                .map(|animal| animal.identifier.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::rpc::kind_0_9_7::EventKind097 as Kind;
    use crate::rpc::{CommandResult, EventKind};
    use crate::simulator::SimulatedVersion::{V0_9_7, V0_12_0};
    use crate::simulator::answer::Action;

    #[test]
    fn a_mode_is_set_told_once_and_answered_in_force() {
        let mut rig = Rig::new(V0_12_0);
        for (mode, result, in_force, told) in [
            (json!(100), CommandResult::Success, 100, 1),
            (json!(100), CommandResult::Success, 100, 0),
            (json!(300), CommandResult::Success, 300, 1),
            (json!(1000), CommandResult::Unavailable, 300, 0),
            (json!(7), CommandResult::Failed, 300, 0),
            (json!("RUNNING"), CommandResult::Failed, 300, 0),
            (json!(0), CommandResult::Success, 0, 1),
            (json!(1100), CommandResult::Success, 1100, 1),
            (json!(100), CommandResult::Unavailable, 1100, 0),
        ] {
            let answer = ask(
                &mut rig,
                ApiCommand::SetApplicationMode,
                json!({"mode": mode}),
            );
            let expected = (result, json!({"mode": in_force}));
            assert_eq!((answer.0, answer.1), expected, "mode {mode}");
            assert_eq!(
                answer.2,
                vec![EventKind::ApplicationModeChanged; told],
                "mode {mode}"
            );
        }
        let without = ask(&mut rig, ApiCommand::SetApplicationMode, Value::Null);
        assert_eq!(
            (without.0, without.1),
            (CommandResult::Failed, json!({"mode": 1100}))
        );
    }

    #[test]
    fn the_training_mode_follows_the_same_rules() {
        let mut rig = Rig::new(V0_12_0);
        for (mode, result, in_force, told) in [
            (json!(100), CommandResult::Success, 100, 0),
            (json!(300), CommandResult::Success, 300, 1),
            (json!(0), CommandResult::Unavailable, 300, 0),
            (json!(301), CommandResult::Failed, 300, 0),
        ] {
            let answer = ask(&mut rig, ApiCommand::SetTrainingMode, json!({"mode": mode}));
            let expected = (result, json!({"mode": in_force}));
            assert_eq!((answer.0, answer.1), expected, "mode {mode}");
            assert_eq!(
                answer.2,
                vec![EventKind::TrainingModeChanged; told],
                "mode {mode}"
            );
        }
    }

    #[test]
    fn a_stop_is_told_every_time_and_a_resume_only_after_one() {
        for version in [V0_9_7, V0_12_0] {
            let mut rig = Rig::new(version);
            let mut expect = |command, result, told: &[EventKind]| {
                let answer = ask(&mut rig, command, Value::Null);
                assert_eq!(
                    (answer.0, answer.2.as_slice()),
                    (result, told),
                    "{version} {command:?}"
                );
            };
            expect(ApiCommand::EmergencyResume, CommandResult::Failed, &[]);
            for _ in 0..2 {
                expect(
                    ApiCommand::EmergencyStop,
                    CommandResult::Success,
                    &[EventKind::EmergencyStop],
                );
            }
            expect(
                ApiCommand::EmergencyResume,
                CommandResult::Success,
                &[EventKind::EmergencyResume],
            );
            expect(ApiCommand::EmergencyResume, CommandResult::Failed, &[]);
        }
    }

    #[test]
    fn a_stopped_rig_can_only_become_idle() {
        let mut rig = Rig::new(V0_12_0);
        ask(
            &mut rig,
            ApiCommand::SetApplicationMode,
            json!({"mode": 100}),
        );
        ask(&mut rig, ApiCommand::EmergencyStop, Value::Null);
        let refused = ask(
            &mut rig,
            ApiCommand::SetApplicationMode,
            json!({"mode": 200}),
        );
        assert_eq!(
            (refused.0, refused.1),
            (CommandResult::Unavailable, json!({"mode": 100}))
        );
        let idle = ask(&mut rig, ApiCommand::SetApplicationMode, json!({"mode": 0}));
        assert_eq!(idle.0, CommandResult::Success);
    }

    #[test]
    fn an_emergency_says_who_and_why_in_the_form_of_its_version() {
        let context = |version| {
            let mut rig = Rig::new(version);
            let answer = rig.handle(&CommandRequest::new(ApiCommand::EmergencyStop));
            answer.occurrences[0].context.clone().unwrap()
        };
        assert_eq!(context(V0_9_7), json!({"reason": "stopped by a command"}));
        let expected =
            json!({"reason": "stopped by a command", "reasonCode": 401, "activeAlarms": []});
        assert_eq!(context(V0_12_0), expected);
    }

    #[test]
    fn a_status_reads_back_what_was_set() {
        let mut rig = Rig::new(V0_12_0);
        for (command, object, member) in READ_BACK {
            let answer = ask(&mut rig, command, json!({"enabled": false}));
            assert_eq!(answer.0, CommandResult::Success, "{command:?}");
            let (_, status, told) = ask(&mut rig, ApiCommand::GetStatus, Value::Null);
            assert_eq!(status[object][member], json!(false), "{command:?}");
            assert!(told.is_empty());
        }
    }

    #[test]
    fn queries_change_nothing_and_tell_nothing() {
        for version in [V0_9_7, V0_12_0] {
            let mut rig = Rig::new(version);
            let queries = [
                ApiCommand::GetConfiguration,
                ApiCommand::GetStatus,
                ApiCommand::GetAnimals,
            ];
            for query in queries {
                let first = ask(&mut rig, query, Value::Null);
                assert_eq!(
                    first,
                    ask(&mut rig, query, Value::Null),
                    "{version} {query:?}"
                );
                assert!(first.2.is_empty(), "{version} {query:?}");
            }
        }
    }

    #[test]
    fn obsolete_and_later_commands_are_unrecognized() {
        for (version, command) in [
            (V0_12_0, ApiCommand::StartAcquisition),
            (V0_12_0, ApiCommand::StopAcquisition),
            (V0_9_7, ApiCommand::SetApplicationMode),
            (V0_9_7, ApiCommand::GetAnimals),
            (V0_9_7, ApiCommand::SetAutoClampEnabled),
        ] {
            let answer = ask(
                &mut Rig::new(version),
                command,
                json!({"mode": 0, "enabled": true}),
            );
            assert_eq!(
                answer.0,
                CommandResult::Unrecognized,
                "{version} {command:?}"
            );
        }
    }

    #[test]
    fn acquisition_of_0_9_7_starts_and_ends_with_its_events() {
        let mut rig = Rig::new(V0_9_7);
        let mut step = |command, told: &[Kind], status| {
            let answer = ask(&mut rig, command, Value::Null);
            let told: Vec<_> = told.iter().copied().map(EventKind::from).collect();
            assert_eq!((answer.0, answer.2), (CommandResult::Success, told));
            let (_, read, _) = ask(&mut rig, ApiCommand::GetStatus, Value::Null);
            let expected =
                json!({"appStatus": status, "trainingMode": 100, "animalId": "animal-001"});
            assert_eq!(read, expected);
        };
        step(
            ApiCommand::StartAcquisition,
            &[Kind::AcquisitionStarted],
            100,
        );
        step(ApiCommand::StartAcquisition, &[], 100);
        step(ApiCommand::StopAcquisition, &[Kind::AcquisitionEnded], 0);
        step(ApiCommand::StopAcquisition, &[], 0);
    }

    #[test]
    fn test_commands_answer_as_they_say() {
        let act = |custom, data| {
            let request = CommandRequest::new(ApiCommand::UserDefined).with_custom_command(custom);
            Rig::new(V0_12_0)
                .handle(&request.with_data(&data).unwrap())
                .action
        };
        let result = |action| match action {
            Action::Reply(response) => (response.result(), response.error_code()),
            other => panic!("it answers at once, not by {other:?}"),
        };
        for (custom, seconds, code) in [(1, 0.3, 0), (10, 0.3, 17)] {
            let Action::Defer { after, outcome } = act(custom, json!(null)) else {
                panic!("{custom} is deferred");
            };
            assert_eq!(
                (after, outcome.error_code()),
                (Duration::from_secs_f64(seconds), code)
            );
        }
        let Action::Defer { after, .. } = act(1, json!({"seconds": 2})) else {
            panic!("deferred")
        };
        assert_eq!(after, Duration::from_secs(2));
        assert!(
            matches!(act(2, json!(null)), Action::Raise(text) if text == "delegate raised on purpose")
        );
        let Action::Block { during, outcome } = act(3, json!({})) else {
            panic!("3 blocks")
        };
        assert_eq!(
            (during, outcome.result()),
            (Duration::from_secs(1), CommandResult::Success)
        );
        assert_eq!(result(act(4, json!(null))), (CommandResult::Failed, 42));
        let Action::Reply(echo) = act(7, json!({"a": [1, "x"]})) else {
            panic!("7 answers")
        };
        assert_eq!(echo.data_text().unwrap(), br#"{"a": [1, "x"]}"#);
        assert_eq!(result(act(9, json!(null))), (CommandResult::Pending, 0));
        for other in [-1, 0, 5, 6, 8, 11, 1000] {
            assert_eq!(
                result(act(other, json!(null))).0,
                CommandResult::Unrecognized,
                "{other}"
            );
        }
    }

    #[test]
    fn seconds_out_of_bounds_are_refused() {
        for seconds in [
            json!(-1),
            json!(601),
            json!("1"),
            json!(null),
            json!([1]),
            json!(1e300),
        ] {
            for custom in [1, 3, 10] {
                let request = CommandRequest::new(ApiCommand::UserDefined)
                    .with_custom_command(custom)
                    .with_data(&json!({"seconds": seconds}))
                    .unwrap();
                let Action::Reply(refused) = Rig::new(V0_12_0).handle(&request).action else {
                    panic!("{seconds} is refused at once");
                };
                assert_eq!(refused.result(), CommandResult::Failed, "{seconds}");
                assert!(refused.error_message().unwrap().starts_with("seconds is "));
            }
        }
    }

    #[test]
    fn what_happens_by_itself_is_followed_and_told_once() {
        let mut rig = Rig::new(V0_12_0);
        let running = Occurrence::with(EventKind::ApplicationModeChanged, &json!({"mode": 100}));
        assert!(rig.admit(running.clone()).is_some());
        assert_eq!(rig.admit(running), None);
        assert_eq!(rig.admit(Occurrence::new(EventKind::EmergencyResume)), None);
        rig.admit(Occurrence::new(EventKind::TunnelGateCloseEnd));
        let told = rig.admit(Occurrence::new(EventKind::SystemStatus)).unwrap();
        let status = told.context.unwrap();
        assert_eq!(status["applicationMode"], json!(100));
        assert_eq!(status["tunnelDevice"]["isGateOpen"], json!(false));
    }

    #[test]
    fn a_context_of_another_shape_is_told_and_changes_nothing() {
        let mut rig = Rig::new(V0_12_0);
        let before = rig.status();
        for &kind in EventKind::ALL {
            let odd = Occurrence::with(kind, &json!([1, {"mode": "x"}]));
            let told = rig.admit(odd.clone());
            if kind != EventKind::EmergencyResume {
                assert!(told.is_some(), "{kind}");
            }
        }
        let after = rig.status();
        assert_eq!(
            (before.application_mode, before.alarms),
            (after.application_mode, after.alarms)
        );
    }

    proptest! {
        #[test]
        fn no_data_is_a_panic_and_only_kinds_of_the_version_are_told(
            number in any::<f64>(), whole in any::<i64>(), text in ".*", custom in any::<i64>(),
        ) {
            let values = [json!(number), json!(whole), json!(text), json!([whole]), json!(null)];
            for version in [V0_9_7, V0_12_0] {
                let mut rig = Rig::new(version);
                for value in &values {
                    let members = json!({"mode": value, "enabled": value, "seconds": value});
                    for &command in ApiCommand::all(version.dialect()) {
                        for data in [value, &members] {
                            let request = CommandRequest::new(command).with_custom_command(custom);
                            let answer = rig.handle(&request.with_data(data).unwrap());
                            for told in answer.occurrences {
                                prop_assert!(version.kind_name(told.kind).is_some());
                            }
                        }
                    }
                }
            }
        }
    }

    fn ask(
        rig: &mut Rig,
        command: ApiCommand,
        data: Value,
    ) -> (CommandResult, Value, Vec<EventKind>) {
        let answer = rig.handle(&CommandRequest::new(command).with_data(&data).unwrap());
        let Action::Reply(response) = answer.action else {
            panic!("{command:?} answers at once")
        };
        let data = serde_json::from_slice(response.data_text().unwrap()).unwrap();
        (
            response.result(),
            data,
            answer.occurrences.iter().map(|told| told.kind).collect(),
        )
    }

    const READ_BACK: [(ApiCommand, &str, &str); 10] = [
        (
            ApiCommand::SetPelletCoverEnabled,
            "behavior",
            "isPelletCoverEnabled",
        ),
        (
            ApiCommand::SetPelletDeliveryEnabled,
            "behavior",
            "isPelletDeliveryEnabled",
        ),
        (
            ApiCommand::SetIntertrialPelletShiftEnabled,
            "behavior",
            "isIntertrialPelletShiftEnabled",
        ),
        (
            ApiCommand::SetHomeOnExcessiveDriftEnabled,
            "pelletDevice",
            "isHomeOnExcessiveDriftEnabled",
        ),
        (
            ApiCommand::SetTrianglePelletDistanceDetectionEnabled,
            "behavior",
            "isTrianglePelletDistanceDetectionEnabled",
        ),
        (
            ApiCommand::SetLiveAnalysisEnabled,
            "behavior",
            "isLiveAnalysisEnabled",
        ),
        (
            ApiCommand::SetAutoCloseGateOnIntertrialEnabled,
            "behavior",
            "isAutoCloseGateOnIntertrialEnabled",
        ),
        (
            ApiCommand::SetAutoClampEnabled,
            "behavior",
            "isAutoClampEnabled",
        ),
        (
            ApiCommand::SetTunnelSweepEnabled,
            "pelletDevice",
            "isTunnelSweepEnabled",
        ),
        (
            ApiCommand::SetBatchTrialsEnabled,
            "behavior",
            "isBatchTrialsEnabled",
        ),
    ];
}
