//! The scenes of a 0.12.0 rig that its timeline is made of: the launch, and what happens between sessions.
//!
//! Sessions and trials are in [`session`](crate::simulator::session). Between two sessions one of the other scenes is
//! played; they take turns in a shuffled order, so that every kind appears.

use serde::Serialize;
use serde_json::json;

use crate::rpc::EventKind;
use crate::rpc::context::application::{
    ApplicationLaunched, ApplicationModeChanged, ProjectChanged, PropertyChanged,
};
use crate::rpc::context::counts::DayStarted;
use crate::rpc::context::device::{DeviceCommand, PelletDriftReset, PelletHomeReset};
use crate::rpc::context::emergency::{EmergencyResume, EmergencyStop};
use crate::rpc::context::head_fixation::{Baseline, Delay, Frequency, Intensity};
use crate::rpc::context::training::{Protocol, TrainingModeChanged};
use crate::rpc::context::{Enabled, EventContext, Reason, Vector};
use crate::rpc::status::{AlarmStatus, DetectorStatus, ReachStatus};
use crate::rpc::values::{
    AlarmKind, ApplicationMode, DetectorKind, EmergencyResumeReason, EmergencyStopReason,
    TrainingMode,
};
use crate::simulator::animals;
use crate::simulator::happening::Happening;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::plant::{self, DATA_LOCATION};
use crate::simulator::random::Random;

/// What the scenes remember of each other.
#[derive(Debug, Clone)]
pub(crate) struct Scenes {
    pub(crate) random: Random,
    pub(crate) are_batches_enabled: bool,
    pub(crate) session_id: String,
    pub(crate) session_count: u32,
    pub(crate) trial_id: i64,
    /// Trials of all sessions: which of them fail in the analysis goes by it.
    pub(crate) trial_count: u32,
    pub(crate) session: ReachStatus,
    pub(crate) day: ReachStatus,
    day_count: u32,
    animal_count: u32,
    is_launched: bool,
    turns: Vec<Scene>,
    played: Vec<Happening>,
}

/// A scene between two sessions.
#[derive(Debug, Clone, Copy)]
enum Scene {
    Alarm,
    Animals,
    CalibrationDcs,
    Calibration3d,
    Clamp,
    Detector,
    HeadFixation,
    Maintenance,
    NewDay,
    Pause,
    Property,
    Protocol,
    Restart,
    Status,
    TrainingMode,
    Tunnel,
}

impl Scenes {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            are_batches_enabled: true,
            session_id: String::new(),
            session_count: 0,
            trial_id: 0,
            trial_count: 0,
            session: ReachStatus::default(),
            day: ReachStatus::default(),
            day_count: 0,
            animal_count: 3,
            is_launched: false,
            turns: Vec::new(),
            played: Vec::new(),
        }
    }

    /// Plays the next scene; there is always at least one item.
    pub(crate) fn play(&mut self) -> Vec<Happening> {
        if !self.is_launched {
            self.is_launched = true;
            self.launch();
            self.new_day();
        } else if self.turns.len().is_multiple_of(2) {
            self.play_session();
            self.next_turn();
        } else {
            self.next_turn();
        }
        std::mem::take(&mut self.played)
    }

    pub(crate) fn tell<C: EventContext>(&mut self, context: &C) {
        self.played.push(Happening::Event(Occurrence::of(context)));
    }

    pub(crate) fn tell_as<C: Serialize>(&mut self, kind: EventKind, context: &C) {
        self.played
            .push(Happening::Event(Occurrence::with(kind, context)));
    }

    pub(crate) fn tell_bare(&mut self, kind: EventKind) {
        self.played.push(Happening::Event(Occurrence::new(kind)));
    }

    /// A step of a device: the command to it, the begin, its acknowledgement, the end.
    pub(crate) fn step(&mut self, begin: EventKind, end: EventKind) {
        let command = DeviceCommand {
            context: self.random.uuid(),
        };
        for kind in [
            EventKind::DeviceCommandSend,
            begin,
            EventKind::DeviceCommandAcknowledge,
            end,
        ] {
            self.tell_as(kind, &command);
        }
    }

    pub(crate) fn mode(&mut self, mode: ApplicationMode) {
        self.tell(&ApplicationModeChanged { mode });
    }

    /// The project with the session of the moment.
    pub(crate) fn tell_project(&mut self) {
        let project = ProjectChanged {
            root: DATA_LOCATION.to_owned(),
            device_id: plant::configuration().device_id,
            day: self.day_name(),
            session_id: self.session_id.clone(),
            trial_id: self.trial_id,
        };
        self.tell(&project);
    }

    fn day_name(&self) -> String {
        format!("day-{:04}", self.day_count)
    }

    fn next_turn(&mut self) {
        let Some(scene) = self.turns.pop() else {
            self.turns = SCENES.to_vec();
            self.random.shuffle(&mut self.turns);
            return;
        };
        match scene {
            Scene::Alarm => self.alarm(),
            Scene::Animals => self.animals(),
            Scene::CalibrationDcs => self.calibrate(
                ApplicationMode::CalibrationDcs,
                EventKind::CalibrationDcsCompleted,
                EventKind::CalibrationDcsFailed,
            ),
            Scene::Calibration3d => self.calibrate(
                ApplicationMode::Calibration3d,
                EventKind::Calibration3dCompleted,
                EventKind::Calibration3dFailed,
            ),
            Scene::Clamp => self.clamp(),
            Scene::Detector => self.detector(),
            Scene::HeadFixation => self.head_fixation(),
            Scene::Maintenance => self.maintenance(),
            Scene::NewDay => self.new_day(),
            Scene::Pause => {
                self.tell_bare(EventKind::AlgorithmPause);
                self.tell_bare(EventKind::AlgorithmResume);
            }
            Scene::Property => self.property(),
            Scene::Protocol => self.protocol(),
            Scene::Restart => self.restart(),
            Scene::Status => self.tell_bare(EventKind::SystemStatus),
            Scene::TrainingMode => self.training_mode(),
            Scene::Tunnel => self.tunnel(),
        }
    }

    fn launch(&mut self) {
        let version = plant::configuration().application_version;
        self.tell(&ApplicationLaunched { version });
        self.mode(ApplicationMode::Running);
        self.tell_bare(EventKind::SystemStatus);
    }

    fn restart(&mut self) {
        let reason = Reason {
            reason: "closed by a person at the rig".to_owned(),
        };
        self.tell_as(EventKind::ApplicationTerminating, &reason);
        self.launch();
        self.tell_project();
        // What the reference sends for anything that has no kind of its own.
        self.tell_bare(EventKind::Unknown);
    }

    fn new_day(&mut self) {
        self.day_count += 1;
        self.day = ReachStatus::default();
        let date = FIRST_DAY + f64::from(self.day_count) * 86_400.0;
        let day_path = Some(format!("{DATA_LOCATION}/{}", self.day_name()));
        self.tell(&DayStarted { date, day_path });
        self.tell_project();
    }

    fn calibrate(&mut self, mode: ApplicationMode, completed: EventKind, failed: EventKind) {
        self.mode(ApplicationMode::Idle);
        self.mode(mode);
        let reason = Reason {
            reason: "not enough points were seen".to_owned(),
        };
        self.tell_as(failed, &reason);
        self.tell_bare(completed);
        self.mode(ApplicationMode::Idle);
        self.mode(ApplicationMode::Running);
    }

    /// An alarm is raised and is over again; one that is a stop condition stops the rig meanwhile.
    fn alarm(&mut self) {
        let quiet = plant::quiet_alarm(*self.random.pick(AlarmKind::ALL));
        self.tell(&AlarmStatus {
            is_active: true,
            ..quiet
        });
        let door = plant::quiet_alarm(AlarmKind::ExternalDoors);
        let detector = DetectorStatus {
            detector_id: DetectorKind::FrontDoor,
            is_active: true,
            is_enabled: true,
        };
        self.tell(&detector);
        self.tell(&AlarmStatus {
            is_active: true,
            ..door
        });
        self.tell(&EmergencyStop {
            reason: "a door is open".to_owned(),
            reason_code: EmergencyStopReason::AlarmMonitor,
            active_alarms: vec![door.alarm_id],
        });
        self.tell(&DetectorStatus {
            is_active: false,
            ..detector
        });
        self.tell(&door);
        self.tell(&EmergencyResume {
            reason: "the door is closed".to_owned(),
            reason_code: EmergencyResumeReason::AlarmMonitorResume,
            resumed_alarms: vec![door.alarm_id],
        });
        self.tell(&quiet);
    }

    fn detector(&mut self) {
        let detector_id = *self.random.pick(DetectorKind::ALL);
        for is_active in [true, false] {
            self.tell(&DetectorStatus {
                detector_id,
                is_active,
                is_enabled: true,
            });
        }
    }

    fn animals(&mut self) {
        self.animal_count += 1;
        let created = animals::animal(self.animal_count);
        self.tell_as(EventKind::AnimalCreated, &created);
        let mut updated = created;
        updated.target_y_limit = Some(self.random.float(2.0, 6.0));
        updated.reach_status_total = self.day;
        updated.reach_status_day = self.day;
        self.tell_as(EventKind::AnimalUpdated, &updated);
        self.tell_bare(EventKind::AnimalSelected);
        self.tell_as(EventKind::AnimalSelected, &updated);
    }

    fn clamp(&mut self) {
        for is_enabled in [false, true] {
            self.tell_as(EventKind::AutoClampEnabledChanged, &Enabled { is_enabled });
        }
        let intensity = self.random.float(0.4, 0.9);
        self.tell_as(
            EventKind::AutoClampIntensityChanged,
            &Intensity { intensity },
        );
        let frequency = self.random.float(2000.0, 9000.0);
        self.tell(&Frequency { frequency });
        let delay = self.random.float(0.1, 2.0);
        self.tell(&Delay { delay });
    }

    fn head_fixation(&mut self) {
        self.tell_bare(EventKind::HeadfixAutoTare);
        let baseline = self.random.float(0.1, 0.4);
        self.tell(&Baseline { baseline });
        for kind in [
            EventKind::HeadfixLoadCellEnabledChanged,
            EventKind::HeadfixLoadCellChangedInIntersession,
            EventKind::HeadfixLoadCellChangedWrongState,
            EventKind::HeadFixationForceDetectorChanged,
        ] {
            let is_enabled = self.random.chance(50);
            self.tell_as(kind, &Enabled { is_enabled });
        }
    }

    fn maintenance(&mut self) {
        self.step(EventKind::PelletRetractBegin, EventKind::PelletRetractEnd);
        self.step(EventKind::PelletHomeBegin, EventKind::PelletHomeEnd);
        let cycles = self.random.between(50, 500);
        self.tell(&PelletHomeReset { cycles });
        let drift = self.vector(0.2);
        self.tell(&PelletDriftReset { drift });
    }

    fn tunnel(&mut self) {
        self.step(
            EventKind::TunnelGateCloseBegin,
            EventKind::TunnelGateCloseEnd,
        );
        self.step(EventKind::TunnelFanOnBegin, EventKind::TunnelFanOnEnd);
        self.step(EventKind::TunnelFanOffBegin, EventKind::TunnelFanOffEnd);
        self.step(EventKind::TunnelGateOpenBegin, EventKind::TunnelGateOpenEnd);
    }

    /// A property change goes out on its own topic, and as an event.
    fn property(&mut self) {
        let old_value = self.random.between(1, 9);
        let change = PropertyChanged {
            target: self.random.between(1, 20),
            name: (*self.random.pick(&["exposure", "gain", "pelletDelay"])).to_owned(),
            new_value: json!(old_value + 1),
            old_value: json!(old_value),
        };
        self.played.push(Happening::Property(json!(change)));
        self.tell(&change);
    }

    fn training_mode(&mut self) {
        for training_mode in [
            TrainingMode::Automatic,
            TrainingMode::ManualWithProtocol,
            TrainingMode::Manual,
        ] {
            self.tell(&TrainingModeChanged { training_mode });
        }
    }

    fn protocol(&mut self) {
        for &kind in Protocol::KINDS {
            if self.random.chance(20) {
                self.tell_bare(kind);
                continue;
            }
            let progress = self.random.float(0.0, 1.0);
            let report = json!({"protocolId": self.random.uuid(), "progress": progress});
            self.tell_as(kind, &report);
        }
    }

    pub(crate) fn vector(&mut self, reach: f64) -> Vector {
        let mut along = || self.random.float(-reach, reach);
        Vector {
            x: along(),
            y: along(),
            z: along(),
        }
    }
}

const SCENES: [Scene; 16] = [
    Scene::Alarm,
    Scene::Animals,
    Scene::CalibrationDcs,
    Scene::Calibration3d,
    Scene::Clamp,
    Scene::Detector,
    Scene::HeadFixation,
    Scene::Maintenance,
    Scene::NewDay,
    Scene::Pause,
    Scene::Property,
    Scene::Protocol,
    Scene::Restart,
    Scene::Status,
    Scene::TrainingMode,
    Scene::Tunnel,
];

/// Midnight before the first simulated day, 2025-01-01 UTC, in seconds since 1970: the stream must not depend on today.
const FIRST_DAY: f64 = 1_735_689_600.0;
