//! The sockets of the discovery: one to send with for each interface, one to receive with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::chirp::{Beacon, ChirpError, ChirpOptions, Interfaces};

/// The sockets; owned by the discovery's thread.
#[derive(Debug)]
pub(super) struct Sockets {
    receiver: Socket,
    /// The same socket as `receiver`, for reads into initialised memory.
    reader: UdpSocket,
    senders: Vec<Sender>,
    group: SocketAddrV4,
    interfaces: Interfaces,
    ttl: u8,
}

/// What sends at one interface.
#[derive(Debug)]
struct Sender {
    address: Ipv4Addr,
    socket: Socket,
    /// Whether the last beacon did not go out, so that the log hears of it once.
    failing: bool,
}

/// What [`Sockets::refresh`] found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refreshed {
    /// Whether there is an interface that was not there before.
    pub(super) new: bool,
    /// How many interfaces cannot be used.
    pub(super) failures: u64,
}

impl Sockets {
    /// Opens all.
    ///
    /// An interface that cannot be used is logged and counted, unless it is the last one.
    pub(super) fn open(options: &ChirpOptions, port: u16) -> Result<(Self, Refreshed), ChirpError> {
        let group = SocketAddrV4::new(options.multicast, port);
        let addresses = options.interfaces.addresses()?;
        let failed = |operation| socket_error(operation, group);
        let receiver = receive_socket(group).map_err(failed("listening at"))?;
        let reader = receiver.try_clone().map_err(failed("listening at"))?.into();
        let mut sockets = Self {
            receiver,
            reader,
            senders: Vec::new(),
            group,
            interfaces: options.interfaces.clone(),
            ttl: options.ttl,
        };
        let mut refreshed = Refreshed::default();
        let mut last = None;
        for address in &addresses {
            match sockets.add(*address, &addresses) {
                Ok(_) => refreshed.new = true,
                Err(error) => {
                    log::warn!("{error}: {}", cause(&error));
                    refreshed.failures += 1;
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if sockets.senders.is_empty() => Err(error),
            _ => Ok((sockets, refreshed)),
        }
    }

    /// What the thread waits for.
    pub(super) fn receiver(&self) -> &UdpSocket {
        &self.reader
    }

    /// The next datagram, without waiting; one longer than `buffer` is cut to it.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ipv4Addr)> {
        let (length, source) = self.reader.recv_from(buffer)?;
        match source {
            SocketAddr::V4(source) => Ok((length, *source.ip())),
            // An IPv4 socket has no other peers.
            SocketAddr::V6(_) => Ok((length, Ipv4Addr::UNSPECIFIED)),
        }
    }

    /// Sends a beacon once an interface; gives how many took it.
    pub(super) fn send(&mut self, beacon: &Beacon) -> usize {
        let bytes = beacon.encode();
        let group = self.group.into();
        let mut taken = 0;
        for sender in &mut self.senders {
            match sender.socket.send_to(&bytes, &group) {
                Ok(_) => {
                    taken += 1;
                    sender.failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut sender.failing, true) {
                        log::warn!("beacons do not go out at {}: {error}", sender.address);
                    }
                }
            }
        }
        taken
    }

    /// How many interfaces are in use.
    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    /// Whether only this machine can hear it.
    pub(super) fn is_local(&self) -> bool {
        self.senders
            .iter()
            .all(|sender| sender.address.is_loopback())
    }

    /// Looks for interfaces that came, went or came back.
    pub(super) fn refresh(&mut self) -> Refreshed {
        let mut refreshed = Refreshed::default();
        // An interface of the list that is away now comes back later.
        let Ok(addresses) = self.interfaces.addresses() else {
            refreshed.failures += 1;
            return refreshed;
        };
        let group = *self.group.ip();
        let receiver = &self.receiver;
        self.senders.retain(|sender| {
            let stays = addresses.contains(&sender.address);
            if !stays {
                // Where the interface is gone, so is the membership.
                let _ = receiver.leave_multicast_v4(&group, &sender.address);
            }
            stays
        });
        for address in &addresses {
            match self.add(*address, &addresses) {
                Ok(new) => refreshed.new |= new,
                Err(error) => {
                    log::debug!("{error}: {}", cause(&error));
                    refreshed.failures += 1;
                }
            }
        }
        refreshed
    }

    /// Uses an interface, if it is not in use already; says whether it was not.
    fn add(&mut self, address: Ipv4Addr, all: &[Ipv4Addr]) -> Result<bool, ChirpError> {
        let at = SocketAddrV4::new(address, self.group.port());
        let joined = match self.receiver.join_multicast_v4(self.group.ip(), &address) {
            Ok(()) => true,
            // Joined before, by this address or another one of the same interface.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
            Err(error) => return Err(socket_error("joining the group at", at)(error)),
        };
        let known = self.senders.iter().any(|sender| sender.address == address);
        if known && !joined {
            return Ok(false);
        }
        // A membership that had gone means that the interface is another one under its old address.
        self.senders.retain(|sender| sender.address != address);
        // With the loopback in use, what comes back at another interface would only be a second copy.
        let echo = address.is_loopback() || !all.iter().any(Ipv4Addr::is_loopback);
        let socket =
            send_socket(address, self.ttl, echo).map_err(socket_error("sending from", at))?;
        self.senders.push(Sender {
            address,
            socket,
            failing: false,
        });
        Ok(true)
    }
}

/// Bound to the group rather than to every address, so that nothing but multicasts gets in; shared with all other listeners of
/// this machine.
fn receive_socket(group: SocketAddrV4) -> io::Result<Socket> {
    let socket = udp_socket()?;
    #[cfg(not(target_os = "linux"))]
    socket.set_reuse_port(true)?;
    // Only what comes in at an interface that this very socket joined at, not wherever any program did.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.bind(&group.into())?;
    Ok(socket)
}

fn send_socket(interface: Ipv4Addr, ttl: u8, echo: bool) -> io::Result<Socket> {
    let socket = udp_socket()?;
    socket.set_multicast_ttl_v4(ttl.into())?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_loop_v4(echo)?;
    Ok(socket)
}

fn udp_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn socket_error(operation: &'static str, at: SocketAddrV4) -> impl FnOnce(io::Error) -> ChirpError {
    move |source| ChirpError::Socket {
        operation,
        address: *at.ip(),
        port: at.port(),
        source,
    }
}

fn cause(error: &ChirpError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}
