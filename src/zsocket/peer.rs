//! Ends the live connections of one user, which libzmq has no call for.
//!
//! libzmq marks each received message with the descriptor of its connection (`ZMQ_SRCFD`) and with
//! the `User-Id` that the authenticator gave. The table remembers both, along with the two
//! addresses of the connection. To end it, the socket is shut down from below: libzmq notices as if
//! the peer had gone.
//!
//! A descriptor is only a number, and the system gives it to another connection once this one is
//! closed. So it is duplicated first, and the duplicate must still have the very addresses that
//! were remembered.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::net::{Shutdown, getpeername, getsockname, shutdown};

use crate::zsocket::endpoint::Endpoint;
use crate::zsocket::frame::Frame;
use crate::zsocket::raw;
use crate::zsocket::shared_keyring::{ChangeSubscription, SharedKeyRing};

/// Remembers which connection belongs to which user, and ends those of a user.
///
/// Clones share one table; any thread may use it. It has at most one entry for each descriptor of
/// the process, and one for each banned name.
#[derive(Clone)]
pub struct PeerTable {
    ports: Arc<[u16]>,
    state: Arc<Mutex<State>>,
}

impl PeerTable {
    /// A table of the connections to these bound endpoints.
    ///
    /// [`Socket::bind`](crate::zsocket::Socket::bind) gives them.
    #[must_use]
    pub fn new(bound: &[Endpoint]) -> Self {
        Self {
            ports: bound.iter().filter_map(Endpoint::port).collect(),
            state: Arc::default(),
        }
    }

    /// Notes a received frame; false if its user is banned.
    ///
    /// The connection of a banned user is ended then, and the caller drops the message.
    ///
    /// One frame of each message is enough: a command, a subscription. Frames without a user are
    /// let pass. Costs four system calls for a frame with a user, and a map look-up for others.
    #[must_use = "a banned user's message is not to be served"]
    pub fn saw(&self, frame: &Frame) -> bool {
        let Some(user) = frame.user_id() else {
            return true;
        };
        let connection = self.connection_of(frame);
        let mut state = self.state.lock();
        if state.banned.contains(user) {
            if let Some((_, pinned, _)) = connection {
                end(&pinned);
            }
            return false;
        }
        let Some((descriptor, _, addresses)) = connection else {
            // Closed meanwhile, or inside the process.
            return true;
        };
        match state.peers.get_mut(&descriptor) {
            Some(peer) if peer.user == user => peer.addresses = addresses,
            _ => {
                let user = user.to_owned();
                state.peers.insert(descriptor, Peer { user, addresses });
            }
        }
        true
    }

    /// Ends the user's live connections, gives their number, and bans the name.
    ///
    /// A connection that has sent nothing yet ends with its first message. libzmq notices within
    /// microseconds, drops what was queued for the peer, and asks the authenticator when the peer
    /// comes back. Never blocks.
    pub fn disconnect_user(&self, name: &str) -> usize {
        let mut state = self.state.lock();
        state.banned.insert(name.to_owned());
        let mut ended = 0;
        state.peers.retain(|descriptor, peer| {
            if peer.user != name {
                return true;
            }
            if let Some(pinned) = raw::pin(*descriptor)
                && addresses(&pinned) == Some(peer.addresses)
            {
                end(&pinned);
                ended += 1;
            }
            false
        });
        ended
    }

    /// Disconnects everybody whose key is revoked from now on, until the answer is dropped.
    ///
    /// It happens on the ring's thread, so a busy owner of the sockets delays nothing. A name that
    /// gets a key again is no longer banned.
    #[must_use = "dropping it ends the following"]
    pub fn follow(&self, keys: &SharedKeyRing) -> ChangeSubscription {
        let table = self.clone();
        keys.on_change(move |change| {
            for name in &change.revoked {
                let ended = table.disconnect_user(name);
                log::warn!("the key of {name} is revoked: {ended} connections ended");
            }
            for name in &change.added {
                table.allow_user(name);
            }
        })
    }

    /// The names of all users that were seen and not disconnected, sorted.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut names: Vec<String> = state.peers.values().map(|peer| peer.user.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Lifts the ban of a name, for one whose access is good again.
    pub fn allow_user(&self, name: &str) {
        self.state.lock().banned.remove(name);
    }

    /// How many connections with a user are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        let mut state = self.state.lock();
        state.peers.retain(|descriptor, peer| {
            raw::pin(*descriptor).and_then(|pinned| addresses(&pinned)) == Some(peer.addresses)
        });
        state.peers.len()
    }

    fn connection_of(&self, frame: &Frame) -> Option<(RawFd, OwnedFd, Addresses)> {
        let descriptor = frame.c_property(c"__fd")?.parse().ok()?;
        let pinned = raw::pin(descriptor)?;
        let addresses = addresses(&pinned)?;
        // One that was closed before its message was read may be anything by now.
        self.ports
            .contains(&addresses.local.port())
            .then_some((descriptor, pinned, addresses))
    }
}

impl fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTable")
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    peers: HashMap<RawFd, Peer>,
    banned: HashSet<String>,
}

struct Peer {
    user: String,
    addresses: Addresses,
}

/// What makes a TCP connection itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Addresses {
    local: SocketAddr,
    peer: SocketAddr,
}

fn addresses(socket: &OwnedFd) -> Option<Addresses> {
    Some(Addresses {
        local: getsockname(socket).ok()?.try_into().ok()?,
        peer: getpeername(socket).ok()??.try_into().ok()?,
    })
}

fn end(socket: &OwnedFd) {
    // It may have ended by itself, which is as good.
    let _ = shutdown(socket, Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    /// A table that believes to know this connection.
    fn table(listener: &TcpListener, descriptor: RawFd, addresses: Addresses) -> PeerTable {
        let local = listener.local_addr().unwrap();
        let table = PeerTable::new(&[Endpoint::tcp_ip(local.ip(), local.port())]);
        let user = "ada".to_owned();
        table
            .state
            .lock()
            .peers
            .insert(descriptor, Peer { user, addresses });
        table
    }

    #[test]
    fn known_connection_ends_and_a_reused_descriptor_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, OwnedFd::from(listener.accept().unwrap().0))
        };
        let (mut client, server) = connect();
        let (stranger, other) = connect();
        let known = addresses(&server).unwrap();

        // The entry's descriptor now belongs to another connection of the same port.
        let reused = table(&listener, other.as_raw_fd(), known);
        assert_eq!(reused.disconnect_user("ada"), 0);
        stranger.set_nonblocking(true).unwrap();
        let error = (&stranger).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);

        let good = table(&listener, server.as_raw_fd(), known);
        assert_eq!(good.disconnect_user("bob"), 0);
        assert_eq!(good.connection_count(), 1);
        assert_eq!(good.disconnect_user("ada"), 1);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(good.disconnect_user("ada"), 0);
    }

    #[test]
    fn closed_and_foreign_descriptors_are_left_alone() {
        assert!(raw::pin(-1).is_none());
        assert!(raw::pin(1 << 29).is_none());
        let file = tempfile::tempfile().unwrap();
        assert!(addresses(&raw::pin(file.as_raw_fd()).unwrap()).is_none());
    }

    #[test]
    fn frame_without_a_user_passes() {
        assert!(PeerTable::new(&[]).saw(&Frame::from("x")));
    }
}
