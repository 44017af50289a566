//! The identity of an event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::error::{EventError, cut};

/// The identity of an event: its server, the session of that server and the place in the session.
///
/// Sessions and instances start at 1; a 0 means "none before". Ordered by server, then session, then instance.
///
/// ```
/// use acqbus::event::EventId;
///
/// let id = EventId::new(1, 7, 3);
/// assert!(EventId::none(1) < id);
/// assert_eq!("1.7.3".parse::<EventId>()?, id);
/// assert_eq!(id.to_string(), "1.7.3");
/// # Ok::<(), acqbus::event::EventError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The server that registered the event.
    pub server: i64,
    /// The session of that server; one call of register is one session.
    pub session: i64,
    /// The place of the event in the session.
    pub instance: i64,
}

impl EventId {
    /// An identity of its three numbers.
    #[must_use]
    pub const fn new(server: i64, session: i64, instance: i64) -> Self {
        Self {
            server,
            session,
            instance,
        }
    }

    /// What a server without events has as its last identity.
    #[must_use]
    pub const fn none(server: i64) -> Self {
        Self::new(server, 0, 0)
    }

    /// 24 bytes whose order is that of the identities: each number + 2^63, big-endian (*ours*).
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let numbers = [self.server, self.session, self.instance];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&(number.cast_unsigned() ^ SIGN).to_be_bytes());
        }
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes); all bytes are an identity.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let number = |at: usize| {
            let mut own = [0; 8];
            own.copy_from_slice(&bytes[at..at + 8]);
            (u64::from_be_bytes(own) ^ SIGN).cast_signed()
        };
        Self::new(number(0), number(8), number(16))
    }
}

impl fmt::Display for EventId {
    /// The three numbers, joined by dots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.server, self.session, self.instance)
    }
}

impl FromStr for EventId {
    type Err = EventError;

    /// Reads three numbers joined by dots.
    fn from_str(text: &str) -> Result<Self, EventError> {
        let mut numbers = text.split('.').map(str::parse);
        match [(); 4].map(|()| numbers.next()) {
            [
                Some(Ok(server)),
                Some(Ok(session)),
                Some(Ok(instance)),
                None,
            ] => Ok(Self::new(server, session, instance)),
            _ => Err(EventError::EventId { text: cut(text) }),
        }
    }
}

impl Serialize for EventId {
    /// A list of three numbers.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.server, self.session, self.instance].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [server, session, instance] = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(server, session, instance))
    }
}

/// The bit whose change makes negative numbers come first among bytes.
const SIGN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_the_order() {
        let sorted = [
            EventId::new(i64::MIN, i64::MAX, 0),
            EventId::new(-1, 5, 5),
            EventId::new(0, -1, 9),
            EventId::new(0, 0, 0),
            EventId::new(0, 0, 1),
            EventId::new(0, 1, -7),
            EventId::new(i64::MAX, i64::MAX, i64::MAX),
        ];
        assert!(sorted.is_sorted());
        assert!(sorted.map(EventId::to_bytes).is_sorted());
        for id in sorted {
            assert_eq!(EventId::from_bytes(&id.to_bytes()), id);
        }
    }

    #[test]
    fn other_text_is_no_identity() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1..3",
            "a.b.c",
            "1.2.9223372036854775808",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        assert_eq!("-1.2.3".parse::<EventId>().unwrap(), EventId::new(-1, 2, 3));
    }

    #[test]
    fn the_form_is_a_list_of_three_numbers() {
        assert_eq!(
            serde_json::to_string(&EventId::new(1, -2, 3)).unwrap(),
            "[1,-2,3]"
        );
        assert!(serde_json::from_str::<EventId>("[1,2]").is_err());
        assert!(serde_json::from_str::<EventId>("[1,2,3,4]").is_err());
    }
}
