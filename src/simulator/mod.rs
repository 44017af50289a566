//! The simulated client application: a rig without a rig.

mod animals;
mod custom;
mod emergency;
mod modes;
mod occurrence;
mod plant;
mod random;
mod rig;
mod scenes;
mod scenes_0_9_7;
mod session;
mod settings;
mod timeline;
mod version;

pub use occurrence::Occurrence;
pub use rig::{Action, Answer, Rig};
pub use timeline::{Happening, Timeline, TimelineItem};
pub use version::SimulatedVersion;
