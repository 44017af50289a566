//! The application mode and the training mode of a rig, and which changes are possible.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rpc::CommandResponse;
use crate::rpc::context::application::ApplicationModeChanged;
use crate::rpc::context::training::TrainingModeChanged;
use crate::rpc::status::{ApplicationModeData, TrainingModeData};
use crate::rpc::values::{ApplicationMode, TrainingMode};
use crate::simulator::answer::{Answer, BAD_DATA};
use crate::simulator::occurrence::Occurrence;

/// The two modes.
///
/// Possible changes of the application mode (*ours*): to idle always; to running unless a calibration runs; to in-device
/// and in-training from running or from each other; to a calibration from idle; while stopped, to idle only.
/// The training mode can be any but undefined; automatic training wants a selected animal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modes {
    pub(crate) application: ApplicationMode,
    pub(crate) training: TrainingMode,
}

impl Modes {
    pub(crate) const fn new() -> Self {
        Self {
            application: ApplicationMode::Idle,
            training: TrainingMode::Manual,
        }
    }

    /// Answers SET_APPLICATION_MODE.
    pub(crate) fn set_application(&mut self, data: &Value, is_stopped: bool) -> Answer {
        let Some(wanted) = mode::<ApplicationMode>(data).filter(|mode| mode.name().is_some())
        else {
            let refused = not_a_mode("application", data);
            return Answer::reply(refused.with_data(&self.application_data()));
        };
        if wanted == self.application {
            return Answer::reply(CommandResponse::success().with_data(&self.application_data()));
        }
        if !is_possible(self.application, wanted, is_stopped) {
            let refused = CommandResponse::unavailable().with_error_message(format!(
                "the application mode cannot go from {} to {wanted} now",
                self.application
            ));
            return Answer::reply(refused.with_data(&self.application_data()));
        }
        self.application = wanted;
        Answer::reply(CommandResponse::success().with_data(&self.application_data()))
            .telling(Occurrence::of(&ApplicationModeChanged { mode: wanted }))
    }

    /// Answers SET_TRAINING_MODE.
    pub(crate) fn set_training(&mut self, data: &Value, has_animal: bool) -> Answer {
        let Some(wanted) = mode::<TrainingMode>(data).filter(|mode| mode.name().is_some()) else {
            let refused = not_a_mode("training", data);
            return Answer::reply(refused.with_data(&self.training_data()));
        };
        if wanted == self.training {
            return Answer::reply(CommandResponse::success().with_data(&self.training_data()));
        }
        if wanted == TrainingMode::Undefined || (wanted == TrainingMode::Automatic && !has_animal) {
            let refused = CommandResponse::unavailable()
                .with_error_message(format!("the training mode cannot be {wanted} now"));
            return Answer::reply(refused.with_data(&self.training_data()));
        }
        self.training = wanted;
        Answer::reply(CommandResponse::success().with_data(&self.training_data())).telling(
            Occurrence::of(&TrainingModeChanged {
                training_mode: wanted,
            }),
        )
    }

    const fn application_data(&self) -> ApplicationModeData {
        ApplicationModeData {
            mode: self.application,
        }
    }

    const fn training_data(&self) -> TrainingModeData {
        TrainingModeData {
            mode: self.training,
        }
    }
}

fn mode<T: DeserializeOwned>(data: &Value) -> Option<T> {
    T::deserialize(data.get("mode")?).ok()
}

fn not_a_mode(which: &str, data: &Value) -> CommandResponse {
    CommandResponse::failed(
        BAD_DATA,
        match data.get("mode") {
            Some(mode) => format!("{mode} is not a mode of the {which}"),
            None => "the data have no mode".to_owned(),
        },
    )
}

fn is_possible(from: ApplicationMode, to: ApplicationMode, is_stopped: bool) -> bool {
    use ApplicationMode::{Calibration3d, CalibrationDcs, Idle, InDevice, InTraining, Running};

    match to {
        Idle => true,
        _ if is_stopped => false,
        Running => !matches!(from, CalibrationDcs | Calibration3d),
        InDevice | InTraining => matches!(from, Running | InDevice | InTraining),
        CalibrationDcs | Calibration3d => from == Idle,
        _ => false,
    }
}
