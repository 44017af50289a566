//! What a receiver listens to, how long it waits, how much it holds.

use std::time::Duration;

use crate::cdtp::DecodeLimits;

/// The settings of a receiver, fixed when it starts.
///
/// Memory is bounded: each sender has at most [`recv_hwm`](Self::recv_hwm) messages in libzmq, and an iterator has
/// [`queue_messages`](Self::queue_messages) or [`queue_bytes`](Self::queue_bytes) of them, whichever is less, once waiting
/// and once in the hands of the iterator. With the usual messages of 128 KiB and the defaults these are 32 MiB a sender and
/// twice 32 MiB; a sender that has a threshold of 8 MiB wants a lower `recv_hwm`. When all is full, libzmq stops reading and
/// the sender blocks: nothing is ever dropped.
///
/// ```
/// use std::time::Duration;
/// use acqbus::cdtp::ReceiverOptions;
///
/// let options = ReceiverOptions::default()
///     .senders(["Camera.Top", "Digitizer.One"])
///     .eor_timeout(Duration::from_secs(3));
/// assert_eq!(options.recv_hwm, 256);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiverOptions {
    /// The names of the senders that are wanted; `None`, the default, is everybody, and an empty list nobody.
    ///
    /// Only [`DataReceiver::add_sender`](crate::cdtp::DataReceiver::add_sender) looks at it. Case does not count: CHIRP cannot
    /// tell apart names that differ in it, and so neither does the receiver (*ours*; the reference keeps two states then).
    pub senders: Option<Vec<String>>,
    /// How long a stop waits for the ends of open runs, once what had arrived is read. Default 10 s; zero does not wait.
    pub eor_timeout: Duration,
    /// How long a stop reads what has arrived before it begins to wait for ends; `None` = as long as there is something.
    ///
    /// Default 60 s (*ours*; the reference has no bound, so a sender that never pauses keeps it from stopping).
    pub drain_timeout: Option<Duration>,
    /// How long a sender that was removed must be silent before its connection is closed, while a run of it is open.
    ///
    /// Default 500 ms (*ours*; the reference closes at once and loses what has arrived).
    pub remove_grace: Duration,
    /// How many threads read. Default [`ReceiveThreads::One`].
    pub threads: ReceiveThreads,
    /// Messages that libzmq holds for each sender until they are read; at least 1, for 0 would be no limit.
    ///
    /// Default 256 (the reference has 1000, libzmq's default).
    pub recv_hwm: u32,
    /// Messages that wait for the iterator; at least 1. Default 1024.
    pub queue_messages: usize,
    /// Bytes of messages that wait for the iterator; one message may always wait. Default 32 MiB.
    pub queue_bytes: usize,
    /// How many names of senders are kept apart; data of one more is a fault. At least 1. Default 4096.
    pub sender_limit: usize,
    /// How many gaps of one run are kept apart to tell late records from doubled ones, some 30 bytes each. At least 1.
    ///
    /// Default 65,536. They are forgotten at the end of the run.
    pub gap_limit: usize,
    /// How many gaps of all open runs are kept apart, besides one of each run. Default 1,048,576.
    pub gaps_limit: usize,
    /// What a message may be at most; a sender of a larger frame is cut off and connected again, and the gap counted.
    pub limits: DecodeLimits,
    /// Whether ends of runs are marked DEGRADED from the start, because the receiver's own station is.
    ///
    /// Default false; [`DataReceiver::set_degraded`](crate::cdtp::DataReceiver::set_degraded) changes it.
    pub degraded: bool,
}

/// How many threads a receiver reads with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveThreads {
    /// One for all senders, which takes up to 64 messages of each in turn.
    #[default]
    One,
    /// One for each sender: they are received and decoded side by side, and delivered one message at a time.
    PerSender,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self {
            senders: None,
            eor_timeout: Duration::from_secs(10),
            drain_timeout: Some(Duration::from_secs(60)),
            remove_grace: Duration::from_millis(500),
            threads: ReceiveThreads::One,
            recv_hwm: 256,
            queue_messages: 1024,
            queue_bytes: 32 << 20,
            sender_limit: 4096,
            gap_limit: 65_536,
            gaps_limit: 1 << 20,
            limits: DecodeLimits::default(),
            degraded: false,
        }
    }
}

impl ReceiverOptions {
    /// Sets [`senders`](Self::senders) to these names.
    #[must_use]
    pub fn senders(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.senders = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets [`senders`](Self::senders) to everybody.
    #[must_use]
    pub fn everybody(mut self) -> Self {
        self.senders = None;
        self
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        impl ReceiverOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](ReceiverOptions#structfield.", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.$name = $name;
                    self
                }
            )+
        }
    };
}

setters! {
    eor_timeout: Duration,
    drain_timeout: Option<Duration>,
    remove_grace: Duration,
    threads: ReceiveThreads,
    recv_hwm: u32,
    queue_messages: usize,
    queue_bytes: usize,
    sender_limit: usize,
    gap_limit: usize,
    gaps_limit: usize,
    limits: DecodeLimits,
    degraded: bool,
}
