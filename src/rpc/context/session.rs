//! Contexts of sessions and trials: begin, end, what was seen, reaches, batches.

use serde::{Deserialize, Serialize};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;
use crate::rpc::values::{ReachMethod, ReachOutcome, TrialResult};

/// A session began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStarted {
    /// The session.
    pub session_id: String,
    /// Whether trials are analysed in batches later, not at once.
    pub is_analysis_deferred: bool,
}

impl EventContext for SessionStarted {
    const KINDS: &'static [EventKind] = &[EventKind::SessionStarted];
}

/// A session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnded {
    /// The session.
    pub session_id: String,
    /// How many trials were captured.
    pub capture_trial_count: i64,
    /// How many of them were analysed.
    pub analysis_trial_count: i64,
    /// How many of those failed.
    pub failed_trial_count: i64,
}

impl EventContext for SessionEnded {
    const KINDS: &'static [EventKind] = &[EventKind::SessionEnded];
}

/// A trial began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialStarted {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// Why it began, for people.
    pub reason: String,
}

impl EventContext for TrialStarted {
    const KINDS: &'static [EventKind] = &[EventKind::TrialStarted];
}

/// A trial is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialEnded {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// What became of it.
    pub result: TrialResult,
}

impl EventContext for TrialEnded {
    const KINDS: &'static [EventKind] = &[EventKind::TrialEnded];
}

/// Something was seen in a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialSeen {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// Present since 0.10 and without a meaning; null on the wire when there is none.
    pub batch_id: Option<String>,
}

impl EventContext for TrialSeen {
    const KINDS: &'static [EventKind] = &[
        EventKind::TrialAnimalSeen,
        EventKind::TrialRightHandSeen,
        EventKind::TrialPelletSeen,
    ];
}

/// The reaches of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReachEvents {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
    /// The batch that the trial was analysed in.
    pub batch_id: Option<String>,
    /// The reaches, oldest first.
    pub trial_reach_events: Vec<ReachEvent>,
}

impl EventContext for TrialReachEvents {
    const KINDS: &'static [EventKind] = &[EventKind::TrialReachEvents];
}

/// One reach for the pellet; `init`, `end` and `max` are frames of the trial's video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReachEvent {
    /// Where it begins.
    pub init: i64,
    /// Where it ends; `None` when it does not.
    pub end: Option<i64>,
    /// Where it is farthest; `None` when that is not known.
    pub max: Option<i64>,
    /// What the animal reached with.
    pub method: ReachMethod,
    /// What became of it.
    pub outcome: ReachOutcome,
    /// Seconds since the pellet was presented.
    pub delay_since_presented: f64,
}

/// The analysis of a batch of trials began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnalysisStarted {
    /// The session.
    pub session_id: String,
    /// The batch.
    pub batch_id: String,
    /// How many trials it has.
    pub analysis_trial_count: i64,
}

impl EventContext for BatchAnalysisStarted {
    const KINDS: &'static [EventKind] = &[EventKind::BatchAnalysisStarted];
}

/// The analysis of a batch of trials is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnalysisEnded {
    /// The session.
    pub session_id: String,
    /// The batch.
    pub batch_id: String,
    /// How many trials it has.
    pub analysis_trial_count: i64,
    /// How many of them failed.
    pub failed_trial_count: i64,
}

impl EventContext for BatchAnalysisEnded {
    const KINDS: &'static [EventKind] = &[EventKind::BatchAnalysisEnded];
}
