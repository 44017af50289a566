//! Which version of the reference the simulated rig stands for.

use std::fmt;
use std::str::FromStr;

use crate::rpc::kind_0_9_7::EventKind097;
use crate::rpc::{Dialect, EventKind, UnknownName};

/// The version of `auto-trainer-api` that a simulated rig speaks like.
///
/// It decides the dialect, the shapes of the answers and the kinds of events.
///
/// # Examples
/// ```
/// use acqbus::simulator::SimulatedVersion;
///
/// assert_eq!("0.9.7".parse(), Ok(SimulatedVersion::V0_9_7));
/// assert_eq!(SimulatedVersion::default().to_string(), "0.12.0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SimulatedVersion {
    /// Published bodies are strings, START and STOP_ACQUISITION work, kinds as in 0.9.7.
    V0_9_7,
    /// Plain bodies and everything that the later versions have.
    #[default]
    V0_12_0,
}

impl SimulatedVersion {
    /// How the bodies of this version are written.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::V0_9_7 => Dialect::JsonString,
            Self::V0_12_0 => Dialect::Plain,
        }
    }

    /// The number of the version, "0.12.0".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_9_7 => "0.9.7",
            Self::V0_12_0 => "0.12.0",
        }
    }

    /// Every kind of event that this version knows.
    #[must_use]
    pub fn kinds(self) -> Vec<EventKind> {
        match self {
            Self::V0_9_7 => EventKind097::ALL
                .iter()
                .copied()
                .map(EventKind::from)
                .collect(),
            Self::V0_12_0 => EventKind::ALL.to_vec(),
        }
    }

    /// The name that this version has for a kind; `None` when it has none.
    #[must_use]
    pub fn kind_name(self, kind: EventKind) -> Option<&'static str> {
        match self {
            Self::V0_9_7 => EventKind097::from(kind).name(),
            Self::V0_12_0 => EventKind::from(kind.number()).name(),
        }
    }

    /// Reads a kind by the name that this version has for it, or by its number.
    ///
    /// # Errors
    /// [`UnknownName`] when it is neither.
    pub fn parse_kind(self, text: &str) -> Result<EventKind, UnknownName> {
        match self {
            Self::V0_9_7 => text.parse::<EventKind097>().map(EventKind::from),
            Self::V0_12_0 => text.parse(),
        }
    }
}

impl fmt::Display for SimulatedVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for SimulatedVersion {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::V0_9_7, Self::V0_12_0]
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownName {
                what: "simulated version (0.9.7 or 0.12.0)",
                text: text.to_owned(),
            })
    }
}
