//! The kinds of events, as `auto-trainer-api` 0.9.7 numbers them.

use crate::rpc::kind::EventKind;
use crate::rpc::number::wire_numbers;

wire_numbers! {
    /// What an event of a 0.9.7 peer tells, and any other number.
    ///
    /// An event on our side holds an [`EventKind`]; the conversion keeps the number, which is what the wire carries. The
    /// name that [`EventKind`] gives it is then that of the later versions.
    ///
    /// # Examples
    /// ```
    /// use acqbus::rpc::EventKind;
    /// use acqbus::rpc::kind_0_9_7::EventKind097;
    ///
    /// assert_eq!(EventKind097::AcquisitionStarted.number(), 301);
    /// assert_eq!(EventKind::from(EventKind097::AcquisitionStarted), EventKind::ApplicationModeChanged);
    /// ```
    EventKind097 ("0.9.7 event kind") {
        /// An emergency stop took effect; published on EMERGENCY as well.
        EmergencyStop = 101, "emergencyStop";
        /// Work goes on after an emergency stop; published on EMERGENCY as well.
        EmergencyResume = 102, "emergencyResume";
        /// The application has started.
        ApplicationLaunched = 201, "applicationLaunched";
        /// The application is about to end.
        ApplicationTerminating = 202, "applicationTerminating";
        /// Acquisition began.
        AcquisitionStarted = 301, "acquisitionStarted";
        /// Acquisition is over.
        AcquisitionEnded = 305, "acquisitionEnded";
        /// The DCS calibration began.
        CalibrationDcsStarted = 310, "calibrationDcsStarted";
        /// The DCS calibration is over.
        CalibrationDcsEnded = 315, "calibrationDcsEnded";
        /// The 3D calibration began.
        Calibration3dStarted = 320, "calibration3dStarted";
        /// The 3D calibration is over.
        Calibration3dEnded = 325, "calibration3dEnded";
        /// A property of the application changed its value.
        PropertyChanged = 501, "propertyChanged";
        /// The behaviour algorithm pauses.
        AlgorithmPause = 1001, "algorithmPause";
        /// The behaviour algorithm goes on.
        AlgorithmResume = 1002, "algorithmResume";
        /// An animal entered the tunnel.
        TunnelEnter = 1101, "tunnelEnter";
        /// The animal left the tunnel.
        TunnelExit = 1102, "tunnelExit";
        /// Loading a pellet is possible.
        PelletLoadCan = 1201, "pelletLoadCan";
        /// Loading a pellet began.
        PelletLoadBegin = 1202, "pelletLoadBegin";
        /// Loading a pellet is over.
        PelletLoadEnd = 1203, "pelletLoadEnd";
        /// Sending the pellet to the animal is possible.
        PelletSendCan = 1204, "pelletSendCan";
        /// Sending the pellet to the animal began.
        PelletSendBegin = 1205, "pelletSendBegin";
        /// Sending the pellet to the animal is over.
        PelletSendEnd = 1206, "pelletSendEnd";
        /// Covering the pellet is possible.
        PelletCoverCan = 1207, "pelletCoverCan";
        /// Covering the pellet began.
        PelletCoverBegin = 1208, "pelletCoverBegin";
        /// Covering the pellet is over.
        PelletCoverEnd = 1209, "pelletCoverEnd";
        /// Releasing the pellet is possible.
        PelletReleaseCan = 1210, "pelletReleaseCan";
        /// Releasing the pellet began.
        PelletReleaseBegin = 1211, "pelletReleaseBegin";
        /// Releasing the pellet is over.
        PelletReleaseEnd = 1212, "pelletReleaseEnd";
        /// Homing the pellet device is possible.
        PelletHomeCan = 1213, "pelletHomeCan";
        /// Homing the pellet device began.
        PelletHomeBegin = 1214, "pelletHomeBegin";
        /// Homing the pellet device is over.
        PelletHomeEnd = 1215, "pelletHomeEnd";
        /// Preparing the release of the pellet is possible.
        PelletPrereleaseCan = 1216, "pelletPrereleaseCan";
        /// Preparing the release of the pellet began.
        PelletPrereleaseBegin = 1217, "pelletPrereleaseBegin";
        /// Preparing the release of the pellet is over.
        PelletPrereleaseEnd = 1218, "pelletPrereleaseEnd";
        /// A token of the pellet device was acknowledged.
        PelletAcknowledgeToken = 1298, "pelletAcknowledgeToken";
        /// A token came from outside the pellet device.
        PelletExternalToken = 1299, "pelletExternalToken";
        /// A session is about to begin.
        SessionStarting = 1301, "sessionStarting";
        /// A session began.
        SessionStarted = 1302, "sessionStarted";
        /// A session is about to end.
        SessionEnding = 1303, "sessionEnding";
        /// A session is over.
        SessionEnded = 1304, "sessionEnded";
        /// The session's pellet count went up.
        SessionPelletIncrease = 1311, "sessionPelletIncrease";
        /// The session's pellet count went down.
        SessionPelletDecrease = 1312, "sessionPelletDecrease";
        /// The mouse was seen in the session.
        SessionMouseSeen = 1321, "sessionMouseSeen";
        /// A day began.
        DayStarted = 1401, "dayStarted";
        /// The day's pellet count went up.
        DayIncreasePellet = 1411, "dayIncreasePellet";
        /// The day's pellet count went down.
        DayDecreasePellet = 1412, "dayDecreasePellet";
        /// The pellet was seen.
        PelletSeen = 1501, "pelletSeen";
        /// A pellet was presented.
        PelletPresented = 1502, "pelletPresented";
        /// A reach for the pellet succeeded.
        PelletSuccessfulReach = 1503, "pelletSuccessfulReach";
        /// The triangle was seen.
        TriangleSeen = 1550, "triangleSeen";
        /// The baseline of the head fixation magnet changed.
        HeadfixBaselineChanged = 1601, "headfixBaselineChanged";
        /// The load cell setting of the head fixation changed.
        HeadfixLoadCellChanged = 1602, "headfixLoadCellChanged";
        /// The load cell setting changed between sessions.
        HeadfixLoadCellChangedInIntersession = 1603, "headfixLoadCellChangedInIntersession";
        /// The load cell setting changed in a state that does not allow it.
        HeadfixLoadCellChangedWrongState = 1604, "headfixLoadCellChangedWrongState";
        /// The head fixation load cell was tared.
        HeadfixAutoTare = 1611, "headfixAutoTare";
        /// The intensity of the automatic clamp changed.
        AutoClampIntensityChanged = 1621, "autoClampIntensityChanged";
        /// The frequency of the clamp's release tone changed.
        AutoClampReleaseToneFreqChanged = 1622, "autoClampReleaseToneFreqChanged";
        /// The delay of the clamp's release changed.
        AutoClampReleaseDelayChanged = 1623, "autoClampReleaseDelayChanged";
        /// The segmentation of a session is possible.
        IntersessionSegmentationCan = 1701, "intersessionSegmentationCan";
        /// The segmentation of a session began.
        IntersessionSegmentationBegin = 1702, "intersessionSegmentationBegin";
        /// The segmentation of a session is over.
        IntersessionSegmentationEnd = 1703, "intersessionSegmentationEnd";
        /// An answer of the segmentation belongs to another request.
        IntersessionSegmentationNonceMismatch = 1704, "intersessionSegmentationNonceMismatch";
        /// The segmentation of a session failed.
        IntersessionSegmentationError = 1705, "intersessionSegmentationError";
        /// The segmentation of a session was saved.
        IntersessionSegmentationSave = 1706, "intersessionSegmentationSave";
        /// Saving the segmentation of a session failed.
        IntersessionSegmentationSaveError = 1707, "intersessionSegmentationSaveError";
        /// The input of the segmentation cannot be used.
        IntersessionSegmentationInputError = 1708, "intersessionSegmentationInputError";
        /// The detection of a session is possible.
        IntersessionDetectionCan = 1711, "intersessionDetectionCan";
        /// The detection of a session began.
        IntersessionDetectionBegin = 1712, "intersessionDetectionBegin";
        /// The detection of a session is over.
        IntersessionDetectionEnd = 1713, "intersessionDetectionEnd";
        /// An answer of the detection belongs to another request.
        IntersessionDetectionNonceMismatch = 1714, "intersessionDetectionNonceMismatch";
        /// The detection of a session failed.
        IntersessionDetectionError = 1715, "intersessionDetectionError";
        /// The detection of a session was saved.
        IntersessionDetectionSave = 1716, "intersessionDetectionSave";
        /// Saving the detection of a session failed.
        IntersessionDetectionSaveError = 1717, "intersessionDetectionSaveError";
        /// The pellet is shifted along x between sessions.
        IntersessionShiftX = 1731, "intersessionShiftX";
        /// The pellet is shifted along y between sessions.
        IntersessionShiftY = 1732, "intersessionShiftY";
        /// The pellet is shifted along z between sessions.
        IntersessionShiftZ = 1733, "intersessionShiftZ";
        /// The force detector of the head fixation was turned on or off.
        HeadFixationForceDetectorChanged = 1801, "headFixationForceDetectorChanged";
        /// Head fixation was turned on or off.
        HeadFixationEnabled = 1802, "headFixationEnabled";
        /// A command was sent to a device.
        DeviceCommandSend = 2001, "deviceCommandSend";
        /// A device acknowledged a command.
        DeviceCommandAcknowledge = 2002, "deviceCommandAcknowledge";
        /// The load cell was engaged or let go.
        LoadCellEngagedChanged = 4001, "loadCellEngagedChanged";
        /// The head bar was pressed or let go.
        HeadbarPressureEngagedChanged = 4011, "headbarPressureEngagedChanged";
        /// The training mode is another one.
        TrainingModeChanged = 5001, "trainingModeChanged";
        /// A training plan was loaded.
        TrainingPlanLoad = 5101, "trainingPlanLoad";
        /// A training phase began.
        TrainingPhaseEnter = 5201, "trainingPhaseEnter";
        /// A training phase is over.
        TrainingPhaseExit = 5202, "trainingPhaseExit";
        /// A training phase made progress.
        TrainingProgressUpdate = 5501, "trainingProgressUpdate";
    }
}

impl From<EventKind097> for EventKind {
    fn from(kind: EventKind097) -> Self {
        kind.number().into()
    }
}

impl From<EventKind> for EventKind097 {
    fn from(kind: EventKind) -> Self {
        kind.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_again_by_its_number_and_its_name() {
        for &kind in EventKind097::ALL {
            assert_eq!(EventKind097::from(kind.number()), kind);
            assert_eq!(kind.name().unwrap().parse(), Ok(kind));
            assert_eq!(EventKind097::from(EventKind::from(kind)), kind);
        }
    }
}
