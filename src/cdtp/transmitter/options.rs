//! What a transmitter waits for, holds and sends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cdtp::{CdtpError, CxxTags, Encoding};

/// What a [`DataTransmitter`](crate::cdtp::DataTransmitter) waits for, holds and sends.
///
/// The defaults are those of the class `DataTransmitter` of ConstellationDAQ 1.0.2 where it has the option; its satellites set all
/// three time-outs to 10 s.
///
/// ```
/// use std::time::Duration;
/// use acqbus::cdtp::TransmitterOptions;
///
/// let options = TransmitterOptions::default()
///     .timeouts(Some(Duration::from_secs(10)))
///     .payload_threshold_kib(0);
/// assert_eq!(options.eor_timeout, Some(Duration::from_secs(10)));
/// assert_eq!(options.queue_size, 32_768);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct TransmitterOptions {
    /// How long [`send_bor`](crate::cdtp::DataTransmitter::send_bor) waits for a receiver; zero tries once, `None`, the default,
    /// waits for ever.
    pub bor_timeout: Option<Duration>,
    /// How long one DATA message may wait for the receiver before sending fails; zero tries once, `None`, the default, waits for
    /// ever.
    pub data_timeout: Option<Duration>,
    /// As [`bor_timeout`](Self::bor_timeout), for [`send_eor`](crate::cdtp::DataTransmitter::send_eor).
    pub eor_timeout: Option<Duration>,
    /// Bytes of blocks, in KiB, from which on a message goes out; tags do not count. 0 sends each record alone. Defaults to 128.
    pub payload_threshold_kib: u32,
    /// How many records may wait, besides the message that is being put together while nothing else waits, and the one that is
    /// being sent. At least 1. Defaults to 32,768.
    pub queue_size: usize,
    /// How many encoded bytes may wait, counted as [`queue_size`](Self::queue_size); one record alone may be larger. Defaults to
    /// 64 MiB (*ours*).
    pub queue_bytes: usize,
    /// How long a record waits at most for others that go into its message, while the receiver keeps up. Zero sends what there is
    /// as soon as nothing else waits; [`Duration::MAX`] waits until the message is full or the run ends. Defaults to 100 ms, as C++;
    /// Python has 500 ms.
    pub flush_interval: Duration,
    /// How messages are written. Defaults to [`Encoding::Compact`].
    pub encoding: Encoding,
    /// What happens to tags that a C++ receiver cannot hold. Defaults to [`CxxTags::Refuse`].
    pub cxx_tags: CxxTags,
    /// High-water mark of the socket, in messages; 0 is no limit. Defaults to 1000, as libzmq.
    pub send_hwm: u32,
    /// Bytes that libzmq may hold unsent, in messages above 2 KiB; one message alone may be larger. Up to twice as much memory
    /// is kept for the next messages once it is sent. Defaults to 8 MiB (*ours*): what stays in the cache of the processor goes out faster.
    pub in_flight_bytes: usize,
    /// How long `Drop` waits until the receiver has taken what was sent; zero drops it. Defaults to 10 s (*ours*: Python waits for
    /// ever).
    pub linger: Duration,
    /// When set, nothing is sent: records are thrown away, BOR and EOR succeed without an effect. Defaults to `false`.
    pub transmission_disabled: bool,
    /// Permits to bind an address off the loopback, where whoever reaches the port can take the data. Defaults to `false`.
    pub insecure: bool,
    /// Called on the thread that sends when a DATA message cannot be sent. Defaults to none.
    pub on_failure: Option<FailureCallback>,
}

/// What [`TransmitterOptions::on_failure`] calls, with the error that
/// [`check_error`](crate::cdtp::DataTransmitter::check_error) gives from then on.
pub type FailureCallback = Arc<dyn Fn(&CdtpError) + Send + Sync>;

impl Default for TransmitterOptions {
    fn default() -> Self {
        Self {
            bor_timeout: None,
            data_timeout: None,
            eor_timeout: None,
            payload_threshold_kib: 128,
            queue_size: 32_768,
            queue_bytes: 64 << 20,
            flush_interval: Duration::from_millis(100),
            encoding: Encoding::default(),
            cxx_tags: CxxTags::default(),
            send_hwm: 1000,
            in_flight_bytes: 8 << 20,
            linger: Duration::from_secs(10),
            transmission_disabled: false,
            insecure: false,
            on_failure: None,
        }
    }
}

impl TransmitterOptions {
    /// Sets all three time-outs, [`bor_timeout`](Self::bor_timeout), [`data_timeout`](Self::data_timeout) and
    /// [`eor_timeout`](Self::eor_timeout).
    #[must_use]
    pub fn timeouts(mut self, timeout: Option<Duration>) -> Self {
        self.bor_timeout = timeout;
        self.data_timeout = timeout;
        self.eor_timeout = timeout;
        self
    }

    /// Sets [`on_failure`](Self::on_failure).
    ///
    /// The callback must not send a BOR or EOR, nor start or stop sending: these wait for the thread that it is called on, and refuse
    /// with [`CdtpError::WrongThread`].
    #[must_use]
    pub fn on_failure(mut self, callback: impl Fn(&CdtpError) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(callback));
        self
    }
}

macro_rules! setters {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        impl TransmitterOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
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
    bor_timeout: Option<Duration>,
    data_timeout: Option<Duration>,
    eor_timeout: Option<Duration>,
    payload_threshold_kib: u32,
    queue_size: usize,
    queue_bytes: usize,
    flush_interval: Duration,
    encoding: Encoding,
    cxx_tags: CxxTags,
    send_hwm: u32,
    in_flight_bytes: usize,
    linger: Duration,
    transmission_disabled: bool,
    insecure: bool,
}

impl fmt::Debug for TransmitterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransmitterOptions")
            .field("bor_timeout", &self.bor_timeout)
            .field("data_timeout", &self.data_timeout)
            .field("eor_timeout", &self.eor_timeout)
            .field("payload_threshold_kib", &self.payload_threshold_kib)
            .field("queue_size", &self.queue_size)
            .field("queue_bytes", &self.queue_bytes)
            .field("flush_interval", &self.flush_interval)
            .field("encoding", &self.encoding)
            .field("cxx_tags", &self.cxx_tags)
            .field("send_hwm", &self.send_hwm)
            .field("in_flight_bytes", &self.in_flight_bytes)
            .field("linger", &self.linger)
            .field("transmission_disabled", &self.transmission_disabled)
            .field("insecure", &self.insecure)
            .field("on_failure", &self.on_failure.is_some())
            .finish()
    }
}
