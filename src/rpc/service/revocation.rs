//! What a socket's thread does about keys: who asks, and the end of connections whose key was revoked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rpc::keys::{Member, PeerTable, SharedKeyRing};
use crate::zsocket::Frame;

/// The users seen on one socket, held against the keys.
#[derive(Debug)]
pub(crate) struct Revocation {
    keys: SharedKeyRing,
    peers: PeerTable,
    changed: Arc<AtomicBool>,
}

impl Revocation {
    /// `changed` is set, and the socket's thread woken, whenever the keys change.
    pub(crate) fn new(keys: SharedKeyRing, peers: PeerTable, changed: Arc<AtomicBool>) -> Self {
        Self {
            keys,
            peers,
            changed,
        }
    }

    /// Notes whose connection a frame came over.
    pub(crate) fn saw(&mut self, frame: &Frame) {
        self.peers.saw(frame);
    }

    /// What the keys say of a user now; `None` once he is revoked.
    pub(crate) fn member(&self, user: &str) -> Option<Member> {
        self.keys.member_by_name(user)
    }

    /// After a change of the keys, ends the connections of those who are no longer in them.
    pub(crate) fn enforce(&mut self) {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        for user in self.peers.users() {
            if self.keys.member_by_name(&user).is_none() {
                let ended = self.peers.disconnect_user(&user);
                log::warn!("the key of {user} is revoked: {ended} connections ended");
            }
        }
    }
}
