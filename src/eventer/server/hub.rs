//! What the threads of a server share: its clients, its engine, and the way to tell clients something.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::event::{Events, Status};
use crate::eventer::message::{self, Message};
use crate::eventer::sbs::Writer;
use crate::eventer::server::ack::AckWait;
use crate::eventer::server::info::{ClientInfo, Counters, count};
use crate::eventer::server::mailbox::{Mail, Mailbox};
use crate::eventer::server::options::ServerOptions;
use crate::eventer::server::registry::{Client, Mailed, Registry, Seat};
use crate::store::{Backend, EngineHandle};

/// What the threads of a server share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) options: ServerOptions,
    pub(super) counters: Counters,
    pub(super) mailboxes: Vec<Arc<Mailbox>>,
    /// The number of the last connection.
    number: AtomicI64,
    /// Before the desk, where both are held.
    registry: RwLock<Registry>,
    desk: RwLock<Desk>,
}

/// Who does the work at the moment.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) status: Status,
    pub(super) engine: Option<EngineHandle>,
    pub(super) backend: Arc<dyn Backend>,
}

impl Hub {
    pub(super) fn new(options: ServerOptions, desk: Desk, mailboxes: Vec<Arc<Mailbox>>) -> Self {
        Self {
            options,
            counters: Counters::default(),
            mailboxes,
            number: AtomicI64::new(0),
            registry: RwLock::default(),
            desk: RwLock::new(desk),
        }
    }

    pub(super) fn next_number(&self) -> i64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn status(&self) -> Status {
        self.desk.read().status
    }

    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.desk.read().backend)
    }

    /// The engine, if there is one, whatever the status.
    pub(super) fn engine(&self) -> Option<EngineHandle> {
        self.desk.read().engine.clone()
    }

    /// The engine, if clients may register.
    pub(super) fn operational_engine(&self) -> Option<EngineHandle> {
        let desk = self.desk.read();
        match desk.status {
            Status::Operational => desk.engine.clone(),
            _ => None,
        }
    }

    /// Changes who does the work, and tells all clients where that changes the status.
    pub(super) fn change(&self, change: impl FnOnce(&mut Desk)) {
        // Dropped behind the locks: the last handle of a backend flushes it, and its callbacks come here.
        let _before = self.desk.read().clone();
        // A client that comes now sees either the status of before and this change, or that of after.
        let registry = self.registry.write();
        let status = {
            let mut desk = self.desk.write();
            let before = desk.status;
            change(&mut desk);
            if desk.status == before {
                return;
            }
            desk.status
        };
        let message = Message::StatusNotify(status);
        let mut data = Vec::new();
        message.encode(&mut data);
        let data: Arc<[u8]> = data.into();
        let mut post = Post::new(self);
        for client in registry.clients() {
            post.add(&client.seat, message.kind(), &data, None);
        }
        post.send();
    }

    /// Adds a client, told the status by `welcome`: nothing it wants is told before that, nor missed behind it.
    pub(super) fn add<E>(
        &self,
        client: Client,
        welcome: impl FnOnce(Status) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut registry = self.registry.write();
        welcome(self.status())?;
        registry.add(client);
        Ok(())
    }

    pub(super) fn remove(&self, number: i64) {
        self.registry.write().remove(number);
    }

    pub(super) fn clients(&self) -> Vec<Arc<ClientInfo>> {
        let registry = self.registry.read();
        let infos = registry.clients().map(|client| Arc::clone(&client.info));
        let mut infos: Vec<_> = infos.collect();
        infos.sort_unstable_by_key(|info| info.number);
        infos
    }

    /// Hands events to the clients that want them.
    pub(super) fn notify(&self, events: &Events, is_persisted: bool, ack: Option<&Arc<AckWait>>) {
        let registry = self.registry.read();
        let portions = registry.portions(events, is_persisted);
        if portions.is_empty() {
            return;
        }
        let limit = self.options.max_frame.saturating_sub(FRAME_BYTES);
        let mut encoded: HashMap<&[u32], Contents> = HashMap::new();
        let mut post = Post::new(self);
        for portion in &portions {
            let contents = encoded
                .entry(&portion.places)
                .or_insert_with(|| encode(events, &portion.places, limit));
            for seat in portion.seats {
                for data in contents.iter() {
                    post.add(seat, message::EVENTS_NOTIFY, data, ack);
                    count(&self.counters.notified);
                }
            }
        }
        post.send();
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("status", &self.status)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// Mail for several clients, handed over at once.
struct Post<'a> {
    hub: &'a Hub,
    bags: SmallVec<[Vec<Mail>; 4]>,
}

impl<'a> Post<'a> {
    fn new(hub: &'a Hub) -> Self {
        Self {
            hub,
            bags: hub.mailboxes.iter().map(|_| Vec::new()).collect(),
        }
    }

    fn add(
        &mut self,
        seat: &Seat,
        kind: &'static str,
        data: &Arc<[u8]>,
        ack: Option<&Arc<AckWait>>,
    ) {
        let limit = self.hub.options.send_queue;
        let mail = match seat.load.mail(data.len(), limit) {
            Mailed::Taken => Mail::Notify {
                to: seat.address,
                kind,
                data: Arc::clone(data),
                ack: ack.map(AckWait::token),
            },
            Mailed::FirstRefused => Mail::Overflow(seat.address),
            Mailed::Refused => return,
        };
        if let Some(bag) = self.bags.get_mut(seat.reactor) {
            bag.push(mail);
        }
    }

    fn send(mut self) {
        for (mailbox, bag) in self.hub.mailboxes.iter().zip(&mut self.bags) {
            mailbox.append(bag);
        }
    }
}

/// The contents of the messages that carry some events: one, unless they do not fit into a frame.
type Contents = SmallVec<[Arc<[u8]>; 1]>;

fn encode(events: &Events, places: &[u32], limit: usize) -> Contents {
    let mut contents = Contents::new();
    let mut body = Vec::new();
    let mut count = 0;
    let mut finish = |body: &[u8], count: usize| {
        let mut data = Vec::with_capacity(COUNT_BYTES + body.len());
        Writer::new(&mut data).count(count);
        data.extend_from_slice(body);
        contents.push(data.into());
    };
    for event in places
        .iter()
        .filter_map(|place| events.get(*place as usize))
    {
        let start = body.len();
        message::encode_event(event, &mut body);
        if body.len() > limit && count > 0 {
            let rest = body.split_off(start);
            finish(&body, mem::take(&mut count));
            body = rest;
        }
        count += 1;
    }
    finish(&body, count);
    contents
}

/// The most bytes of a count.
const COUNT_BYTES: usize = 10;

/// The most that a frame adds to the events of a notification: numbers, flags, type, lengths and count.
const FRAME_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventId, EventType, Timestamp};

    #[test]
    fn events_that_do_not_fit_into_a_frame_come_in_several() {
        let event = |instance| {
            let id = EventId::new(1, 1, instance);
            Arc::new(Event::new(id, EventType::from("abc"), Timestamp::new(0, 0)))
        };
        let events: Events = (1..=5).map(event).collect();
        let ids = |limit| {
            let contents = encode(&events, &[0, 1, 3, 4], limit);
            let events = contents.iter().map(|data| {
                let Ok(Message::EventsNotify(events)) =
                    Message::decode(message::EVENTS_NOTIFY, data)
                else {
                    panic!("no notification");
                };
                events.iter().map(|event| event.id.instance).collect()
            });
            events.collect::<Vec<Vec<_>>>()
        };
        assert_eq!(ids(1000), [[1, 2, 4, 5]]);
        assert_eq!(ids(25), [[1, 2], [4, 5]]);
        assert_eq!(ids(1), [[1], [2], [4], [5]]);
    }
}
