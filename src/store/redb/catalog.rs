//! Every event type by its number, and where its events go.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::event::{EventType, OrderBy, Subscription};
use crate::store::StoreError;
use crate::store::admission::{Admission, Places};

use super::types::TypeNames;

/// The event types that the store has seen, where the events of each go, and the answers to query types that were asked before.
///
/// A number is given once and for ever. It may be given before the type is on disk: [`unsaved`](Self::unsaved) says which
/// ones a transaction has to write, and [`set_saved`](Self::set_saved) that it did.
#[derive(Debug)]
pub(super) struct Catalog {
    rules: Rules,
    numbers: HashMap<EventType, u32>,
    types: Vec<(EventType, Arc<Places>)>,
    names: Arc<TypeNames>,
    saved: usize,
    asked: HashMap<Option<Vec<EventType>>, Asked>,
}

/// How the partition is chosen that answers a query.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) partitions: Vec<(OrderBy, Subscription)>,
    /// Chooses partitions by the reference's faulty rule.
    pub(super) as_reference: bool,
}

/// Query types, and what is known to match them.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Numbers of the types that match, ascending; `None` where every type does.
    pub(super) numbers: Option<Arc<Numbers>>,
    partitions: [Option<usize>; 2],
}

/// A set of type numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) list: Vec<u32>,
    bits: Vec<u64>,
}

#[derive(Debug)]
struct Asked {
    subscription: Subscription,
    wanted: Wanted,
    /// How many types have been looked at.
    seen: usize,
}

impl Catalog {
    /// A catalog of types that are on disk, in the order of their numbers.
    pub(super) fn new(rules: Rules, admission: &mut Admission, saved: Vec<EventType>) -> Self {
        let mut catalog = Self {
            rules,
            numbers: HashMap::with_capacity(saved.len()),
            types: Vec::with_capacity(saved.len()),
            names: Arc::default(),
            saved: 0,
            asked: HashMap::new(),
        };
        for event_type in &saved {
            catalog.number(event_type, admission);
        }
        catalog.saved = catalog.types.len();
        catalog
    }

    pub(super) fn len(&self) -> usize {
        self.types.len()
    }

    /// The number of a type, a new one if need be.
    pub(super) fn number(&mut self, event_type: &EventType, admission: &mut Admission) -> u32 {
        if let Some(number) = self.numbers.get(event_type) {
            return *number;
        }
        let number = self.types.len() as u32;
        self.numbers.insert(event_type.clone(), number);
        self.names.push(event_type.clone());
        self.types
            .push((event_type.clone(), admission.places(event_type)));
        number
    }

    /// The number of a type that was seen before.
    pub(super) fn find(&self, event_type: &EventType) -> Option<u32> {
        self.numbers.get(event_type).copied()
    }

    /// The types by their numbers, for those who read events.
    pub(super) fn names(&self) -> &Arc<TypeNames> {
        &self.names
    }

    /// Where events of a type go.
    pub(super) fn places(&self, number: u32) -> &Places {
        &self.types[number as usize].1
    }

    /// The types that are not on disk, with the number of the first.
    pub(super) fn unsaved(&self) -> (u32, Vec<EventType>) {
        let unsaved = self.types[self.saved..]
            .iter()
            .map(|(event_type, _)| event_type.clone());
        (self.saved as u32, unsaved.collect())
    }

    /// Says that all types up to this count are on disk.
    pub(super) fn set_saved(&mut self, count: usize) {
        self.saved = self.saved.max(count);
    }

    /// What matches query types; `None` stands for all of them.
    pub(super) fn wanted(
        &mut self,
        query_types: &Option<Vec<EventType>>,
    ) -> Result<Wanted, StoreError> {
        let types = &self.types;
        if let Some(asked) = self.asked.get_mut(query_types) {
            asked.look(types);
            return Ok(asked.wanted.clone());
        }
        let subscription = match query_types {
            None => Subscription::all(),
            Some(types) => Subscription::new(types.iter().cloned()).map_err(StoreError::Query)?,
        };
        let choose = |order_by| {
            self.rules
                .choose(order_by, query_types.as_ref().map(|_| &subscription))
        };
        let mut asked = Asked {
            wanted: Wanted {
                numbers: (!subscription.is_all()).then(Arc::default),
                partitions: [choose(OrderBy::Timestamp), choose(OrderBy::SourceTimestamp)],
            },
            subscription,
            seen: 0,
        };
        asked.look(types);
        let wanted = asked.wanted.clone();
        if asked.numbers() > MAX_NUMBERS
            || query_types.as_ref().map_or(0, Vec::len) > MAX_QUERY_TYPES
        {
            return Ok(wanted);
        }
        let held: usize = self.asked.values().map(Asked::numbers).sum();
        if self.asked.len() >= MAX_ASKED || held > MAX_NUMBERS {
            self.asked.clear();
        }
        self.asked.insert(query_types.clone(), asked);
        Ok(wanted)
    }
}

impl Rules {
    /// The first partition of an order that can hold what a subscription wants.
    fn choose(&self, order_by: OrderBy, wanted: Option<&Subscription>) -> Option<usize> {
        self.partitions.iter().position(|(order, subscription)| {
            *order == order_by
                && wanted.is_none_or(|wanted| {
                    !if self.as_reference {
                        subscription.is_disjoint_as_reference(wanted)
                    } else {
                        subscription.is_disjoint(wanted)
                    }
                })
        })
    }
}

impl Wanted {
    /// The partition that answers, as an index of the configured ones.
    pub(super) fn partition(&self, order_by: OrderBy) -> Option<usize> {
        match order_by {
            OrderBy::Timestamp => self.partitions[0],
            OrderBy::SourceTimestamp => self.partitions[1],
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.numbers
            .as_ref()
            .is_none_or(|numbers| numbers.contains(number))
    }
}

impl Numbers {
    fn contains(&self, number: u32) -> bool {
        let word = self.bits.get(number as usize / 64);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn push(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (number % 64);
        self.list.push(number);
    }
}

impl Clone for Numbers {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
            bits: self.bits.clone(),
        }
    }
}

impl Asked {
    /// How many types it holds.
    fn numbers(&self) -> usize {
        let numbers = self.wanted.numbers.as_ref();
        numbers.map_or(0, |numbers| numbers.list.len())
    }

    /// Takes in the types that came since the last look.
    fn look(&mut self, types: &[(EventType, Arc<Places>)]) {
        if let Some(numbers) = &mut self.wanted.numbers {
            for (number, (event_type, _)) in types.iter().enumerate().skip(self.seen) {
                if self.subscription.matches(event_type) {
                    Arc::make_mut(numbers).push(number as u32);
                }
            }
        }
        self.seen = types.len();
    }
}

/// Different lists of query types that are remembered.
const MAX_ASKED: usize = 64;
/// Types that match them, all together: 8 MiB.
const MAX_NUMBERS: usize = 2 << 20;
/// A longer list is not remembered.
const MAX_QUERY_TYPES: usize = 1024;
