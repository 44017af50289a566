//! The devices, alarms, detectors and counts of a rig, and how what happens changes them.

use serde::de::DeserializeOwned;

use crate::rpc::EventKind;
use crate::rpc::context::application::{
    ApplicationModeChanged, ProjectChanged, ProjectTrialChanged,
};
use crate::rpc::context::counts::CountChange;
use crate::rpc::context::head_fixation::{Baseline, Intensity};
use crate::rpc::context::training::TrainingModeChanged;
use crate::rpc::context::{Enabled, SessionTrial};
use crate::rpc::kind_0_9_7::EventKind097;
use crate::rpc::status::{
    AlarmStatus, AnimalStatus, BehaviorStatus, Configuration, DetectorStatus, PelletDeviceStatus,
    ProjectStatus, ReachStatus, SystemStatus, TunnelDeviceStatus,
};
use crate::rpc::values::{AlarmKind, DetectorKind};
use crate::simulator::SimulatedVersion;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::rig::Rig;
use crate::simulator::settings::Setting;

/// What a status reports beside modes, settings and animals.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    project: ProjectStatus,
    alarms: Vec<AlarmStatus>,
    detectors: Vec<DetectorStatus>,
    pellet: PelletDeviceStatus,
    tunnel: TunnelDeviceStatus,
    baseline: f64,
    reaches: ReachStatus,
}

impl Plant {
    pub(crate) fn new() -> Self {
        let alarms = AlarmKind::ALL.iter().map(|&alarm_id| quiet_alarm(alarm_id));
        let detectors = DetectorKind::ALL.iter().map(|&detector_id| DetectorStatus {
            detector_id,
            is_active: false,
            is_enabled: true,
        });
        Self {
            project: ProjectStatus {
                day_path: String::new(),
                trial_id: 0,
                session_id: String::new(),
            },
            alarms: alarms.collect(),
            detectors: detectors.collect(),
            pellet: PelletDeviceStatus {
                dcs_send_x: 1.5,
                dcs_send_y: -2.75,
                dcs_send_z: 10.0,
                dcs_x: 0.0,
                dcs_y: 0.0,
                dcs_z: 0.0,
                load_arm: 0.0,
                barrier_arm: 0.0,
                is_barrier_arm_active: false,
                is_home_on_excessive_drift_enabled: None,
                is_tunnel_sweep_enabled: None,
            },
            tunnel: TunnelDeviceStatus {
                magnet_intensity: 0.25,
                gate_open: None,
                is_gate_open: true,
                is_fan_on: false,
            },
            baseline: 0.25,
            reaches: ReachStatus::default(),
        }
    }

    pub(crate) fn active_alarms(&self) -> Vec<AlarmKind> {
        self.alarms
            .iter()
            .filter(|alarm| alarm.is_active)
            .map(|alarm| alarm.alarm_id)
            .collect()
    }

    /// Takes over what an occurrence says about devices, counts and project.
    fn follow(&mut self, occurrence: &Occurrence) -> Option<()> {
        match occurrence.kind {
            EventKind::ProjectChanged => {
                let project: ProjectChanged = read(occurrence)?;
                self.project = ProjectStatus {
                    day_path: format!("{}/{}", project.root, project.day),
                    trial_id: project.trial_id,
                    session_id: project.session_id,
                };
            }
            EventKind::ProjectTrialChanged => {
                let project: ProjectTrialChanged = read(occurrence)?;
                self.project.session_id = project.session_id;
                self.project.trial_id = project.trial_id;
            }
            EventKind::TrialStarted => {
                self.project.trial_id = read::<SessionTrial>(occurrence)?.trial_id;
            }
            EventKind::SessionEnded => self.project.session_id.clear(),
            EventKind::AlarmChanged => {
                let alarm: AlarmStatus = read(occurrence)?;
                replace(&mut self.alarms, alarm, |alarm| alarm.alarm_id);
            }
            EventKind::DetectorChanged => {
                let detector: DetectorStatus = read(occurrence)?;
                replace(&mut self.detectors, detector, |detector| {
                    detector.detector_id
                });
            }
            EventKind::PelletLoadEnd => self.pellet.load_arm = 1.0,
            EventKind::PelletSendEnd => {
                self.pellet.load_arm = 0.0;
                self.pellet.dcs_x = self.pellet.dcs_send_x;
                self.pellet.dcs_y = self.pellet.dcs_send_y;
                self.pellet.dcs_z = self.pellet.dcs_send_z;
            }
            EventKind::PelletCoverEnd => self.cover(true),
            EventKind::PelletReleaseEnd => self.cover(false),
            EventKind::PelletHomeEnd | EventKind::PelletRetractEnd => {
                (self.pellet.dcs_x, self.pellet.dcs_y, self.pellet.dcs_z) = (0.0, 0.0, 0.0);
            }
            EventKind::TunnelGateOpenEnd => self.tunnel.is_gate_open = true,
            EventKind::TunnelGateCloseEnd => self.tunnel.is_gate_open = false,
            EventKind::TunnelFanOnEnd => self.tunnel.is_fan_on = true,
            EventKind::TunnelFanOffEnd => self.tunnel.is_fan_on = false,
            EventKind::HeadfixBaselineChanged => {
                self.baseline = read::<Baseline>(occurrence)?.baseline
            }
            EventKind::AutoClampEngaged => {
                self.tunnel.magnet_intensity = read::<Intensity>(occurrence)?.intensity;
            }
            EventKind::AutoClampDisengaged => self.tunnel.magnet_intensity = self.baseline,
            EventKind::PelletPresentedCountChanged => {
                self.reaches.pellets_presented = read::<CountChange>(occurrence)?.count;
            }
            EventKind::PelletConsumedCountChanged => {
                self.reaches.pellets_consumed = read::<CountChange>(occurrence)?.count;
            }
            EventKind::ReachCountChanged => {
                self.reaches.reaches = read::<CountChange>(occurrence)?.count;
            }
            EventKind::SuccessfulReachesCountChanged => {
                self.reaches.successful_reaches = read::<CountChange>(occurrence)?.count;
            }
            _ => {}
        }
        Some(())
    }

    fn cover(&mut self, is_covered: bool) {
        self.pellet.is_barrier_arm_active = is_covered;
        self.pellet.barrier_arm = if is_covered { 1.0 } else { 0.0 };
    }
}

impl Rig {
    /// Takes over what happens at the rig by itself, and gives what is to be published of it.
    ///
    /// `None` when there is nothing to tell: a mode or a setting that has the value already, a resume of a rig that is
    /// not stopped. A system status without context gets the status of the moment.
    pub fn admit(&mut self, mut occurrence: Occurrence) -> Option<Occurrence> {
        let is_news = match self.version {
            SimulatedVersion::V0_9_7 => self.is_news_0_9_7(&occurrence),
            SimulatedVersion::V0_12_0 => self.is_news_0_12_0(&occurrence),
        };
        if !is_news {
            return None;
        }
        if self.version == SimulatedVersion::V0_12_0 {
            // A context by hand may have another shape: it is published as it is and changes nothing.
            let _ = self.plant.follow(&occurrence);
            if occurrence.kind == EventKind::SystemStatus && occurrence.context.is_none() {
                occurrence = Occurrence::of(&self.status());
            }
        }
        Some(occurrence)
    }

    /// The answer to GET_STATUS of 0.12.0.
    #[must_use]
    pub fn status(&self) -> SystemStatus {
        let setting = |setting| Some(self.settings.is_on(setting));
        SystemStatus {
            application_mode: self.modes.application,
            training_mode: self.modes.training,
            animal: self.animals.selected().cloned(),
            project: self.plant.project.clone(),
            alarms: self.plant.alarms.clone(),
            detectors: self.plant.detectors.clone(),
            pellet_device: PelletDeviceStatus {
                is_home_on_excessive_drift_enabled: setting(Setting::HomeOnExcessiveDrift),
                is_tunnel_sweep_enabled: setting(Setting::TunnelSweep),
                ..self.plant.pellet
            },
            tunnel_device: self.plant.tunnel,
            behavior: BehaviorStatus {
                baseline_magnet_intensity: self.plant.baseline,
                reaches: self.plant.reaches,
                is_live_analysis_enabled: setting(Setting::LiveAnalysis),
                is_pellet_delivery_enabled: setting(Setting::PelletDelivery),
                is_pellet_cover_enabled: setting(Setting::PelletCover),
                is_intertrial_pellet_shift_enabled: setting(Setting::IntertrialPelletShift),
                is_triangle_pellet_distance_detection_enabled: setting(
                    Setting::TrianglePelletDistanceDetection,
                ),
                is_auto_close_gate_on_intertrial_enabled: setting(
                    Setting::AutoCloseGateOnIntertrial,
                ),
                is_auto_clamp_enabled: setting(Setting::AutoClamp),
                is_batch_trials_enabled: setting(Setting::BatchTrials),
            },
        }
    }

    /// Whether trials of a session that starts now are analysed in batches.
    #[must_use]
    pub const fn is_batch_enabled(&self) -> bool {
        self.settings.is_on(Setting::BatchTrials)
    }

    fn is_news_0_12_0(&mut self, occurrence: &Occurrence) -> bool {
        match occurrence.kind {
            EventKind::EmergencyStop | EventKind::EmergencyResume => {
                self.is_emergency_news(occurrence)
            }
            EventKind::ApplicationModeChanged => {
                let Some(change) = read::<ApplicationModeChanged>(occurrence) else {
                    return true;
                };
                std::mem::replace(&mut self.modes.application, change.mode) != change.mode
            }
            EventKind::TrainingModeChanged => self.is_training_news(occurrence),
            EventKind::AutoClampEnabledChanged => {
                let Some(change) = read::<Enabled>(occurrence) else {
                    return true;
                };
                self.settings.put(Setting::AutoClamp, change.is_enabled)
            }
            EventKind::AnimalCreated | EventKind::AnimalUpdated => {
                if let Some(animal) = read(occurrence) {
                    self.animals.put(animal);
                }
                true
            }
            EventKind::AnimalSelected => {
                let selected = read::<AnimalStatus>(occurrence);
                self.animals
                    .select(selected.map(|animal| animal.identifier));
                true
            }
            _ => true,
        }
    }

    fn is_news_0_9_7(&mut self, occurrence: &Occurrence) -> bool {
        match EventKind097::from(occurrence.kind) {
            EventKind097::EmergencyStop | EventKind097::EmergencyResume => {
                self.is_emergency_news(occurrence)
            }
            EventKind097::TrainingModeChanged => self.is_training_news(occurrence),
            EventKind097::AcquisitionStarted => !std::mem::replace(&mut self.is_acquiring, true),
            EventKind097::AcquisitionEnded => std::mem::replace(&mut self.is_acquiring, false),
            _ => true,
        }
    }

    fn is_emergency_news(&mut self, occurrence: &Occurrence) -> bool {
        let is_stop = occurrence.kind == EventKind::EmergencyStop;
        let was_stopped = std::mem::replace(&mut self.emergency.is_stopped, is_stop);
        is_stop || was_stopped
    }

    fn is_training_news(&mut self, occurrence: &Occurrence) -> bool {
        let Some(change) = read::<TrainingModeChanged>(occurrence) else {
            return true;
        };
        std::mem::replace(&mut self.modes.training, change.training_mode) != change.training_mode
    }
}

/// The answer to GET_CONFIGURATION of 0.12.0; its places are made up.
pub(crate) fn configuration() -> Configuration {
    Configuration {
        application_version: env!("CARGO_PKG_VERSION").to_owned(),
        device_id: "simulated-rig".to_owned(),
        configuration_location: "/rig/configuration".to_owned(),
        data_location: DATA_LOCATION.to_owned(),
        animal_location: "/rig/animals".to_owned(),
        log_location: "/rig/logs".to_owned(),
        inference_model: "simulated-model-1".to_owned(),
    }
}

/// An alarm that is watched and not raised; doors and faults stop a rig, the rest is only told.
pub(crate) fn quiet_alarm(alarm_id: AlarmKind) -> AlarmStatus {
    let is_stop_condition = matches!(
        alarm_id,
        AlarmKind::ExternalDoors | AlarmKind::DeviceCommunication | AlarmKind::SystemFault
    );
    AlarmStatus {
        alarm_id,
        is_active: false,
        is_enabled: true,
        is_auto_resume_enabled: alarm_id == AlarmKind::ExternalDoors,
        is_stop_condition,
    }
}

/// Where the simulated rig says that its data go.
pub(crate) const DATA_LOCATION: &str = "/rig/data";

fn read<T: DeserializeOwned>(occurrence: &Occurrence) -> Option<T> {
    T::deserialize(occurrence.context.as_ref()?).ok()
}

fn replace<T, K: PartialEq>(items: &mut [T], item: T, key: impl Fn(&T) -> K) {
    // An alarm made up by hand may have any number; a list of the rig does not grow by it.
    if let Some(known) = items.iter_mut().find(|known| key(known) == key(&item)) {
        *known = item;
    }
}
