//! What a rig answers to GET_CONFIGURATION and GET_STATUS, as `auto-trainer-api` 0.9.7.

use serde::{Deserialize, Serialize};

use crate::rpc::number::wire_numbers;
use crate::rpc::values::TrainingMode;

wire_numbers! {
    /// What a 0.9.7 application is doing.
    AppStatus097 ("0.9.7 application status") {
        /// Nothing runs.
        Idle = 0, "IDLE";
        /// It acquires.
        Acquiring = 100, "ACQUIRING";
        /// The DCS calibration runs.
        CalibrationDcs = 200, "CALIBRATION_DCS";
        /// The 3D calibration runs.
        Calibration3d = 300, "CALIBRATION_3D";
    }
}

/// The answer to GET_CONFIGURATION in 0.9.7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration097 {
    /// The rig.
    pub device_id: String,
    /// Where the configuration is kept.
    pub configuration_location: String,
    /// Where the data go.
    pub data_location: String,
    /// Where the animals are kept.
    pub animal_location: String,
    /// Where the logs go.
    pub log_location: String,
    /// The model of the live analysis.
    pub inference_model: String,
}

/// The answer to GET_STATUS in 0.9.7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status097 {
    /// What the application is doing.
    pub app_status: AppStatus097,
    /// Who decides what is trained.
    pub training_mode: TrainingMode,
    /// The selected animal; null when there is none (*ours*, the reference does not say).
    pub animal_id: Option<String>,
}
