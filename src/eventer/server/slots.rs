//! The connections of one reactor, and when each is to be looked at.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::eventer::server::connection::Connection;
use crate::eventer::server::info::ClientInfo;
use crate::eventer::server::mailbox::Address;
use crate::eventer::server::registry::Load;
use crate::eventer::server::stream::Stream;
use crate::store::{EngineHandle, Submission};

/// A connection with its socket.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) address: Address,
    pub(super) peer: SocketAddr,
    /// Gone once the connection is over; the slot stays until DISCONNECTED is with the engine.
    pub(super) stream: Option<Stream>,
    pub(super) connection: Connection,
    pub(super) load: Arc<Load>,
    /// What it said that it is.
    pub(super) info: Option<Arc<ClientInfo>>,
    /// Whether CONNECTED was handed to an engine, so that DISCONNECTED is due.
    pub(super) is_announced: bool,
    /// What waits for room in the queue of the engine.
    pub(super) held: Option<(EngineHandle, Submission)>,
    pub(super) is_readable: bool,
    /// Whether the client sends no more, so that a read that is short is not the last.
    pub(super) is_read_closed: bool,
    pub(super) is_writable: bool,
    pub(super) is_marked: bool,
    /// The earliest time for which it stands among the timers.
    armed: Option<Instant>,
}

/// The connections of one reactor.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize, i64)>>,
    /// In the order in which they came; those that are none any more go when they are first.
    strangers: VecDeque<Address>,
}

impl Slot {
    fn new(address: Address, peer: SocketAddr, stream: Stream, connection: Connection) -> Self {
        Self {
            address,
            peer,
            stream: Some(stream),
            connection,
            load: Arc::default(),
            info: None,
            is_announced: false,
            held: None,
            is_readable: true,
            is_read_closed: false,
            is_writable: true,
            is_marked: false,
            armed: None,
        }
    }

    /// Takes back what the engine had no room for; CONNECTED among it was never told.
    pub(super) fn drop_held(&mut self) {
        if self.held.take().is_some() && self.connection.is_arriving() {
            self.is_announced = false;
        }
    }

    /// What the log calls it.
    pub(super) fn name(&self) -> String {
        match &self.info {
            Some(info) => format!("the eventer client {:?} at {}", info.name, self.peer),
            None => format!("an eventer client at {}", self.peer),
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The place of the next connection.
    pub(super) fn vacancy(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Puts a connection into the [vacancy](Self::vacancy).
    pub(super) fn insert(
        &mut self,
        number: i64,
        peer: SocketAddr,
        stream: Stream,
        connection: Connection,
    ) -> Address {
        let place = self.free.pop().unwrap_or(self.slots.len());
        let address = Address {
            slot: place,
            number,
        };
        if place == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[place] = Some(Slot::new(address, peer, stream, connection));
        while let Some(first) = self.strangers.front()
            && !self.is_stranger(*first)
        {
            self.strangers.pop_front();
        }
        self.strangers.push_back(address);
        address
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(place)?.take()?;
        self.free.push(place);
        Some(slot)
    }

    /// Whoever is at a place.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Slot> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// The connection that mail is for, unless it is over.
    pub(super) fn of(&mut self, address: Address) -> Option<&mut Slot> {
        self.at(address.slot)
            .filter(|slot| slot.address == address && slot.stream.is_some())
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| slot.address).collect()
    }

    /// The oldest connection that has not said who it is.
    pub(super) fn oldest_stranger(&mut self) -> Option<Address> {
        while let Some(first) = self.strangers.pop_front() {
            if self.is_stranger(first) {
                return Some(first);
            }
        }
        None
    }

    /// Sees to it that a connection is looked at in time.
    pub(super) fn arm(&mut self, place: usize) {
        let Some(Some(slot)) = self.slots.get_mut(place) else {
            return;
        };
        let Some(deadline) = slot.connection.deadline() else {
            return;
        };
        // A later deadline is found when the earlier one has come.
        if slot.armed.is_none_or(|armed| deadline < armed) {
            slot.armed = Some(deadline);
            self.timers
                .push(Reverse((deadline, place, slot.address.number)));
        }
    }

    /// When the next connection is to be looked at.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((time, ..))| *time)
    }

    /// A connection whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((time, place, number))) = self.timers.peek().copied() {
            if time > now {
                return None;
            }
            self.timers.pop();
            let Some(Some(slot)) = self.slots.get_mut(place) else {
                continue;
            };
            if slot.address.number == number && slot.armed == Some(time) {
                slot.armed = None;
                return Some(place);
            }
        }
        None
    }

    fn is_stranger(&self, address: Address) -> bool {
        let slot = self.slots.get(address.slot).and_then(Option::as_ref);
        slot.is_some_and(|slot| {
            slot.address == address && slot.stream.is_some() && slot.connection.is_stranger()
        })
    }
}
