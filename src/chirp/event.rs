//! What a manager tells about the services of others.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::chirp::{ChirpId, ServiceId};

/// A service that another host offers.
///
/// Host and service identify it: a host has one of each kind.
///
/// ```
/// use acqbus::chirp::{ChirpId, DiscoveredService, ServiceId};
///
/// let host = ChirpId::of("Sputnik.One");
/// let service = DiscoveredService::new(host, ServiceId::Data, [127, 0, 0, 1].into(), 4242);
/// assert_eq!(service.socket_address().to_string(), "127.0.0.1:4242");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct DiscoveredService {
    /// Who offers it: the hash of a name such as `Sputnik.One`.
    pub host: ChirpId,
    /// What is offered.
    pub service: ServiceId,
    /// Where the first beacon came from; 127.0.0.1 for a host on this machine that is heard over the loopback.
    pub address: Ipv4Addr,
    /// TCP port of the service; never 0 where a manager found it.
    pub port: u16,
}

impl DiscoveredService {
    /// A service that was found by other means.
    #[must_use]
    pub const fn new(host: ChirpId, service: ServiceId, address: Ipv4Addr, port: u16) -> Self {
        Self {
            host,
            service,
            address,
            port,
        }
    }

    /// Where to connect.
    #[must_use]
    pub const fn socket_address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, self.port)
    }
}

impl fmt::Display for DiscoveredService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.socket_address();
        write!(f, "{} of {} at {address}", self.service, self.host)
    }
}

/// A service of another host came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChirpEvent {
    /// The host offers a service that was not known.
    Discovered(DiscoveredService),
    /// The host said that it offers the service no more.
    Departed(DiscoveredService),
    /// The service is gone without a word: its host offers it at another port now, or was not heard for the
    /// [ageing](crate::chirp::ChirpOptions::ageing) time.
    Died(DiscoveredService),
}

impl ChirpEvent {
    /// The service in question.
    #[must_use]
    pub const fn service(&self) -> &DiscoveredService {
        match self {
            Self::Discovered(service) | Self::Departed(service) | Self::Died(service) => service,
        }
    }

    /// Whether the service came, and did not go.
    #[must_use]
    pub const fn is_discovered(&self) -> bool {
        matches!(self, Self::Discovered(_))
    }
}
