//! The error of the discovery.

use std::io;
use std::net::Ipv4Addr;

use crate::chirp::ServiceId;

/// What went wrong with the discovery.
///
/// Nothing that comes over the network is an error here: what is unusable is counted, see
/// [`ChirpStats`](crate::chirp::ChirpStats).
///
/// ```
/// use acqbus::chirp::{ChirpManager, ChirpOptions, Interfaces};
///
/// let options = ChirpOptions::new("lab", "Rig.a").interfaces(Interfaces::named(["no-such-one"]));
/// let error = ChirpManager::start(options).unwrap_err();
/// assert!(error.is_interface());
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ChirpError {
    /// No service has this name.
    #[error("{name:?} is not a service: control, heartbeat, monitoring or data")]
    UnknownService {
        /// The name as it was given.
        name: String,
    },
    /// A service cannot be offered at port 0.
    #[error("the service {service} is offered without a port")]
    NoPort {
        /// The service.
        service: ServiceId,
    },
    /// A group or host needs a name.
    #[error("the {what} has no name")]
    NoName {
        /// Which of the two.
        what: &'static str,
    },
    /// The address is not one that several hosts can listen to.
    #[error("{address} is not a multicast address (224.0.0.0 to 239.255.255.255)")]
    NotMulticast {
        /// The address as it was given.
        address: Ipv4Addr,
    },
    /// No interface has this name, and it is no IPv4 address either.
    #[error("no interface or IPv4 address {name:?}; this machine has {}", available.join(", "))]
    UnknownInterface {
        /// The name as it was given.
        name: String,
        /// The interfaces with an IPv4 address.
        available: Vec<String>,
    },
    /// The options name no interface at all.
    #[error("there is no interface to use")]
    NoInterface,
    /// The interfaces of this machine cannot be listed.
    #[error("cannot list the interfaces of this machine")]
    Interfaces {
        /// What the system said.
        source: io::Error,
    },
    /// A socket cannot be made or bound.
    #[error("{operation} {address}:{port} failed")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// The address: of the group, or of an interface.
        address: Ipv4Addr,
        /// The UDP port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread or no means to wake it.
    #[error("the discovery's thread cannot be started")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// The manager was stopped; it is never started again.
    #[error("the discovery is stopped")]
    Stopped,
}

impl ChirpError {
    /// Whether the network of this machine is the reason: another interface or port may work.
    #[must_use]
    pub fn is_interface(&self) -> bool {
        matches!(
            self,
            Self::UnknownInterface { .. }
                | Self::NoInterface
                | Self::Interfaces { .. }
                | Self::NotMulticast { .. }
                | Self::Socket { .. }
        )
    }

    /// Whether the manager is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}
