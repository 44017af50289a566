//! What the receiving threads share: the state, and the way to whoever listens.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::cdtp::receiver::event::RunEvent;
use crate::cdtp::receiver::held::{Held, HeldPool, Unfold};
use crate::cdtp::receiver::queue::{Closed, Item, Queue};
use crate::cdtp::receiver::state::{PeerId, ReceiverState};
use crate::cdtp::{DecodeLimits, MessageView};

/// Takes messages, one at a time, and tells what is in them.
pub(crate) struct Delivery {
    /// Held from the look at a message to the end of its telling, so that events are told in the order of the state. May be held
    /// for long: a listener takes its time.
    sink: Mutex<Sink>,
    /// Held shortly, with the sink or without it.
    state: Mutex<ReceiverState>,
    limits: DecodeLimits,
    aborted: AtomicBool,
}

/// Whoever listens.
pub(crate) enum Sink {
    Handler(Handler),
    Queue(Arc<Queue>),
}

/// The handler, which is not called again once it has panicked.
pub(crate) struct Handler {
    call: Box<dyn FnMut(RunEvent) + Send>,
    /// It is being called, or it has panicked: whoever has the sink sees the latter only.
    called: bool,
}

impl Handler {
    pub(crate) fn new(call: impl FnMut(RunEvent) + Send + 'static) -> Self {
        Self {
            call: Box::new(call),
            called: false,
        }
    }

    #[inline]
    fn tell(&mut self, event: RunEvent, aborted: &AtomicBool) -> Result<(), Closed> {
        if self.called {
            // The thread on which it panicked may not have said so yet.
            aborted.store(true, Ordering::Relaxed);
        }
        if aborted.load(Ordering::Relaxed) {
            return Err(Closed);
        }
        self.called = true;
        (self.call)(event);
        self.called = false;
        Ok(())
    }
}

impl Delivery {
    pub(crate) fn new(sink: Sink, state: ReceiverState, limits: DecodeLimits) -> Self {
        Self {
            sink: Mutex::new(sink),
            state: Mutex::new(state),
            limits,
            aborted: AtomicBool::new(false),
        }
    }

    /// Takes the frame of a message that nobody else has; it comes back through the pool.
    pub(crate) fn take(
        &self,
        peer: PeerId,
        mut message: Arc<Held>,
        pool: &mut HeldPool,
        events: &mut Vec<RunEvent>,
    ) -> Result<(), Closed> {
        let Some(held) = Arc::get_mut(&mut message) else {
            // It came from the pool, which gives out what nobody else has.
            return Ok(());
        };
        let Held { frame, taken } = held;
        let bytes = frame.len();
        let decoded = MessageView::decode(frame, &self.limits);
        let mut sink = self.sink.lock();
        if self.state.lock().handle(peer, decoded, taken, events) {
            pool.watch(&message);
            sink.records(message, &self.aborted)
        } else {
            pool.put_back(message);
            sink.events(events, bytes, &self.aborted)
        }
    }

    /// Takes a message that has another number of frames than one.
    pub(crate) fn take_frames(&self, peer: PeerId, frame_count: usize) -> Result<(), Closed> {
        let mut sink = self.sink.lock();
        let event = self.state.lock().receive_frames(peer, frame_count);
        sink.events(&mut vec![event], 0, &self.aborted)
    }

    /// Tells that a connection was cut off.
    pub(crate) fn cut_off(&self, peer: PeerId) -> Result<(), Closed> {
        let mut sink = self.sink.lock();
        let event = self.state.lock().cut_off(peer);
        sink.events(&mut vec![event], 0, &self.aborted)
    }

    /// Ends the open runs; gives the names of their senders.
    pub(crate) fn substitute_open_runs(&self) -> Vec<String> {
        let mut sink = self.sink.lock();
        let mut events = self.state.lock().substitute_open_runs();
        let names = events.iter().filter_map(RunEvent::sender);
        let names = names.map(str::to_owned).collect();
        // Nobody may listen any more; the names are told in any case.
        let _ = sink.events(&mut events, 0, &self.aborted);
        names
    }

    /// Ends every telling as soon as possible.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// The state, for a short look.
    pub(crate) fn state(&self) -> parking_lot::MutexGuard<'_, ReceiverState> {
        self.state.lock()
    }
}

impl Sink {
    fn records(&mut self, message: Arc<Held>, aborted: &AtomicBool) -> Result<(), Closed> {
        match self {
            Self::Handler(handler) => {
                for event in Unfold::new(message) {
                    handler.tell(event, aborted)?;
                }
                Ok(())
            }
            Self::Queue(queue) => queue.put(Item::Records(message)),
        }
    }

    fn events(
        &mut self,
        events: &mut Vec<RunEvent>,
        bytes: usize,
        aborted: &AtomicBool,
    ) -> Result<(), Closed> {
        let mut bytes = bytes;
        for event in events.drain(..) {
            match self {
                Self::Handler(handler) => handler.tell(event, aborted)?,
                // The message counts once, whatever it tells.
                Self::Queue(queue) => queue.put(Item::Event(event, mem::take(&mut bytes)))?,
            }
        }
        Ok(())
    }
}
