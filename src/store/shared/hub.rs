//! Everybody who follows a store: hands registered and flushed events to each, and waits for nobody.

use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use crate::event::{Events, Subscription};

use super::queue::{Followed, FollowerQueue, QueueLimits};

/// The followers of a store.
#[derive(Debug, Default)]
pub(super) struct Hub {
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    is_closed: bool,
    registered: Vec<Weak<Seat>>,
    flushed: Vec<Weak<Seat>>,
}

/// The place of one follower; it leaves by dropping it.
#[derive(Debug)]
pub(super) struct Seat {
    state: Mutex<SeatState>,
    news: Condvar,
}

#[derive(Debug)]
struct SeatState {
    queue: FollowerQueue,
    is_closed: bool,
}

impl Hub {
    /// Takes a place: from here on everything is handed over, or counted.
    pub(super) fn follow(
        &self,
        wanted: Subscription,
        persisted: bool,
        limits: QueueLimits,
    ) -> Arc<Seat> {
        let mut seats = self.seats.lock();
        let seat = Arc::new(Seat {
            state: Mutex::new(SeatState {
                queue: FollowerQueue::new(wanted, limits),
                is_closed: seats.is_closed,
            }),
            news: Condvar::new(),
        });
        let list = if persisted {
            &mut seats.flushed
        } else {
            &mut seats.registered
        };
        list.push(Arc::downgrade(&seat));
        seat
    }

    /// Hands over what was registered.
    pub(super) fn registered(&self, events: &Events) {
        tell(&mut self.seats.lock().registered, events);
    }

    /// Hands over what is durable now.
    pub(super) fn flushed(&self, events: &Events) {
        tell(&mut self.seats.lock().flushed, events);
    }

    /// Ends all following; what waits can still be read.
    pub(super) fn close(&self) {
        let mut seats = self.seats.lock();
        seats.is_closed = true;
        let all = seats.registered.iter().chain(&seats.flushed);
        for seat in all.filter_map(Weak::upgrade) {
            seat.close();
        }
    }
}

impl Seat {
    /// Waits for news; `None` when there will be no more.
    pub(super) fn next(&self) -> Option<Followed> {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = state.queue.pop() {
                return Some(next);
            }
            if state.is_closed {
                return None;
            }
            self.news.wait(&mut state);
        }
    }

    /// Ends the following.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.news.notify_all();
    }
}

fn tell(seats: &mut Vec<Weak<Seat>>, events: &Events) {
    seats.retain(|seat| {
        let Some(seat) = seat.upgrade() else {
            return false;
        };
        let is_news = seat.state.lock().queue.push(events);
        if is_news {
            seat.news.notify_all();
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventId, EventType, Timestamp};

    fn events(instance: i64) -> Events {
        let id = EventId {
            server: 1,
            session: 1,
            instance,
        };
        let event = Event::new(id, EventType::new(["a"]), Timestamp::new(0, 0));
        vec![Arc::new(event)].into()
    }

    #[test]
    fn each_follower_gets_what_it_asked_for() {
        let hub = Hub::default();
        let limits = QueueLimits::default();
        let all = hub.follow(Subscription::all(), false, limits);
        let durable = hub.follow(Subscription::all(), true, limits);
        hub.registered(&events(1));
        hub.registered(&events(2));
        hub.flushed(&events(1));
        hub.close();
        let count = |seat: &Seat| std::iter::from_fn(|| seat.next()).count();
        assert_eq!(count(&all), 2);
        assert_eq!(count(&durable), 1);
        assert_eq!(hub.follow(Subscription::all(), false, limits).next(), None);
    }

    #[test]
    fn follower_that_has_gone_is_forgotten() {
        let hub = Hub::default();
        drop(hub.follow(Subscription::all(), false, QueueLimits::default()));
        hub.registered(&events(1));
        assert!(hub.seats.lock().registered.is_empty());
    }

    #[test]
    fn who_waits_is_woken_by_news_and_by_the_end() {
        let hub = Arc::new(Hub::default());
        let seat = hub.follow(Subscription::all(), false, QueueLimits::default());
        let waiting = std::thread::spawn(move || std::iter::from_fn(|| seat.next()).count());
        hub.registered(&events(1));
        hub.close();
        assert_eq!(waiting.join().unwrap(), 1);
    }
}
