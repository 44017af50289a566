//! Contexts of the application: launch, mode, properties, project.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;
use crate::rpc::values::ApplicationMode;

/// The application has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationLaunched {
    /// The version of the application.
    pub version: String,
}

impl EventContext for ApplicationLaunched {
    const KINDS: &'static [EventKind] = &[EventKind::ApplicationLaunched];
}

/// The application mode is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationModeChanged {
    /// The mode now in force.
    pub mode: ApplicationMode,
}

impl EventContext for ApplicationModeChanged {
    const KINDS: &'static [EventKind] = &[EventKind::ApplicationModeChanged];
}

/// A property of the application changed its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertyChanged {
    /// The object that has the property, by the application's own numbers.
    pub target: i64,
    /// The property.
    pub name: String,
    /// The value now; its keys are written in camelCase like any others.
    pub new_value: Value,
    /// The value before.
    pub old_value: Value,
}

impl EventContext for PropertyChanged {
    const KINDS: &'static [EventKind] = &[EventKind::PropertyChanged];
}

/// Another project, day or session is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectChanged {
    /// The directory of the project.
    pub root: String,
    /// The rig.
    pub device_id: String,
    /// The day, as the application names it.
    pub day: String,
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
}

impl EventContext for ProjectChanged {
    const KINDS: &'static [EventKind] = &[EventKind::ProjectChanged];
}

/// Another trial of the project is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectTrialChanged {
    /// The directory of the project.
    pub root: String,
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
}

impl EventContext for ProjectTrialChanged {
    const KINDS: &'static [EventKind] = &[EventKind::ProjectTrialChanged];
}
