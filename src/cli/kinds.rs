//! Names of event kinds, by the version of the service that publishes them.

use serde_json::Value;

use crate::cli::exit::Failure;
use crate::cli::names;
use crate::rpc::kind_0_9_7::EventKind097;
use crate::rpc::{EventKind, Message};

/// Which numbering of event kinds a service uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Numbering {
    /// Nothing is known of the service yet.
    #[default]
    Unknown,
    /// That of 0.9.7.
    Old,
    /// That of 0.9.24 and later.
    New,
}

/// A kind that is looked for: a number, or a name that has a number in one or both numberings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KindFilter {
    typed: String,
    old: Option<i64>,
    new: Option<i64>,
}

impl Numbering {
    /// The numbering of a service of this version.
    ///
    /// The numbers changed between 0.9.18 and 0.9.22; versions below 0.9 are ours, which use the new ones.
    pub(crate) fn of_version(version: &str) -> Self {
        let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().flatten();
        match (next(), next(), next()) {
            (Some(0), Some(9), Some(patch)) if patch < 22 => Self::Old,
            _ => Self::New,
        }
    }

    /// What this message tells: only 0.9.7 publishes JSON within a JSON string.
    pub(crate) fn learn(&mut self, message: &Message) {
        if let Some(heartbeat) = message.heartbeat() {
            *self = Self::of_version(&heartbeat.version);
        } else if *self == Self::Unknown && message.body.first() == Some(&b'"') {
            *self = Self::Old;
        }
    }

    /// The name of a kind.
    pub(crate) fn name(self, number: i64) -> Option<&'static str> {
        match self {
            Self::Old => EventKind097::from(number).name(),
            Self::New | Self::Unknown => EventKind::from(number).name(),
        }
    }
}

impl KindFilter {
    /// Reads the name of a kind, in any case, or its number.
    pub(crate) fn parse(typed: &str) -> Result<Self, Failure> {
        let typed = typed.trim();
        if let Ok(number) = typed.parse() {
            return Ok(Self {
                typed: typed.to_owned(),
                old: Some(number),
                new: Some(number),
            });
        }
        let old = typed.parse::<EventKind097>().ok().map(EventKind097::number);
        let new = typed.parse::<EventKind>().ok().map(EventKind::number);
        if old.is_none() && new.is_none() {
            let failure = Failure::usage(format!("`{typed}` is no kind of event"));
            return Err(match names::near(typed, all_names()).as_slice() {
                [] => failure.with_hint("a name such as sessionStarted, or a number"),
                close => failure.with_hint(names::or(close)),
            });
        }
        Ok(Self {
            typed: typed.to_owned(),
            old,
            new,
        })
    }

    /// Whether an event of this kind is meant.
    pub(crate) fn matches(&self, kind: i64, numbering: Numbering) -> bool {
        let wanted = match numbering {
            Numbering::Old => self.old,
            // Before the first heartbeat a name that only the old numbering has can mean nothing else.
            Numbering::Unknown => self.new.or(self.old),
            Numbering::New => self.new,
        };
        wanted == Some(kind)
    }

    /// What the user wrote.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }
}

/// The kind in the body of an event.
pub(crate) fn kind_of(body: &Value) -> Option<i64> {
    let kind = body.get("kind")?;
    kind.as_i64().or_else(|| {
        kind.as_f64()
            .filter(|kind| kind.fract() == 0.0)
            .map(|kind| kind as i64)
    })
}

/// Every name of a kind, in both numberings.
pub(crate) fn all_names() -> impl Iterator<Item = &'static str> {
    let new = EventKind::ALL.iter().filter_map(|kind| kind.name());
    new.chain(EventKind097::ALL.iter().filter_map(|kind| kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_decides_the_numbering() {
        for version in ["0.9.7", "0.9.16"] {
            assert_eq!(Numbering::of_version(version), Numbering::Old, "{version}");
        }
        for version in [
            "0.9.24",
            "0.10.3",
            "0.12.0",
            "1.0.0",
            env!("CARGO_PKG_VERSION"),
            "",
            "x.y",
        ] {
            assert_eq!(Numbering::of_version(version), Numbering::New, "{version}");
        }
    }

    #[test]
    fn one_name_has_two_numbers() {
        let started = KindFilter::parse("session-started").unwrap();
        assert!(started.matches(1331, Numbering::New));
        assert!(started.matches(1302, Numbering::Old));
        assert!(!started.matches(1302, Numbering::New));
        assert!(started.matches(1331, Numbering::Unknown));
    }

    #[test]
    fn one_number_has_two_names() {
        assert_eq!(Numbering::New.name(1301), Some("trialStarted"));
        assert_eq!(Numbering::Old.name(1301), Some("sessionStarting"));
        assert_eq!(Numbering::Old.name(123), None);
    }

    #[test]
    fn name_of_the_old_numbering_alone_matches_there_only() {
        let seen = KindFilter::parse("triangleSeen").unwrap();
        assert!(seen.matches(1550, Numbering::Old));
        assert!(!seen.matches(1550, Numbering::New));
    }

    #[test]
    fn unknown_kind_is_refused_with_what_is_near() {
        let text = KindFilter::parse("sesionStarted").unwrap_err().to_string();
        assert!(text.contains("sessionStarted"), "{text}");
    }

    #[test]
    fn kind_is_compared_as_a_number() {
        let kind = |text: &str| kind_of(&serde_json::from_str(text).unwrap());
        assert_eq!(kind(r#"{"kind": 101}"#), Some(101));
        assert_eq!(kind(r#"{"kind": 101.0}"#), Some(101));
        assert_eq!(kind(r#"{"kind": "101"}"#), None);
        assert_eq!(kind("[]"), None);
    }
}
