//! The end that sends a run.
//!
//! | file | job |
//! |---|---|
//! | `options` | what a transmitter waits for, holds and sends |
//! | `assembly` | puts records into messages, in the buffers that go out; no lock, no clock |
//! | `queue` | what waits, its bounds, and the two locks around it |
//! | `sending` | the thread that owns the socket |
//! | `run` | the safe layer: a run that ends, whatever happens |

mod assembly;
mod options;
mod queue;
mod receivers;
mod run;
mod sending;
mod stats;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::cdtp::fit::check_record;
use crate::cdtp::transmitter::assembly::Assembly;
use crate::cdtp::transmitter::queue::{Patience, Phase, Queue, QueueLimits, Refusal, Totals};
use crate::cdtp::transmitter::sending::{Outcome, Sending, Shared, after};
use crate::cdtp::{
    CdtpError, DataRecord, MessageHead, MessageKind, SenderName, Tags, TransmitterState,
    encode_bor, encode_eor,
};
use crate::zsocket::{
    Context, Endpoint, Frame, FramePool, Socket, SocketKind, SocketOptions, addresses_of, wake_pair,
};

pub use options::{FailureCallback, TransmitterOptions};
pub use run::{Run, RunStart, RunSummary};
pub use stats::TransmitterStats;

/// Sends runs of data records to one receiver; the interface of the reference's class of this name.
///
/// Any thread may use it, at the same time as others. [`Run`] is a safer way to use it: a `Run` always ends.
///
/// A record is written into its message on the thread that hands it in; the thread `acqbus-transmitter` owns the socket, groups
/// messages by the timer and waits for the receiver. `Drop` sends what waits and stops the thread, for at most twice the
/// [`linger`](TransmitterOptions::linger).
///
/// One run has one receiver: ZeroMQ would share the messages out among several.
///
/// ```
/// use acqbus::cdtp::{DataTransmitter, Tags, TransmitterOptions};
/// # use acqbus::zsocket::{Context, SocketKind, SocketOptions};
///
/// let options = TransmitterOptions::default();
/// let transmitter = DataTransmitter::bind("Camera.left", &"tcp://127.0.0.1:0".parse()?, options)?;
/// # let receiver = Context::new()?.socket(SocketKind::Pull, &SocketOptions::default())?;
/// # receiver.connect(transmitter.endpoint())?;
/// transmitter.send_bor(&Tags::new(), &Tags::new().with("exposure_ms", 1.5))?; // waits for a receiver
/// transmitter.start_sending()?;
/// let record = transmitter.new_data_record().with_block(b"pixels");
/// transmitter.send_data_record(record)?;
/// transmitter.stop_sending();
/// transmitter.check_error()?;
/// transmitter.send_eor(&Tags::new(), &Tags::new().with("data_records", transmitter.sequence_number()))?;
/// assert_eq!(transmitter.bytes_transmitted(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DataTransmitter {
    shared: Arc<Shared>,
    pool: FramePool,
    options: TransmitterOptions,
    name: SenderName,
    endpoint: Endpoint,
    sequence: AtomicU64,
    state: AtomicU8,
    disabled: AtomicBool,
    /// Held by whoever starts, stops, or sends a BOR or EOR.
    order: Mutex<()>,
    thread_id: ThreadId,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl DataTransmitter {
    /// Binds a PUSH socket and starts the thread that sends; port 0 binds any free one, see [`port`](Self::port).
    ///
    /// The name is `Type.name`, see [`SenderName`].
    ///
    /// # Errors
    /// [`CdtpError::Name`]; [`CdtpError::Exposed`] for an address off the loopback without
    /// [`insecure`](TransmitterOptions::insecure); [`CdtpError::Socket`] where it cannot be bound; [`CdtpError::Thread`].
    pub fn bind(
        name: &str,
        endpoint: &Endpoint,
        options: TransmitterOptions,
    ) -> Result<Self, CdtpError> {
        let name = SenderName::new(name)?;
        let head = MessageHead::new(&name)?;
        let (socket, endpoint) = bind(endpoint, &options)?;
        let (waker, wake) = wake_pair()?;
        let pool = FramePool::new(options.in_flight_bytes, Some(waker.clone()));
        let threshold = u64::from(options.payload_threshold_kib) * 1024;
        let assembly = Assembly::new(head, options.encoding, threshold, pool.clone());
        let limits = QueueLimits {
            records: options.queue_size.max(1) as u64,
            bytes: options.queue_bytes as u64,
            flush_interval: options.flush_interval,
        };
        let shared = Arc::new(Shared::new(Queue::new(limits, assembly, waker)));
        let sending = Sending {
            socket,
            wake,
            pool: pool.clone(),
            shared: Arc::clone(&shared),
            data_timeout: options.data_timeout,
            on_failure: options.on_failure.clone(),
            relieve_after: Totals {
                records: limits.records.div_ceil(2),
                bytes: limits.bytes.min(options.in_flight_bytes as u64) / 2,
            },
        };
        let thread = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || sending.run())
            .map_err(|source| CdtpError::Thread {
                name: THREAD,
                source,
            })?;
        Ok(Self {
            shared,
            pool,
            disabled: AtomicBool::new(options.transmission_disabled),
            options,
            name,
            endpoint,
            sequence: AtomicU64::new(0),
            state: AtomicU8::new(TransmitterState::NotConnected as u8),
            order: Mutex::new(()),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Begins a run: sends the BOR message, and so waits until a receiver is there.
    ///
    /// Blocks up to the [`bor_timeout`](TransmitterOptions::bor_timeout). The [`state`](Self::state) is then
    /// [`BorReceived`](TransmitterState::BorReceived), or [`NotConnected`](TransmitterState::NotConnected) after a failure. No order
    /// of calls is enforced, as in the references. Nothing is sent while transmission is disabled.
    ///
    /// # Errors
    /// [`CdtpError::SendTimeout`]; [`CdtpError::CxxTag`]; [`CdtpError::TooLarge`]; [`CdtpError::Closed`];
    /// [`CdtpError::WrongThread`].
    pub fn send_bor(&self, user_tags: &Tags, configuration: &Tags) -> Result<(), CdtpError> {
        self.send_pair(
            MessageKind::Bor,
            self.options.bor_timeout,
            user_tags,
            configuration,
        )
    }

    /// Ends a run: sends the EOR message, behind all records that were taken before.
    ///
    /// As [`send_bor`](Self::send_bor), with the [`eor_timeout`](TransmitterOptions::eor_timeout) and the state
    /// [`EorReceived`](TransmitterState::EorReceived). Call [`stop_sending`](Self::stop_sending) first: only then are the counts
    /// that the metadata has final.
    ///
    /// # Errors
    /// As [`send_bor`](Self::send_bor).
    pub fn send_eor(&self, user_tags: &Tags, metadata: &Tags) -> Result<(), CdtpError> {
        self.send_eor_timeout(user_tags, metadata, self.options.eor_timeout)
    }

    /// Takes records from now on; sequence numbers and counters begin anew, a stored error is forgotten.
    ///
    /// # Errors
    /// [`CdtpError::AlreadySending`]; [`CdtpError::Closed`]; [`CdtpError::WrongThread`].
    pub fn start_sending(&self) -> Result<(), CdtpError> {
        if thread::current().id() == self.thread_id {
            // Whoever holds the lock may wait for this thread.
            return Err(CdtpError::WrongThread);
        }
        let _order = self.order.lock();
        if self.shared.is_closed() {
            return Err(CdtpError::Closed);
        }
        if self.shared.queue.is_open() {
            return Err(CdtpError::AlreadySending);
        }
        self.sequence.store(0, Ordering::Relaxed);
        self.shared.reset();
        let disabled = self.disabled.load(Ordering::Relaxed);
        self.shared.queue.start(if disabled {
            Phase::Disabled
        } else {
            Phase::Open
        });
        Ok(())
    }

    /// Refuses records from now on, and returns when those taken before have been sent.
    ///
    /// Blocks as long as the receiver does not take them and no [`data_timeout`](TransmitterOptions::data_timeout) ends that.
    /// [`check_error`](Self::check_error) tells whether it did; what could not be sent is counted as
    /// [lost](TransmitterStats::records_lost). Does nothing when nothing is being sent, and in the failure callback.
    pub fn stop_sending(&self) {
        self.stop(None);
    }

    /// As [`stop_sending`](Self::stop_sending), and throws away what could not be sent in time; `false` when there was such.
    ///
    /// `false` too when another thread starts, stops, or sends a BOR or EOR for as long: sending then goes on.
    pub fn stop_sending_timeout(&self, timeout: Duration) -> bool {
        let stopped = self.stop(Instant::now().checked_add(timeout));
        stopped && self.shared.counters.lost.load(Ordering::Relaxed) == 0
    }

    /// A record with the next sequence number of the run; the first is 1.
    ///
    /// The number is used up even if the record is never sent, which tells the receiver that data was left out. Records whose
    /// numbers were drawn on several threads may overtake each other.
    #[inline]
    #[must_use]
    pub fn new_data_record<'a>(&self) -> DataRecord<'a> {
        DataRecord::new(self.sequence.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Hands a record over; blocks while the queue is full.
    ///
    /// Blocks are copied once, here; later changes to them change nothing. An error of the socket shows later, in
    /// [`check_error`](Self::check_error) and in the failure callback: until the queue is full, records are still taken, and lost.
    ///
    /// # Errors
    /// [`CdtpError::NotSending`] before [`start_sending`](Self::start_sending) and after [`stop_sending`](Self::stop_sending);
    /// [`CdtpError::SendTimeout`] or [`CdtpError::Sending`] when the queue is full and sending has failed; [`CdtpError::CxxTag`];
    /// [`CdtpError::BlockTooLarge`]; [`CdtpError::TooLarge`]; [`CdtpError::Closed`].
    #[inline]
    pub fn send_data_record(&self, mut record: DataRecord<'_>) -> Result<(), CdtpError> {
        self.push(&mut record, Patience::ForEver)
    }

    /// As [`send_data_record`](Self::send_data_record), and never blocks.
    ///
    /// # Errors
    /// The record comes back, with [`CdtpError::QueueFull`] where there is no room, or else as
    /// [`send_data_record`](Self::send_data_record).
    pub fn try_send_data_record<'a>(
        &self,
        record: DataRecord<'a>,
    ) -> Result<(), RefusedRecord<'a>> {
        self.push_or_refuse(record, Patience::Never)
    }

    /// As [`send_data_record`](Self::send_data_record), and blocks no longer than the time-out.
    ///
    /// # Errors
    /// As [`try_send_data_record`](Self::try_send_data_record).
    pub fn send_data_record_timeout<'a>(
        &self,
        record: DataRecord<'a>,
        timeout: Duration,
    ) -> Result<(), RefusedRecord<'a>> {
        let patience = match Instant::now().checked_add(timeout) {
            Some(deadline) => Patience::Until(deadline),
            None => Patience::ForEver,
        };
        self.push_or_refuse(record, patience)
    }

    /// Whether a small record would be taken at once.
    #[must_use]
    pub fn can_send_record(&self) -> bool {
        self.shared.queue.can_push()
    }

    /// Whether records are taken: between [`start_sending`](Self::start_sending) and [`stop_sending`](Self::stop_sending).
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.shared.queue.is_open()
    }

    /// Whether DATA messages could be sent so far; the answer stays until the next [`start_sending`](Self::start_sending).
    ///
    /// This is `check_exception` of the reference.
    ///
    /// # Errors
    /// [`CdtpError::SendTimeout`], or [`CdtpError::Sending`] with what the socket said.
    pub fn check_error(&self) -> Result<(), CdtpError> {
        self.shared.failure().map_or(Ok(()), Err)
    }

    /// Where the run is, as far as the sending end knows.
    #[must_use]
    pub fn state(&self) -> TransmitterState {
        match self.state.load(Ordering::Acquire) {
            2 => TransmitterState::BorReceived,
            3 => TransmitterState::EorReceived,
            _ => TransmitterState::NotConnected,
        }
    }

    /// The sequence number drawn last; 0 before the first.
    #[must_use]
    pub fn sequence_number(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Records handed to libzmq since the start of sending.
    #[must_use]
    pub fn records_transmitted(&self) -> u64 {
        self.shared.counters.records.load(Ordering::Relaxed)
    }

    /// Bytes of their blocks.
    #[must_use]
    pub fn bytes_transmitted(&self) -> u64 {
        self.shared.counters.bytes.load(Ordering::Relaxed)
    }

    /// Messages of such records.
    #[must_use]
    pub fn messages_transmitted(&self) -> u64 {
        self.shared.counters.messages.load(Ordering::Relaxed)
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> TransmitterStats {
        TransmitterStats {
            records_drawn: self.sequence_number(),
            records_transmitted: self.records_transmitted(),
            bytes_transmitted: self.bytes_transmitted(),
            messages_transmitted: self.messages_transmitted(),
            records_waiting: self.shared.queue.waiting(),
            records_lost: self.shared.counters.lost.load(Ordering::Relaxed),
            records_discarded: self.shared.queue.discarded(),
            bytes_in_flight: self.pool.bytes_out() as u64,
        }
    }

    /// How many receivers are connected, as last looked at: whenever there is nothing to send, and at BOR and EOR.
    #[must_use]
    pub fn receivers(&self) -> usize {
        self.shared.receivers.now()
    }

    /// Whether more than one receiver was connected at a time since the last BOR.
    ///
    /// Each then got a part of the messages: CDTP gives a run to one receiver. Seen at the latest when the EOR is sent; a [`Run`] is
    /// marked TAINTED by it.
    #[must_use]
    pub fn had_several_receivers(&self) -> bool {
        self.shared.receivers.are_several()
    }

    /// The name in the messages.
    #[must_use]
    pub fn name(&self) -> &SenderName {
        &self.name
    }

    /// Where a receiver connects.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The port of the [`endpoint`](Self::endpoint); 0 inside the process.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.endpoint.port().unwrap_or_default()
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &TransmitterOptions {
        &self.options
    }

    /// Sets [`transmission_disabled`](TransmitterOptions::transmission_disabled) for the runs to come.
    ///
    /// Between runs only: a run whose BOR was not sent must not send its data.
    pub fn set_transmission_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Relaxed);
    }

    /// Ends every wait on any thread, with [`CdtpError::Closed`], and the thread that sends; nothing can be sent any more.
    ///
    /// Returns when that thread has ended, which takes up to the [`linger`](TransmitterOptions::linger). What was not handed to
    /// libzmq is lost.
    pub fn close(&self) {
        self.shared.close();
        self.join();
    }

    /// As [`close`](Self::close), and does not linger: for a receiver that is gone, or takes nothing any more.
    ///
    /// What libzmq still holds is lost, an EOR message too.
    pub fn close_now(&self) {
        self.shared.close_now();
        self.join();
    }

    fn join(&self) {
        if thread::current().id() == self.thread_id {
            return;
        }
        if let Some(thread) = self.thread.lock().take() {
            // It catches the panics of the callback, and has none of its own.
            let _ = thread.join();
        }
    }

    /// Costs one atomic load.
    #[inline]
    fn has_failed(&self) -> bool {
        self.shared.queue.has_failed()
    }

    fn send_eor_timeout(
        &self,
        user_tags: &Tags,
        metadata: &Tags,
        timeout: Option<Duration>,
    ) -> Result<(), CdtpError> {
        self.send_pair(MessageKind::Eor, timeout, user_tags, metadata)
    }

    #[inline]
    fn push(&self, record: &mut DataRecord<'_>, patience: Patience) -> Result<(), CdtpError> {
        if !record.tags().is_empty() {
            let tags = self.options.cxx_tags.apply(record.tags())?;
            if let std::borrow::Cow::Owned(tags) = tags {
                *record.tags_mut() = tags;
            }
        }
        check_record(record)?;
        self.shared
            .queue
            .push(record, patience, Instant::now)
            .map_err(|refusal| self.refusal(refusal))
    }

    fn push_or_refuse<'a>(
        &self,
        mut record: DataRecord<'a>,
        patience: Patience,
    ) -> Result<(), RefusedRecord<'a>> {
        self.push(&mut record, patience)
            .map_err(|error| RefusedRecord {
                record: Box::new(record),
                error,
            })
    }

    #[cold]
    fn refusal(&self, refusal: Refusal) -> CdtpError {
        match refusal {
            Refusal::Full => CdtpError::QueueFull {
                record_limit: self.options.queue_size.max(1),
                byte_limit: self.options.queue_bytes,
            },
            Refusal::NotSending => CdtpError::NotSending,
            Refusal::Failed => self.shared.failure().unwrap_or(CdtpError::NotSending),
            Refusal::Closed => CdtpError::Closed,
        }
    }

    fn send_pair(
        &self,
        kind: MessageKind,
        timeout: Option<Duration>,
        user_tags: &Tags,
        others: &Tags,
    ) -> Result<(), CdtpError> {
        if self.disabled.load(Ordering::Relaxed) {
            return Ok(());
        }
        if thread::current().id() == self.thread_id {
            return Err(CdtpError::WrongThread);
        }
        let user_tags = self.options.cxx_tags.apply(user_tags)?;
        let others = self.options.cxx_tags.apply(others)?;
        let (bytes, success, what) = match kind {
            MessageKind::Eor => (
                encode_eor(&self.name, &user_tags, &others, self.options.encoding)?,
                TransmitterState::EorReceived,
                "EOR",
            ),
            _ => (
                encode_bor(&self.name, &user_tags, &others, self.options.encoding)?,
                TransmitterState::BorReceived,
                "BOR",
            ),
        };
        let late = || CdtpError::SendTimeout {
            what,
            after: timeout.unwrap_or_default(),
        };
        let deadline = after(timeout);
        // The state is that of whoever has the lock.
        let _order = self.in_turn(deadline).ok_or_else(late)?;
        if kind == MessageKind::Bor {
            self.shared.receivers.begin_run();
        }
        self.shared.queue.flush();
        let outcome = self.shared.send(Frame::from(bytes), deadline);
        let (state, result) = match outcome {
            Outcome::Done => (success, Ok(())),
            Outcome::TimedOut => (TransmitterState::NotConnected, Err(late())),
            Outcome::Closed => (TransmitterState::NotConnected, Err(CdtpError::Closed)),
            Outcome::Socket(error) => (TransmitterState::NotConnected, Err(error.into())),
        };
        self.state.store(state as u8, Ordering::Release);
        result
    }

    /// False if it was not this thread's turn in time.
    fn stop(&self, deadline: Option<Instant>) -> bool {
        if thread::current().id() == self.thread_id {
            log::error!("the failure callback cannot stop the transmitter that calls it");
            return false;
        }
        let Some(_order) = self.in_turn(deadline) else {
            return false;
        };
        if self.shared.queue.is_open() {
            self.shared.queue.stop(Phase::Stopped);
            self.shared.drain(deadline);
        }
        true
    }

    /// The right to start, stop, or send a BOR or EOR; `None` if others have it until the deadline.
    fn in_turn(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, ()>> {
        match deadline {
            Some(deadline) => self.order.try_lock_until(deadline),
            None => Some(self.order.lock()),
        }
    }
}

impl Drop for DataTransmitter {
    fn drop(&mut self) {
        self.stop_sending_timeout(self.options.linger);
        self.close();
    }
}

impl fmt::Debug for DataTransmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataTransmitter")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("state", &self.state())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A record that was not taken, and why.
#[derive(Debug, thiserror::Error)]
#[error("record {} was not taken", record.sequence())]
pub struct RefusedRecord<'a> {
    record: Box<DataRecord<'a>>,
    #[source]
    error: CdtpError,
}

impl<'a> RefusedRecord<'a> {
    /// The record, to try again.
    #[must_use]
    pub fn into_record(self) -> DataRecord<'a> {
        *self.record
    }

    /// Why it was not taken.
    #[must_use]
    pub fn error(&self) -> &CdtpError {
        &self.error
    }

    /// Whether there was no room, so that trying again later may work.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.error.is_full()
    }
}

impl From<RefusedRecord<'_>> for CdtpError {
    fn from(refused: RefusedRecord<'_>) -> Self {
        refused.error
    }
}

fn bind(
    endpoint: &Endpoint,
    options: &TransmitterOptions,
) -> Result<(Socket, Endpoint), CdtpError> {
    let socket_options = SocketOptions::default()
        .send_hwm(options.send_hwm)
        .linger(Some(options.linger));
    let socket = Context::new()?.socket(SocketKind::Push, &socket_options)?;
    socket.monitor_sessions()?;
    let (Some(host), Some(port)) = (endpoint.host(), endpoint.port()) else {
        let bound = socket.bind(endpoint)?;
        return Ok((socket, bound));
    };
    if host == "*" {
        if !options.insecure {
            return Err(CdtpError::Exposed {
                endpoint: endpoint.clone(),
            });
        }
        let bound = socket.bind(endpoint)?;
        return Ok((socket, bound));
    }
    let mut bound: Option<Endpoint> = None;
    for address in addresses_of(host)? {
        if !address.is_loopback() && !options.insecure {
            return Err(CdtpError::Exposed {
                endpoint: endpoint.clone(),
            });
        }
        // Port 0 is decided by the first address and holds for the others.
        let port = bound.as_ref().and_then(Endpoint::port).unwrap_or(port);
        let here = socket.bind(&Endpoint::tcp_ip(address, port))?;
        bound.get_or_insert(here);
    }
    // An interface has an address, or `addresses_of` fails.
    let bound = bound.unwrap_or_else(|| endpoint.clone());
    Ok((socket, bound))
}

const THREAD: &str = "acqbus-transmitter";
