//! Who may do what on one socket of a service with keys, and the end of connections whose key was revoked.

use crate::zsocket::{ChangeSubscription, Endpoint, Frame, PeerTable, Role, SharedKeyRing};

/// The users of one socket, held against the keys.
#[derive(Debug)]
pub(crate) struct Admission {
    keys: SharedKeyRing,
    peers: PeerTable,
    _change: ChangeSubscription,
}

impl Admission {
    /// From now on a revoked user's connections to these endpoints are ended at once.
    pub(crate) fn new(keys: &SharedKeyRing, bound: &[Endpoint]) -> Self {
        let peers = PeerTable::new(bound);
        let change = peers.follow(keys);
        Self {
            keys: keys.clone(),
            peers,
            _change: change,
        }
    }

    /// Notes whose connection a frame came over; `false` when that user is revoked.
    pub(crate) fn saw(&self, frame: &Frame) -> bool {
        self.peers.saw(frame)
    }

    /// The user behind a request and his role.
    ///
    /// # Errors
    /// Why nothing is done for him.
    pub(crate) fn user<'a>(&self, frame: &'a Frame) -> Result<(&'a str, Role), String> {
        let user = frame.user_id().unwrap_or_default();
        match self.keys.member_by_name(user) {
            Some(member) => Ok((user, member.role)),
            None => Err(format!("{user:?} has no valid key")),
        }
    }
}
