//! What the tests of the eventer share.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod node;
pub(crate) mod rig;
pub(crate) mod scripted;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acqbus::event::{Event, EventId, EventType, RegisterEvent, Timestamp};
use acqbus::eventer::{EventerClient, Notice};

/// Far longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An event of a server that has registered it as the first of a session.
pub(crate) fn event(server: i64, session: i64, event_type: &str) -> Arc<Event> {
    let id = EventId::new(server, session, 1);
    let timestamp = Timestamp::new(1_700_000_000 + session, 0);
    Arc::new(Event::new(id, EventType::from(event_type), timestamp))
}

pub(crate) fn to_register(event_type: &str) -> RegisterEvent {
    RegisterEvent::new(EventType::from(event_type))
}

/// The next notice.
#[track_caller]
pub(crate) fn next(client: &EventerClient) -> Notice {
    let notice = client.notices().recv_timeout(PATIENCE);
    notice.expect("a notice came in time")
}

/// The notices up to one that is looked for.
#[track_caller]
pub(crate) fn until(client: &EventerClient, wanted: impl Fn(&Notice) -> bool) -> Vec<Notice> {
    let deadline = Instant::now() + PATIENCE;
    let mut notices = Vec::new();
    loop {
        match client.notices().recv_deadline(deadline) {
            Ok(notice) => notices.push(notice),
            Err(error) => panic!("{error} after {notices:?}"),
        }
        if wanted(&notices[notices.len() - 1]) {
            return notices;
        }
    }
}

/// The events among notices.
pub(crate) fn events(notices: &[Notice]) -> Vec<Arc<Event>> {
    let events = notices.iter().filter_map(|notice| match notice {
        Notice::Events(events) => Some(events),
        _ => None,
    });
    events.flatten().cloned().collect()
}
