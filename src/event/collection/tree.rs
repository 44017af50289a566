//! Finds values along the segments of an event type.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::ControlFlow;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use crate::event::trie::{ROOT, Trie};
use crate::event::{EventType, EventTypeCollection, Subscription};

/// An [`EventTypeCollection`] that finds values along the segments of an event type: for many of them.
///
/// The time depends on the length of the type and on what is found, not on how many values there are.
/// [`for_each`](EventTypeCollection::for_each) allocates nothing.
#[derive(Clone)]
pub struct TreeCollection<T> {
    trie: Trie<Wanting>,
    values: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T> TreeCollection<T> {
    /// A collection without values.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trie: Trie::default(),
            values: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    fn entry(&self, place: u32) -> Option<&Entry<T>> {
        self.values.get(place as usize)?.as_ref()
    }

    /// Whether this is the one of the value's nodes at which it is given, for a type that it wants at several.
    fn is_turn(&self, place: u32, node: u32, star: bool, event_type: &EventType) -> bool {
        let Some(entry) = self.entry(place) else {
            return false;
        };
        let mut nodes = entry.nodes.iter();
        nodes.find(|(node, star)| self.trie.covers(*node, event_type, !star)) == Some(&(node, star))
    }

    /// Puts a value at a node, unless it is there.
    fn place_at(&mut self, place: u32, node: u32, star: bool) {
        let Some(Some(entry)) = self.values.get_mut(place as usize) else {
            return;
        };
        let places = self.trie.value_mut(node).places(star);
        // Either list tells it; one of them may be long.
        let is_there = if places.len() < entry.nodes.len() {
            places.iter().any(|(other, _)| *other == place)
        } else {
            entry.nodes.contains(&(node, star))
        };
        if is_there {
            return;
        }
        places.push((place, entry.nodes.is_empty()));
        entry.nodes.push((node, star));
        if let [(first, star), _] = entry.nodes[..] {
            let places = self.trie.value_mut(first).places(star);
            if let Some((_, alone)) = places.iter_mut().find(|(other, _)| *other == place) {
                *alone = false;
            }
        }
    }
}

impl<T: Hash + Eq> TreeCollection<T> {
    fn place(&self, value: &T) -> Option<u32> {
        let hash = self.hasher.hash_one(value);
        let is_it = |place: &u32| {
            self.entry(*place)
                .is_some_and(|entry| entry.value == *value)
        };
        self.places.find(hash, is_it).copied()
    }

    fn place_or_new(&mut self, value: T) -> u32 {
        if let Some(place) = self.place(&value) {
            return place;
        }
        let hash = self.hasher.hash_one(&value);
        let entry = Some(Entry {
            value,
            nodes: Vec::new(),
        });
        let place = match self.free.pop() {
            Some(place) => {
                self.values[place as usize] = entry;
                place
            }
            None => {
                self.values.push(entry);
                (self.values.len() - 1) as u32
            }
        };
        let Self {
            values,
            places,
            hasher,
            ..
        } = self;
        places.insert_unique(hash, place, |place| {
            let entry = values[*place as usize].as_ref();
            entry.map_or(0, |entry| hasher.hash_one(&entry.value))
        });
        place
    }
}

impl<T> Default for TreeCollection<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for TreeCollection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().flatten().map(|entry| &entry.value);
        f.debug_set().entries(values).finish()
    }
}

impl<T: Hash + Eq> EventTypeCollection<T> for TreeCollection<T> {
    fn add(&mut self, subscription: &Subscription, value: T) {
        let place = self.place_or_new(value);
        for query_type in subscription.query_types() {
            let mut node = ROOT;
            let mut star = false;
            for segment in query_type.segments() {
                // A subscription has `*` at the end only.
                if segment == "*" {
                    star = true;
                    break;
                }
                node = self.trie.descend(node, segment);
            }
            self.place_at(place, node, star);
        }
    }

    fn remove(&mut self, value: &T) {
        let hash = self.hasher.hash_one(value);
        let Self { values, places, .. } = self;
        let found = places.find_entry(hash, |place| {
            let entry = values[*place as usize].as_ref();
            entry.is_some_and(|entry| entry.value == *value)
        });
        let Ok(found) = found else {
            return;
        };
        let (place, _) = found.remove();
        self.free.push(place);
        let Some(entry) = self.values[place as usize].take() else {
            return;
        };
        for (node, star) in entry.nodes {
            let places = self.trie.value_mut(node).places(star);
            places.retain(|(other, _)| *other != place);
            self.trie.prune(node, Wanting::is_empty);
        }
    }

    fn for_each<'a>(&'a self, event_type: &EventType, take: &mut dyn FnMut(&'a T)) {
        let mut seen = Seen::default();
        self.trie.walk(event_type, |node, wanting, whole| {
            let ends = if whole { wanting.ends.as_slice() } else { &[] };
            for (places, star) in [(wanting.stars.as_slice(), true), (ends, false)] {
                for (place, alone) in places {
                    let first = *alone
                        || seen.is_new(*place, || self.is_turn(*place, node, star, event_type));
                    if first && let Some(entry) = self.entry(*place) {
                        take(&entry.value);
                    }
                }
            }
            ControlFlow::Continue(())
        });
    }
}

/// A value and where it stands in the tree.
#[derive(Debug, Clone)]
struct Entry<T> {
    value: T,
    /// The nodes, each with whether it is for a `*` there.
    nodes: Vec<(u32, bool)>,
}

/// Who wants what ends at a node, or has a `*` there: the places of values, and whether each stands at no other node.
#[derive(Debug, Clone, Default)]
struct Wanting {
    ends: SmallVec<[(u32, bool); 1]>,
    stars: SmallVec<[(u32, bool); 1]>,
}

impl Wanting {
    fn places(&mut self, star: bool) -> &mut SmallVec<[(u32, bool); 1]> {
        if star {
            &mut self.stars
        } else {
            &mut self.ends
        }
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.stars.is_empty()
    }
}

/// The values with several nodes that were given, as far as there is room; for others their nodes tell.
#[derive(Default)]
struct Seen {
    places: [u32; SEEN],
    count: usize,
}

impl Seen {
    fn is_new(&mut self, place: u32, is_turn: impl FnOnce() -> bool) -> bool {
        let known = &self.places[..self.count];
        if known.contains(&place) {
            return false;
        }
        if self.count == SEEN {
            return is_turn();
        }
        self.places[self.count] = place;
        self.count += 1;
        true
    }
}

/// Values that are remembered; a search through them takes a few nanoseconds.
const SEEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(texts: &[&str]) -> Subscription {
        Subscription::new(texts.iter().map(|text| EventType::from(*text))).unwrap()
    }

    #[test]
    fn a_value_is_given_once_however_many_of_its_query_types_match() {
        let mut tree = TreeCollection::new();
        let wanted = subscription(&["*"]).query_types();
        assert_eq!(wanted.len(), 1);
        for value in 0..100 {
            tree.add(&subscription(&["a/b", "?/b", "a/?", "?/?/*"]), value);
        }
        let mut found = tree.get(&EventType::from("a/b"));
        found.sort();
        assert!(found.into_iter().copied().eq(0..100));
    }

    #[test]
    fn a_value_that_is_gone_leaves_nothing() {
        let mut tree = TreeCollection::new();
        for round in 0..3 {
            tree.add(&subscription(&["a/b/c", "a/?", "d/*"]), round);
            tree.add(&subscription(&["a/b"]), 7);
            tree.remove(&round);
            tree.remove(&round);
            assert_eq!(tree.get(&EventType::from("a/b")), [&7]);
            tree.remove(&7);
            assert!(tree.get(&EventType::from("a/b")).is_empty());
            assert!(!tree.trie.has_children(ROOT));
        }
        assert_eq!(tree.values.len(), 2);
    }
}
