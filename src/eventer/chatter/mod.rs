//! Messages on one connection: frames, conversations, keep-alive.
//!
//! A frame is one byte n, the length in n bytes, big-endian, and a message of that length. Who starts a conversation gives it the
//! number of its message; a reply carries that number, and whether its sender started the conversation. Numbers count from 1, one
//! row in each direction. [`Chatter`] is the state of one end; it has no socket and no clock. Source: hat-drivers 0.10.10, chatter.
//!
//! ```
//! use std::time::Instant;
//! use acqbus::eventer::chatter::{Chatter, ChatterOptions};
//!
//! let now = Instant::now();
//! let (mut client, mut server) = (Chatter::new(ChatterOptions::default(), now), Chatter::new(ChatterOptions::default(), now));
//! let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
//! let question = client.begin("Test.Question", b"?", false, &mut to_server)?;
//!
//! server.receive(&to_server, now);
//! let received = server.next(&mut to_client)?.expect("it is whole");
//! assert!(received.is_first && received.data == b"?");
//! let conversation = received.conversation;
//! server.reply(conversation, "Test.Answer", b"!", true, &mut to_client)?;
//!
//! client.receive(&to_client, now);
//! let answer = client.next(&mut to_server)?.expect("it is whole");
//! assert_eq!((answer.conversation, answer.last), (question, true));
//! # Ok::<(), acqbus::eventer::chatter::ChatterError>(())
//! ```

mod frame;
mod options;

use std::time::{Duration, Instant};

pub use frame::Frame;
use frame::{Split, split};
pub use options::ChatterOptions;

use crate::eventer::EventerError;
use crate::wire::DecodeError;

/// A conversation, to send more in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The number of its first message.
    pub first: i64,
    /// Whether this end started it.
    pub owner: bool,
}

/// A message of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// What to answer in.
    pub conversation: Conversation,
    /// Whether it starts the conversation.
    pub is_first: bool,
    /// Whether it ends the conversation.
    pub last: bool,
    /// What it is, `HatEventer.MsgInitReq` for example.
    pub kind: &'a str,
    /// Its content.
    pub data: &'a [u8],
}

/// What ends a connection.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ChatterError {
    /// A frame that cannot be read.
    #[error("a frame cannot be read")]
    Frame(#[from] DecodeError),
    /// A message that is to be sent is larger than a frame may be.
    #[error("a message of {bytes} bytes is larger than the {limit} bytes of a frame")]
    TooLarge {
        /// Its size in a frame.
        bytes: usize,
        /// The limit of this end.
        limit: usize,
    },
    /// The peer has sent nothing, not even an answer to a ping.
    #[error("the peer has been silent for too long")]
    Silent,
}

impl From<ChatterError> for EventerError {
    fn from(error: ChatterError) -> Self {
        match error {
            ChatterError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            other => Self::Protocol {
                what: String::from("the stream"),
                source: Box::new(other),
            },
        }
    }
}

/// One end of a connection.
///
/// Give it what comes from the socket by [`receive`](Self::receive), then take messages by [`next`](Self::next) until there is
/// none, and send what both write to `out`. It holds what was received and not taken, so who takes before it reads on holds one
/// frame and one read at most. At [`deadline`](Self::deadline) call [`tick`](Self::tick). After an error the connection is to be
/// closed.
#[derive(Debug)]
pub struct Chatter {
    options: ChatterOptions,
    /// The number of the last message that was sent.
    sent: i64,
    /// What came, from `taken` on not yet taken.
    received: Vec<u8>,
    taken: usize,
    heard: Instant,
    pinged: Option<Instant>,
}

impl Chatter {
    /// The end of a connection that is made now.
    #[must_use]
    pub fn new(options: ChatterOptions, now: Instant) -> Self {
        Self {
            options: options
                .ping_after(options.ping_after.min(LONG))
                .close_after_ping(options.close_after_ping.min(LONG)),
            sent: 0,
            received: Vec::new(),
            taken: 0,
            heard: now,
            pinged: None,
        }
    }

    /// Takes bytes of the peer, in pieces of any size; any byte shows that the peer lives.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.heard = now;
        self.pinged = None;
        self.forget_taken();
        self.received.extend_from_slice(bytes);
    }

    /// Takes the next message, if it is whole; a ping is answered to `out` and, like a pong, not shown.
    ///
    /// # Errors
    /// [`ChatterError::Frame`] for a frame without bytes, one over the limit, which is refused before it is there, and one that is
    /// no message. The same error comes again.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Received<'_>>, ChatterError> {
        let range = loop {
            let Split::Whole(range) = split(&self.received[self.taken..], self.options.max_frame)?
            else {
                self.forget_taken();
                return Ok(None);
            };
            let range = range.start + self.taken..range.end + self.taken;
            let frame = Frame::decode(&self.received[range.clone()])?;
            let ping = match frame.kind {
                PING => Some(Self::conversation(&frame)),
                PONG => None,
                _ => break range,
            };
            self.taken = range.end;
            if let Some(conversation) = ping {
                self.reply(conversation, PONG, &[], true, out)?;
            }
        };
        self.taken = range.end;
        let frame = Frame::decode(&self.received[range])?;
        Ok(Some(Received {
            conversation: Self::conversation(&frame),
            is_first: frame.owner && frame.first == frame.id,
            last: frame.last,
            kind: frame.kind,
            data: frame.data,
        }))
    }

    /// Writes the first message of a new conversation to `out`; `last` where no answer is wanted.
    ///
    /// # Errors
    /// [`ChatterError::TooLarge`]; then nothing was written, and no number was used.
    pub fn begin(
        &mut self,
        kind: &str,
        data: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<Conversation, ChatterError> {
        let conversation = Conversation {
            first: self.sent + 1,
            owner: true,
        };
        self.reply(conversation, kind, data, last, out)?;
        Ok(conversation)
    }

    /// Writes one more message of a conversation to `out`.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn reply(
        &mut self,
        conversation: Conversation,
        kind: &str,
        data: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ChatterError> {
        let frame = Frame {
            id: self.sent + 1,
            first: conversation.first,
            owner: conversation.owner,
            token: true,
            last,
            kind,
            data,
        };
        let (bytes, limit) = (frame.payload_len(), self.options.max_frame);
        if bytes > limit {
            return Err(ChatterError::TooLarge { bytes, limit });
        }
        frame.encode(out);
        self.sent = frame.id;
        Ok(())
    }

    /// When [`tick`](Self::tick) has something to do, unless bytes come before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self.pinged {
            None => self.heard + self.options.ping_after,
            Some(pinged) => pinged + self.options.close_after_ping,
        }
    }

    /// Writes a ping to `out` where the peer has been silent; does nothing before the [`deadline`](Self::deadline).
    ///
    /// # Errors
    /// [`ChatterError::Silent`] where the peer has not answered the ping.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), ChatterError> {
        if now < self.deadline() {
            return Ok(());
        }
        if self.pinged.is_some() {
            return Err(ChatterError::Silent);
        }
        self.pinged = Some(now);
        self.begin(PING, &[], false, out).map(drop)
    }

    /// Gives the room of what was taken to what comes, where little has to be moved for it.
    fn forget_taken(&mut self) {
        if self.taken == self.received.len() {
            self.received.clear();
            self.received.shrink_to(KEPT_BYTES);
            self.taken = 0;
        } else if self.taken > self.received.len() / 2 {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
    }

    fn conversation(received: &Frame<'_>) -> Conversation {
        Conversation {
            first: received.first,
            owner: !received.owner,
        }
    }
}

/// As good as for ever, and no overflow of a clock.
pub(super) const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Asks whether the peer lives.
const PING: &str = "HatChatter.Ping";

/// The answer to a ping.
const PONG: &str = "HatChatter.Pong";

/// Room that is kept for the next bytes; a larger message gives its room back.
const KEPT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
