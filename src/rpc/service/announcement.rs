//! How a service lets itself be found.

use std::net::IpAddr;
use std::time::Duration;

use crate::chirp::{ChirpError, ChirpManager, ChirpOptions, Interfaces, PORT, ServiceId};
use crate::rpc::error::chain;
use crate::rpc::service::stats::Meters;
use crate::zsocket::Endpoint;

/// Where and as whom a service is announced, so that clients find it without an address.
///
/// The command port is offered as [`ServiceId::Control`], the publisher's as [`ServiceId::Monitoring`], at the interfaces that the
/// service is bound to and nowhere else. `docs/discovery.md` has the details.
///
/// ```
/// use acqbus::rpc::{Announcement, RpcOptions};
///
/// let options = RpcOptions::default().announce(Announcement::default());
/// assert_eq!(options.announce.unwrap().group, "acqbus");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// Group in which the service is found. Defaults to [`GROUP`](Self::GROUP).
    ///
    /// Never the group of a Constellation: its members would talk to the service in protocols of their own.
    pub group: String,
    /// Name of the service, of which others see the hash; unique in the group. `None`, the default, makes it from the identifier, the
    /// machine's name and the command port: `Rig.<identifier>@<machine>:<port>`.
    pub host: Option<String>,
    /// UDP port of the discovery. Defaults to [`PORT`].
    pub port: u16,
}

impl Announcement {
    /// The group that a service is announced in and looked for unless another one is set.
    pub const GROUP: &'static str = "acqbus";

    /// Sets [`group`](Self::group).
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Sets [`host`](Self::host).
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Sets [`port`](Self::port).
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Announces a service that is bound already; a failure is logged and counted, for the service works without.
    pub(crate) fn open(
        &self,
        identifier: &str,
        subscriber: &[Endpoint],
        command: &[Endpoint],
        meters: &Meters,
    ) -> Option<ChirpManager> {
        match self.try_open(identifier, subscriber, command) {
            Ok(manager) => {
                meters.announce_failed(manager.stats().interface_failures);
                Some(manager)
            }
            Err(error) => {
                meters.announce_failed(1);
                log::warn!("the service is not announced: {}", chain(&error));
                None
            }
        }
    }

    fn try_open(
        &self,
        identifier: &str,
        subscriber: &[Endpoint],
        command: &[Endpoint],
    ) -> Result<ChirpManager, ChirpError> {
        let port_of = |endpoints: &[Endpoint]| endpoints.first().and_then(Endpoint::port);
        let (subscriber_port, command_port) = (
            port_of(subscriber).unwrap_or(0),
            port_of(command).unwrap_or(0),
        );
        let host = self
            .host
            .clone()
            .unwrap_or_else(|| host_name(identifier, command_port));
        let interfaces = interfaces_of(command);
        // Networks may come later than a service that is bound to all of them.
        let rescan = (interfaces == Interfaces::All).then_some(RESCAN);
        let options = ChirpOptions::new(&self.group, host)
            .port(self.port)
            .interfaces(interfaces)
            .rescan(rescan);
        let manager = ChirpManager::start(options)?;
        manager.register(ServiceId::Control, command_port)?;
        manager.register(ServiceId::Monitoring, subscriber_port)?;
        Ok(manager)
    }
}

impl Default for Announcement {
    fn default() -> Self {
        Self {
            group: Self::GROUP.to_owned(),
            host: None,
            port: PORT,
        }
    }
}

/// An identifier alone is the same for all rigs that never set one.
fn host_name(identifier: &str, command_port: u16) -> String {
    let system = rustix::system::uname();
    let machine = system.nodename().to_string_lossy();
    format!("Rig.{identifier}@{machine}:{command_port}")
}

/// The discovery is IPv4 only: other addresses are not announced.
fn interfaces_of(bound: &[Endpoint]) -> Interfaces {
    let addresses = bound.iter().filter_map(|endpoint| match endpoint.ip()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let addresses: Vec<_> = addresses.collect();
    if addresses.iter().any(|address| address.is_unspecified()) {
        return Interfaces::All;
    }
    Interfaces::named(addresses.iter().map(ToString::to_string))
}

const RESCAN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_that_are_bound() {
        let interfaces = |bound: &[&str]| {
            let bound: Vec<_> = bound.iter().map(|text| text.parse().unwrap()).collect();
            interfaces_of(&bound)
        };
        assert_eq!(
            interfaces(&["tcp://127.0.0.1:1", "tcp://192.0.2.1:1", "tcp://[::1]:1"]),
            Interfaces::named(["127.0.0.1", "192.0.2.1"])
        );
        assert_eq!(interfaces(&["tcp://0.0.0.0:1"]), Interfaces::All);
        assert_eq!(
            interfaces(&["tcp://[::1]:1"]),
            Interfaces::named::<&str>([])
        );
    }

    #[test]
    fn two_services_of_one_identifier_have_two_names() {
        assert_ne!(host_name("rig", 1), host_name("rig", 2));
        assert!(host_name("rig", 1).starts_with("Rig.rig@"));
    }
}
