//! The threads that answer queries.

use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::event::QueryParams;
use crate::eventer::EventerError;
use crate::eventer::message;
use crate::eventer::sbs::Writer;
use crate::eventer::server::leave::Leave;
use crate::eventer::server::mailbox::{Address, Mail, Mailbox};
use crate::store::Backend;

/// A query of a client.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) params: QueryParams,
    /// The most bytes of the answer.
    pub(super) limit: usize,
    pub(super) reply_to: Arc<Mailbox>,
    pub(super) address: Address,
}

/// Starts the threads; they end when the last sender goes. Each connection asks one question at a time, which bounds the queue.
pub(super) fn start(threads: usize) -> Result<(Sender<Job>, Vec<JoinHandle<()>>), EventerError> {
    let (jobs, queue) = unbounded();
    let start = |_| {
        let queue = queue.clone();
        let work = move || work(&queue);
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(work)
            .map_err(|source| EventerError::Thread {
                name: THREAD,
                source,
            })
    };
    let threads = (0..threads.max(1)).map(start).collect::<Result<_, _>>()?;
    Ok((jobs, threads))
}

fn work(queue: &Receiver<Job>) {
    for job in queue {
        let answer = panic::catch_unwind(AssertUnwindSafe(|| {
            answer(&*job.backend, &job.params, job.limit)
        }));
        let answer = answer.unwrap_or(Err(Leave::Panic));
        job.reply_to.push(Mail::Queried(job.address, answer));
    }
}

/// The content of the answer to a query.
///
/// Where a page does not fit into a frame it is shorter, and says that more follows.
fn answer(backend: &dyn Backend, params: &QueryParams, limit: usize) -> Result<Vec<u8>, Leave> {
    let mut body = Vec::new();
    let mut count = 0;
    let mut is_cut = false;
    let more_follows = backend
        .visit(params, &mut |event| {
            let start = body.len();
            message::encode_event(event, &mut body);
            if body.len() > limit.saturating_sub(FRAME_BYTES) {
                body.truncate(start);
                is_cut = true;
                return ControlFlow::Break(());
            }
            count += 1;
            ControlFlow::Continue(())
        })
        .map_err(Leave::Query)?;
    let has_pages = !matches!(params, QueryParams::Latest(_));
    if is_cut && !(has_pages && count > 0) {
        return Err(Leave::LongAnswer { limit });
    }
    let mut data = Vec::with_capacity(COUNT_BYTES + body.len());
    Writer::new(&mut data).count(count);
    data.extend_from_slice(&body);
    Writer::new(&mut data).boolean(more_follows);
    Ok(data)
}

const THREAD: &str = "acqbus-eventer-query";

/// The most bytes of a count, and a flag.
const COUNT_BYTES: usize = 11;

/// The most that a frame adds to the events of an answer: numbers, flags, type, lengths and count.
const FRAME_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Event, EventId, EventType, QueryLatestParams, QueryServerParams, Timestamp,
    };
    use crate::eventer::message::Message;
    use crate::store::{Callbacks, MemoryBackend};

    #[test]
    fn a_page_that_does_not_fit_is_shorter_and_one_without_pages_is_refused() {
        let backend = MemoryBackend::new(Callbacks::default());
        let event = |instance: i64| {
            let id = EventId::new(1, 1, instance);
            let event_type = EventType::new([instance.to_string()]);
            Arc::new(Event::new(id, event_type, Timestamp::new(0, 0)))
        };
        backend.register((1..=9).map(event).collect()).unwrap();
        let page = QueryParams::from(QueryServerParams::new(1));
        let of = |limit| {
            let data = answer(&backend, &page, limit)?;
            match Message::decode(message::QUERY_RES, &data) {
                Ok(Message::QueryRes(result)) => Ok((result.events.len(), result.more_follows)),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(4096).unwrap(), (9, false));
        assert_eq!(of(FRAME_BYTES + 40).unwrap(), (4, true));
        let refused = of(FRAME_BYTES + 5);
        assert!(matches!(refused, Err(Leave::LongAnswer { .. })));
        let latest = QueryLatestParams::default().into();
        let refused = answer(&backend, &latest, FRAME_BYTES + 40);
        assert!(matches!(refused, Err(Leave::LongAnswer { .. })));
    }
}
