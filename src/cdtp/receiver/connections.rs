//! Which senders are connected: nobody twice.

use parking_lot::Mutex;

use crate::cdtp::receiver::state::PeerId;
use crate::chirp::ChirpId;
use crate::zsocket::Endpoint;

/// Who a connection was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A host that CHIRP found.
    Host(ChirpId),
    /// An endpoint, whoever sends there.
    Endpoint,
}

/// The connections of a receiver, those too that are being closed.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    id: PeerId,
    asked: Asked,
    endpoint: Endpoint,
    leaving: bool,
}

/// What is to be done for one who is to be connected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Nothing: it is connected.
    Known,
    /// A connection, after the end of another one that the same host had elsewhere.
    Connect { id: PeerId, instead: Option<PeerId> },
}

impl Connections {
    /// Takes one in. One that is being closed at the same endpoint stays instead.
    pub(crate) fn admit(&self, asked: Asked, endpoint: &Endpoint) -> Admit {
        let mut inner = self.inner.lock();
        let mut instead = None;
        for entry in &mut inner.entries {
            if entry.endpoint == *endpoint {
                // Two connections would share the messages of one sender among them.
                entry.leaving = false;
                if asked != Asked::Endpoint {
                    entry.asked = asked;
                }
                return Admit::Known;
            }
            if asked != Asked::Endpoint && entry.asked == asked && !entry.leaving {
                entry.leaving = true;
                instead = Some(entry.id);
            }
        }
        inner.last += 1;
        let id = PeerId(inner.last);
        inner.entries.push(Entry {
            id,
            asked,
            endpoint: endpoint.clone(),
            leaving: false,
        });
        Admit::Connect { id, instead }
    }

    /// Marks one as leaving; `None` if it is unknown or leaves already.
    pub(crate) fn leave(&self, which: impl Fn(&Asked, &Endpoint) -> bool) -> Option<PeerId> {
        let mut inner = self.inner.lock();
        let mut entries = inner.entries.iter_mut();
        let entry = entries.find(|entry| !entry.leaving && which(&entry.asked, &entry.endpoint))?;
        entry.leaving = true;
        Some(entry.id)
    }

    /// Forgets one that leaves; false if it was taken in again, and must stay.
    pub(crate) fn forget_left(&self, id: PeerId) -> bool {
        let mut inner = self.inner.lock();
        match inner.entries.iter().position(|entry| entry.id == id) {
            Some(index) if !inner.entries[index].leaving => false,
            Some(index) => {
                inner.entries.swap_remove(index);
                true
            }
            None => true,
        }
    }

    /// Forgets one that could not be connected.
    pub(crate) fn forget(&self, id: PeerId) {
        self.inner.lock().entries.retain(|entry| entry.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::tcp("127.0.0.1", port).unwrap()
    }

    fn host(name: &str) -> Asked {
        Asked::Host(ChirpId::of(name))
    }

    fn connected(admit: Admit) -> (PeerId, Option<PeerId>) {
        match admit {
            Admit::Connect { id, instead } => (id, instead),
            Admit::Known => panic!("known"),
        }
    }

    #[test]
    fn an_endpoint_is_connected_once_whoever_asks() {
        let connections = Connections::default();
        connected(connections.admit(host("a.b"), &endpoint(1)));
        assert_eq!(connections.admit(host("A.B"), &endpoint(1)), Admit::Known);
        assert_eq!(
            connections.admit(Asked::Endpoint, &endpoint(1)),
            Admit::Known
        );
        assert_eq!(connections.admit(host("c.d"), &endpoint(1)), Admit::Known);
        assert_eq!(connections.leave(|asked, _| *asked == host("a.b")), None);
        assert!(
            connections
                .leave(|asked, _| *asked == host("c.d"))
                .is_some()
        );
    }

    #[test]
    fn a_host_at_another_port_takes_the_place_of_the_old_one() {
        let connections = Connections::default();
        let (old, none) = connected(connections.admit(host("a.b"), &endpoint(1)));
        let (new, instead) = connected(connections.admit(host("a.b"), &endpoint(2)));
        assert_eq!((none, instead), (None, Some(old)));
        assert!(connections.forget_left(old));
        assert!(!connections.forget_left(new), "it does not leave");
    }

    #[test]
    fn one_that_leaves_and_is_asked_for_again_stays() {
        let connections = Connections::default();
        let (id, _) = connected(connections.admit(host("a.b"), &endpoint(1)));
        assert_eq!(connections.leave(|_, _| true), Some(id));
        assert_eq!(connections.leave(|_, _| true), None);
        assert_eq!(connections.admit(host("a.b"), &endpoint(1)), Admit::Known);
        assert!(!connections.forget_left(id));
        assert_eq!(connections.leave(|_, _| true), Some(id));
        assert!(connections.forget_left(id));
        connected(connections.admit(host("a.b"), &endpoint(1)));
    }
}
