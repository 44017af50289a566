//! Events that a server registers anew: it gives them ids and times of its own.

use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::store::remote::Remote;
use crate::event::{Event, Payload, RegisterEvent};

/// Events on their way to a server.
pub(super) struct Anew<'a> {
    remote: &'a Remote,
    batch: Vec<RegisterEvent>,
    bytes: usize,
    registered: u64,
}

impl<'a> Anew<'a> {
    pub(super) const fn new(remote: &'a Remote) -> Self {
        Self {
            remote,
            batch: Vec::new(),
            bytes: 0,
            registered: 0,
        }
    }

    pub(super) const fn registered(&self) -> u64 {
        self.registered
    }

    pub(super) fn take(&mut self, event: &Arc<Event>) -> Result<(), Failure> {
        self.bytes += size(event);
        self.batch.push(renewed(event));
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.register()?;
        }
        Ok(())
    }

    /// Registers what waits.
    pub(super) fn register(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.registered += self.remote.client().register(batch)?.len() as u64;
        Ok(())
    }
}

/// The event without its id; its time stays as that of its source, where that had none.
fn renewed(event: &Event) -> RegisterEvent {
    RegisterEvent::new(event.event_type.clone())
        .with_source_timestamp(event.source_timestamp.unwrap_or(event.timestamp))
        .with_payload(event.payload.clone())
}

fn size(event: &Event) -> usize {
    match &event.payload {
        None => 0,
        Some(Payload::Json(json)) => json.as_str().len(),
        Some(Payload::Binary(binary)) => binary.data().len(),
    }
}

/// One session at most.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, Timestamp};

    #[test]
    fn old_time_stays_as_that_of_the_source() {
        let id = EventId::new(1, 2, 3);
        let event = Event::new(id, EventType::from("a"), Timestamp::new(5, 0));
        assert_eq!(renewed(&event).source_timestamp, Some(Timestamp::new(5, 0)));
        let event = event.with_source_timestamp(Timestamp::new(4, 0));
        assert_eq!(renewed(&event).source_timestamp, Some(Timestamp::new(4, 0)));
    }
}
