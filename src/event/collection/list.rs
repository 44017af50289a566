//! Asks one value after the other.

use crate::event::{EventType, EventTypeCollection, Subscription};

/// An [`EventTypeCollection`] that asks one value after the other: for few of them, and to check others against.
#[derive(Debug, Clone)]
pub struct ListCollection<T> {
    values: Vec<(T, Subscription)>,
}

impl<T> ListCollection<T> {
    /// A collection without values.
    #[must_use]
    pub fn new() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T> Default for ListCollection<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: PartialEq> EventTypeCollection<T> for ListCollection<T> {
    fn add(&mut self, subscription: &Subscription, value: T) {
        match self.values.iter_mut().find(|(other, _)| *other == value) {
            Some((_, own)) => *own = own.union(subscription),
            None => self.values.push((value, subscription.clone())),
        }
    }

    fn remove(&mut self, value: &T) {
        self.values.retain(|(other, _)| other != value);
    }

    fn for_each<'a>(&'a self, event_type: &EventType, take: &mut dyn FnMut(&'a T)) {
        for (value, subscription) in &self.values {
            if subscription.matches(event_type) {
                take(value);
            }
        }
    }
}
