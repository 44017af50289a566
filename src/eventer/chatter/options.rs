//! How one end of a connection behaves.

use std::time::Duration;

/// How one end of a connection behaves.
///
/// ```
/// use acqbus::eventer::chatter::ChatterOptions;
///
/// assert_eq!(ChatterOptions::default().max_frame(1024).max_frame, 1024);
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatterOptions {
    /// How long the peer may be silent before it is asked by a ping; 20 s by default, as in the reference.
    pub ping_after: Duration,
    /// How long after a ping the peer may be silent before it counts as gone; 20 s by default, as in the reference.
    pub close_after_ping: Duration,
    /// The most bytes of a frame, without the bytes of its length, in both directions; 16 MiB by default. The reference has no
    /// limit.
    pub max_frame: usize,
}

impl Default for ChatterOptions {
    fn default() -> Self {
        Self {
            ping_after: Duration::from_secs(20),
            close_after_ping: Duration::from_secs(20),
            max_frame: 16 * 1024 * 1024,
        }
    }
}

impl ChatterOptions {
    /// Sets how long the peer may be silent before it is asked by a ping.
    #[must_use]
    pub fn ping_after(mut self, silence: Duration) -> Self {
        self.ping_after = silence;
        self
    }

    /// Sets how long after a ping the peer may be silent before it counts as gone.
    #[must_use]
    pub fn close_after_ping(mut self, silence: Duration) -> Self {
        self.close_after_ping = silence;
        self
    }

    /// Sets the most bytes of a frame.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }
}
