//! Contexts of the training: mode, plan, phase, and what a protocol reports.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;
use crate::rpc::values::TrainingMode;

/// The training mode is another one; the same in 0.9.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingModeChanged {
    /// The mode now in force.
    pub training_mode: TrainingMode,
}

impl EventContext for TrainingModeChanged {
    const KINDS: &'static [EventKind] = &[EventKind::TrainingModeChanged];
}

/// A training plan was loaded; the same in 0.9.7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingPlan {
    /// The plan, a UUID in text form.
    pub training_plan_id: String,
}

impl EventContext for TrainingPlan {
    const KINDS: &'static [EventKind] = &[EventKind::TrainingPlanLoad];
}

/// A training phase began, is over or made progress; begin and end are the same in 0.9.7.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingPhase {
    /// The phase, a UUID in text form.
    pub training_phase_id: String,
}

impl EventContext for TrainingPhase {
    const KINDS: &'static [EventKind] = &[
        EventKind::TrainingPhaseEnter,
        EventKind::TrainingPhaseExit,
        EventKind::TrainingProgressUpdate,
    ];
}

/// What a protocol reports: any object; the context of these kinds may be null as well.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Protocol(
    /// The members; their keys are written in camelCase.
    pub Map<String, Value>,
);

impl EventContext for Protocol {
    const KINDS: &'static [EventKind] = &[
        EventKind::ProtocolEvent,
        EventKind::ProtocolPlanEvent,
        EventKind::ProtocolPhaseEvent,
        EventKind::ProtocolPredicateEvent,
        EventKind::ProtocolActionEvent,
        EventKind::ProtocolProgressEvent,
    ];
}
