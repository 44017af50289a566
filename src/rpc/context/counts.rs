//! Contexts of counts, and of the day that they are counted in.

use serde::{Deserialize, Serialize};

use crate::rpc::context::EventContext;
use crate::rpc::kind::EventKind;

/// A count of a session or of a day changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountChange {
    /// By how much; negative when a count is corrected.
    pub change: i64,
    /// The count now.
    pub count: i64,
}

impl EventContext for CountChange {
    const KINDS: &'static [EventKind] = &[
        EventKind::PelletPresentedCountChanged,
        EventKind::PelletConsumedCountChanged,
        EventKind::ReachCountChanged,
        EventKind::SuccessfulReachesCountChanged,
        EventKind::DayPelletPresentedCountChanged,
        EventKind::DayPelletConsumedCountChanged,
        EventKind::DayReachCountChanged,
        EventKind::DaySuccessfulReachesCountChanged,
    ];
}

/// A day began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayStarted {
    /// When it began, in seconds since 1970.
    pub date: f64,
    /// Where its data go; absent on the wire when there is no such place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_path: Option<String>,
}

impl EventContext for DayStarted {
    const KINDS: &'static [EventKind] = &[EventKind::DayStarted];
}
