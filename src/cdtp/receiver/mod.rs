//! The receiving end of run data.
//!
//! | file | job |
//! |---|---|
//! | `options`, `event`, `stats` | what one asks for, what one is told |
//! | `numbers` | which sequence numbers were seen (pure) |
//! | `ending` | what an EOR announces, and what is added to it (pure) |
//! | `state` | senders and their runs: messages in, events out (pure) |
//! | `stopping` | the way of a receiver to its end (pure) |
//! | `held` | a message that lives as long as its records, and is used again |
//! | `queue`, `events` | the way to an iterator |
//! | `delivery` | what the threads share: state and listener |
//! | `connections` | who is connected: nobody twice |
//! | `redial` | when an endpoint is connected anew (pure) |
//! | `receiving`, `threads` | the threads and their sockets |

mod connections;
mod delivery;
mod ending;
mod event;
mod events;
mod held;
mod numbers;
mod options;
mod queue;
mod receiving;
mod redial;
mod state;
mod stats;
mod stopping;
mod threads;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cdtp::{CdtpError, TransmitterStateSeq};
use crate::chirp::{ChirpId, DiscoveredService};
use crate::zsocket::{Context, Endpoint, SocketKind, SocketOptions};

pub use event::{Arrival, Bor, Eor, Fault, FaultKind, Lost, RunCounts, RunEvent};
pub use events::{NoEvent, RunEvents};
pub(crate) use held::MessageRecords;
pub use held::Record;
pub use options::{ReceiveThreads, ReceiverOptions};
pub use state::{PeerId, ReceiverState};
pub use stats::ReceiverStats;

use connections::{Admit, Asked, Connections};
use delivery::{Delivery, Handler, Sink};
use queue::Queue;
use receiving::{Command, Times};
use stopping::StopTimes;
use threads::{Control, Outcome, Shared};

/// Receives runs from any number of senders, up to about three hundred.
///
/// It connects to senders and tells what they send, in their order, to a handler or an iterator; which senders exist is
/// told to it by [`add_sender`](Self::add_sender) and [`add_endpoint`](Self::add_endpoint), at any time. It receives any number
/// of runs of each, until it is stopped, and is not started again. While the listener is slow, the senders wait: nothing is
/// dropped. Dropping the receiver ends it at once, open runs without a substitute; it waits for the handler to return.
///
/// Source: ConstellationDAQ 1.0.2, `DataReceiver`. *Ours*: one message that is wrong ends nothing (see [`RunEvent::Fault`]).
///
/// ```
/// use acqbus::cdtp::{DataReceiver, Encoding, ReceiverOptions, RunEvent, Tags, encode_bor, encode_eor};
/// use acqbus::zsocket::{Context, Endpoint, Frame, SocketKind, SocketOptions};
///
/// let push = Context::new()?.socket(SocketKind::Push, &SocketOptions::default())?;
/// let endpoint = push.bind(&Endpoint::tcp("127.0.0.1", 0)?)?;
/// let (receiver, events) = DataReceiver::start_with_events(ReceiverOptions::default())?;
/// receiver.add_endpoint(&endpoint)?;
/// let none = Tags::new();
/// push.send(encode_bor("Camera.Top", &none, &none, Encoding::Compact)?.into(), false)?;
/// push.send(encode_eor("Camera.Top", &none, &none, Encoding::Compact)?.into(), false)?;
/// for event in events {
///     if let RunEvent::Eor(eor) = event {
///         assert_eq!(eor.counts.missed, 0);
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DataReceiver {
    shared: Shared,
    control: Control,
    context: Context,
    socket: SocketOptions,
    /// The hosts of the listed names; `None` is everybody.
    wanted: Option<Vec<ChirpId>>,
    eor_timeout: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Once true, nobody is added any more.
    stopped: Mutex<bool>,
}

impl DataReceiver {
    /// Starts to receive; tells events to the handler, on the receiving thread.
    ///
    /// While the handler runs, nothing is received. With several threads it is called by one at a time.
    ///
    /// # Errors
    /// [`CdtpError::Thread`], [`CdtpError::Socket`] when the system has no thread or no descriptor left.
    pub fn start(
        options: ReceiverOptions,
        handler: impl FnMut(RunEvent) + Send + 'static,
    ) -> Result<Self, CdtpError> {
        Self::start_sink(options, Sink::Handler(Handler::new(handler)), None)
    }

    /// Starts to receive; gives an iterator of the events, for any one thread.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_events(options: ReceiverOptions) -> Result<(Self, RunEvents), CdtpError> {
        let queue = Arc::new(Queue::new(options.queue_messages, options.queue_bytes));
        let sink = Sink::Queue(Arc::clone(&queue));
        let events = RunEvents::new(Arc::clone(&queue));
        Ok((Self::start_sink(options, sink, Some(queue))?, events))
    }

    /// Connects to a sender that CHIRP found, unless it is not listed or connected already: then false.
    ///
    /// A host that is connected at another port has been restarted: the old connection is read to its end and closed, and only
    /// then the new one is read, so that their runs do not mix. Succeeds whether anybody is there or not, and connects again whenever the connection breaks. Never blocks.
    ///
    /// # Errors
    /// [`CdtpError::ReceiverStopped`], also after a failure ended it; [`CdtpError::Socket`] for an address that cannot be connected.
    pub fn add_sender(&self, service: &DiscoveredService) -> Result<bool, CdtpError> {
        let wanted = self.wanted.as_ref();
        if wanted.is_some_and(|wanted| !wanted.contains(&service.host)) {
            return Ok(false);
        }
        let endpoint = Endpoint::tcp(&service.address.to_string(), service.port)?;
        self.connect(Asked::Host(service.host), &endpoint)
    }

    /// Connects to whoever sends at an endpoint, listed or not; false if that is connected already.
    ///
    /// Never blocks.
    ///
    /// # Errors
    /// As [`add_sender`](Self::add_sender).
    pub fn add_endpoint(&self, endpoint: &Endpoint) -> Result<bool, CdtpError> {
        self.connect(Asked::Endpoint, endpoint)
    }

    /// Reads what has arrived from the sender, then closes its connection; false if there is none.
    ///
    /// Returns at once. The connection is closed when nothing is left to read and the run of the sender has ended; while it is open,
    /// after [`remove_grace`](ReceiverOptions::remove_grace) of silence, or at the latest after
    /// [`drain_timeout`](ReceiverOptions::drain_timeout). A run that is still open then stays so: another connection may go on
    /// with it, a new BOR or a stop ends it.
    pub fn remove_sender(&self, service: &DiscoveredService) -> bool {
        let asked = Asked::Host(service.host);
        self.leave(|known, _| *known == asked)
    }

    /// As [`remove_sender`](Self::remove_sender), for a connection by its endpoint.
    pub fn remove_endpoint(&self, endpoint: &Endpoint) -> bool {
        self.leave(|_, known| known == endpoint)
    }

    /// The state of every sender that was listed or heard, by its name.
    ///
    /// `sequence` is the highest number seen in the present run or the last, `missed` how many below it are missing.
    #[must_use]
    pub fn states(&self) -> BTreeMap<String, TransmitterStateSeq> {
        self.shared.delivery.state().states()
    }

    /// Bytes of the blocks of all DATA messages so far.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.stats().bytes
    }

    /// What has been counted so far, over all senders.
    #[must_use]
    pub fn stats(&self) -> ReceiverStats {
        self.shared.delivery.state().stats()
    }

    /// Sets whether ends of runs are marked DEGRADED from now on, because the station of the receiver is.
    pub fn set_degraded(&self, degraded: bool) {
        self.shared.delivery.state().set_degraded(degraded);
    }

    /// What has ended the receiving before its time; each failure is told once.
    ///
    /// # Errors
    /// [`CdtpError::HandlerPanicked`], [`CdtpError::NobodyListens`] when the iterator was dropped, [`CdtpError::Socket`].
    pub fn check_error(&self) -> Result<(), CdtpError> {
        self.shared
            .outcome
            .lock()
            .failure
            .take()
            .map_or(Ok(()), Err)
    }

    /// Begins what [`stop_receiving`](Self::stop_receiving) waits for, and returns at once.
    ///
    /// For the thread that reads the iterator: it requests the stop, reads on until the iterator ends, then calls
    /// `stop_receiving` for the answer.
    pub fn request_stop(&self) {
        *self.stopped.lock() = true;
        self.control.send(Command::Stop);
    }

    /// Reads what has arrived, waits for the ends of open runs, substitutes those that are missing, ends.
    ///
    /// Blocks up to [`drain_timeout`](ReceiverOptions::drain_timeout), [`eor_timeout`](ReceiverOptions::eor_timeout) and as long as
    /// the listener takes; an iterator must be read meanwhile, by another thread or as [`request_stop`](Self::request_stop) says. No
    /// time is spent on ends that cannot come, as nothing is connected that could send them. A second call answers the same, but for
    /// a failure, which is told once.
    ///
    /// # Errors
    /// [`CdtpError::EorTimeout`] with the senders whose runs were substituted; [`CdtpError::StopFromHandler`] when the handler calls
    /// it: the stop is requested then, and not waited for; else as [`check_error`](Self::check_error). In each case it has
    /// stopped.
    pub fn stop_receiving(&self) -> Result<(), CdtpError> {
        self.request_stop();
        if threads::is_inside(&self.shared.delivery) {
            return Err(CdtpError::StopFromHandler);
        }
        self.join();
        self.check_error()?;
        let senders = self.shared.outcome.lock().unended.clone();
        if senders.is_empty() {
            return Ok(());
        }
        Err(CdtpError::EorTimeout {
            senders,
            timeout: self.eor_timeout,
        })
    }

    fn start_sink(
        options: ReceiverOptions,
        sink: Sink,
        queue: Option<Arc<Queue>>,
    ) -> Result<Self, CdtpError> {
        let state = ReceiverState::new(&options);
        let shared = Shared {
            delivery: Arc::new(Delivery::new(sink, state, options.limits)),
            connections: Arc::new(Connections::default()),
            outcome: Arc::new(Mutex::new(Outcome::default())),
            queue,
            times: Times {
                stop: StopTimes {
                    drain: options.drain_timeout,
                    eor: options.eor_timeout,
                },
                remove_grace: options.remove_grace,
            },
            pool_limit: (2 * options.queue_messages).clamp(64, POOL_LIMIT),
        };
        let context = Context::new()?;
        let (control, thread) = match options.threads {
            ReceiveThreads::One => threads::start_one(shared.clone())?,
            ReceiveThreads::PerSender => threads::start_each(shared.clone())?,
        };
        let frame_bytes = options.limits.frame_bytes;
        Ok(Self {
            shared,
            control,
            context,
            socket: SocketOptions::default()
                .recv_hwm(options.recv_hwm.max(1))
                .max_message_bytes((frame_bytes > 0).then_some(frame_bytes))
                .linger(Some(Duration::ZERO)),
            wanted: options
                .senders
                .map(|names| names.iter().map(|name| ChirpId::of(name)).collect()),
            eor_timeout: options.eor_timeout,
            thread: Mutex::new(Some(thread)),
            stopped: Mutex::new(false),
        })
    }

    fn connect(&self, asked: Asked, endpoint: &Endpoint) -> Result<bool, CdtpError> {
        let stopped = self.stopped.lock();
        if *stopped {
            return Err(CdtpError::ReceiverStopped);
        }
        let (admit, instead) = self.shared.connections.admit(asked, endpoint);
        if let Some(old) = instead {
            self.control.send(Command::Remove(old));
        }
        let Admit::Connect { id, after } = admit else {
            return Ok(false);
        };
        let socket = self.context.socket(SocketKind::Pull, &self.socket);
        let connected = socket.and_then(|socket| {
            // Before it connects, so that no end is missed.
            socket.monitor_ends()?;
            socket.connect(endpoint)?;
            Ok(socket)
        });
        let socket = connected.inspect_err(|_| self.shared.connections.forget(id))?;
        if !self.control.send(Command::Add {
            id,
            socket,
            endpoint: endpoint.clone(),
            after,
        }) {
            self.shared.connections.forget(id);
            return Err(CdtpError::ReceiverStopped);
        }
        Ok(true)
    }

    fn leave(&self, which: impl Fn(&Asked, &Endpoint) -> bool) -> bool {
        let left = self.shared.connections.leave(which);
        if let Some(id) = left {
            self.control.send(Command::Remove(id));
        }
        left.is_some()
    }

    fn join(&self) {
        // Locked for the whole wait, so that another caller waits as long.
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take() {
            // A panic in it was noted by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for DataReceiver {
    fn drop(&mut self) {
        self.shared.delivery.abort();
        if let Some(queue) = &self.shared.queue {
            queue.close();
        }
        self.request_stop();
        if !threads::is_inside(&self.shared.delivery) {
            self.join();
        }
    }
}

impl fmt::Debug for DataReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataReceiver").finish_non_exhaustive()
    }
}

/// Messages kept to use again, at most, whatever the queue may hold.
const POOL_LIMIT: usize = 4096;
