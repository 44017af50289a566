//! The animals of a rig.

use crate::rpc::status::{AnimalStatus, ReachStatus};

/// The animals that are known, and the one that is selected.
#[derive(Debug, Clone)]
pub(crate) struct Animals {
    all: Vec<AnimalStatus>,
    selected: Option<String>,
}

impl Animals {
    /// Three animals, the first of them selected.
    pub(crate) fn new() -> Self {
        let all: Vec<_> = (1..=3).map(animal).collect();
        Self {
            selected: all.first().map(|animal| animal.identifier.clone()),
            all,
        }
    }

    pub(crate) fn all(&self) -> &[AnimalStatus] {
        &self.all
    }

    pub(crate) fn selected(&self) -> Option<&AnimalStatus> {
        let selected = self.selected.as_deref()?;
        self.all.iter().find(|animal| animal.identifier == selected)
    }

    /// Selects an animal that is known, or none.
    pub(crate) fn select(&mut self, identifier: Option<String>) {
        self.selected = identifier;
    }

    /// Adds an animal, or replaces what is known of it; the oldest makes room when there are too many.
    pub(crate) fn put(&mut self, status: AnimalStatus) {
        match self
            .all
            .iter_mut()
            .find(|animal| animal.identifier == status.identifier)
        {
            Some(known) => *known = status,
            None => {
                if self.all.len() >= MAX_ANIMALS {
                    self.all.remove(0);
                }
                self.all.push(status);
            }
        }
    }
}

/// The animal of a number, as it is when it is new.
pub(crate) fn animal(number: u32) -> AnimalStatus {
    AnimalStatus {
        identifier: format!("animal-{number:03}"),
        name: format!("M{number:03}"),
        dcs_send_x: 1.5,
        dcs_send_y: -2.25 - f64::from(number) * 0.5,
        dcs_send_z: 10.0,
        target_y_limit: (number % 2 == 1).then_some(4.5),
        reach_status_total: ReachStatus::default(),
        reach_status_day: ReachStatus::default(),
    }
}

/// A timeline that runs for days creates animals again and again.
const MAX_ANIMALS: usize = 12;
