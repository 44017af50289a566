//! What happens at the simulated rig, before it is stamped with a time and published.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rpc::{EventContext, EventKind};

/// Something that the rig publishes as an event, without its time.
///
/// # Examples
/// ```
/// use acqbus::rpc::EventKind;
/// use acqbus::rpc::context::session::SessionStarted;
/// use acqbus::simulator::Occurrence;
///
/// let started = SessionStarted { session_id: "s-1".into(), is_analysis_deferred: false };
/// assert_eq!(Occurrence::of(&started).kind, EventKind::SessionStarted);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// What it tells.
    pub kind: EventKind,
    /// What it carries; `None` is null on the wire.
    pub context: Option<Value>,
}

impl Occurrence {
    /// An occurrence without context.
    pub fn new(kind: impl Into<EventKind>) -> Self {
        Self {
            kind: kind.into(),
            context: None,
        }
    }

    /// An occurrence of the first kind that carries this context.
    pub fn of<C: EventContext>(context: &C) -> Self {
        Self::with(C::KINDS[0], context)
    }

    /// An occurrence of this kind with any context; one that cannot be written as JSON is left out.
    pub fn with<C: Serialize + ?Sized>(kind: impl Into<EventKind>, context: &C) -> Self {
        Self {
            kind: kind.into(),
            context: serde_json::to_value(context).ok(),
        }
    }

    /// The context as the type that the kind should carry; `None` for one made by hand in another shape.
    pub(crate) fn read<C: DeserializeOwned>(&self) -> Option<C> {
        C::deserialize(self.context.as_ref()?).ok()
    }
}
