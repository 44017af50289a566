//! What an event carries: one type for each shape of `context`, with the kinds that have it.
//!
//! | file | events about |
//! |---|---|
//! | [`application`] | launch, modes, properties, the project |
//! | [`emergency`] | emergency stop and resume |
//! | [`session`] | sessions, trials, what was seen in them, reaches, batches |
//! | [`intertrial`] | segmentation, detection and what follows from them |
//! | [`device`] | the pellet device, the tunnel, commands to devices |
//! | [`head_fixation`] | load cell, baseline, automatic clamp |
//! | [`counts`] | counts of a session and of a day |
//! | [`training`] | training plans, phases, protocols |
//!
//! The contexts that are answers as well (system status, alarm, detector, animal) are in [`status`](crate::rpc::status).
//! Shapes are those of `auto-trainer-api` 0.12.0; a member that came later than 0.9.24 may be absent when an older peer
//! sends, and a member that is not known is skipped. Every type reads what it writes.

pub mod application;
pub mod counts;
pub mod device;
pub mod emergency;
pub mod head_fixation;
pub mod intertrial;
pub mod session;
pub mod training;

use serde::{Deserialize, Serialize};

use crate::rpc::kind::EventKind;

/// A value that can be the `context` of an event, and the kinds of event that carry it.
///
/// # Examples
/// ```
/// use acqbus::rpc::context::EventContext;
/// use acqbus::rpc::context::session::SessionStarted;
/// use acqbus::rpc::EventKind;
///
/// assert_eq!(SessionStarted::KINDS, [EventKind::SessionStarted]);
/// ```
pub trait EventContext: Serialize {
    /// The kinds that carry this context; never empty. Where there is one only, the type decides the kind of an event.
    const KINDS: &'static [EventKind];
}

/// The kinds whose `context` is null.
pub const WITHOUT_CONTEXT: &[EventKind] = &[
    EventKind::CalibrationDcsCompleted,
    EventKind::Calibration3dCompleted,
    EventKind::AlgorithmPause,
    EventKind::AlgorithmResume,
    EventKind::TunnelEnter,
    EventKind::TunnelExit,
    EventKind::HeadfixAutoTare,
    EventKind::Unknown,
];

/// A place or a distance in the coordinates of the pellet device, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// Along x.
    pub x: f64,
    /// Along y.
    pub y: f64,
    /// Along z.
    pub z: f64,
}

/// Why something happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The reason, for people.
    pub reason: String,
}

impl EventContext for Reason {
    const KINDS: &'static [EventKind] = &[
        EventKind::ApplicationTerminating,
        EventKind::CalibrationDcsFailed,
        EventKind::Calibration3dFailed,
    ];
}

/// Whether something is turned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enabled {
    /// The setting in force.
    pub is_enabled: bool,
}

impl EventContext for Enabled {
    const KINDS: &'static [EventKind] = &[
        EventKind::HeadfixLoadCellEnabledChanged,
        EventKind::HeadfixLoadCellChangedInIntersession,
        EventKind::HeadfixLoadCellChangedWrongState,
        EventKind::HeadFixationForceDetectorChanged,
        EventKind::AutoClampEnabledChanged,
    ];
}

/// Whether a sensor is engaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engaged {
    /// The state of the sensor.
    pub is_engaged: bool,
}

impl EventContext for Engaged {
    const KINDS: &'static [EventKind] = &[
        EventKind::LoadCellEngagedChanged,
        EventKind::HeadbarPressureEngagedChanged,
    ];
}

/// A trial of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionTrial {
    /// The session.
    pub session_id: String,
    /// The trial in the session.
    pub trial_id: i64,
}

impl EventContext for SessionTrial {
    const KINDS: &'static [EventKind] = &[
        EventKind::TrialCaptureEnded,
        EventKind::TrialPelletPresented,
    ];
}
