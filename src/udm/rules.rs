//! The rules of the 23 domains, the envelope and the provenance, as tables.
//!
//! Source: the JSON schemas of UDM 0.0.3. What is not named here may be anything; `null` is a value like another, and of no
//! type that a rule asks for.

use crate::udm::domain::{Domain, Mode, SafetyState, State};
use crate::udm::envelope::{EventType, SourceType};

/// What the value of a member has to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    /// A text with a character at least.
    SomeText,
    OneOf(&'static [&'static str]),
    DateTime,
    Version,
    MacAddress,
    Flag,
    Integer,
    /// An integer from 0 on.
    Count,
    Number(Range),
    Object,
    /// An array of objects.
    Objects,
    /// An array of texts.
    Texts,
    /// An object with texts only.
    TextObject,
    /// An array of three numbers.
    Triple(Range),
}

/// The numbers that a member may be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Range {
    pub(super) at_least: Option<i32>,
    pub(super) at_most: Option<i32>,
    pub(super) below: Option<i32>,
}

impl Range {
    const ANY: Self = Self {
        at_least: None,
        at_most: None,
        below: None,
    };

    const fn from(at_least: i32) -> Self {
        Self {
            at_least: Some(at_least),
            ..Self::ANY
        }
    }

    const fn within(at_least: i32, at_most: i32) -> Self {
        Self {
            at_most: Some(at_most),
            ..Self::from(at_least)
        }
    }
}

/// Members and what they have to be.
pub(super) type Members = &'static [(&'static str, Form)];

/// The members that every event has.
pub(super) const REQUIRED: Members = &[
    ("udm_version", Form::Version),
    ("event_id", Form::SomeText),
    ("event_type", Form::OneOf(EventType::NAMES)),
    ("source_id", Form::SomeText),
    ("source_type", Form::OneOf(SourceType::NAMES)),
    ("captured_at", Form::DateTime),
];

/// The members beside the domains that an event may have.
pub(super) const OPTIONAL: Members = &[
    ("received_at", Form::DateTime),
    ("sent_at", Form::DateTime),
    ("sequence_num", Form::Count),
    ("session_id", Form::Text),
    ("sdk_version", Form::Text),
    ("extensions", Form::Object),
];

pub(super) const PROVENANCE: Members = &[
    ("signature", Form::Text),
    ("key_id", Form::Text),
    ("algorithm", Form::Text),
    ("signed_fields", Form::Texts),
    ("signed_at", Form::DateTime),
];

/// The members of a domain.
pub(super) const fn of(domain: Domain) -> Members {
    use Form::{
        Count, DateTime, Flag, Integer, MacAddress, Number, Object, Objects, OneOf, Text,
        TextObject, Texts, Triple,
    };
    match domain {
        Domain::Identity => &[
            ("source_id", Text),
            ("source_type", OneOf(SourceType::NAMES)),
            ("platform", Text),
            ("model", Text),
            ("serial_number", Text),
            ("firmware_version", Text),
            ("hardware_version", Text),
            ("fleet_id", Text),
            ("site_id", Text),
            ("organization_id", Text),
            ("display_name", Text),
            ("tags", Texts),
            ("metadata", TextObject),
            ("mac_address", MacAddress),
            ("ip_address", Text),
        ],
        Domain::Location => &[
            ("latitude", Number(LATITUDE)),
            ("longitude", Number(LONGITUDE)),
            ("altitude_m", Number(Range::ANY)),
            ("heading_deg", Number(CIRCLE)),
            ("local", Object),
            ("grid", Object),
            ("semantic", Object),
            ("horizontal_accuracy_m", Number(POSITIVE)),
            ("vertical_accuracy_m", Number(POSITIVE)),
            ("covariance", Object),
            ("frame_id", Text),
            ("map_id", Text),
            ("floor", Integer),
        ],
        Domain::Motion => &[
            ("speed_mps", Number(POSITIVE)),
            ("linear_velocity", Object),
            ("angular_velocity", Object),
            ("linear_acceleration", Object),
            ("angular_acceleration", Object),
            ("odometry", Object),
            ("motion_state", OneOf(MOTION_STATES)),
            ("frame_id", Text),
            ("commanded_linear_mps", Number(Range::ANY)),
            ("commanded_angular_dps", Number(Range::ANY)),
        ],
        Domain::Power => &[
            ("battery", Object),
            ("charging", Object),
            ("power_consumption_w", Number(POSITIVE)),
            ("average_power_w", Number(POSITIVE)),
            ("power_source", OneOf(POWER_SOURCES)),
            ("voltage_v", Number(Range::ANY)),
            ("current_a", Number(Range::ANY)),
            ("estimated_runtime_min", Number(POSITIVE)),
            ("estimated_range_m", Number(POSITIVE)),
        ],
        Domain::Operational => &[
            ("mode", OneOf(Mode::NAMES)),
            ("state", OneOf(State::NAMES)),
            ("previous_state", OneOf(State::NAMES)),
            ("time_in_state_sec", Number(POSITIVE)),
            ("task", Object),
            ("queue", Object),
            ("errors", Objects),
            ("error_count", Count),
            ("is_available", Flag),
            ("unavailable_reason", Text),
            ("uptime_sec", Number(POSITIVE)),
            ("last_boot", DateTime),
            ("mission_id", Text),
            ("session_id", Text),
        ],
        Domain::Navigation => &[
            ("localization", Object),
            ("slam", Object),
            ("path", Object),
            ("goal", Object),
            ("obstacles", Objects),
            ("obstacle_count", Count),
            ("semantic_map", Object),
            ("costmap", Object),
        ],
        Domain::Perception => &[
            ("lidar", Objects),
            ("cameras", Objects),
            ("imu", Object),
            ("gps", Object),
            ("uwb", Object),
            ("detections", Objects),
            ("detection_count", Count),
            ("environment", Object),
            ("ultrasonics", Objects),
            ("bumpers", Objects),
            ("cliff_sensors", Objects),
        ],
        Domain::Safety => &[
            ("safety_state", OneOf(SafetyState::NAMES)),
            ("is_safe", Flag),
            ("e_stop", Object),
            ("protective_stop_active", Flag),
            ("protective_stop_reason", Text),
            ("zones", Objects),
            ("current_zone_ids", Texts),
            ("proximity", Object),
            ("violations", Objects),
            ("violation_count", Count),
            ("collaborative_operation", Object),
            ("speed_limit_mps", Number(POSITIVE)),
            ("speed_limit_reason", Text),
            ("safety_system_ok", Flag),
            ("safety_plc_status", Text),
            ("last_safety_check", DateTime),
        ],
        Domain::Actuators => &[
            ("drive_motors", Objects),
            ("joints", Objects),
            ("grippers", Objects),
            ("lifts", Objects),
            ("steering", Objects),
            ("hydraulics", Object),
            ("pneumatics", Object),
        ],
        Domain::Communication => &[
            ("network", Object),
            ("cellular", Object),
            ("fleet", Object),
            ("integrations", Objects),
            ("phytrace", Object),
        ],
        Domain::Compute => &[
            ("cpu", Object),
            ("memory", Object),
            ("gpu", Objects),
            ("storage", Objects),
            ("processes", Object),
            ("ros", Object),
            ("uptime_sec", Number(POSITIVE)),
            ("load_average", Triple(POSITIVE)),
            ("kernel_version", Text),
            ("os_version", Text),
        ],
        Domain::Ai => &[
            ("models", Objects),
            ("decisions", Objects),
            ("anomalies", Objects),
            ("total_inferences", Count),
            ("avg_inference_ms", Number(POSITIVE)),
        ],
        Domain::Maintenance => &[
            ("health_score", Number(SHARE)),
            ("components", Objects),
            ("diagnostics", Objects),
            ("maintenance_due", Objects),
            ("last_maintenance", DateTime),
            ("next_maintenance", DateTime),
            ("operating_hours", Number(POSITIVE)),
            ("urgency", OneOf(URGENCIES)),
        ],
        Domain::Context => &[
            ("time", Object),
            ("facility", Object),
            ("weather", Object),
            ("traffic", Object),
        ],
        Domain::Payload => &[
            ("load_status", OneOf(LOAD_STATUSES)),
            ("total_weight_kg", Number(POSITIVE)),
            ("max_weight_kg", Number(POSITIVE)),
            ("weight_utilization_pct", Number(PERCENT)),
            ("items", Objects),
            ("item_count", Count),
            ("compartments", Objects),
            ("is_secured", Flag),
            ("center_of_mass_offset_m", Triple(Range::ANY)),
        ],
        Domain::Manipulation => &[
            ("arm_state", OneOf(ARM_STATES)),
            ("end_effector", Object),
            ("workspace", Object),
            ("grasp", Object),
            ("hand_guiding", Object),
            ("control_mode", OneOf(CONTROL_MODES)),
            ("collision_avoidance_active", Flag),
        ],
        Domain::Hri => &[
            ("interaction_state", OneOf(INTERACTION_STATES)),
            ("tracked_humans", Objects),
            ("human_count", Count),
            ("voice", Object),
            ("handover", Object),
            ("social", Object),
            ("gestures", Objects),
        ],
        Domain::Coordination => &[
            ("fleet_role", OneOf(FLEET_ROLES)),
            ("formation", Object),
            ("neighbors", Objects),
            ("swarm", Object),
            ("traffic", Object),
        ],
        Domain::Simulation => &[
            ("is_simulated", Flag),
            ("simulator", Object),
            ("scenario", Object),
            ("digital_twin", Object),
            ("sim_time", DateTime),
            ("time_scale", Number(POSITIVE)),
            ("step_count", Count),
        ],
        Domain::Thermal => &[
            ("thermal_state", OneOf(THERMAL_STATES)),
            ("components", Objects),
            ("ambient_temp_c", Number(Range::ANY)),
            ("cooling_system", Object),
            ("heating_system", Object),
            ("is_throttling", Flag),
        ],
        Domain::Audio => &[
            ("microphones", Objects),
            ("speakers", Objects),
            ("sound_detection", Objects),
            ("voice_output", Object),
            ("ambient_noise_db", Number(Range::ANY)),
        ],
        Domain::EnvironmentInteraction => &[
            ("doors", Objects),
            ("elevators", Objects),
            ("charging_stations", Objects),
            ("surface", Object),
        ],
        Domain::Compliance => &[
            ("certifications", Objects),
            ("functional_safety", Object),
            ("cybersecurity", Object),
            ("regulatory", Object),
        ],
    }
}

const POSITIVE: Range = Range::from(0);

const LATITUDE: Range = Range::within(-90, 90);

const LONGITUDE: Range = Range::within(-180, 180);

const SHARE: Range = Range::within(0, 1);

const PERCENT: Range = Range::within(0, 100);

const CIRCLE: Range = Range {
    below: Some(360),
    ..POSITIVE
};

const MOTION_STATES: &[&str] = &[
    "stationary",
    "moving",
    "accelerating",
    "decelerating",
    "rotating",
    "reversing",
];

const POWER_SOURCES: &[&str] = &["battery", "external", "solar", "fuel_cell", "hybrid"];

const URGENCIES: &[&str] = &["none", "routine", "soon", "urgent", "critical"];

const LOAD_STATUSES: &[&str] = &["empty", "partial_load", "full_load", "overloaded"];

const ARM_STATES: &[&str] = &[
    "home",
    "moving",
    "at_target",
    "grasping",
    "placing",
    "avoiding",
    "error",
];

const CONTROL_MODES: &[&str] = &["position", "velocity", "force", "impedance", "hybrid"];

const INTERACTION_STATES: &[&str] = &[
    "none",
    "human_detected",
    "awaiting_input",
    "interacting",
    "handover",
    "following",
];

const FLEET_ROLES: &[&str] = &[
    "independent",
    "leader",
    "follower",
    "swarm_member",
    "coordinator",
];

const THERMAL_STATES: &[&str] = &["normal", "elevated", "high", "critical", "cold"];
