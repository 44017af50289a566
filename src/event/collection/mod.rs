//! Who wants an event, of many.

mod list;
mod tree;

pub use list::ListCollection;
pub use tree::TreeCollection;

use crate::event::{EventType, Subscription};

/// Values, each with what it subscribed to; finds those that want an event.
///
/// All implementations give the same values, in no order that is told. A value that wants nothing is never found.
///
/// ```
/// use acqbus::event::{EventType, EventTypeCollection, Subscription, TreeCollection};
///
/// let mut readers = TreeCollection::new();
/// readers.add(&Subscription::new([EventType::from("rig-1/*")])?, "Anna");
/// readers.add(&Subscription::all(), "Bea");
/// readers.add(&Subscription::new([EventType::from("rig-2/*")])?, "Anna");
/// assert_eq!(readers.get(&EventType::from("rig-3/status")), [&"Bea"]);
/// assert_eq!(readers.get(&EventType::from("rig-2/status")).len(), 2);
/// readers.remove(&"Bea");
/// assert!(readers.get(&EventType::from("rig-3/status")).is_empty());
/// # Ok::<(), acqbus::event::EventError>(())
/// ```
pub trait EventTypeCollection<T> {
    /// Adds what a value subscribes to, to what it wants already.
    fn add(&mut self, subscription: &Subscription, value: T);

    /// Forgets a value and all that it wants; one that is not there is no error.
    fn remove(&mut self, value: &T);

    /// Gives every value that wants an event, each once.
    fn for_each<'a>(&'a self, event_type: &EventType, take: &mut dyn FnMut(&'a T));

    /// Every value that wants an event, each once.
    #[must_use]
    fn get(&self, event_type: &EventType) -> Vec<&T> {
        let mut found = Vec::new();
        self.for_each(event_type, &mut |value| found.push(value));
        found
    }
}
