//! What one follower has not read yet: bounded, and what does not fit is counted. State only.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, Events, Payload, Subscription};

/// What a follower is told next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Followed {
    /// Events in the order in which they were registered, those of one register call or a part of them.
    Events(Vec<Arc<Event>>),
    /// So many events are missing here: this follower had not read what came before them.
    Lost(u64),
}

/// Events for one follower.
#[derive(Debug)]
pub(super) struct FollowerQueue {
    wanted: Subscription,
    limits: QueueLimits,
    waiting: VecDeque<Followed>,
    events: usize,
    bytes: usize,
}

/// How much may wait for one follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            events: 65_536,
            bytes: 16 << 20,
        }
    }
}

impl FollowerQueue {
    pub(super) const fn new(wanted: Subscription, limits: QueueLimits) -> Self {
        Self {
            wanted,
            limits,
            waiting: VecDeque::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Takes what the follower wants of it; says whether there is something new to read.
    pub(super) fn push(&mut self, events: &Events) -> bool {
        let wanted = events
            .iter()
            .filter(|event| self.wanted.matches(&event.event_type));
        let (mut fitting, mut lost) = (Vec::new(), 0);
        for event in wanted {
            let size = size(event);
            // Once one is lost, so is the rest of the call: a gap is told at one place.
            let fits = lost == 0
                && self.events < self.limits.events
                && self.bytes.saturating_add(size) <= self.limits.bytes;
            // One that is larger than the queue fits an empty one.
            if fits || (lost == 0 && self.events == 0) {
                self.events += 1;
                self.bytes += size;
                fitting.push(Arc::clone(event));
            } else {
                lost += 1;
            }
        }
        if fitting.is_empty() && lost == 0 {
            return false;
        }
        if !fitting.is_empty() {
            self.waiting.push_back(Followed::Events(fitting));
        }
        match self.waiting.back_mut() {
            Some(Followed::Lost(before)) => *before += lost,
            _ if lost > 0 => self.waiting.push_back(Followed::Lost(lost)),
            _ => {}
        }
        true
    }

    /// What is to be told next.
    pub(super) fn pop(&mut self) -> Option<Followed> {
        let next = self.waiting.pop_front()?;
        if let Followed::Events(events) = &next {
            self.events -= events.len();
            self.bytes -= events.iter().map(|event| size(event)).sum::<usize>();
        }
        Some(next)
    }
}

/// About what an event takes in memory.
pub(super) fn size(event: &Event) -> usize {
    let payload = match &event.payload {
        None => 0,
        Some(Payload::Json(json)) => json.as_str().len(),
        Some(Payload::Binary(binary)) => binary.kind().len() + binary.data().len(),
    };
    BESIDE_THE_PAYLOAD + payload
}

const BESIDE_THE_PAYLOAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, Json, Timestamp};

    fn events(instances: impl IntoIterator<Item = i64>) -> Events {
        let event = |instance| {
            let id = EventId {
                server: 1,
                session: 1,
                instance,
            };
            let event_type = if instance % 2 == 0 { "even" } else { "odd" };
            Arc::new(Event::new(
                id,
                EventType::new([event_type]),
                Timestamp::new(0, 0),
            ))
        };
        instances.into_iter().map(event).collect()
    }

    fn numbers(followed: Option<Followed>) -> Vec<i64> {
        match followed {
            Some(Followed::Events(events)) => {
                events.iter().map(|event| event.id.instance).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn queue(events: usize) -> FollowerQueue {
        let limits = QueueLimits {
            events,
            bytes: 1 << 20,
        };
        FollowerQueue::new(Subscription::all(), limits)
    }

    #[test]
    fn calls_come_out_in_order_and_with_what_is_wanted_only() {
        let odd = Subscription::new([EventType::new(["odd"])]).unwrap();
        let mut queue = FollowerQueue::new(odd, QueueLimits::default());
        assert!(queue.push(&events(1..=4)));
        assert!(!queue.push(&events([2])));
        assert!(queue.push(&events([5])));
        assert_eq!(numbers(queue.pop()), [1, 3]);
        assert_eq!(numbers(queue.pop()), [5]);
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn what_does_not_fit_is_told_once_where_it_is_missing() {
        let mut queue = queue(3);
        queue.push(&events(1..=2));
        queue.push(&events(3..=6));
        queue.push(&events(7..=8));
        assert_eq!(numbers(queue.pop()), [1, 2]);
        assert_eq!(numbers(queue.pop()), [3]);
        queue.push(&events(9..=9));
        assert_eq!(queue.pop(), Some(Followed::Lost(5)));
        assert_eq!(numbers(queue.pop()), [9]);
        assert_eq!(queue.pop(), None);
        assert_eq!((queue.events, queue.bytes), (0, 0));
    }

    #[test]
    fn bytes_are_bounded_and_one_large_event_passes_alone() {
        let text = format!("\"{}\"", "x".repeat(1000));
        let payload = Payload::Json(Json::new(text.as_str()).unwrap());
        let event = |instance| {
            let id = EventId {
                server: 1,
                session: 1,
                instance,
            };
            let event = Event::new(id, EventType::new(["a"]), Timestamp::new(0, 0));
            Events::from(vec![Arc::new(event.with_payload(payload.clone()))])
        };
        let limits = QueueLimits {
            events: 100,
            bytes: 500,
        };
        let mut queue = FollowerQueue::new(Subscription::all(), limits);
        queue.push(&event(1));
        queue.push(&event(2));
        assert_eq!(numbers(queue.pop()), [1]);
        assert_eq!(queue.pop(), Some(Followed::Lost(1)));
        queue.push(&event(3));
        assert_eq!(numbers(queue.pop()), [3]);
    }
}
