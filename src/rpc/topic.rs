//! Topics: the first frame of everything that is published.

use std::fmt;
use std::str::FromStr;

use crate::wire::DecodeError;

/// What a published message is about: a number, of which six have names.
///
/// On the wire it is 4 bytes, little-endian (section 1.1 of `docs/wire.md`). Any number is legal; subscriptions
/// are prefixes of these bytes, so [`Topic::ANY`] is an ordinary topic and does not select the others.
///
/// # Examples
/// ```
/// use acqbus::rpc::Topic;
///
/// assert_eq!(Topic::EVENT.to_bytes(), [0xa1, 0x0f, 0, 0]);
/// assert_eq!("property-change".parse(), Ok(Topic::PROPERTY_CHANGE));
/// assert!(Topic::from_frame(b"abc").is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(u32);

impl Topic {
    /// Topic 0, which nobody publishes by himself.
    pub const ANY: Self = Self(0);
    /// Proof of life of a service.
    pub const HEARTBEAT: Self = Self(1001);
    /// A copy of every emergency event.
    pub const EMERGENCY: Self = Self(2001);
    /// Events of the rig.
    pub const EVENT: Self = Self(4001);
    /// Changes of single properties.
    pub const PROPERTY_CHANGE: Self = Self(5001);
    /// Outcomes of commands that were answered "pending with notification".
    pub const COMMAND_RESULT: Self = Self(6001);
    /// How far such a command is (*ours*: a client of the peers takes any COMMAND_RESULT as the last word).
    pub const COMMAND_PROGRESS: Self = Self(6002);
    /// The topics that have a name, in the order of their numbers.
    pub const NAMED: [Self; 7] = [
        Self::ANY,
        Self::HEARTBEAT,
        Self::EMERGENCY,
        Self::EVENT,
        Self::PROPERTY_CHANGE,
        Self::COMMAND_RESULT,
        Self::COMMAND_PROGRESS,
    ];

    /// The topic of a number; every number is one.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The topic frame, which is also the prefix to subscribe to.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// Reads a topic frame.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless it has exactly 4 bytes.
    pub fn from_frame(frame: &[u8]) -> Result<Self, DecodeError> {
        let Ok(bytes) = frame.try_into() else {
            return Err(DecodeError::Length {
                what: "topic frame",
                expected: 4,
                found: frame.len(),
            });
        };
        Ok(Self(u32::from_le_bytes(bytes)))
    }

    /// The name, as `PROPERTY_CHANGE`, if the number has one.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::ANY => Some("ANY"),
            Self::HEARTBEAT => Some("HEARTBEAT"),
            Self::EMERGENCY => Some("EMERGENCY"),
            Self::EVENT => Some("EVENT"),
            Self::PROPERTY_CHANGE => Some("PROPERTY_CHANGE"),
            Self::COMMAND_RESULT => Some("COMMAND_RESULT"),
            Self::COMMAND_PROGRESS => Some("COMMAND_PROGRESS"),
            _ => None,
        }
    }
}

impl fmt::Display for Topic {
    /// The name, or else the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

/// A text that names no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither the name of a topic nor a number from 0 to 4294967295")]
pub struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    /// Reads a name in any case, with `-` or `_`, or a number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.trim();
        let named = Self::NAMED.into_iter().find(|topic| {
            topic
                .name()
                .is_some_and(|name| wanted.replace('-', "_").eq_ignore_ascii_case(name))
        });
        match named {
            Some(topic) => Ok(topic),
            None => match wanted.parse() {
                Ok(number) => Ok(Self(number)),
                Err(_) => Err(UnknownTopic(text.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_bytes_are_those_of_the_wire() {
        for (topic, name, bytes) in [
            (Topic::ANY, "ANY", [0, 0, 0, 0]),
            (Topic::HEARTBEAT, "HEARTBEAT", [0xe9, 3, 0, 0]),
            (Topic::EMERGENCY, "EMERGENCY", [0xd1, 7, 0, 0]),
            (Topic::EVENT, "EVENT", [0xa1, 0x0f, 0, 0]),
            (
                Topic::PROPERTY_CHANGE,
                "PROPERTY_CHANGE",
                [0x89, 0x13, 0, 0],
            ),
            (Topic::COMMAND_RESULT, "COMMAND_RESULT", [0x71, 0x17, 0, 0]),
        ] {
            assert_eq!(topic.to_bytes(), bytes);
            assert_eq!(Topic::from_frame(&bytes), Ok(topic));
            assert_eq!(topic.to_string(), name);
            assert_eq!(name.to_lowercase().replace('_', "-").parse(), Ok(topic));
            assert_eq!(topic.number().to_string().parse(), Ok(topic));
        }
    }

    #[test]
    fn unnamed_number_is_a_topic_too() {
        let topic: Topic = "77".parse().expect("a number");
        assert_eq!(topic, Topic::new(77));
        assert_eq!(topic.to_string(), "77");
        assert!("4294967296".parse::<Topic>().is_err());
        assert!("EVENTS".parse::<Topic>().is_err());
    }

    #[test]
    fn frame_of_another_size_is_refused() {
        for size in [0, 1, 2, 3, 5, 8] {
            assert!(Topic::from_frame(&vec![0; size]).is_err(), "{size}");
        }
    }
}
