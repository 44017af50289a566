//! What a transmitter counts.

/// What a [`DataTransmitter`](crate::cdtp::DataTransmitter) has done since it started sending, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransmitterStats {
    /// Sequence numbers drawn.
    pub records_drawn: u64,
    /// Records handed to libzmq.
    pub records_transmitted: u64,
    /// Bytes of their blocks.
    pub bytes_transmitted: u64,
    /// Messages of such records.
    pub messages_transmitted: u64,
    /// Records that wait, those of the message that is being put together included.
    pub records_waiting: u64,
    /// Records that were taken and could not be sent.
    pub records_lost: u64,
    /// Records that were thrown away because transmission is disabled.
    pub records_discarded: u64,
    /// Bytes of memory behind the messages that libzmq has not sent yet; those up to 2 KiB do not count.
    pub bytes_in_flight: u64,
}
