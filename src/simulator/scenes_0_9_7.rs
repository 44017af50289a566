//! The scenes of a 0.9.7 rig that its timeline is made of.
//!
//! Contexts are those that 0.9.7 documents, and a few members of ours where it documents none.

use serde::Serialize;
use serde_json::{Value, json};

use crate::rpc::context::Reason;
use crate::rpc::context::application::PropertyChanged;
use crate::rpc::context::training::{TrainingModeChanged, TrainingPhase, TrainingPlan};
use crate::rpc::kind_0_9_7::EventKind097 as Kind;
use crate::rpc::values::TrainingMode;
use crate::simulator::happening::Happening;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::random::Random;

/// What the scenes remember of each other.
#[derive(Debug, Clone)]
pub(crate) struct Scenes {
    random: Random,
    session: i64,
    day_pellets: i64,
    turn: usize,
    played: Vec<Happening>,
}

impl Scenes {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            session: 0,
            day_pellets: 0,
            turn: 0,
            played: Vec::new(),
        }
    }

    /// Plays the next scene; there is always at least one item.
    pub(crate) fn play(&mut self) -> Vec<Happening> {
        let turn = self.turn;
        self.turn += 1;
        if turn == 0 {
            self.tell(
                Kind::ApplicationLaunched,
                json!({"version": env!("CARGO_PKG_VERSION")}),
            );
            self.bare(Kind::DayStarted);
        } else if turn % 2 == 1 {
            self.session();
        } else {
            match turn / 2 % 6 {
                0 => self.emergency(),
                1 => self.calibration(),
                2 => self.settings(),
                3 => self.training(),
                4 => self.property(),
                _ => self.restart(),
            }
        }
        std::mem::take(&mut self.played)
    }

    fn tell<C: Serialize>(&mut self, kind: Kind, context: C) {
        self.played
            .push(Happening::Event(Occurrence::with(kind, &context)));
    }

    fn bare(&mut self, kind: Kind) {
        self.played.push(Happening::Event(Occurrence::new(kind)));
    }

    fn all(&mut self, kinds: &[Kind]) {
        for &kind in kinds {
            self.bare(kind);
        }
    }

    fn session(&mut self) {
        self.session += 1;
        let session = json!({"sessionId": self.session});
        self.tell(Kind::SessionStarting, session.clone());
        self.tell(Kind::SessionStarted, session.clone());
        self.all(&[Kind::TunnelEnter, Kind::SessionMouseSeen]);
        self.tell(Kind::LoadCellEngagedChanged, json!({"isEngaged": true}));
        self.tell(
            Kind::HeadbarPressureEngagedChanged,
            json!({"isEngaged": true}),
        );
        for _ in 0..self.random.between(1, 3) {
            self.pellet();
        }
        self.tell(Kind::SessionPelletDecrease, json!({"change": -1}));
        self.tell(Kind::DayDecreasePellet, json!({"change": -1}));
        self.bare(Kind::TunnelExit);
        self.tell(Kind::SessionEnding, session.clone());
        self.tell(Kind::SessionEnded, session);
        self.analysis();
    }

    fn pellet(&mut self) {
        let command: Value = json!({"context": self.random.uuid()});
        self.tell(Kind::DeviceCommandSend, command.clone());
        for kind in PELLET_STEPS {
            self.tell(kind, command.clone());
        }
        self.tell(Kind::DeviceCommandAcknowledge, command);
        self.all(&[Kind::PelletAcknowledgeToken, Kind::PelletExternalToken]);
        self.all(&[Kind::TriangleSeen, Kind::PelletSeen, Kind::PelletPresented]);
        self.day_pellets += 1;
        let count = json!({"change": 1, "count": self.day_pellets});
        self.tell(Kind::SessionPelletIncrease, count.clone());
        self.tell(Kind::DayIncreasePellet, count);
        if self.random.chance(60) {
            self.bare(Kind::PelletSuccessfulReach);
        }
    }

    /// Segmentation and detection of a session; the faults take turns.
    fn analysis(&mut self) {
        let steps: [(&[Kind], &[Kind]); 2] = [
            (&SEGMENTATION, &SEGMENTATION_FAULTS),
            (&DETECTION, &DETECTION_FAULTS),
        ];
        for (good, faults) in steps {
            self.all(good);
            let fault = *self.random.pick(faults);
            if self.random.chance(40) {
                self.tell(fault, json!({"error": "made up by the simulator"}));
            }
        }
        for kind in [
            Kind::IntersessionShiftX,
            Kind::IntersessionShiftY,
            Kind::IntersessionShiftZ,
        ] {
            let shift = self.random.float(-0.5, 0.5);
            self.tell(kind, json!({"shift": shift}));
        }
    }

    fn emergency(&mut self) {
        for kind in [Kind::EmergencyStop, Kind::EmergencyResume] {
            self.tell(
                kind,
                Reason {
                    reason: "a door".to_owned(),
                },
            );
        }
        self.all(&[Kind::AlgorithmPause, Kind::AlgorithmResume]);
    }

    fn calibration(&mut self) {
        self.all(&[Kind::CalibrationDcsStarted, Kind::CalibrationDcsEnded]);
        self.all(&[Kind::Calibration3dStarted, Kind::Calibration3dEnded]);
        self.all(&[Kind::AcquisitionStarted, Kind::AcquisitionEnded]);
    }

    fn settings(&mut self) {
        self.bare(Kind::HeadfixAutoTare);
        for kind in [
            Kind::HeadfixBaselineChanged,
            Kind::AutoClampIntensityChanged,
            Kind::AutoClampReleaseToneFreqChanged,
            Kind::AutoClampReleaseDelayChanged,
        ] {
            let value = self.random.float(0.1, 1.0);
            self.tell(kind, json!({"value": value}));
        }
        for kind in [
            Kind::HeadfixLoadCellChanged,
            Kind::HeadfixLoadCellChangedInIntersession,
            Kind::HeadfixLoadCellChangedWrongState,
            Kind::HeadFixationForceDetectorChanged,
            Kind::HeadFixationEnabled,
        ] {
            let is_enabled = self.random.chance(50);
            self.tell(kind, json!({"isEnabled": is_enabled}));
        }
    }

    fn training(&mut self) {
        for training_mode in [TrainingMode::Automatic, TrainingMode::Manual] {
            self.tell(
                Kind::TrainingModeChanged,
                TrainingModeChanged { training_mode },
            );
        }
        let plan = TrainingPlan {
            training_plan_id: self.random.uuid(),
        };
        self.tell(Kind::TrainingPlanLoad, plan);
        let phase = TrainingPhase {
            training_phase_id: self.random.uuid(),
        };
        for kind in [
            Kind::TrainingPhaseEnter,
            Kind::TrainingProgressUpdate,
            Kind::TrainingPhaseExit,
        ] {
            self.tell(kind, phase.clone());
        }
    }

    /// A property change goes out on its own topic, and as an event.
    fn property(&mut self) {
        let value = self.random.between(1, 9);
        let change = PropertyChanged {
            target: self.random.between(1, 20),
            name: "exposure".to_owned(),
            new_value: json!(value + 1),
            old_value: json!(value),
        };
        self.played.push(Happening::Property(json!(change)));
        self.tell(Kind::PropertyChanged, change);
    }

    fn restart(&mut self) {
        let reason = Reason {
            reason: "closed by a person at the rig".to_owned(),
        };
        self.tell(Kind::ApplicationTerminating, reason);
        self.tell(
            Kind::ApplicationLaunched,
            json!({"version": env!("CARGO_PKG_VERSION")}),
        );
        self.day_pellets = 0;
        self.bare(Kind::DayStarted);
    }
}

const PELLET_STEPS: [Kind; 18] = [
    Kind::PelletLoadCan,
    Kind::PelletLoadBegin,
    Kind::PelletLoadEnd,
    Kind::PelletSendCan,
    Kind::PelletSendBegin,
    Kind::PelletSendEnd,
    Kind::PelletCoverCan,
    Kind::PelletCoverBegin,
    Kind::PelletCoverEnd,
    Kind::PelletPrereleaseCan,
    Kind::PelletPrereleaseBegin,
    Kind::PelletPrereleaseEnd,
    Kind::PelletReleaseCan,
    Kind::PelletReleaseBegin,
    Kind::PelletReleaseEnd,
    Kind::PelletHomeCan,
    Kind::PelletHomeBegin,
    Kind::PelletHomeEnd,
];

const SEGMENTATION: [Kind; 4] = [
    Kind::IntersessionSegmentationCan,
    Kind::IntersessionSegmentationBegin,
    Kind::IntersessionSegmentationSave,
    Kind::IntersessionSegmentationEnd,
];

const SEGMENTATION_FAULTS: [Kind; 4] = [
    Kind::IntersessionSegmentationNonceMismatch,
    Kind::IntersessionSegmentationError,
    Kind::IntersessionSegmentationSaveError,
    Kind::IntersessionSegmentationInputError,
];

const DETECTION: [Kind; 4] = [
    Kind::IntersessionDetectionCan,
    Kind::IntersessionDetectionBegin,
    Kind::IntersessionDetectionSave,
    Kind::IntersessionDetectionEnd,
];

const DETECTION_FAULTS: [Kind; 3] = [
    Kind::IntersessionDetectionNonceMismatch,
    Kind::IntersessionDetectionError,
    Kind::IntersessionDetectionSaveError,
];
