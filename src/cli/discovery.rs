//! How the verbs look for services that CHIRP announces, and announce their own.

use std::process;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::chirp::{ChirpError, ChirpManager, ChirpOptions, Interfaces};
use crate::cli::exit::{Exit, Failure};
use crate::rpc::Announcement;
use crate::time;

/// Where to look for services.
#[derive(Debug, Clone, Args)]
pub(crate) struct Discovery {
    /// Group of services to look in
    #[arg(
        long,
        env = "ACQBUS_GROUP",
        default_value = GROUP,
        value_name = "NAME",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Discovery"
    )]
    pub(crate) group: String,
    /// Interface or address to look at, or `all`; may be repeated [default: this machine only]
    #[arg(
        long,
        env = "ACQBUS_INTERFACE",
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Discovery"
    )]
    pub(crate) interface: Vec<String>,
}

impl Discovery {
    /// Takes part in the group, without anything to offer.
    pub(crate) fn join(&self, ageing: Option<Duration>) -> Result<ChirpManager, Failure> {
        let options = ChirpOptions::new(&self.group, seeker())
            .interfaces(self.interfaces())
            .ageing(ageing);
        ChirpManager::start(options).map_err(Failure::from)
    }

    fn interfaces(&self) -> Interfaces {
        match self.interface.as_slice() {
            [] => Interfaces::Loopback,
            names if names.iter().any(|name| name == "all") => Interfaces::All,
            names => Interfaces::named(names),
        }
    }

    /// What to try when nothing is found.
    pub(crate) fn hint(&self) -> &'static str {
        if self.interface.is_empty() {
            "--interface all, which looks beyond this machine, or the right --group"
        } else {
            "the right --group and --interface"
        }
    }
}

/// The interfaces to announce a service on that is bound to this host; `None` for an IPv6 address, which CHIRP has none for.
pub(crate) fn interfaces_of(host: Option<&str>) -> Option<Interfaces> {
    match host {
        None | Some("localhost") => Some(Interfaces::Loopback),
        Some("*" | "0.0.0.0" | "::") => Some(Interfaces::All),
        Some(host) if host.starts_with("127.") => Some(Interfaces::Loopback),
        Some(host) if host.contains(':') => None,
        Some(host) => Some(Interfaces::named([host])),
    }
}

impl From<ChirpError> for Failure {
    fn from(error: ChirpError) -> Self {
        let exit = match &error {
            error if error.is_interface() => Exit::Connection,
            _ => Exit::Failed,
        };
        let failure = Self::of(exit, &error);
        match error {
            ChirpError::UnknownInterface { .. } => failure.with_hint("one of these, or `all`"),
            _ => failure,
        }
    }
}

/// A name that no other host has: who seeks only is never looked for.
fn seeker() -> String {
    format!(
        "acqbus.seeker_{}_{}",
        process::id(),
        time::monotonic_nanoseconds()
    )
}

/// The group of rigs, and of the senders of `acqbus run send`.
pub(crate) const GROUP: &str = Announcement::GROUP;

#[cfg(test)]
mod tests {
    use super::*;

    fn looking_at(interfaces: &[&str]) -> Discovery {
        Discovery {
            group: GROUP.to_owned(),
            interface: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn only_this_machine_is_looked_at_unless_told_otherwise() {
        assert_eq!(looking_at(&[]).interfaces(), Interfaces::Loopback);
        assert_eq!(looking_at(&["lo", "all"]).interfaces(), Interfaces::All);
        assert_eq!(
            looking_at(&["eth0"]).interfaces(),
            Interfaces::named(["eth0"])
        );
    }

    #[test]
    fn announced_where_it_is_bound() {
        for (host, interfaces) in [
            (None, Some(Interfaces::Loopback)),
            (Some("127.0.0.1"), Some(Interfaces::Loopback)),
            (Some("localhost"), Some(Interfaces::Loopback)),
            (Some("*"), Some(Interfaces::All)),
            (
                Some("192.168.0.7"),
                Some(Interfaces::named(["192.168.0.7"])),
            ),
            (Some("::1"), None),
        ] {
            assert_eq!(interfaces_of(host), interfaces, "{host:?}");
        }
    }
}
