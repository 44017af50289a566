//! A session of a 0.12.0 rig: trials one after the other, their analysis at once or in a batch, counts and reaches.

use crate::rpc::EventKind;
use crate::rpc::context::application::ProjectTrialChanged;
use crate::rpc::context::counts::CountChange;
use crate::rpc::context::head_fixation::{Intensity, ReleaseTone};
use crate::rpc::context::intertrial::{
    AnalysisTrial, IntertrialError, IntertrialResponse, IntertrialSave, PelletShift, ResponseData,
};
use crate::rpc::context::session::{
    BatchAnalysisEnded, BatchAnalysisStarted, ReachEvent, SessionEnded, SessionStarted, TrialEnded,
    TrialReachEvents, TrialSeen, TrialStarted,
};
use crate::rpc::context::training::{TrainingPhase, TrainingPlan};
use crate::rpc::context::{Engaged, SessionTrial};
use crate::rpc::status::ReachStatus;
use crate::rpc::values::{
    ApplicationMode, PelletShiftSource, ReachMethod, ReachOutcome, TrialResult,
};
use crate::simulator::plant::DATA_LOCATION;
use crate::simulator::scenes::Scenes;

/// One count of a session and its twin of the day.
#[derive(Debug, Clone, Copy)]
enum Count {
    Presented,
    Consumed,
    Reaches,
    Successful,
}

impl Scenes {
    /// Plays a whole session of two to four trials.
    pub(crate) fn play_session(&mut self) {
        self.session_count += 1;
        self.session_id = self.random.uuid();
        self.trial_id = 0;
        self.session = ReachStatus::default();
        let is_deferred = self.are_batches_enabled && self.random.chance(50);
        let phase = TrainingPhase {
            training_phase_id: self.random.uuid(),
        };
        let plan = TrainingPlan {
            training_plan_id: self.random.uuid(),
        };

        self.tell_project();
        self.tell(&SessionStarted {
            session_id: self.session_id.clone(),
            is_analysis_deferred: is_deferred,
        });
        self.tell(&plan);
        self.tell_as(EventKind::TrainingPhaseEnter, &phase);
        self.mode(ApplicationMode::InDevice);
        self.tell_bare(EventKind::TunnelEnter);
        self.engage(EventKind::LoadCellEngagedChanged, true);
        self.mode(ApplicationMode::InTraining);

        let trials = self.random.between(2, 4);
        let mut failed = 0;
        for _ in 0..trials {
            self.capture();
            if is_deferred {
                self.end_trial(TrialResult::AnalysisDelayed);
            } else {
                let result = self.analyse(self.trial_id, None);
                failed += i64::from(result == TrialResult::AnalysisFailed);
                self.end_trial(result);
            }
        }
        if is_deferred {
            failed = self.analyse_batch(trials);
        }

        self.engage(EventKind::LoadCellEngagedChanged, false);
        self.tell_bare(EventKind::TunnelExit);
        self.tell_as(EventKind::TrainingProgressUpdate, &phase);
        self.tell_as(EventKind::TrainingPhaseExit, &phase);
        self.tell(&SessionEnded {
            session_id: self.session_id.clone(),
            capture_trial_count: trials,
            analysis_trial_count: trials,
            failed_trial_count: failed,
        });
        self.mode(ApplicationMode::Running);
    }

    /// The capture of a trial: the pellet comes, the animal is held, reaches and is let go.
    fn capture(&mut self) {
        self.trial_id += 1;
        self.trial_count += 1;
        let trial = self.trial(self.trial_id);
        self.tell(&ProjectTrialChanged {
            root: DATA_LOCATION.to_owned(),
            session_id: trial.session_id.clone(),
            trial_id: trial.trial_id,
        });
        self.tell(&TrialStarted {
            session_id: trial.session_id.clone(),
            trial_id: trial.trial_id,
            reason: "the animal is in place".to_owned(),
        });
        self.step(EventKind::PelletLoadBegin, EventKind::PelletLoadEnd);
        self.step(EventKind::PelletSendBegin, EventKind::PelletSendEnd);
        self.step(EventKind::PelletCoverBegin, EventKind::PelletCoverEnd);
        self.seen(EventKind::TrialAnimalSeen);
        self.engage(EventKind::HeadbarPressureEngagedChanged, true);
        let intensity = Intensity {
            intensity: self.random.float(0.4, 0.9),
        };
        self.tell_as(EventKind::AutoClampEngaged, &intensity);
        self.step(EventKind::PelletReleaseBegin, EventKind::PelletReleaseEnd);
        self.seen(EventKind::TrialPelletSeen);
        self.tell_as(EventKind::TrialPelletPresented, &trial);
        self.count(Count::Presented);
        self.seen(EventKind::TrialRightHandSeen);
        self.tell_as(EventKind::AutoClampPreDisengage, &intensity);
        self.tell(&ReleaseTone {
            frequency: 5000.0,
            duration: 0.25,
        });
        self.tell_as(EventKind::AutoClampDisengaged, &intensity);
        self.engage(EventKind::HeadbarPressureEngagedChanged, false);
        self.tell_as(EventKind::TrialCaptureEnded, &trial);
    }

    /// The analysis of a trial; every fourth fails, every other fourth cannot be saved.
    fn analyse(&mut self, trial_id: i64, batch_id: Option<&str>) -> TrialResult {
        let turn = self.trial_count + trial_id as u32;
        let is_first_step_bad = turn % 8 < 4;
        let segmentation = Step {
            begin: EventKind::IntertrialSegmentationBegin,
            end: EventKind::IntertrialSegmentationEnd,
            error: EventKind::IntertrialSegmentationError,
            save: EventKind::IntertrialSegmentationSave,
            save_error: EventKind::IntertrialSegmentationSaveError,
            fault: if is_first_step_bad { turn % 4 } else { 0 },
        };
        let detection = Step {
            begin: EventKind::IntertrialDetectionBegin,
            end: EventKind::IntertrialDetectionEnd,
            error: EventKind::IntertrialDetectionError,
            save: EventKind::IntertrialDetectionSave,
            save_error: EventKind::IntertrialDetectionSaveError,
            fault: if is_first_step_bad { 0 } else { turn % 4 },
        };
        let trial = AnalysisTrial {
            session_id: self.session_id.clone(),
            trial_id,
            batch_id: batch_id.map(str::to_owned),
        };
        if !self.analyse_step(&segmentation, &trial) || !self.analyse_step(&detection, &trial) {
            return TrialResult::AnalysisFailed;
        }
        self.findings(trial);
        TrialResult::AnalysisSucceeded
    }

    fn analyse_step(&mut self, step: &Step, trial: &AnalysisTrial) -> bool {
        let AnalysisTrial {
            session_id,
            trial_id,
            batch_id,
        } = trial.clone();
        self.tell_as(step.begin, trial);
        match step.fault {
            1 => {
                let error = "no animal in the pictures".to_owned();
                self.tell_as(
                    step.error,
                    &IntertrialError {
                        session_id,
                        trial_id,
                        batch_id,
                        error,
                    },
                );
                return false;
            }
            2 => {
                let error = "the disk is full".to_owned();
                let failed = IntertrialError {
                    session_id,
                    trial_id,
                    batch_id,
                    error,
                };
                self.tell_as(step.save_error, &failed);
            }
            _ => {
                let location = format!("{DATA_LOCATION}/{session_id}/{trial_id}");
                let saved = IntertrialSave {
                    session_id,
                    trial_id,
                    batch_id,
                    location,
                };
                self.tell_as(step.save, &saved);
            }
        }
        self.tell_as(step.end, trial);
        true
    }

    /// What a good analysis finds: reaches, their counts, perhaps a shift of the pellet.
    fn findings(&mut self, trial: AnalysisTrial) {
        let AnalysisTrial {
            session_id,
            trial_id,
            batch_id,
        } = trial;
        let reaches: Vec<_> = (0..self.random.between(1, 3))
            .map(|_| self.reach())
            .collect();
        let successful = reaches
            .iter()
            .filter(|reach| reach.outcome == ReachOutcome::Eaten)
            .count();
        let places = reaches.iter().map(|_| {
            let place = self.vector(5.0);
            self.random
                .chance(80)
                .then(|| vec![place.x, place.y, place.z])
        });
        let rh_max_vp_list: Vec<_> = places.collect();
        self.tell(&IntertrialResponse {
            session_id: session_id.clone(),
            trial_id,
            batch_id: batch_id.clone(),
            response_data: ResponseData {
                rh_max_vp_list,
                reach_events: reaches.clone(),
                other_events: Vec::new(),
                hand_events: Some(reaches.clone()),
                food_consumed: i64::from(successful > 0),
                successful_reaches: successful as i64,
                total_reaches: reaches.len() as i64,
                pellets_presented: None,
            },
        });
        for reach in &reaches {
            self.count(Count::Reaches);
            if reach.outcome == ReachOutcome::Eaten {
                self.count(Count::Successful);
            }
        }
        if successful > 0 {
            self.count(Count::Consumed);
        }
        self.tell(&TrialReachEvents {
            session_id: session_id.clone(),
            trial_id,
            batch_id: batch_id.clone(),
            trial_reach_events: reaches,
        });
        if successful == 0 {
            let source = *self.random.pick(PelletShiftSource::ALL);
            let shift = self.vector(0.5);
            let deferred = batch_id.is_some();
            self.tell(&PelletShift {
                session_id,
                trial_id,
                batch_id,
                source,
                shift,
                deferred,
            });
        }
    }

    fn analyse_batch(&mut self, trials: i64) -> i64 {
        let batch_id = self.random.uuid();
        let session_id = self.session_id.clone();
        self.tell(&BatchAnalysisStarted {
            session_id: session_id.clone(),
            batch_id: batch_id.clone(),
            analysis_trial_count: trials,
        });
        let mut failed = 0;
        for trial_id in 1..=trials {
            let result = self.analyse(trial_id, Some(&batch_id));
            failed += i64::from(result == TrialResult::AnalysisFailed);
        }
        self.tell(&BatchAnalysisEnded {
            session_id,
            batch_id,
            analysis_trial_count: trials,
            failed_trial_count: failed,
        });
        failed
    }

    fn end_trial(&mut self, result: TrialResult) {
        let SessionTrial {
            session_id,
            trial_id,
        } = self.trial(self.trial_id);
        self.tell(&TrialEnded {
            session_id,
            trial_id,
            result,
        });
    }

    fn trial(&self, trial_id: i64) -> SessionTrial {
        SessionTrial {
            session_id: self.session_id.clone(),
            trial_id,
        }
    }

    fn seen(&mut self, kind: EventKind) {
        let SessionTrial {
            session_id,
            trial_id,
        } = self.trial(self.trial_id);
        self.tell_as(
            kind,
            &TrialSeen {
                session_id,
                trial_id,
                batch_id: None,
            },
        );
    }

    fn engage(&mut self, kind: EventKind, is_engaged: bool) {
        self.tell_as(kind, &Engaged { is_engaged });
    }

    fn reach(&mut self) -> ReachEvent {
        let init = self.random.between(10, 400);
        let is_complete = self.random.chance(80);
        ReachEvent {
            init,
            end: is_complete.then_some(init + 40),
            max: is_complete.then_some(init + 20),
            method: self.random.pick(&ReachMethod::ALL[1..]).clone(),
            outcome: self.random.pick(&ReachOutcome::ALL[1..]).clone(),
            delay_since_presented: self.random.float(0.05, 4.0),
        }
    }

    /// One more of a count, in the session and in the day.
    fn count(&mut self, count: Count) {
        let (kind, day_kind) = match count {
            Count::Presented => (
                EventKind::PelletPresentedCountChanged,
                EventKind::DayPelletPresentedCountChanged,
            ),
            Count::Consumed => (
                EventKind::PelletConsumedCountChanged,
                EventKind::DayPelletConsumedCountChanged,
            ),
            Count::Reaches => (
                EventKind::ReachCountChanged,
                EventKind::DayReachCountChanged,
            ),
            Count::Successful => (
                EventKind::SuccessfulReachesCountChanged,
                EventKind::DaySuccessfulReachesCountChanged,
            ),
        };
        let session = count.one_more(&mut self.session);
        let day = count.one_more(&mut self.day);
        self.tell_as(
            kind,
            &CountChange {
                change: 1,
                count: session,
            },
        );
        self.tell_as(
            day_kind,
            &CountChange {
                change: 1,
                count: day,
            },
        );
    }
}

impl Count {
    const fn one_more(self, counts: &mut ReachStatus) -> i64 {
        let count = match self {
            Self::Presented => &mut counts.pellets_presented,
            Self::Consumed => &mut counts.pellets_consumed,
            Self::Reaches => &mut counts.reaches,
            Self::Successful => &mut counts.successful_reaches,
        };
        *count += 1;
        *count
    }
}

/// The kinds of one step of the analysis, and which fault it has: 1 an error, 2 its result cannot be saved.
struct Step {
    begin: EventKind,
    end: EventKind,
    error: EventKind,
    save: EventKind,
    save_error: EventKind,
    fault: u32,
}
