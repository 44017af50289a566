//! Events: what happened, when, and in which context.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rpc::{EventContext, EventKind};

/// One event, generic over its context: a typed one, any serialisable value, or (read from the wire) a JSON [`Value`].
///
/// The members stand on the wire in the order in which they stand here. Source: auto-trainer-api, section 6 of `docs/wire.md`.
///
/// ```
/// use acqbus::rpc::{Event, EventKind};
///
/// let event = Event::new(EventKind::TunnelEnter, 1_735_787_045.5, 7);
/// assert_eq!(event.kind.number(), 1101);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event<C = Value> {
    /// What happened.
    pub kind: EventKind,
    /// When it happened: seconds since 1970, by the wall clock of the rig.
    pub when: f64,
    /// A number that only grows, in nanoseconds of no particular beginning, which orders events that the wall clock cannot.
    pub index: i64,
    /// What belongs to it, if anything.
    pub context: Option<C>,
    /// 0 the first time it is told; absent in events that were published as maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
}

impl Event {
    /// An event without context, at a given time.
    #[must_use]
    pub const fn new(kind: EventKind, when: f64, index: i64) -> Self {
        Self {
            kind,
            when,
            index,
            context: None,
            repeat: Some(0),
        }
    }

    /// An event without context that happens now.
    #[must_use]
    pub fn now(kind: EventKind) -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::new(kind, since_epoch.as_secs_f64(), monotonic_nanoseconds())
    }
}

impl<C: EventContext> Event<C> {
    /// An event of the kind that its context belongs to, happening now; the first kind where the context serves several.
    #[must_use]
    pub fn of(context: C) -> Self {
        Event::now(C::KINDS.first().copied().unwrap_or(EventKind::Unknown)).with_context(context)
    }
}

impl<C> Event<C> {
    /// The same event with another context.
    #[must_use]
    pub fn with_context<D>(self, context: D) -> Event<D> {
        Event {
            kind: self.kind,
            when: self.when,
            index: self.index,
            context: Some(context),
            repeat: self.repeat,
        }
    }

    /// The same event told for the `count`th time after the first.
    #[must_use]
    pub fn with_repeat(mut self, count: u32) -> Self {
        self.repeat = Some(count);
        self
    }
}

fn monotonic_nanoseconds() -> i64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let since = BEGIN.get_or_init(Instant::now).elapsed();
    // 292 years after the start of the process.
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
