//! The 23 domains of the model.

use crate::udm::names::names;

names! {
    /// A part of an event that describes one side of its source; a member of that name holds an object.
    ///
    /// Source: UDM 0.0.3, the schemas 01 to 23, in this order.
    ///
    /// ```
    /// use acqbus::udm::Domain;
    ///
    /// assert_eq!(Domain::Hri.as_str(), "hri");
    /// assert_eq!(Domain::from_name("weather"), None);
    /// ```
    Domain {
        /// `identity`: who reports.
        Identity = "identity",
        /// `location`: where it is.
        Location = "location",
        /// `motion`: how it moves.
        Motion = "motion",
        /// `power`: battery, charging, consumption.
        Power = "power",
        /// `operational`: mode, state, task, errors.
        Operational = "operational",
        /// `navigation`: path, goal, obstacles.
        Navigation = "navigation",
        /// `perception`: what its sensors see.
        Perception = "perception",
        /// `safety`: stops, zones, violations.
        Safety = "safety",
        /// `actuators`: motors, joints, grippers.
        Actuators = "actuators",
        /// `communication`: network, fleet, integrations.
        Communication = "communication",
        /// `compute`: processor, memory, storage.
        Compute = "compute",
        /// `ai`: models, decisions, anomalies.
        Ai = "ai",
        /// `maintenance`: health, schedule.
        Maintenance = "maintenance",
        /// `context`: time, facility, weather, traffic around it.
        Context = "context",
        /// `payload`: what it carries.
        Payload = "payload",
        /// `manipulation`: arm and grasp.
        Manipulation = "manipulation",
        /// `hri`: people around it.
        Hri = "hri",
        /// `coordination`: fleet and swarm.
        Coordination = "coordination",
        /// `simulation`: simulator, scenario, digital twin.
        Simulation = "simulation",
        /// `thermal`: temperatures, cooling.
        Thermal = "thermal",
        /// `audio`: microphones, speakers, sounds.
        Audio = "audio",
        /// `environment_interaction`: doors, lifts, charging stations.
        EnvironmentInteraction = "environment_interaction",
        /// `compliance`: certificates and regulations.
        Compliance = "compliance",
    }
}

names! {
    /// How a source is run; the member `mode` of [`Operational`](crate::udm::Operational).
    ///
    /// Source: UDM 0.0.3, schema 05.
    Mode {
        /// `autonomous`
        Autonomous = "autonomous",
        /// `manual`
        Manual = "manual",
        /// `semi_autonomous`
        SemiAutonomous = "semi_autonomous",
        /// `teleoperated`
        Teleoperated = "teleoperated",
        /// `learning`
        Learning = "learning",
        /// `maintenance`
        Maintenance = "maintenance",
        /// `emergency`
        Emergency = "emergency",
        /// `idle`
        Idle = "idle",
    }
}

names! {
    /// What a source does now; the member `state` of [`Operational`](crate::udm::Operational).
    ///
    /// Source: UDM 0.0.3, schema 05.
    State {
        /// `off`
        Off = "off",
        /// `booting`
        Booting = "booting",
        /// `ready`
        Ready = "ready",
        /// `executing_task`
        ExecutingTask = "executing_task",
        /// `navigating`
        Navigating = "navigating",
        /// `manipulating`
        Manipulating = "manipulating",
        /// `charging`
        Charging = "charging",
        /// `paused`
        Paused = "paused",
        /// `error`
        Error = "error",
        /// `emergency_stopped`
        EmergencyStopped = "emergency_stopped",
        /// `shutting_down`
        ShuttingDown = "shutting_down",
        /// `recovering`
        Recovering = "recovering",
    }
}

names! {
    /// How safe a source is; the member `safety_state` of [`Safety`](crate::udm::Safety).
    ///
    /// Source: UDM 0.0.3, schema 08.
    SafetyState {
        /// `normal`
        Normal = "normal",
        /// `warning`
        Warning = "warning",
        /// `protective_stop`
        ProtectiveStop = "protective_stop",
        /// `emergency_stop`
        EmergencyStop = "emergency_stop",
        /// `safety_interlock`
        SafetyInterlock = "safety_interlock",
        /// `reduced_speed`
        ReducedSpeed = "reduced_speed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_23_domains_and_each_is_found_by_its_name() {
        assert_eq!(Domain::ALL.len(), 23);
        for domain in Domain::ALL {
            assert_eq!(Domain::from_name(domain.as_str()), Some(*domain));
        }
        assert_eq!(Domain::from_name("Identity"), None);
        assert_eq!(Domain::from_name(""), None);
    }
}
