//! A bus that is written down: every published message of every topic becomes an event of a store.
//!
//! ```text
//! RpcService ── tap ────────────┐
//! RemoteClient ── subscription ─┴─> acqbus-recorder ── batches ──> Registrar: an Engine, a server elsewhere
//!                                        └── places ──> StoreHistory
//! ```
//!
//! Publishing never waits for the store: between them is a bounded queue, and what does not fit is counted, and recorded as a
//! gap once there is room.
//!
//! The type of the event is IDENTIFIER/TOPIC/KIND:
//!
//! | topic | TOPIC | KIND |
//! |---|---|---|
//! | EVENT, EMERGENCY | `event`, `emergency` | the name of the kind (`sessionStarted`), its number if it has no name, `other` for a body that is no event |
//! | PROPERTY_CHANGE | `propertyChange` | the member `name` of the change, else by form |
//! | COMMAND_RESULT, COMMAND_PROGRESS | `commandResult`, `commandProgress` | the name of the command (`getStatus`), its number if it has no name |
//! | HEARTBEAT | `heartbeat` | `alive` |
//! | any other | `any` for 0, else the number | by form |
//!
//! By form is `object`, `value` (other JSON), `text` (other UTF-8) or `bytes`. The source timestamp is the member `when` (of
//! a heartbeat: `timestamp`), seconds since 1970, in either dialect. The payload holds the body byte for byte: as JSON where
//! it is a JSON text whose last members tell its place, else as bytes with a kind that does.
//! What is missing is an event of type IDENTIFIER/gap.

mod event;
mod registrar;
mod stats;
mod writer;

pub use event::{event_of, gap_event, message_of, topic_segment};
pub use registrar::{Registrar, ServerRegistrar};
pub use stats::BusRecorderStats;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};
use parking_lot::Mutex;

use crate::relay::{RelayError, StoreHistory};
use crate::rpc::{
    HistoryStart, Notice, RemoteClient, RpcError, RpcService, Subscription, Tap, Topic,
};

use stats::Meters;
use writer::{Entry, Writer};

/// Writes down what a service publishes; one thread, `acqbus-recorder`, stopped and joined when dropped.
///
/// A store that fails disturbs nobody: the recorder keeps what it has within its bounds, tries again (after 100 ms, then ever
/// later, at most 5 s), counts what no longer fits, and tells of the first error of a row ([`BusRecorderOptions::on_error`]).
///
/// ```
/// use std::sync::Arc;
/// use acqbus::event::{EventType, QueryLatestParams};
/// use acqbus::relay::{BusRecorder, BusRecorderOptions};
/// use acqbus::rpc::{Event, EventKind, RpcOptions, RpcService};
/// use acqbus::store::{Callbacks, Engine, EngineOptions, MemoryBackend};
///
/// let backend = Arc::new(MemoryBackend::new(Callbacks::default()));
/// let engine = Engine::start(backend, EngineOptions::default())?;
/// let service = RpcService::new(RpcOptions::default().identifier("rig-1").any_port());
/// let recorder = BusRecorder::attach(&service, engine.handle(), BusRecorderOptions::default())?;
/// service.start()?;
/// service.send_event(&Event::now(EventKind::TunnelEnter))?;
/// service.stop();
///
/// recorder.stop();
/// let wanted = QueryLatestParams::default().event_types([EventType::from("rig-1/event/tunnelEnter")]);
/// assert_eq!(engine.query(&wanted.into())?.events.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BusRecorder {
    meters: Arc<Meters>,
    stop: Mutex<Option<Sender<Infallible>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a recorder holds, and whom it tells.
#[derive(Clone)]
#[non_exhaustive]
pub struct BusRecorderOptions {
    /// First segment of the event types. `None`, the default, is the identifier of the service.
    pub identifier: Option<String>,
    /// Messages that may wait for the store, in process. At least 1. Defaults to 65,536.
    pub queue_messages: usize,
    /// Bytes of bodies that may wait for the store, in process. Defaults to 64 MiB.
    pub queue_bytes: usize,
    /// Topics to record over the wire; empty, the default, is all. In process all are recorded.
    pub topics: Vec<Topic>,
    /// Where to begin over the wire, from a service with a history. `None`, the default, is now.
    pub start: Option<HistoryStart>,
    /// Learns the place of each recorded message. Defaults to `None`.
    pub history: Option<Arc<StoreHistory>>,
    /// Called on the recorder's thread with the first error of a row. Defaults to `None`: it is logged.
    pub on_error: Option<ErrorCallback>,
}

/// Whom a recorder tells that its store fails.
pub type ErrorCallback = Arc<dyn Fn(&RelayError) + Send + Sync>;

impl BusRecorder {
    /// Records a service within its process: everything published from now on, without a socket.
    ///
    /// Attached before the service starts, it misses nothing. It ends by itself when the service has stopped, behind the last
    /// message.
    ///
    /// # Errors
    /// [`RpcError::Thread`] when the system gives none.
    pub fn attach(
        service: &RpcService,
        registrar: impl Registrar + 'static,
        options: BusRecorderOptions,
    ) -> Result<Self, RpcError> {
        let tap = service.tap_within(options.queue_messages, options.queue_bytes);
        let identifier = options
            .identifier
            .clone()
            .unwrap_or_else(|| service.options().identifier.clone());
        if let Some(history) = &options.history {
            history.set_identifier(&identifier);
        }
        Self::start(registrar, options, Some(identifier), move |writer, stop| {
            record_tap(&tap, writer, stop);
        })
    }

    /// Records a service over the wire, as a subscriber: what the network loses becomes an event IDENTIFIER/gap.
    ///
    /// # Errors
    /// As [`RemoteClient::subscribe`], and [`RpcError::Thread`].
    pub fn follow(
        client: &RemoteClient,
        registrar: impl Registrar + 'static,
        options: BusRecorderOptions,
    ) -> Result<Self, RpcError> {
        let subscription = match &options.start {
            Some(start) => client.subscribe_from(&options.topics, start.clone())?,
            None => client.subscribe(&options.topics)?,
        };
        let identifier = options.identifier.clone();
        Self::start(registrar, options, identifier, move |writer, stop| {
            record_subscription(&subscription, writer, stop);
            writer.end();
        })
    }

    /// Ends the recording, behind what has been published so far; a second call does nothing.
    ///
    /// Waits for the store, but not again and again: what it does not take at once is given up and counted.
    pub fn stop(&self) {
        self.stop.lock().take();
        // Held while it waits, so that a second caller waits too.
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("a recorder's thread panicked; this is a defect of acqbus");
        }
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> BusRecorderStats {
        self.meters.read()
    }

    /// Whether it has ended: stopped, or its service has, or its store was closed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let thread = self.thread.lock();
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn start(
        registrar: impl Registrar + 'static,
        options: BusRecorderOptions,
        identifier: Option<String>,
        work: impl FnOnce(&mut Writer, &Receiver<Infallible>) + Send + 'static,
    ) -> Result<Self, RpcError> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let meters = Arc::new(Meters::default());
        let mut writer = Writer::new(
            Box::new(registrar),
            &options,
            identifier,
            &meters,
            stopped.clone(),
        );
        let name = "acqbus-recorder";
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&mut writer, &stopped))
            .map_err(|source| RpcError::Thread { name, source })?;
        Ok(Self {
            meters,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for BusRecorder {
    fn drop(&mut self) {
        self.stop();
    }
}

fn record_tap(tap: &Tap, writer: &mut Writer, stop: &Receiver<Infallible>) {
    let mut left = Left::default();
    while let Some(message) = tap.recv_unless(stop).or_else(|| tap.try_recv()) {
        let mut next = Some(message);
        while let Some(message) = next {
            writer.add_in_process(message);
            left.took_one();
            next = if writer.is_full() {
                None
            } else {
                tap.try_recv()
            };
        }
        if left.is_over(stop, || tap.waiting()) {
            writer.write();
            return;
        }
        writer.waiting(tap.waiting(), tap.lost());
        if !writer.write() {
            return;
        }
    }
    writer.waiting(tap.waiting(), tap.lost());
}

fn record_subscription(
    subscription: &Subscription,
    writer: &mut Writer,
    stop: &Receiver<Infallible>,
) {
    let mut left = Left::default();
    loop {
        let notice = select! {
            recv(subscription.notices()) -> notice => notice.ok(),
            recv(stop) -> _ => None,
        };
        let Some(notice) = notice.or_else(|| subscription.try_recv()) else {
            return;
        };
        let mut next = Some(notice);
        while let Some(notice) = next {
            take(notice, writer);
            left.took_one();
            next = if writer.is_full() {
                None
            } else {
                subscription.try_recv()
            };
        }
        if left.is_over(stop, || subscription.notices().len()) {
            writer.write();
            return;
        }
        writer.waiting(subscription.notices().len(), 0);
        if !writer.write() {
            return;
        }
    }
}

/// What waited when the stop was asked for is still written; what comes later is not.
#[derive(Debug, Default)]
struct Left(Option<usize>);

impl Left {
    fn took_one(&mut self) {
        if let Some(left) = &mut self.0 {
            *left = left.saturating_sub(1);
        }
    }

    fn is_over(&mut self, stop: &Receiver<Infallible>, waiting: impl FnOnce() -> usize) -> bool {
        if self.0.is_none() && stop.try_recv() == Err(TryRecvError::Disconnected) {
            self.0 = Some(waiting());
        }
        self.0 == Some(0)
    }
}

fn take(notice: Notice, writer: &mut Writer) {
    match notice {
        Notice::Message(message) => writer.add(Entry::Message(message)),
        Notice::Gap {
            topic,
            first,
            count,
        } => writer.add(Entry::Gap {
            topic,
            epoch: writer.epoch(),
            first,
            count,
        }),
        Notice::Connected {
            identifier, epoch, ..
        } => writer.connected(identifier, epoch),
        Notice::Restarted { epoch } | Notice::OtherEpoch { epoch } => {
            writer.restarted(epoch);
        }
        _ => {}
    }
}

impl Default for BusRecorderOptions {
    fn default() -> Self {
        Self {
            identifier: None,
            queue_messages: 65_536,
            queue_bytes: 64 << 20,
            topics: Vec::new(),
            start: None,
            history: None,
            on_error: None,
        }
    }
}

impl BusRecorderOptions {
    /// Sets [`identifier`](Self::identifier).
    #[must_use]
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Sets [`queue_messages`](Self::queue_messages) and [`queue_bytes`](Self::queue_bytes).
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue_messages = messages;
        self.queue_bytes = bytes;
        self
    }

    /// Sets [`topics`](Self::topics).
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.topics = topics.into_iter().collect();
        self
    }

    /// Sets [`start`](Self::start).
    #[must_use]
    pub fn start(mut self, start: HistoryStart) -> Self {
        self.start = Some(start);
        self
    }

    /// Sets [`history`](Self::history).
    #[must_use]
    pub fn history(mut self, history: Arc<StoreHistory>) -> Self {
        self.history = Some(history);
        self
    }

    /// Sets [`on_error`](Self::on_error).
    #[must_use]
    pub fn on_error(mut self, callback: impl Fn(&RelayError) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(callback));
        self
    }
}

impl fmt::Debug for BusRecorderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusRecorderOptions")
            .field("identifier", &self.identifier)
            .field("queue_messages", &self.queue_messages)
            .field("queue_bytes", &self.queue_bytes)
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("history", &self.history.is_some())
            .field("on_error", &self.on_error.is_some())
            .finish()
    }
}
