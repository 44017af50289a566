//! A piece of an answer that is held while it is printed or published: bounded, however many events were asked for.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::store::ask::Ask;
use crate::event::{Event, Payload, QueryParams};

/// Events that were read and not used yet.
///
/// While they are used, the store is not asked: nobody waits for a reader that is slow.
pub(super) struct Held {
    pub(super) events: Vec<Arc<Event>>,
    pub(super) more_follows: bool,
    /// Whether the store would have given more at a time than is held.
    pub(super) is_cut: bool,
}

impl Held {
    /// Reads what the store gives at a time, or as much of it as may be held.
    pub(super) fn read(store: &dyn Ask, params: &QueryParams) -> Result<Self, Failure> {
        let (mut events, mut bytes, mut is_cut) = (Vec::new(), 0, false);
        let more_follows = store.visit(params, &mut |event| {
            if bytes >= HELD {
                is_cut = true;
                return ControlFlow::Break(());
            }
            bytes += match &event.payload {
                None => 0,
                Some(Payload::Json(json)) => json.as_str().len(),
                Some(Payload::Binary(binary)) => binary.data().len(),
            };
            events.push(Arc::clone(event));
            ControlFlow::Continue(())
        })?;
        Ok(Self {
            events,
            more_follows: more_follows || is_cut,
            is_cut,
        })
    }
}

/// Payloads that are held at a time, in bytes, but for the last one.
const HELD: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Binary, EventId, EventType, QueryServerParams, Timestamp};
    use crate::store::{Backend, Callbacks, MemoryBackend};

    #[test]
    fn large_events_are_held_a_few_at_a_time() {
        let store = MemoryBackend::new(Callbacks::default());
        let payload = Payload::Binary(Binary::new("raw", vec![0; HELD / 2]));
        let event = |number| {
            let id = EventId::new(1, number, 1);
            let event = Event::new(id, EventType::new(["large"]), Timestamp::new(number, 0));
            Arc::new(event.with_payload(payload.clone()))
        };
        store.register((1..=5).map(event).collect()).unwrap();
        let (mut after, mut pieces) = (EventId::new(1, 0, 0), Vec::new());
        loop {
            let params = QueryServerParams::new(1).after(after);
            let held = Held::read(&store, &params.into()).unwrap();
            pieces.push((held.events.len(), held.is_cut));
            after = held.events.last().unwrap().id;
            if !held.more_follows {
                break;
            }
        }
        assert_eq!(pieces, [(2, true), (2, true), (1, false)]);
    }
}
