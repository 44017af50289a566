//! Making a connection that can be given up at any moment.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::eventer::EventerError;
use crate::wake::{WakeReceiver, poll_until};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads HOST, HOST:PORT, an IPv6 address, or one in brackets with or without a port.
    pub(super) fn parse(text: &str) -> Result<Self, EventerError> {
        let refused = |reason: &str| EventerError::Option {
            option: "address",
            reason: format!("{text:?} {reason}"),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| refused("has a bracket without an end"))?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(refused("has something behind the bracket")),
            };
            (host, port)
        } else {
            match text.split_once(':') {
                // An IPv6 address has several.
                Some((_, port)) if port.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        if host.is_empty() {
            return Err(refused("has no host"));
        }
        let port = match port.map(str::parse) {
            None => DEFAULT_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(refused("has no port from 1 to 65535")),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// How an attempt ended without a connection.
#[derive(Debug)]
pub(super) enum Undone {
    /// It was woken: the client is about to end.
    Woken,
    /// There is no connection to be had.
    Failed(io::Error),
}

/// Connects to the first address of the host that answers; the socket does not block.
///
/// Each address has its share of the time, so that one that swallows everything does not keep the next from its turn.
///
/// Looking up a name cannot be interrupted; everything else ends when it is woken.
pub(super) fn dial(
    address: &Address,
    deadline: Instant,
    woken: &WakeReceiver,
) -> Result<TcpStream, Undone> {
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    let found = found.map_err(Undone::Failed)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (left, address) in (1..=found.len()).rev().zip(found) {
        match dial_one(address, share(Instant::now(), deadline, left), woken) {
            Ok(stream) => return Ok(stream),
            Err(Undone::Failed(error)) => last = error,
            Err(Undone::Woken) => return Err(Undone::Woken),
        }
    }
    Err(Undone::Failed(last))
}

/// Until when the next of so many addresses may take.
fn share(now: Instant, deadline: Instant, left: usize) -> Instant {
    let left = u32::try_from(left).unwrap_or(u32::MAX).max(1);
    now + deadline.saturating_duration_since(now) / left
}

fn dial_one(
    address: SocketAddr,
    deadline: Instant,
    woken: &WakeReceiver,
) -> Result<TcpStream, Undone> {
    let failed = |error: io::Error| Undone::Failed(error);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {
            let mut items = [
                PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT),
                PollFd::from_borrowed_fd(woken.descriptor(), PollFlags::IN),
            ];
            if !poll_until(&mut items, Some(deadline)).map_err(failed)? {
                return Err(Undone::Failed(io::ErrorKind::TimedOut.into()));
            }
            if !items[1].revents().is_empty() {
                return Err(Undone::Woken);
            }
            if let Some(error) = socket.take_error().map_err(failed)? {
                return Err(Undone::Failed(error));
            }
        }
        Err(error) => return Err(Undone::Failed(error)),
    }
    // Requests are small, and waited for.
    socket.set_tcp_nodelay(true).map_err(failed)?;
    Ok(socket.into())
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
}

/// The port of eventer servers. Source: hat-event 0.9.44.
const DEFAULT_PORT: u16 = 23012;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn address_has_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("rig-7", "rig-7", 23012),
            ("rig-7:5", "rig-7", 5),
            ("127.0.0.1", "127.0.0.1", 23012),
            ("::1", "::1", 23012),
            ("[::1]", "::1", 23012),
            ("[fe80::1]:7", "fe80::1", 7),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                (address.host.as_str(), address.port),
                (host, port),
                "{text}"
            );
        }
    }

    #[test]
    fn each_address_has_its_share_of_the_time() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(6);
        assert_eq!(share(now, deadline, 3), now + Duration::from_secs(2));
        assert_eq!(share(now, deadline, 1), deadline);
        assert_eq!(share(deadline, now, 2), deadline, "too late");
    }

    #[test]
    fn no_address_is_refused_with_its_text() {
        for text in [
            "", ":1", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]7", "[]:1",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("address: {text:?} ")), "{error}");
        }
    }
}
