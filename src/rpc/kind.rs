//! The kinds of events, as `auto-trainer-api` 0.9.24 and later number them.

use crate::rpc::number::wire_numbers;

wire_numbers! {
    /// What an event tells: every kind of `auto-trainer-api` 0.9.24 to 0.12.0, and any other number.
    ///
    /// Between 0.9.7 and 0.9.24 some numbers changed their meaning (301 and 1301 among them): the kinds of a 0.9.7
    /// peer are [`EventKind097`](crate::rpc::kind_0_9_7::EventKind097). A heartbeat carries the version.
    ///
    /// # Examples
    /// ```
    /// use acqbus::rpc::EventKind;
    ///
    /// assert_eq!(EventKind::SessionStarted.number(), 1331);
    /// assert_eq!("session-started".parse(), Ok(EventKind::SessionStarted));
    /// assert_eq!(EventKind::from(123), EventKind::Other(123));
    /// ```
    EventKind ("event kind") {
        /// An emergency stop took effect; published on EMERGENCY as well.
        EmergencyStop = 101, "emergencyStop";
        /// Work goes on after an emergency stop; published on EMERGENCY as well.
        EmergencyResume = 102, "emergencyResume";
        /// The application has started.
        ApplicationLaunched = 201, "applicationLaunched";
        /// The application is about to end.
        ApplicationTerminating = 202, "applicationTerminating";
        /// The application mode is another one.
        ApplicationModeChanged = 301, "applicationModeChanged";
        /// The DCS calibration is done.
        CalibrationDcsCompleted = 311, "calibrationDcsCompleted";
        /// The DCS calibration failed.
        CalibrationDcsFailed = 312, "calibrationDcsFailed";
        /// The 3D calibration is done.
        Calibration3dCompleted = 321, "calibration3dCompleted";
        /// The 3D calibration failed.
        Calibration3dFailed = 322, "calibration3dFailed";
        /// A property of the application changed its value.
        PropertyChanged = 501, "propertyChanged";
        /// The whole system status, as GET_STATUS answers it.
        SystemStatus = 601, "systemStatus";
        /// Another project, day or session is in use.
        ProjectChanged = 701, "projectChanged";
        /// Another trial of the project is in use.
        ProjectTrialChanged = 702, "projectTrialChanged";
        /// The behaviour algorithm pauses.
        AlgorithmPause = 1001, "algorithmPause";
        /// The behaviour algorithm goes on.
        AlgorithmResume = 1002, "algorithmResume";
        /// An animal entered the tunnel.
        TunnelEnter = 1101, "tunnelEnter";
        /// The animal left the tunnel.
        TunnelExit = 1102, "tunnelExit";
        /// Loading a pellet began.
        PelletLoadBegin = 1202, "pelletLoadBegin";
        /// Loading a pellet is over.
        PelletLoadEnd = 1203, "pelletLoadEnd";
        /// Sending the pellet to the animal began.
        PelletSendBegin = 1205, "pelletSendBegin";
        /// Sending the pellet to the animal is over.
        PelletSendEnd = 1206, "pelletSendEnd";
        /// Covering the pellet began.
        PelletCoverBegin = 1208, "pelletCoverBegin";
        /// Covering the pellet is over.
        PelletCoverEnd = 1209, "pelletCoverEnd";
        /// Releasing the pellet began.
        PelletReleaseBegin = 1211, "pelletReleaseBegin";
        /// Releasing the pellet is over.
        PelletReleaseEnd = 1212, "pelletReleaseEnd";
        /// Homing the pellet device began.
        PelletHomeBegin = 1214, "pelletHomeBegin";
        /// Homing the pellet device is over.
        PelletHomeEnd = 1215, "pelletHomeEnd";
        /// Retracting the pellet began.
        PelletRetractBegin = 1220, "pelletRetractBegin";
        /// Retracting the pellet is over.
        PelletRetractEnd = 1221, "pelletRetractEnd";
        /// The pellet device was homed again after a number of cycles.
        PelletHomeReset = 1222, "pelletHomeReset";
        /// The pellet device was homed again after a drift.
        PelletDriftReset = 1223, "pelletDriftReset";
        /// Opening the tunnel gate began.
        TunnelGateOpenBegin = 1230, "tunnelGateOpenBegin";
        /// Opening the tunnel gate is over.
        TunnelGateOpenEnd = 1231, "tunnelGateOpenEnd";
        /// Closing the tunnel gate began.
        TunnelGateCloseBegin = 1232, "tunnelGateCloseBegin";
        /// Closing the tunnel gate is over.
        TunnelGateCloseEnd = 1233, "tunnelGateCloseEnd";
        /// Starting the tunnel fan began.
        TunnelFanOnBegin = 1235, "tunnelFanOnBegin";
        /// Starting the tunnel fan is over.
        TunnelFanOnEnd = 1236, "tunnelFanOnEnd";
        /// Stopping the tunnel fan began.
        TunnelFanOffBegin = 1237, "tunnelFanOffBegin";
        /// Stopping the tunnel fan is over.
        TunnelFanOffEnd = 1238, "tunnelFanOffEnd";
        /// A trial began.
        TrialStarted = 1301, "trialStarted";
        /// The capture of a trial is over; its analysis may follow.
        TrialCaptureEnded = 1305, "trialCaptureEnded";
        /// A trial is over.
        TrialEnded = 1311, "trialEnded";
        /// The analysis of a batch of trials began.
        BatchAnalysisStarted = 1321, "batchAnalysisStarted";
        /// The analysis of a batch of trials is over.
        BatchAnalysisEnded = 1322, "batchAnalysisEnded";
        /// A session began.
        SessionStarted = 1331, "sessionStarted";
        /// A session is over.
        SessionEnded = 1332, "sessionEnded";
        /// Head fixation by load cell was turned on or off.
        HeadfixLoadCellEnabledChanged = 1401, "headfixLoadCellEnabledChanged";
        /// The load cell setting changed between sessions.
        HeadfixLoadCellChangedInIntersession = 1405, "headfixLoadCellChangedInIntersession";
        /// The load cell setting changed in a state that does not allow it.
        HeadfixLoadCellChangedWrongState = 1406, "headfixLoadCellChangedWrongState";
        /// The head fixation load cell was tared.
        HeadfixAutoTare = 1411, "headfixAutoTare";
        /// The force detector of the head fixation was turned on or off.
        HeadFixationForceDetectorChanged = 1421, "headFixationForceDetectorChanged";
        /// The animal was seen in a trial.
        TrialAnimalSeen = 1501, "trialAnimalSeen";
        /// The right hand was seen in a trial.
        TrialRightHandSeen = 1502, "trialRightHandSeen";
        /// The pellet was seen in a trial.
        TrialPelletSeen = 1503, "trialPelletSeen";
        /// The baseline of the head fixation magnet changed.
        HeadfixBaselineChanged = 1601, "headfixBaselineChanged";
        /// The automatic clamp was turned on or off.
        AutoClampEnabledChanged = 1611, "autoClampEnabledChanged";
        /// The intensity of the automatic clamp changed.
        AutoClampIntensityChanged = 1612, "autoClampIntensityChanged";
        /// The frequency of its release tone changed.
        AutoClampReleaseToneFreqChanged = 1613, "autoClampReleaseToneFreqChanged";
        /// The delay of its release changed.
        AutoClampReleaseDelayChanged = 1614, "autoClampReleaseDelayChanged";
        /// The automatic clamp holds.
        AutoClampEngaged = 1621, "autoClampEngaged";
        /// The automatic clamp is about to let go.
        AutoClampPreDisengage = 1622, "autoClampPreDisengage";
        /// The release tone plays.
        AutoClampPlayReleaseTone = 1623, "autoClampPlayReleaseTone";
        /// The automatic clamp let go.
        AutoClampDisengaged = 1624, "autoClampDisengaged";
        /// The segmentation of a trial began.
        IntertrialSegmentationBegin = 1701, "intertrialSegmentationBegin";
        /// The segmentation of a trial is over.
        IntertrialSegmentationEnd = 1702, "intertrialSegmentationEnd";
        /// The segmentation of a trial failed.
        IntertrialSegmentationError = 1703, "intertrialSegmentationError";
        /// The segmentation of a trial was saved.
        IntertrialSegmentationSave = 1704, "intertrialSegmentationSave";
        /// Saving the segmentation of a trial failed.
        IntertrialSegmentationSaveError = 1705, "intertrialSegmentationSaveError";
        /// The detection of a trial began.
        IntertrialDetectionBegin = 1711, "intertrialDetectionBegin";
        /// The detection of a trial is over.
        IntertrialDetectionEnd = 1712, "intertrialDetectionEnd";
        /// The detection of a trial failed.
        IntertrialDetectionError = 1713, "intertrialDetectionError";
        /// The detection of a trial was saved.
        IntertrialDetectionSave = 1714, "intertrialDetectionSave";
        /// Saving the detection of a trial failed.
        IntertrialDetectionSaveError = 1715, "intertrialDetectionSaveError";
        /// What the analysis of a trial found (from 0.10).
        IntertrialResponse = 1720, "intertrialResponse";
        /// The session's count of presented pellets changed.
        PelletPresentedCountChanged = 1800, "pelletPresentedCountChanged";
        /// The session's count of consumed pellets changed.
        PelletConsumedCountChanged = 1802, "pelletConsumedCountChanged";
        /// The session's count of reaches changed.
        ReachCountChanged = 1803, "reachCountChanged";
        /// The session's count of successful reaches changed.
        SuccessfulReachesCountChanged = 1804, "successfulReachesCountChanged";
        /// A day began.
        DayStarted = 1811, "dayStarted";
        /// The day's count of presented pellets changed.
        DayPelletPresentedCountChanged = 1812, "dayPelletPresentedCountChanged";
        /// The day's count of consumed pellets changed.
        DayPelletConsumedCountChanged = 1813, "dayPelletConsumedCountChanged";
        /// The day's count of reaches changed.
        DayReachCountChanged = 1814, "dayReachCountChanged";
        /// The day's count of successful reaches changed.
        DaySuccessfulReachesCountChanged = 1815, "daySuccessfulReachesCountChanged";
        /// A pellet was presented in a trial.
        TrialPelletPresented = 1901, "trialPelletPresented";
        /// The reaches of a trial.
        TrialReachEvents = 1911, "trialReachEvents";
        /// The pellet position is shifted after a trial.
        IntertrialPelletShift = 1921, "intertrialPelletShift";
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
        /// An event of the protocol.
        ProtocolEvent = 5801, "protocolEvent";
        /// An event of a protocol's plan.
        ProtocolPlanEvent = 5811, "protocolPlanEvent";
        /// An event of a protocol's phase.
        ProtocolPhaseEvent = 5821, "protocolPhaseEvent";
        /// An event of a protocol's predicate.
        ProtocolPredicateEvent = 5831, "protocolPredicateEvent";
        /// An event of a protocol's action.
        ProtocolActionEvent = 5841, "protocolActionEvent";
        /// An event of a protocol's progress.
        ProtocolProgressEvent = 5851, "protocolProgressEvent";
        /// A detector changed.
        DetectorChanged = 6001, "detectorChanged";
        /// An alarm changed.
        AlarmChanged = 6501, "alarmChanged";
        /// An animal was created.
        AnimalCreated = 7001, "animalCreated";
        /// An animal was updated.
        AnimalUpdated = 7002, "animalUpdated";
        /// Another animal, or none, is selected.
        AnimalSelected = 7003, "animalSelected";
        /// An event without a kind of its own.
        Unknown = 999999, "unknown";
    }
}

impl EventKind {
    /// Whether an event of this kind is published on EMERGENCY before it goes out on EVENT.
    #[must_use]
    pub const fn is_emergency(self) -> bool {
        matches!(self.number(), 101 | 102)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_again_by_its_number_and_its_name() {
        for &kind in EventKind::ALL {
            let name = kind.name().unwrap();
            assert_eq!(EventKind::from(kind.number()), kind);
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(name.to_uppercase().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_number_survives_a_round_trip() {
        let kind: EventKind = serde_json::from_str("-7").unwrap();
        assert_eq!(kind, EventKind::Other(-7));
        assert_eq!(serde_json::to_string(&kind).unwrap(), "-7");
        assert_eq!(kind.to_string(), "-7");
        assert_eq!("-7".parse(), Ok(kind));
    }

    #[test]
    fn a_number_is_read_by_its_value() {
        let read = serde_json::from_str::<EventKind>;
        assert_eq!(read("101.0").unwrap(), EventKind::EmergencyStop);
        assert_eq!(read("1.01e2").unwrap(), EventKind::EmergencyStop);
        for text in [
            "101.5",
            "1e300",
            "18446744073709551615",
            "\"101\"",
            "null",
            "true",
            "[]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_kind_is_refused_by_name() {
        let refused = "sessionBrewed".parse::<EventKind>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"no event kind is called "sessionBrewed""#
        );
    }

    #[test]
    fn only_the_two_emergency_kinds_are_copied() {
        let copied: Vec<_> = EventKind::ALL
            .iter()
            .filter(|kind| kind.is_emergency())
            .collect();
        assert_eq!(
            copied,
            [&EventKind::EmergencyStop, &EventKind::EmergencyResume]
        );
        assert!(EventKind::Other(101).is_emergency());
    }
}
