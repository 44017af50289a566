//! Where a socket binds or connects.

use std::ffi::CString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::zsocket::error::ZsocketError;

/// A validated endpoint: `tcp://HOST:PORT` or `inproc://NAME`.
///
/// ```
/// use acqbus::zsocket::Endpoint;
///
/// let endpoint: Endpoint = "tcp://[::1]:5556".parse()?;
/// assert_eq!((endpoint.host(), endpoint.port()), (Some("::1"), Some(5556)));
/// assert!("tcp://127.0.0.1".parse::<Endpoint>().is_err());
/// # Ok::<(), acqbus::zsocket::ZsocketError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(String);

impl Endpoint {
    /// An endpoint on a TCP port; port 0 binds any free one.
    ///
    /// The host is an IPv4 or IPv6 address (brackets are added), a host name (to connect), an
    /// interface name (to bind), or `*` for every interface (to bind).
    ///
    /// # Errors
    /// [`ZsocketError::InvalidEndpoint`] unless the host is one of these, in at most 253 bytes.
    pub fn tcp(host: &str, port: u16) -> Result<Self, ZsocketError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let refuse = |reason| {
            Err(ZsocketError::InvalidEndpoint {
                text: format!("tcp://{host}:{port}"),
                reason,
            })
        };
        if bare.is_empty() {
            return refuse("the host is missing");
        }
        if bare.len() > MAX_HOST_LEN {
            return refuse("the host is longer than 253 bytes");
        }
        if bare.contains(':') {
            // A zone such as `%eth0` belongs to the text but not to the address.
            let address = bare.split_once('%').map_or(bare, |(address, _)| address);
            if address.parse::<Ipv6Addr>().is_err() {
                return refuse("the host is not an IPv6 address");
            }
            if bare
                .bytes()
                .any(|byte| !is_host_byte(byte) && !b":%".contains(&byte))
            {
                return refuse("the host has a character that no host has");
            }
            return Ok(Self(format!("tcp://[{bare}]:{port}")));
        }
        if bare.len() != host.len() {
            return refuse("only an IPv6 address stands in brackets");
        }
        if bare != "*" && !bare.bytes().all(is_host_byte) {
            return refuse("the host has a character that no host has");
        }
        Ok(Self(format!("tcp://{bare}:{port}")))
    }

    /// An endpoint on a TCP port of this address; port 0 binds any free one.
    #[must_use]
    pub fn tcp_ip(address: IpAddr, port: u16) -> Self {
        match address {
            IpAddr::V4(address) => Self(format!("tcp://{address}:{port}")),
            IpAddr::V6(address) => Self(format!("tcp://[{address}]:{port}")),
        }
    }

    /// An endpoint inside this process and one context.
    ///
    /// # Errors
    /// [`ZsocketError::InvalidEndpoint`] unless the name has 1 to 240 printable ASCII characters.
    pub fn inproc(name: &str) -> Result<Self, ZsocketError> {
        let text = format!("{INPROC}{name}");
        if name.is_empty() {
            return Err(ZsocketError::InvalidEndpoint {
                text,
                reason: "the name is missing",
            });
        }
        if name.len() > MAX_NAME_LEN || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ZsocketError::InvalidEndpoint {
                text,
                reason: "the name is not 1 to 240 printable ASCII characters",
            });
        }
        Ok(Self(text))
    }

    /// The host without brackets, or `None` for an endpoint inside the process.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let (host, _) = self.0.strip_prefix(TCP)?.rsplit_once(':')?;
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// The port, or `None` for an endpoint inside the process.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.strip_prefix(TCP)?.rsplit_once(':')?.1.parse().ok()
    }

    /// The host as an address, when it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host()?.parse().ok()
    }

    /// Whether only this machine can reach it.
    ///
    /// That is: inside the process, `localhost`, 127.0.0.0/8 or `::1`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host() {
            None | Some("localhost") => true,
            Some(_) => self.ip().is_some_and(|address| address.is_loopback()),
        }
    }

    /// The text, as libzmq reads it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.0.starts_with("tcp://[")
    }

    pub(super) fn to_c_string(&self) -> CString {
        // Every constructor refuses control characters, so there is no zero byte.
        CString::new(self.0.as_str()).unwrap_or_default()
    }
}

impl FromStr for Endpoint {
    type Err = ZsocketError;

    fn from_str(text: &str) -> Result<Self, ZsocketError> {
        let refuse = |reason| {
            Err(ZsocketError::InvalidEndpoint {
                text: text.to_owned(),
                reason,
            })
        };
        if let Some(name) = text.strip_prefix(INPROC) {
            return Self::inproc(name);
        }
        let Some(rest) = text.strip_prefix(TCP) else {
            return refuse("it begins neither with tcp:// nor with inproc://");
        };
        let Some((host, port)) = rest.rsplit_once(':') else {
            return refuse("the port is missing");
        };
        if host.contains(':') && !host.starts_with('[') {
            return refuse(
                "an IPv6 address stands in brackets, and the port is missing or after it",
            );
        }
        // `parse` alone would take a sign.
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if port == "*" { "0" } else { port };
        match port.parse() {
            Ok(port) if digits || rest.ends_with(":*") => Self::tcp(host, port),
            _ => refuse("the port is not a number from 0 to 65535"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses that a bind setting means.
///
/// It is an address itself, `localhost`, or the name of an interface.
///
/// An interface gives its IPv4 addresses first, then IPv6. Blocks for a few system calls; asks no
/// name server.
///
/// # Errors
/// [`ZsocketError::UnknownInterface`] with the interfaces that exist; [`ZsocketError::Interfaces`]
/// if the system does not list them.
///
/// ```
/// let addresses = acqbus::zsocket::addresses_of("localhost")?;
/// assert_eq!(addresses, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
/// # Ok::<(), acqbus::zsocket::ZsocketError>(())
/// ```
pub fn addresses_of(name_or_address: &str) -> Result<Vec<IpAddr>, ZsocketError> {
    if name_or_address == "localhost" {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let bare = name_or_address
        .trim_start_matches('[')
        .trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let interfaces =
        if_addrs::get_if_addrs().map_err(|source| ZsocketError::Interfaces { source })?;
    let mut addresses: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| interface.name == name_or_address)
        .map(|interface| interface.ip())
        .collect();
    if addresses.is_empty() {
        let mut available: Vec<String> = interfaces
            .into_iter()
            .map(|interface| interface.name)
            .collect();
        available.sort();
        available.dedup();
        return Err(ZsocketError::UnknownInterface {
            name: name_or_address.to_owned(),
            available,
        });
    }
    addresses.sort_by_key(|address| address.is_ipv6());
    addresses.dedup();
    Ok(addresses)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

const TCP: &str = "tcp://";
const INPROC: &str = "inproc://";
const MAX_HOST_LEN: usize = 253;
/// libzmq holds 256 bytes of endpoint with its prefix and a final zero.
const MAX_NAME_LEN: usize = 240;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_endpoints_come_back_as_they_are() {
        for text in [
            "tcp://127.0.0.1:5556",
            "tcp://[::1]:0",
            "tcp://[fe80::1%eth0]:65535",
            "tcp://rig-1.lab.example:1",
            "tcp://eth0:5557",
            "inproc://zeromq.zap.01",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(
            "tcp://*:*".parse::<Endpoint>().unwrap().to_string(),
            "tcp://*:0"
        );
    }

    #[test]
    fn bad_endpoints_are_refused() {
        for text in [
            "",
            "tcp://",
            "tcp://:1",
            "tcp://a",
            "tcp://a:",
            "tcp://a:65536",
            "tcp://a:-1",
            "tcp://a:+1",
            "tcp://a b:1",
            "tcp://a\0:1",
            "tcp://::1:5",
            "tcp://[::1]",
            "tcp://[a]:1",
            "tcp://[::g]:1",
            "tcp://a;b:1",
            "udp://a:1",
            "inproc://",
            "inproc://a b",
            "inproc://\0",
            "127.0.0.1:5",
            "tcp://a/b:1",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(
                matches!(error, ZsocketError::InvalidEndpoint { .. }),
                "{text:?}: {error}"
            );
        }
        assert!(Endpoint::inproc(&"x".repeat(241)).is_err());
        assert!(Endpoint::tcp(&"x".repeat(254), 1).is_err());
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, expected) in [
            ("tcp://127.0.0.1:1", true),
            ("tcp://127.8.0.1:1", true),
            ("tcp://localhost:1", true),
            ("tcp://[::1]:1", true),
            ("inproc://x", true),
            ("tcp://*:1", false),
            ("tcp://0.0.0.0:1", false),
            ("tcp://[::]:1", false),
            ("tcp://10.0.0.1:1", false),
            ("tcp://rig:1", false),
        ] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_interface_is_told_which_exist() {
        let error = addresses_of("no-such-interface").unwrap_err();
        let ZsocketError::UnknownInterface { available, .. } = &error else {
            panic!("{error}");
        };
        assert!(!available.is_empty());
        let first = addresses_of(&available[0]).unwrap();
        assert!(!first.is_empty());
        assert!(error.to_string().contains(&available[0]));
    }

    #[test]
    fn addresses_pass_through() {
        assert_eq!(
            addresses_of("10.1.2.3").unwrap(),
            [IpAddr::from([10, 1, 2, 3])]
        );
        assert_eq!(
            addresses_of("::1").unwrap(),
            [IpAddr::from(Ipv6Addr::LOCALHOST)]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_reads_back(
            text in "\\PC{0,40}|(tcp|inproc)://\\PC{0,30}(:[0-9]{0,6})?"
        ) {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(&endpoint.to_string().parse::<Endpoint>().unwrap(), &endpoint);
                prop_assert_eq!(endpoint.host().is_some(), endpoint.port().is_some());
            }
        }
    }
}
