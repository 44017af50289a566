//! The small enumerations of events and answers: modes, alarms, detectors, reasons, outcomes.
//!
//! As `auto-trainer-api` 0.12.0 has them; what came later than 0.9.24 says so. A value without a name is kept as `Other`.

use crate::rpc::number::{wire_numbers, wire_texts};

wire_numbers! {
    /// What the application is doing.
    ApplicationMode ("application mode") {
        /// Nothing runs.
        Idle = 0, "IDLE";
        /// The rig runs without an animal in the device.
        Running = 100, "RUNNING";
        /// An animal is in the device.
        InDevice = 200, "IN_DEVICE";
        /// An animal is trained.
        InTraining = 300, "IN_TRAINING";
        /// The DCS calibration runs.
        CalibrationDcs = 1000, "CALIBRATION_DCS";
        /// The 3D calibration runs.
        Calibration3d = 1100, "CALIBRATION_3D";
    }
}

wire_numbers! {
    /// Who decides what is trained; the same in 0.9.7.
    TrainingMode ("training mode") {
        /// Not known.
        Undefined = 0, "UNDEFINED";
        /// A person, without a protocol.
        Manual = 100, "MANUAL";
        /// A person, by a protocol.
        ManualWithProtocol = 200, "MANUAL_WITH_PROTOCOL";
        /// The protocol.
        Automatic = 300, "AUTOMATIC";
    }
}

wire_numbers! {
    /// What an alarm is about.
    AlarmKind ("alarm") {
        /// A door to the outside is open.
        ExternalDoors = 101, "externalDoors";
        /// No animal is found.
        AnimalMissing = 201, "animalMissing";
        /// The animal does not move.
        AnimalImmobile = 210, "animalImmobile";
        /// The animal thrashes.
        Thrashing = 301, "thrashing";
        /// A device does not answer.
        DeviceCommunication = 401, "deviceCommunication";
        /// The system has a fault.
        SystemFault = 501, "systemFault";
        /// The system needs care.
        SystemMaintenance = 601, "systemMaintenance";
        /// The animal evades the clamp.
        AnimalEvasion = 701, "animalEvasion";
        /// The animal may be unwell.
        AnimalWelfare = 801, "animalWelfare";
    }
}

wire_numbers! {
    /// What a detector looks at.
    DetectorKind ("detector") {
        /// The front door.
        FrontDoor = 101, "frontDoor";
        /// The sliding door.
        SlidingDoor = 102, "slidingDoor";
        /// Thrashing, by the load cell.
        LoadCellThrash = 201, "loadCellThrash";
        /// Thrashing, by sound.
        AudioThrash = 202, "audioThrash";
        /// The place of the pellet.
        PelletMisplaced = 301, "pelletMisplaced";
        /// Acknowledgements of devices.
        DeviceAckTimeOut = 401, "deviceAckTimeOut";
        /// Status messages of the pellet device.
        PelletStatusMessageInterruption = 411, "pelletStatusMessageInterruption";
        /// Status messages of the tunnel device.
        TunnelStatusMessageInterruption = 412, "tunnelStatusMessageInterruption";
        /// Free space on the disk.
        LowFreeDiskSpace = 501, "lowFreeDiskSpace";
        /// The main thread of the application (from 0.10).
        MainThreadFrozen = 511, "mainThreadFrozen";
        /// Resets of a board (from 0.10).
        BoardUnexpectedReset = 521, "boardUnexpectedReset";
        /// Pellets since the last refill.
        PelletRefillCountExceeded = 601, "pelletRefillCountExceeded";
        /// Days since the last cleaning.
        CageCleaningRequired = 610, "cageCleaningRequired";
        /// Pellet loads that failed one after the other.
        ConsecutivePelletLoadFailureExceeded = 620, "consecutivePelletLoadFailureExceeded";
        /// Evasions of the clamp.
        AnimalAutoClampEvasion = 701, "animalAutoClampEvasion";
        /// Pellets eaten in a day.
        AnimalLowPelletsConsumedPerDay = 801, "animalLowPelletsConsumedPerDay";
    }
}

wire_numbers! {
    /// Why the pellet position is shifted.
    PelletShiftSource ("pellet shift source") {
        /// The animal fails to reach it.
        ReachFailures = 1, "REACH_FAILURES";
        /// The animal takes it with the tongue.
        TongueEaten = 2, "TONGUE_EATEN";
    }
}

wire_numbers! {
    /// Who or what stopped the rig (from 0.11).
    #[derive(Default)]
    EmergencyStopReason ("emergency stop reason") {
        /// Not known; what a peer before 0.11 is taken to mean.
        #[default]
        Unknown = 0, "unknown";
        /// An alarm.
        AlarmMonitor = 101, "alarm_monitor";
        /// The check of the diamond coordinates.
        DiamondCoordCheck = 201, "diamond_coord_check";
        /// A person at the rig.
        UserButton = 301, "user_button";
        /// A command.
        RpcService = 401, "rpc_service";
    }
}

wire_numbers! {
    /// Who or what let the rig go on (from 0.11).
    #[derive(Default)]
    EmergencyResumeReason ("emergency resume reason") {
        /// Not known; what a peer before 0.11 is taken to mean.
        #[default]
        Unknown = 0, "unknown";
        /// An alarm that resumes by itself.
        AlarmMonitorResume = 101, "alarm_monitor_resume";
        /// A change of an alarm.
        AlarmMonitorStatusChange = 201, "alarm_monitor_status_change";
        /// A person at the rig.
        UserButton = 301, "user_button";
        /// A command.
        RpcService = 401, "rpc_service";
    }
}

wire_texts! {
    /// How a trial ended.
    TrialResult {
        /// It was captured and is not analysed.
        CaptureOnly = "capture_only";
        /// Its analysis succeeded.
        AnalysisSucceeded = "analysis_succeeded";
        /// Its analysis failed.
        AnalysisFailed = "analysis_failed";
        /// Its analysis follows with its batch.
        AnalysisDelayed = "analysis_delayed";
    }
}

wire_texts! {
    /// What the animal reached with.
    ReachMethod {
        /// Nothing.
        None = "none";
        /// Something else.
        Other = "other";
        /// The right hand.
        RightHand = "right_hand";
        /// The left hand.
        LeftHand = "left_hand";
        /// The tongue.
        Tongue = "tongue";
    }
}

wire_texts! {
    /// What became of a reach.
    ReachOutcome {
        /// Nothing.
        None = "none";
        /// It stopped half way.
        Stalled = "stalled";
        /// It missed the pellet.
        Missed = "missed";
        /// The pellet fell.
        Dropped = "dropped";
        /// The pellet was taken.
        Grabbed = "grabbed";
        /// The pellet was eaten.
        Eaten = "eaten";
    }
}
