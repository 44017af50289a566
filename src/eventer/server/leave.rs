//! Why a connection ends.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use log::Level;

use crate::eventer::chatter::ChatterError;
use crate::eventer::message::MessageError;
use crate::store::StoreError;

/// Why a connection ends; the text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Leave {
    #[error("it has gone")]
    Gone,
    #[error("the server stops")]
    Stopped,
    #[error("its socket failed")]
    Socket(#[from] io::Error),
    #[error("it was told: {text}")]
    Refused { text: String },
    #[error("it has not said who it is within {timeout:?}")]
    NoHello { timeout: Duration },
    #[error("it has sent more than {limit} bytes without saying who it is")]
    LongHello { limit: usize },
    #[error("there are {limit} connections already")]
    Full { limit: usize },
    #[error("its place went to a newcomer, as it had not said who it is")]
    Pushed,
    #[error(transparent)]
    Stream(#[from] ChatterError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("it has sent {0}")]
    Order(&'static str),
    #[error("it has taken none of {bytes} bytes within {timeout:?}")]
    Slow { bytes: usize, timeout: Duration },
    #[error("it does not take what it subscribed to: {limit} bytes wait for it")]
    Overflow { limit: usize },
    #[error("its events cannot be registered")]
    Register(#[source] StoreError),
    #[error("its query cannot be answered")]
    Query(#[source] StoreError),
    #[error("the answer to its query is larger than the {limit} bytes of a frame")]
    LongAnswer { limit: usize },
    #[error("its query made the backend panic")]
    Panic,
}

impl Leave {
    /// How loud the log says it.
    fn level(&self) -> Level {
        match self {
            Self::Gone | Self::Stopped => Level::Debug,
            _ => Level::Warn,
        }
    }

    /// What happened, with its causes.
    pub(super) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// Whether the client broke the protocol.
    pub(super) fn is_malformed(&self) -> bool {
        match self {
            Self::Stream(error) => matches!(error, ChatterError::Frame(_)),
            Self::Message(_) | Self::Order(_) | Self::LongHello { .. } => true,
            _ => false,
        }
    }

    /// Whether the client did not take what was for it.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Slow { .. } | Self::Overflow { .. })
    }
}

/// Tells the log why connections end, of strangers a few a second only: they are no reason to fill a disk.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    since: Option<Instant>,
    told: u32,
    kept_back: u64,
}

impl Complaints {
    pub(super) fn tell(&mut self, name: &str, is_known: bool, leave: &Leave, now: Instant) {
        let level = leave.level();
        if level == Level::Warn && !is_known && !self.may_tell(now) {
            self.kept_back += 1;
            return;
        }
        if level == Level::Warn && self.kept_back > 0 {
            let count = std::mem::take(&mut self.kept_back);
            log::warn!("{count} more connections to the eventer were closed");
        }
        log::log!(level, "{name} is closed: {}", leave.describe());
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now >= since + WINDOW) {
            self.since = Some(now);
            self.told = 0;
        }
        self.told += 1;
        self.told <= STRANGERS
    }
}

/// Strangers that the log tells of within the window.
const STRANGERS: u32 = 10;

const WINDOW: Duration = Duration::from_secs(1);
