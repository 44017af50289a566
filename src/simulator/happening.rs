//! What a simulated rig publishes by itself.

use serde_json::Value;

use crate::simulator::occurrence::Occurrence;

/// What is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// An event, on EVENT (and EMERGENCY).
    Event(Occurrence),
    /// The change of a property, on PROPERTY_CHANGE.
    Property(Value),
}
