//! The clients that are taken, and who of them wants which events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::event::{EventType, EventTypeCollection, Events, Subscription, TreeCollection};
use crate::eventer::server::info::ClientInfo;
use crate::eventer::server::mailbox::Address;

/// The clients that are taken.
#[derive(Debug, Default)]
pub(super) struct Registry {
    clients: HashMap<i64, Client>,
    registered: Audience,
    flushed: Audience,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) info: Arc<ClientInfo>,
    pub(super) seat: Seat,
}

/// Where a client is reached.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) reactor: usize,
    pub(super) address: Address,
    pub(super) load: Arc<Load>,
}

/// Bytes that wait for a client: those on the way to its reactor, and those that its socket has not taken.
#[derive(Debug, Default)]
pub(super) struct Load {
    mailed: AtomicUsize,
    outgoing: AtomicUsize,
    is_overflown: AtomicBool,
}

/// What a client gets of several events.
#[derive(Debug)]
pub(super) struct Portion<'a> {
    /// Places of the events that it wants, ascending.
    pub(super) places: Vec<u32>,
    /// The clients that want exactly these.
    pub(super) seats: &'a [Seat],
}

impl Registry {
    /// Adds a client.
    pub(super) fn add(&mut self, client: Client) {
        let info = &client.info;
        let audience = if info.persisted {
            &mut self.flushed
        } else {
            &mut self.registered
        };
        audience.add(info.server_id, &info.subscription, client.seat.clone());
        self.clients.insert(info.number, client);
    }

    /// Forgets a client; one that is not there is no error.
    pub(super) fn remove(&mut self, number: i64) {
        let Some(client) = self.clients.remove(&number) else {
            return;
        };
        let info = &client.info;
        let audience = if info.persisted {
            &mut self.flushed
        } else {
            &mut self.registered
        };
        audience.remove(info.server_id, &info.subscription, number);
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// Who is to be told which of the events.
    pub(super) fn portions(&self, events: &Events, is_persisted: bool) -> Vec<Portion<'_>> {
        if is_persisted {
            self.flushed.portions(events)
        } else {
            self.registered.portions(events)
        }
    }
}

impl Load {
    /// Counts bytes that are mailed to a client.
    pub(super) fn mail(&self, bytes: usize, limit: usize) -> Mailed {
        let mailed = self.mailed.fetch_add(bytes + OVERHEAD, Ordering::Relaxed);
        if mailed + self.outgoing.load(Ordering::Relaxed) <= limit {
            return Mailed::Taken;
        }
        self.mailed.fetch_sub(bytes + OVERHEAD, Ordering::Relaxed);
        if self.is_overflown.swap(true, Ordering::Relaxed) {
            Mailed::Refused
        } else {
            Mailed::FirstRefused
        }
    }

    /// The mail has come.
    pub(super) fn delivered(&self, bytes: usize) {
        self.mailed.fetch_sub(bytes + OVERHEAD, Ordering::Relaxed);
    }

    /// So many bytes wait for the socket.
    pub(super) fn set_outgoing(&self, bytes: usize) {
        self.outgoing.store(bytes, Ordering::Relaxed);
    }
}

/// Whether a client may be mailed so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mailed {
    Taken,
    /// It may not, and its reactor does not know yet.
    FirstRefused,
    Refused,
}

/// Clients in groups of the same wishes: each event is matched, and each message encoded, once a group.
#[derive(Debug, Default)]
struct Audience {
    tree: TreeCollection<u32>,
    numbers: HashMap<Wish, u32>,
    groups: HashMap<u32, Group>,
    next: u32,
}

/// A server, if only its events are wanted, and sanitised query types in order.
type Wish = (Option<i64>, Vec<EventType>);

#[derive(Debug)]
struct Group {
    server_id: Option<i64>,
    seats: Vec<Seat>,
}

impl Audience {
    fn add(&mut self, server_id: Option<i64>, subscription: &Subscription, seat: Seat) {
        if subscription.is_none() {
            return;
        }
        let Self {
            tree,
            numbers,
            groups,
            next,
        } = self;
        let number = *numbers
            .entry(wish(server_id, subscription))
            .or_insert_with(|| {
                while groups.contains_key(next) {
                    *next = next.wrapping_add(1);
                }
                tree.add(subscription, *next);
                *next
            });
        let group = groups.entry(number).or_insert_with(|| Group {
            server_id,
            seats: Vec::new(),
        });
        group.seats.push(seat);
    }

    fn remove(&mut self, server_id: Option<i64>, subscription: &Subscription, client: i64) {
        let wish = wish(server_id, subscription);
        let Some(number) = self.numbers.get(&wish).copied() else {
            return;
        };
        let Some(group) = self.groups.get_mut(&number) else {
            return;
        };
        group.seats.retain(|seat| seat.address.number != client);
        if group.seats.is_empty() {
            self.groups.remove(&number);
            self.numbers.remove(&wish);
            self.tree.remove(&number);
        }
    }

    fn portions(&self, events: &Events) -> Vec<Portion<'_>> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let mut wanted: Vec<(u32, u32)> = Vec::new();
        for (place, event) in (0..).zip(events.iter()) {
            self.tree.for_each(&event.event_type, &mut |group| {
                wanted.push((*group, place));
            });
        }
        wanted.sort_unstable();
        let of_groups = wanted.chunk_by(|(one, _), (other, _)| one == other);
        of_groups
            .filter_map(|wanted| {
                let group = self.groups.get(&wanted.first()?.0)?;
                let is_of = |place: &u32| {
                    let event = events.get(*place as usize);
                    group.server_id.is_none()
                        || event.map(|event| event.id.server) == group.server_id
                };
                let places: Vec<_> = wanted
                    .iter()
                    .map(|(_, place)| *place)
                    .filter(is_of)
                    .collect();
                (!places.is_empty()).then_some(Portion {
                    places,
                    seats: &group.seats,
                })
            })
            .collect()
    }
}

fn wish(server_id: Option<i64>, subscription: &Subscription) -> Wish {
    let mut query_types = subscription.query_types();
    query_types.sort();
    (server_id, query_types)
}

/// What a message costs beside its bytes, so that many without any are counted too.
const OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventId, Timestamp};

    #[test]
    fn clients_of_the_same_wishes_share_a_portion() {
        let mut registry = Registry::default();
        registry.add(client(1, &["a/?", "b"], None, false));
        registry.add(client(2, &["b", "a/?"], None, false));
        registry.add(client(3, &["*"], Some(2), false));
        registry.add(client(4, &["*"], None, true));
        registry.add(client(5, &[], None, false));
        let events = events(&[(1, "a/x"), (2, "b"), (1, "c")]);
        assert_eq!(
            told(&registry, &events, false),
            [(vec![0, 1], vec![1, 2]), (vec![1], vec![3])]
        );
        assert_eq!(told(&registry, &events, true), [(vec![0, 1, 2], vec![4])]);
        registry.remove(1);
        registry.remove(1);
        registry.remove(3);
        assert_eq!(told(&registry, &events, false), [(vec![0, 1], vec![2])]);
        registry.remove(2);
        registry.remove(5);
        assert!(told(&registry, &events, false).is_empty());
        assert!(registry.registered.numbers.is_empty() && registry.registered.groups.is_empty());
    }

    #[test]
    fn what_waits_for_a_client_is_bounded_and_told_once() {
        let load = Load::default();
        assert_eq!(
            load.mail(1000, 500),
            Mailed::Taken,
            "a single one may be larger"
        );
        assert_eq!(load.mail(1, 500), Mailed::FirstRefused);
        assert_eq!(load.mail(1, 500), Mailed::Refused);
        load.delivered(1000);
        load.set_outgoing(501);
        assert_eq!(load.mail(1, 500), Mailed::Refused);
        load.set_outgoing(0);
        assert_eq!(load.mail(1, 500), Mailed::Taken);
    }

    fn client(number: i64, types: &[&str], server_id: Option<i64>, persisted: bool) -> Client {
        let subscription = Subscription::new(types.iter().map(|text| EventType::from(*text)));
        Client {
            info: Arc::new(ClientInfo {
                number,
                name: number.to_string(),
                address: ([127, 0, 0, 1], 1).into(),
                subscription: subscription.unwrap(),
                server_id,
                persisted,
            }),
            seat: Seat {
                reactor: 0,
                address: Address { slot: 0, number },
                load: Arc::default(),
            },
        }
    }

    fn events(of: &[(i64, &str)]) -> Events {
        let event = |(place, (server, text)): (usize, &(i64, &str))| {
            let id = EventId::new(*server, 1, place as i64);
            Arc::new(Event::new(id, EventType::from(*text), Timestamp::MIN))
        };
        of.iter().enumerate().map(event).collect()
    }

    fn told(registry: &Registry, events: &Events, persisted: bool) -> Vec<(Vec<u32>, Vec<i64>)> {
        let portions = registry.portions(events, persisted);
        let numbers = |seats: &[Seat]| seats.iter().map(|seat| seat.address.number).collect();
        let mut told: Vec<_> = portions
            .into_iter()
            .map(|portion| (portion.places, numbers(portion.seats)))
            .collect();
        told.sort_by_key(|(_, numbers): &(_, Vec<i64>)| numbers.clone());
        told
    }
}
