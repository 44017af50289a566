//! The bytes of a beacon.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 5 | `CHIRP` |
//! | 5 | 1 | version, 1 |
//! | 6 | 1 | kind: REQUEST 1, OFFER 2, DEPART 3 |
//! | 7 | 16 | group |
//! | 23 | 16 | host |
//! | 39 | 1 | service: CONTROL 1, HEARTBEAT 2, MONITORING 3, DATA 4 |
//! | 40 | 2 | TCP port, big endian; 0 in a REQUEST |

use std::fmt;
use std::str::FromStr;

use crate::chirp::{ChirpError, ChirpId};
use crate::wire::DecodeError;

/// One datagram of the discovery.
///
/// ```
/// use acqbus::chirp::{Beacon, BeaconKind, ChirpId, ServiceId};
///
/// let group = ChirpId::of("edda");
/// let beacon = Beacon::offer(group, ChirpId::of("Sputnik.One"), ServiceId::Data, 4242);
/// let bytes = beacon.encode();
/// assert_eq!(bytes.len(), 42);
/// assert_eq!(Beacon::decode(&bytes)?, beacon);
/// assert!(Beacon::decode(&bytes[..41]).is_err());
/// # Ok::<(), acqbus::wire::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beacon {
    /// What the sender wants or says.
    pub kind: BeaconKind,
    /// The group that it is for; others ignore it.
    pub group: ChirpId,
    /// Who sends it.
    pub host: ChirpId,
    /// What is wanted or offered.
    pub service: ServiceId,
    /// TCP port of the service. A REQUEST has 0, and a receiver ignores what it has.
    pub port: u16,
}

/// What a beacon wants or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum BeaconKind {
    /// Whoever offers the service is to say so.
    Request = 1,
    /// The host offers the service at the port.
    Offer = 2,
    /// The host offers the service no more.
    Depart = 3,
}

/// What a host offers.
///
/// The wire has no other numbers, and ours uses none: an unknown one ends the discovery of a Python peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum ServiceId {
    /// Commands.
    Control = 1,
    /// Signs of life.
    Heartbeat = 2,
    /// Events, logs and metrics.
    Monitoring = 3,
    /// Run data.
    Data = 4,
}

impl Beacon {
    /// Length of every beacon, in bytes.
    pub const LEN: usize = 42;

    /// A beacon that asks who offers `service`.
    #[must_use]
    pub const fn request(group: ChirpId, host: ChirpId, service: ServiceId) -> Self {
        Self {
            kind: BeaconKind::Request,
            group,
            host,
            service,
            port: 0,
        }
    }

    /// A beacon that says that `host` offers `service` at `port`.
    #[must_use]
    pub const fn offer(group: ChirpId, host: ChirpId, service: ServiceId, port: u16) -> Self {
        Self {
            kind: BeaconKind::Offer,
            group,
            host,
            service,
            port,
        }
    }

    /// A beacon that says that `host` offers `service` at `port` no more.
    #[must_use]
    pub const fn depart(group: ChirpId, host: ChirpId, service: ServiceId, port: u16) -> Self {
        Self {
            kind: BeaconKind::Depart,
            group,
            host,
            service,
            port,
        }
    }

    /// The bytes of one datagram.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..KIND].copy_from_slice(HEADER);
        out[KIND] = self.kind as u8;
        out[GROUP..HOST].copy_from_slice(self.group.as_bytes());
        out[HOST..SERVICE].copy_from_slice(self.host.as_bytes());
        out[SERVICE] = self.service as u8;
        out[PORT..].copy_from_slice(&self.port.to_be_bytes());
        out
    }

    /// Reads one datagram.
    ///
    /// The port is taken as it is: a REQUEST may have one, an OFFER may have 0. Kind 0 and service 0, which ConstellationDAQ 1.0.2
    /// takes, are refused as by the C++ reference: neither means anything. Source: CHIRP 1.
    ///
    /// # Errors
    /// [`DecodeError::Length`] unless there are 42 bytes; [`DecodeError::Header`] for another protocol or version;
    /// [`DecodeError::UnknownNumber`] for a kind or a service that does not exist.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let Ok(bytes) = <&[u8; Self::LEN]>::try_from(datagram) else {
            return Err(DecodeError::Length {
                what: "the beacon",
                expected: Self::LEN,
                found: datagram.len(),
            });
        };
        if !bytes.starts_with(HEADER) {
            return Err(DecodeError::Header {
                what: "the beacon",
                expected: "CHIRP version 1",
            });
        }
        let kind = BeaconKind::from_number(bytes[KIND]).ok_or(DecodeError::UnknownNumber {
            what: "the kind of the beacon",
            found: bytes[KIND].into(),
        })?;
        let service = ServiceId::from_number(bytes[SERVICE]).ok_or(DecodeError::UnknownNumber {
            what: "the service of the beacon",
            found: bytes[SERVICE].into(),
        })?;
        Ok(Self {
            kind,
            group: id_at(bytes, GROUP),
            host: id_at(bytes, HOST),
            service,
            port: u16::from_be_bytes([bytes[PORT], bytes[PORT + 1]]),
        })
    }
}

impl BeaconKind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Request, Self::Offer, Self::Depart]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

impl ServiceId {
    /// Every service, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Control, Self::Heartbeat, Self::Monitoring, Self::Data];

    /// The name, in lower case, as [`FromStr`] reads it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Heartbeat => "heartbeat",
            Self::Monitoring => "monitoring",
            Self::Data => "data",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| *service as u8 == number)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads a name in any case.
impl FromStr for ServiceId {
    type Err = ChirpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|service| service.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| ChirpError::UnknownService {
                name: text.to_owned(),
            })
    }
}

fn id_at(bytes: &[u8; Beacon::LEN], at: usize) -> ChirpId {
    let mut id = [0; ChirpId::LEN];
    id.copy_from_slice(&bytes[at..at + ChirpId::LEN]);
    ChirpId::from_bytes(id)
}

const HEADER: &[u8; KIND] = b"CHIRP\x01";
const KIND: usize = 6;
const GROUP: usize = 7;
const HOST: usize = GROUP + ChirpId::LEN;
const SERVICE: usize = HOST + ChirpId::LEN;
const PORT: usize = SERVICE + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offer_has_the_bytes_of_the_python_peer() {
        let beacon = Beacon::offer(
            ChirpId::of("edda"),
            ChirpId::of("Sputnik.One"),
            ServiceId::Control,
            80,
        );
        let hex: String = beacon
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "4348495250010231\
             91fe735ce6c6bab5a659fd9bac14fd70fa57b933da568fd97b0694fc854309010050"
        );
    }

    #[test]
    fn kind_and_service_that_do_not_exist_are_refused() {
        let id = ChirpId::of("edda");
        let good = Beacon::request(id, id, ServiceId::Data).encode();
        for number in (0..=255u8).filter(|number| !(1..=3).contains(number)) {
            let mut bytes = good;
            bytes[KIND] = number;
            assert!(Beacon::decode(&bytes).is_err(), "kind {number}");
        }
        for number in (0..=255u8).filter(|number| !(1..=4).contains(number)) {
            let mut bytes = good;
            bytes[SERVICE] = number;
            assert!(Beacon::decode(&bytes).is_err(), "service {number}");
        }
    }

    #[test]
    fn names_of_services_read_back() {
        for service in ServiceId::ALL {
            assert_eq!(service.to_string().parse::<ServiceId>().unwrap(), service);
            let loud = service.as_str().to_uppercase();
            assert_eq!(loud.parse::<ServiceId>().unwrap(), service);
        }
        assert!("none".parse::<ServiceId>().is_err());
    }
}
