//! What kind of event it is, and what kind of machine it comes from.

use crate::udm::names::open_names;

open_names! {
    /// What happened; the member `event_type`.
    ///
    /// Source: UDM 0.0.3, envelope. Text that the schema does not have is kept as [`Other`](Self::Other) (*ours*).
    ///
    /// ```
    /// use acqbus::udm::EventType;
    ///
    /// assert_eq!(EventType::from("emergency_stop"), EventType::EmergencyStop);
    /// assert_eq!(EventType::from("lunch").as_str(), "lunch");
    /// assert!(!EventType::from("lunch").is_known());
    /// ```
    EventType {
        /// `telemetry_periodic`: values at an interval.
        TelemetryPeriodic = "telemetry_periodic",
        /// `telemetry_on_change`: values because one changed.
        TelemetryOnChange = "telemetry_on_change",
        /// `telemetry_snapshot`: all values at one time.
        TelemetrySnapshot = "telemetry_snapshot",
        /// `state_transition`: the operational state is another.
        StateTransition = "state_transition",
        /// `mode_change`: the operational mode is another.
        ModeChange = "mode_change",
        /// `task_started`
        TaskStarted = "task_started",
        /// `task_completed`
        TaskCompleted = "task_completed",
        /// `task_failed`
        TaskFailed = "task_failed",
        /// `task_cancelled`
        TaskCancelled = "task_cancelled",
        /// `goal_reached`
        GoalReached = "goal_reached",
        /// `path_blocked`
        PathBlocked = "path_blocked",
        /// `rerouting`
        Rerouting = "rerouting",
        /// `safety_violation`
        SafetyViolation = "safety_violation",
        /// `emergency_stop`
        EmergencyStop = "emergency_stop",
        /// `system_startup`
        SystemStartup = "system_startup",
        /// `system_shutdown`
        SystemShutdown = "system_shutdown",
        /// `error`
        Error = "error",
        /// `custom`: what the model has no type for.
        Custom = "custom",
    }
}

open_names! {
    /// What an event comes from; the member `source_type`.
    ///
    /// Source: UDM 0.0.3, envelope. Text that the schema does not have is kept as [`Other`](Self::Other) (*ours*).
    SourceType {
        /// `amr`: an autonomous mobile robot.
        Amr = "amr",
        /// `agv`: an automated guided vehicle.
        Agv = "agv",
        /// `autonomous_forklift`
        AutonomousForklift = "autonomous_forklift",
        /// `delivery_robot`
        DeliveryRobot = "delivery_robot",
        /// `cleaning_robot`
        CleaningRobot = "cleaning_robot",
        /// `inspection_robot`
        InspectionRobot = "inspection_robot",
        /// `security_robot`
        SecurityRobot = "security_robot",
        /// `industrial_arm`
        IndustrialArm = "industrial_arm",
        /// `cobot`: a robot that works beside people.
        Cobot = "cobot",
        /// `mobile_manipulator`
        MobileManipulator = "mobile_manipulator",
        /// `autonomous_vehicle`
        AutonomousVehicle = "autonomous_vehicle",
        /// `electric_vehicle`
        ElectricVehicle = "electric_vehicle",
        /// `drone`
        Drone = "drone",
        /// `humanoid`
        Humanoid = "humanoid",
        /// `quadruped`
        Quadruped = "quadruped",
        /// `human`
        Human = "human",
        /// `custom`: anything else, as an acquisition rig.
        Custom = "custom",
        /// `simulation`: a simulated source.
        Simulation = "simulation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_the_variant_that_writes_it() {
        for name in EventType::NAMES {
            let event_type = EventType::from(*name);
            assert!(!matches!(event_type, EventType::Other(_)), "{name}");
            assert_eq!(event_type.as_str(), *name);
        }
        for name in SourceType::NAMES {
            let source_type = SourceType::from(*name);
            assert!(!matches!(source_type, SourceType::Other(_)), "{name}");
            assert_eq!(source_type.to_string(), *name);
        }
        assert_eq!(EventType::NAMES.len(), 18);
        assert_eq!(SourceType::NAMES.len(), 18);
    }

    #[test]
    fn a_known_name_in_other_is_the_known_one() {
        let other = EventType::Other("error".into());
        assert_eq!(other, EventType::Error);
        assert!(other.is_known());
        assert!(!EventType::from("Error").is_known());
    }
}
