//! Contexts of the head fixation: the magnet's baseline and the automatic clamp.

use serde::{Deserialize, Serialize};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;

/// The baseline of the head fixation magnet changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The intensity now.
    pub baseline: f64,
}

impl EventContext for Baseline {
    const KINDS: &'static [EventKind] = &[EventKind::HeadfixBaselineChanged];
}

/// How strongly the automatic clamp holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// The intensity of the magnet.
    pub intensity: f64,
}

impl EventContext for Intensity {
    const KINDS: &'static [EventKind] = &[
        EventKind::AutoClampIntensityChanged,
        EventKind::AutoClampEngaged,
        EventKind::AutoClampPreDisengage,
        EventKind::AutoClampDisengaged,
    ];
}

/// The frequency of the clamp's release tone changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Frequency {
    /// The frequency now, in hertz.
    pub frequency: f64,
}

impl EventContext for Frequency {
    const KINDS: &'static [EventKind] = &[EventKind::AutoClampReleaseToneFreqChanged];
}

/// The delay of the clamp's release changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// The delay now, in seconds.
    pub delay: f64,
}

impl EventContext for Delay {
    const KINDS: &'static [EventKind] = &[EventKind::AutoClampReleaseDelayChanged];
}

/// The release tone plays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReleaseTone {
    /// Its frequency, in hertz.
    pub frequency: f64,
    /// Its length, in seconds.
    pub duration: f64,
}

impl EventContext for ReleaseTone {
    const KINDS: &'static [EventKind] = &[EventKind::AutoClampPlayReleaseTone];
}
