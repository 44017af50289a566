//! Which senders are connected: nobody twice.

use parking_lot::Mutex;

use crate::cdtp::receiver::state::PeerId;
use crate::chirp::ChirpId;
use crate::zsocket::{Endpoint, Waker};

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
    /// Who reads another one only when this one has left.
    waiting: Vec<Waker>,
}

/// What is to be done for one who is to be connected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Nothing: it is connected.
    Known,
    /// A connection.
    Connect {
        id: PeerId,
        /// One of the same host elsewhere, which is to be read to its end first.
        after: Option<PeerId>,
    },
}

impl Connections {
    /// Takes one in. One that is being closed at the same endpoint stays instead.
    ///
    /// Gives too the connection that the same host has elsewhere, which is to be removed.
    pub(crate) fn admit(&self, asked: Asked, endpoint: &Endpoint) -> (Admit, Option<PeerId>) {
        let mut inner = self.inner.lock();
        let (mut after, mut instead) = (None, None);
        if asked != Asked::Endpoint {
            let same = |entry: &&mut Entry| entry.asked == asked && entry.endpoint != *endpoint;
            for entry in inner.entries.iter_mut().filter(same) {
                after = after.max(Some(entry.id));
                if !entry.leaving {
                    entry.leaving = true;
                    instead = Some(entry.id);
                }
            }
        }
        let mut entries = inner.entries.iter_mut();
        if let Some(known) = entries.find(|entry| entry.endpoint == *endpoint) {
            // Two connections would share the messages of one sender among them.
            known.leaving = false;
            if asked != Asked::Endpoint {
                known.asked = asked;
            }
            known.wake_waiting();
            return (Admit::Known, instead);
        }
        inner.last += 1;
        let id = PeerId(inner.last);
        inner.entries.push(Entry {
            id,
            asked,
            endpoint: endpoint.clone(),
            leaving: false,
            waiting: Vec::new(),
        });
        (Admit::Connect { id, after }, instead)
    }

    /// Whether it is there and leaves; the thread is woken once that changes.
    pub(crate) fn is_leaving(&self, id: PeerId, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        let mut entries = inner.entries.iter_mut();
        let Some(entry) = entries.find(|entry| entry.id == id && entry.leaving) else {
            return false;
        };
        // One thread waits, as a rule; it asks again after each wake.
        entry.waiting.clear();
        entry.waiting.push(waker.clone());
        true
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
                inner.entries.swap_remove(index).wake_waiting();
                true
            }
            None => true,
        }
    }

    /// Forgets one that could not be connected, or is not read any more.
    pub(crate) fn forget(&self, id: PeerId) {
        let mut inner = self.inner.lock();
        if let Some(index) = inner.entries.iter().position(|entry| entry.id == id) {
            inner.entries.swap_remove(index).wake_waiting();
        }
    }
}

impl Entry {
    fn wake_waiting(&mut self) {
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
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

    fn connected(admit: (Admit, Option<PeerId>)) -> (PeerId, Option<PeerId>) {
        match admit {
            (Admit::Connect { id, .. }, instead) => (id, instead),
            (Admit::Known, _) => panic!("known"),
        }
    }

    const KNOWN: (Admit, Option<PeerId>) = (Admit::Known, None);

    #[test]
    fn a_host_that_comes_to_a_known_endpoint_leaves_its_old_one() {
        let connections = Connections::default();
        let (old, _) = connected(connections.admit(host("a.b"), &endpoint(1)));
        connected(connections.admit(Asked::Endpoint, &endpoint(2)));
        let known = connections.admit(host("a.b"), &endpoint(2));
        assert_eq!(known, (Admit::Known, Some(old)));
        assert!(connections.forget_left(old));
    }

    #[test]
    fn a_host_that_was_removed_and_comes_elsewhere_is_read_after_its_old_connection() {
        let connections = Connections::default();
        let (old, _) = connected(connections.admit(host("a.b"), &endpoint(1)));
        connections.leave(|_, _| true);
        let (admit, instead) = connections.admit(host("a.b"), &endpoint(2));
        assert!(matches!(admit, Admit::Connect { after, .. } if after == Some(old)));
        assert_eq!(instead, None, "it is removed already");
        let (waker, wake) = crate::zsocket::wake_pair().unwrap();
        assert!(connections.is_leaving(old, &waker));
        connections.forget_left(old);
        assert!(!connections.is_leaving(old, &waker));
        let now = Some(std::time::Instant::now());
        assert!(crate::zsocket::wait(&[], Some(&wake), now).unwrap().woken());
    }

    #[test]
    fn an_endpoint_is_connected_once_whoever_asks() {
        let connections = Connections::default();
        connected(connections.admit(host("a.b"), &endpoint(1)));
        assert_eq!(connections.admit(host("A.B"), &endpoint(1)), KNOWN);
        assert_eq!(connections.admit(Asked::Endpoint, &endpoint(1)), KNOWN);
        assert_eq!(connections.admit(host("c.d"), &endpoint(1)), KNOWN);
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
        assert_eq!(connections.admit(host("a.b"), &endpoint(1)), KNOWN);
        assert!(!connections.forget_left(id));
        assert_eq!(connections.leave(|_, _| true), Some(id));
        assert!(connections.forget_left(id));
        connected(connections.admit(host("a.b"), &endpoint(1)));
    }
}
