//! What a rig answers to GET_CONFIGURATION, GET_STATUS, GET_ANIMALS and the SET commands, as `auto-trainer-api` 0.12.0.
//!
//! The shapes of 0.9.7 are in [`status_0_9_7`](crate::rpc::status_0_9_7). Members that 0.12.0 added are options: `None` is
//! what an older peer sends, and is left out when written.

use serde::{Deserialize, Serialize};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;
use crate::rpc::values::{AlarmKind, ApplicationMode, DetectorKind, TrainingMode};

/// The answer to GET_STATUS and the context of a system status event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemStatus {
    /// What the application is doing.
    pub application_mode: ApplicationMode,
    /// Who decides what is trained.
    pub training_mode: TrainingMode,
    /// The selected animal.
    pub animal: Option<AnimalStatus>,
    /// Where the data go.
    pub project: ProjectStatus,
    /// Every alarm.
    pub alarms: Vec<AlarmStatus>,
    /// Every detector.
    pub detectors: Vec<DetectorStatus>,
    /// The device that brings the pellet.
    pub pellet_device: PelletDeviceStatus,
    /// The tunnel with its magnet, gate and fan.
    pub tunnel_device: TunnelDeviceStatus,
    /// What the behaviour algorithm does and counts.
    pub behavior: BehaviorStatus,
}

impl EventContext for SystemStatus {
    const KINDS: &'static [EventKind] = &[EventKind::SystemStatus];
}

/// The answer to GET_CONFIGURATION.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The version of the application.
    pub application_version: String,
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

/// Where the data of the moment go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectStatus {
    /// The directory of the day.
    pub day_path: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The session; empty when there is none.
    pub session_id: String,
}

/// One alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmStatus {
    /// Which one.
    pub alarm_id: AlarmKind,
    /// Whether it is raised.
    pub is_active: bool,
    /// Whether it is looked at.
    pub is_enabled: bool,
    /// Whether the rig goes on by itself when it is over.
    pub is_auto_resume_enabled: bool,
    /// Whether it stops the rig.
    pub is_stop_condition: bool,
}

impl EventContext for AlarmStatus {
    const KINDS: &'static [EventKind] = &[EventKind::AlarmChanged];
}

/// One detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorStatus {
    /// Which one.
    pub detector_id: DetectorKind,
    /// Whether it has found something.
    pub is_active: bool,
    /// Whether it is looked at.
    pub is_enabled: bool,
}

impl EventContext for DetectorStatus {
    const KINDS: &'static [EventKind] = &[EventKind::DetectorChanged];
}

/// The device that brings the pellet: where it is to go, where it is, its arms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PelletDeviceStatus {
    /// Where the pellet is sent, x.
    pub dcs_send_x: f64,
    /// Where the pellet is sent, y.
    pub dcs_send_y: f64,
    /// Where the pellet is sent, z.
    pub dcs_send_z: f64,
    /// Where the device is, x.
    pub dcs_x: f64,
    /// Where the device is, y.
    pub dcs_y: f64,
    /// Where the device is, z.
    pub dcs_z: f64,
    /// The load arm.
    pub load_arm: f64,
    /// The barrier arm.
    pub barrier_arm: f64,
    /// Whether the barrier arm covers the pellet.
    pub is_barrier_arm_active: bool,
    /// SET_HOME_ON_EXCESSIVE_DRIFT_ENABLED; `None` before 0.12.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_home_on_excessive_drift_enabled: Option<bool>,
    /// SET_TUNNEL_SWEEP_ENABLED; `None` before 0.12.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_tunnel_sweep_enabled: Option<bool>,
}

/// The tunnel with its magnet, gate and fan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelDeviceStatus {
    /// The intensity of the magnet.
    pub magnet_intensity: f64,
    /// The same as `is_gate_open` under its old name; `None` from 0.12.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_open: Option<bool>,
    /// Whether the gate is open.
    pub is_gate_open: bool,
    /// Whether the fan runs.
    pub is_fan_on: bool,
}

/// What the behaviour algorithm does and counts.
///
/// A setting is `None` before 0.12.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviorStatus {
    /// The intensity that the magnet goes back to.
    pub baseline_magnet_intensity: f64,
    /// The counts of the session.
    pub reaches: ReachStatus,
    /// SET_LIVE_ANALYSIS_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_live_analysis_enabled: Option<bool>,
    /// SET_PELLET_DELIVERY_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_pellet_delivery_enabled: Option<bool>,
    /// SET_PELLET_COVER_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_pellet_cover_enabled: Option<bool>,
    /// SET_INTERTRIAL_PELLET_SHIFT_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_intertrial_pellet_shift_enabled: Option<bool>,
    /// SET_TRIANGLE_PELLET_DISTANCE_DETECTION_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_triangle_pellet_distance_detection_enabled: Option<bool>,
    /// SET_AUTO_CLOSE_GATE_ON_INTERTRIAL_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_auto_close_gate_on_intertrial_enabled: Option<bool>,
    /// SET_AUTO_CLAMP_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_auto_clamp_enabled: Option<bool>,
    /// SET_BATCH_TRIALS_ENABLED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_batch_trials_enabled: Option<bool>,
}

/// Counts of pellets and reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachStatus {
    /// Pellets presented.
    pub pellets_presented: i64,
    /// Pellets eaten.
    pub pellets_consumed: i64,
    /// Reaches.
    pub reaches: i64,
    /// Reaches that got the pellet.
    pub successful_reaches: i64,
}

/// One animal: an item of the answer to GET_ANIMALS, and the context of the events about animals.
///
/// The context of [`EventKind::AnimalSelected`] is null when no animal is selected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnimalStatus {
    /// The animal, for programs.
    pub identifier: String,
    /// The animal, for people.
    pub name: String,
    /// Where its pellet is sent, x.
    pub dcs_send_x: f64,
    /// Where its pellet is sent, y.
    pub dcs_send_y: f64,
    /// Where its pellet is sent, z.
    pub dcs_send_z: f64,
    /// How far y may go; null on the wire when there is no limit.
    pub target_y_limit: Option<f64>,
    /// Its counts since it is known.
    pub reach_status_total: ReachStatus,
    /// Its counts of the day.
    pub reach_status_day: ReachStatus,
}

impl EventContext for AnimalStatus {
    const KINDS: &'static [EventKind] = &[
        EventKind::AnimalCreated,
        EventKind::AnimalUpdated,
        EventKind::AnimalSelected,
    ];
}

/// The data of SET_APPLICATION_MODE, in the request and in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationModeData {
    /// The mode that is wanted, or in force.
    pub mode: ApplicationMode,
}

/// The data of SET_TRAINING_MODE, in the request and in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingModeData {
    /// The mode that is wanted, or in force.
    pub mode: TrainingMode,
}

/// The data of the ten commands that turn something on or off, in the request and in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnabledData {
    /// The setting that is wanted, or in force.
    pub enabled: bool,
}
