//! Which interfaces the discovery uses.

use std::net::Ipv4Addr;

use crate::chirp::ChirpError;

/// The interfaces that beacons go to and come from.
///
/// A beacon goes out once an interface; one that comes in at another interface is not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interfaces {
    /// 127.0.0.1 only: the programs of this machine find each other, nothing leaves it, and nothing from outside is heard.
    #[default]
    Loopback,
    /// The loopback and the first IPv4 address of each interface that is up, as in Constellation.
    All,
    /// Those with these names or IPv4 addresses, and no other. Without `127.0.0.1` or `lo` among them, programs of this machine see
    /// the host at the other interfaces' addresses.
    Named(Vec<String>),
}

impl Interfaces {
    /// [`Named`](Self::Named) from any texts.
    #[must_use]
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }

    /// The address of each interface, as they are now.
    pub(super) fn addresses(&self) -> Result<Vec<Ipv4Addr>, ChirpError> {
        let mut addresses = match self {
            Self::Loopback => vec![Ipv4Addr::LOCALHOST],
            Self::All => {
                let up = machine()?.into_iter().filter(|interface| interface.up);
                let mut seen: Vec<String> = Vec::new();
                let mut addresses = vec![Ipv4Addr::LOCALHOST];
                for interface in up.filter(|interface| !interface.address.is_loopback()) {
                    if !seen.contains(&interface.name) {
                        addresses.push(interface.address);
                        seen.push(interface.name);
                    }
                }
                addresses
            }
            Self::Named(names) => names
                .iter()
                .map(|name| address_of(name))
                .collect::<Result<_, _>>()?,
        };
        let mut seen = Vec::new();
        addresses.retain(|address| {
            let new = !seen.contains(address);
            seen.push(*address);
            new
        });
        if addresses.is_empty() {
            return Err(ChirpError::NoInterface);
        }
        Ok(addresses)
    }
}

fn address_of(name: &str) -> Result<Ipv4Addr, ChirpError> {
    if name == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST);
    }
    // An address need not be listed: all of 127.0.0.0/8 is the loopback's.
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let interfaces = machine()?;
    if let Some(interface) = interfaces.iter().find(|interface| interface.name == name) {
        return Ok(interface.address);
    }
    let mut available: Vec<String> = interfaces
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    available.sort();
    available.dedup();
    Err(ChirpError::UnknownInterface {
        name: name.to_owned(),
        available,
    })
}

/// One IPv4 address of one interface of this machine.
struct Interface {
    name: String,
    address: Ipv4Addr,
    up: bool,
}

fn machine() -> Result<Vec<Interface>, ChirpError> {
    let all = if_addrs::get_if_addrs().map_err(|source| ChirpError::Interfaces { source })?;
    let ipv4 = all.into_iter().filter_map(|interface| {
        let if_addrs::IfAddr::V4(ip) = &interface.addr else {
            return None;
        };
        Some(Interface {
            address: ip.ip,
            up: interface.is_oper_up(),
            name: interface.name,
        })
    });
    Ok(ipv4.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_the_default_and_part_of_all() {
        let default = Interfaces::default().addresses().unwrap();
        assert_eq!(default, [Ipv4Addr::LOCALHOST]);
        assert_eq!(Interfaces::All.addresses().unwrap()[0], Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn names_and_addresses_are_taken_once() {
        let named = Interfaces::named(["127.0.0.1", "localhost", "127.0.0.5"]);
        let expected = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 5)];
        assert_eq!(named.addresses().unwrap(), expected);
    }

    #[test]
    fn name_of_no_interface_is_refused_with_those_that_exist() {
        let error = Interfaces::named(["no-such-one"]).addresses().unwrap_err();
        assert!(
            matches!(&error, ChirpError::UnknownInterface { available, .. } if !available.is_empty())
        );
        let nothing = Interfaces::named::<String>([]).addresses();
        assert!(matches!(nothing, Err(ChirpError::NoInterface)));
    }
}
