//! The devices, alarms, detectors and counts of a rig, and how what happens changes them.

use crate::rpc::EventKind;
use crate::rpc::context::SessionTrial;
use crate::rpc::context::application::{ProjectChanged, ProjectTrialChanged};
use crate::rpc::context::counts::CountChange;
use crate::rpc::context::head_fixation::{Baseline, Intensity};
use crate::rpc::status::{
    AlarmStatus, AnimalStatus, BehaviorStatus, Configuration, DetectorStatus, PelletDeviceStatus,
    ProjectStatus, ReachStatus, SystemStatus, TunnelDeviceStatus,
};
use crate::rpc::values::{AlarmKind, DetectorKind};
use crate::simulator::modes::Modes;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::settings::{Setting, Settings};

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

    /// The answer to GET_STATUS of 0.12.0, with what the rest of the rig adds to it.
    pub(crate) fn status(
        &self,
        modes: &Modes,
        settings: &Settings,
        animal: Option<AnimalStatus>,
    ) -> SystemStatus {
        let setting = |setting| Some(settings.is_on(setting));
        SystemStatus {
            application_mode: modes.application,
            training_mode: modes.training,
            animal,
            project: self.project.clone(),
            alarms: self.alarms.clone(),
            detectors: self.detectors.clone(),
            pellet_device: PelletDeviceStatus {
                is_home_on_excessive_drift_enabled: setting(Setting::HomeOnExcessiveDrift),
                is_tunnel_sweep_enabled: setting(Setting::TunnelSweep),
                ..self.pellet
            },
            tunnel_device: self.tunnel,
            behavior: BehaviorStatus {
                baseline_magnet_intensity: self.baseline,
                reaches: self.reaches,
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

    /// Takes over what an occurrence says about devices, counts and project.
    pub(crate) fn follow(&mut self, occurrence: &Occurrence) -> Option<()> {
        match occurrence.kind {
            EventKind::ProjectChanged => {
                let project: ProjectChanged = occurrence.read()?;
                self.project = ProjectStatus {
                    day_path: format!("{}/{}", project.root, project.day),
                    trial_id: project.trial_id,
                    session_id: project.session_id,
                };
            }
            EventKind::ProjectTrialChanged => {
                let project: ProjectTrialChanged = occurrence.read()?;
                self.project.session_id = project.session_id;
                self.project.trial_id = project.trial_id;
            }
            EventKind::TrialStarted => {
                self.project.trial_id = occurrence.read::<SessionTrial>()?.trial_id;
            }
            EventKind::SessionEnded => self.project.session_id.clear(),
            EventKind::AlarmChanged => {
                let alarm: AlarmStatus = occurrence.read()?;
                replace(&mut self.alarms, alarm, |alarm| alarm.alarm_id);
            }
            EventKind::DetectorChanged => {
                let detector: DetectorStatus = occurrence.read()?;
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
                self.baseline = occurrence.read::<Baseline>()?.baseline
            }
            EventKind::AutoClampEngaged => {
                self.tunnel.magnet_intensity = occurrence.read::<Intensity>()?.intensity;
            }
            EventKind::AutoClampDisengaged => self.tunnel.magnet_intensity = self.baseline,
            EventKind::PelletPresentedCountChanged => {
                self.reaches.pellets_presented = occurrence.read::<CountChange>()?.count;
            }
            EventKind::PelletConsumedCountChanged => {
                self.reaches.pellets_consumed = occurrence.read::<CountChange>()?.count;
            }
            EventKind::ReachCountChanged => {
                self.reaches.reaches = occurrence.read::<CountChange>()?.count;
            }
            EventKind::SuccessfulReachesCountChanged => {
                self.reaches.successful_reaches = occurrence.read::<CountChange>()?.count;
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

fn replace<T, K: PartialEq>(items: &mut [T], item: T, key: impl Fn(&T) -> K) {
    // An alarm made up by hand may have any number; a list of the rig does not grow by it.
    if let Some(known) = items.iter_mut().find(|known| key(known) == key(&item)) {
        *known = item;
    }
}
