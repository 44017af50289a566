//! What happens at the rig by itself, and whether it is worth telling.

use crate::rpc::EventKind;
use crate::rpc::context::Enabled;
use crate::rpc::context::application::ApplicationModeChanged;
use crate::rpc::context::training::TrainingModeChanged;
use crate::rpc::kind_0_9_7::EventKind097;
use crate::rpc::status::AnimalStatus;
use crate::simulator::SimulatedVersion;
use crate::simulator::occurrence::Occurrence;
use crate::simulator::rig::Rig;
use crate::simulator::settings::Setting;

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

    fn is_news_0_12_0(&mut self, occurrence: &Occurrence) -> bool {
        match occurrence.kind {
            EventKind::EmergencyStop | EventKind::EmergencyResume => {
                self.is_emergency_news(occurrence)
            }
            EventKind::ApplicationModeChanged => {
                let Some(change) = occurrence.read::<ApplicationModeChanged>() else {
                    return true;
                };
                std::mem::replace(&mut self.modes.application, change.mode) != change.mode
            }
            EventKind::TrainingModeChanged => self.is_training_news(occurrence),
            EventKind::AutoClampEnabledChanged => {
                let Some(change) = occurrence.read::<Enabled>() else {
                    return true;
                };
                self.settings.put(Setting::AutoClamp, change.is_enabled)
            }
            EventKind::AnimalCreated | EventKind::AnimalUpdated => {
                if let Some(animal) = occurrence.read() {
                    self.animals.put(animal);
                }
                true
            }
            EventKind::AnimalSelected => {
                let selected = occurrence.read::<AnimalStatus>();
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
        let Some(change) = occurrence.read::<TrainingModeChanged>() else {
            return true;
        };
        std::mem::replace(&mut self.modes.training, change.training_mode) != change.training_mode
    }
}
