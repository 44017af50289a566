//! Contexts of the analysis between trials: segmentation, detection, its findings, the shift of the pellet.

use serde::{Deserialize, Serialize};

use crate::rpc::context::session::ReachEvent;
use crate::rpc::context::{EventContext, Vector};
use crate::rpc::kind::EventKind;
use crate::rpc::values::PelletShiftSource;

/// A trial and the batch that it is analysed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisTrial {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch, null on the wire when the trial is analysed alone.
    pub batch_id: Option<String>,
}

impl EventContext for AnalysisTrial {
    const KINDS: &'static [EventKind] = &[
        EventKind::IntertrialSegmentationBegin,
        EventKind::IntertrialSegmentationEnd,
        EventKind::IntertrialDetectionBegin,
        EventKind::IntertrialDetectionEnd,
    ];
}

/// A step of the analysis, or saving its result, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntertrialError {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch, if there is one.
    pub batch_id: Option<String>,
    /// What went wrong, for people.
    pub error: String,
}

impl EventContext for IntertrialError {
    const KINDS: &'static [EventKind] = &[
        EventKind::IntertrialSegmentationError,
        EventKind::IntertrialSegmentationSaveError,
        EventKind::IntertrialDetectionError,
        EventKind::IntertrialDetectionSaveError,
    ];
}

/// The result of a step of the analysis was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntertrialSave {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch, if there is one.
    pub batch_id: Option<String>,
    /// Where it was saved.
    pub location: String,
}

impl EventContext for IntertrialSave {
    const KINDS: &'static [EventKind] = &[
        EventKind::IntertrialSegmentationSave,
        EventKind::IntertrialDetectionSave,
    ];
}

/// What the analysis of a trial found (from 0.10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntertrialResponse {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch, if there is one.
    pub batch_id: Option<String>,
    /// The findings.
    pub response_data: ResponseData,
}

impl EventContext for IntertrialResponse {
    const KINDS: &'static [EventKind] = &[EventKind::IntertrialResponse];
}

/// The findings of an analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseData {
    /// Where the right hand was farthest in each reach, x, y and z; null where it was not seen.
    pub rh_max_vp_list: Vec<Option<Vec<f64>>>,
    /// Reaches for the pellet.
    pub reach_events: Vec<ReachEvent>,
    /// Movements that are none.
    pub other_events: Vec<ReachEvent>,
    /// Movements of the hands; absent before 0.12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_events: Option<Vec<ReachEvent>>,
    /// How many pellets were eaten.
    pub food_consumed: i64,
    /// How many reaches succeeded.
    pub successful_reaches: i64,
    /// How many reaches there were.
    pub total_reaches: i64,
    /// How many pellets were presented; only some producers say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pellets_presented: Option<i64>,
}

/// The pellet position is shifted after a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PelletShift {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch, if there is one.
    pub batch_id: Option<String>,
    /// Why it is shifted.
    pub source: PelletShiftSource,
    /// By how much.
    pub shift: Vector,
    /// Whether it is shifted later, not at once.
    pub deferred: bool,
}

impl EventContext for PelletShift {
    const KINDS: &'static [EventKind] = &[EventKind::IntertrialPelletShift];
}
