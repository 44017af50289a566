//! What was published before: what a service with a memory answers, and what a client asks.
//!
//! Section 7.4 of `docs/wire.md`. *Ours.* The memory itself is behind [`History`]; this room knows no store.

mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use crate::rpc::{Message, Topic};

pub(crate) use wire::{decode_page, decode_request_data, encode_page, request_data};

/// The memory of a service: gives back what it has published, in pages.
///
/// A service that was given one ([`RpcOptions::history`](crate::rpc::RpcOptions::history)) answers the command USER_DEFINED with
/// the custom command [`HISTORY_COMMAND`] by it. It is asked on a thread of its own, `acqbus-historian`, one request after the
/// other, so that a slow store delays no command; a viewer may ask.
///
/// `acqbus::relay::StoreHistory` is one over a store.
pub trait History: Send + Sync + fmt::Debug + 'static {
    /// The next page of an answer.
    ///
    /// Gives messages in the order in which they were published, those of the wanted topics only, none beyond
    /// [`until`](HistoryRequest::until), and at most [`limit`](HistoryRequest::limit) of them and
    /// [`max_bytes`](HistoryRequest::max_bytes) of bodies, but always one if there is one. Where something of `until` is not
    /// there yet (it is written down behind the publisher), it waits for that a bounded time; a second is enough.
    ///
    /// # Errors
    /// Whatever stands in the way; the client gets result EXCEPTION with the text of the error and of its causes.
    fn page(&self, request: &HistoryRequest) -> Result<HistoryPage, Box<dyn Error + Send + Sync>>;
}

/// Where a client wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryStart {
    /// Behind the last message that was seen.
    Position(Position),
    /// With this number of each topic, of the present start of the service.
    Sequence(u64),
    /// With what was published at this time.
    Since(SystemTime),
    /// With all that is kept.
    Beginning,
}

/// How far somebody has read: which start of the service, and the last number of each topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// The start of the service, as its messages tell it.
    pub epoch: u64,
    /// The last sequence number read, by topic; a topic that is absent was not read at all.
    pub sequences: BTreeMap<Topic, u64>,
}

impl Position {
    /// Before the first message of a start of the service.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            sequences: BTreeMap::new(),
        }
    }

    /// Sets the last number read of one topic.
    #[must_use]
    pub fn with(mut self, topic: Topic, sequence: u64) -> Self {
        self.sequences.insert(topic, sequence);
        self
    }
}

/// One request for a page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryRequest {
    /// Where to begin.
    pub start: HistoryStart,
    /// Which topics; empty, the default, is all.
    pub topics: Vec<Topic>,
    /// The last number of each topic that is wanted, of the present start of the service; a topic that is absent is wanted to
    /// its end.
    pub until: BTreeMap<Topic, u64>,
    /// How many messages a page has at most: 1 to [`MAX_PAGE_MESSAGES`]; others count as the nearest. Defaults to 1,000.
    pub limit: usize,
    /// How many bytes of bodies a page has at most, unless the first message alone has more. The service's; a client cannot ask
    /// for more than its 512 KiB.
    pub max_bytes: usize,
    /// What the page before gave, for the next one; `None` for the first.
    pub cursor: Option<String>,
    /// The present start of the service, which fills it in; 0 in a client.
    pub epoch: u64,
}

impl HistoryRequest {
    /// A request for the first page of all topics.
    #[must_use]
    pub fn new(start: HistoryStart) -> Self {
        Self {
            start,
            topics: Vec::new(),
            until: BTreeMap::new(),
            limit: DEFAULT_PAGE_MESSAGES,
            max_bytes: MAX_PAGE_BYTES,
            cursor: None,
            epoch: 0,
        }
    }

    /// Sets [`topics`](Self::topics).
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.topics = topics.into_iter().collect();
        self
    }

    /// Sets [`until`](Self::until).
    #[must_use]
    pub fn until(mut self, until: BTreeMap<Topic, u64>) -> Self {
        self.until = until;
        self
    }

    /// Sets [`limit`](Self::limit).
    #[must_use]
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages;
        self
    }

    /// Sets [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`cursor`](Self::cursor).
    #[must_use]
    pub fn cursor(mut self, cursor: Option<String>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Sets [`epoch`](Self::epoch).
    #[must_use]
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Whether messages of this topic are wanted.
    #[must_use]
    pub fn wants(&self, topic: Topic) -> bool {
        self.topics.is_empty() || self.topics.contains(&topic)
    }
}

/// What a history can say of the place that it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All from there on is kept.
    Resumed,
    /// Some of it is gone: by topic, the first number that is kept, or would be.
    CutShort(BTreeMap<Topic, u64>),
    /// The place is of another start of the service; the messages begin with the first of the present one.
    OtherEpoch,
}

/// One page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// What can be said of the start, on the first page; later ones may say [`Verdict::Resumed`].
    pub verdict: Verdict,
    /// The present start of the service.
    pub epoch: u64,
    /// The messages, in the order in which they were published.
    pub messages: Vec<HistoryMessage>,
    /// Whether there is more behind this page.
    pub more: bool,
    /// What the request for the next page carries; `None` on the last.
    pub cursor: Option<String>,
}

impl HistoryPage {
    /// A page without messages, with nothing behind it.
    #[must_use]
    pub fn new(verdict: Verdict, epoch: u64) -> Self {
        Self {
            verdict,
            epoch,
            messages: Vec::new(),
            more: false,
            cursor: None,
        }
    }
}

/// One message of the history, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryMessage {
    /// The topic.
    pub topic: Topic,
    /// The start of the service in which it was published.
    pub epoch: u64,
    /// Its place among the messages of its topic since that start, which also bodies without the member have.
    pub sequence: u64,
    /// The body, byte for byte as it was published.
    pub body: Vec<u8>,
}

impl HistoryMessage {
    /// A message at its place.
    #[must_use]
    pub fn new(topic: Topic, epoch: u64, sequence: u64, body: Vec<u8>) -> Self {
        Self {
            topic,
            epoch,
            sequence,
            body,
        }
    }

    /// The message as a subscriber would have got it.
    #[must_use]
    pub fn into_message(self) -> Message {
        Message::of(self.topic, self.body)
    }
}

/// The custom command by which a client asks for history.
pub const HISTORY_COMMAND: &str = "acqbus.history";

/// Messages on a page at most, whatever is asked for.
pub const MAX_PAGE_MESSAGES: usize = 10_000;

/// `errorCode` of a request for history that cannot be used. *Ours.*
pub const BAD_HISTORY_REQUEST: i64 = 400;

/// `errorCode` of a request for history that came while too many others wait. *Ours.*
pub const HISTORY_BUSY: i64 = 429;

const DEFAULT_PAGE_MESSAGES: usize = 1_000;

/// Bytes of bodies on a page at most. As JSON text they are up to six times as long.
pub(crate) const MAX_PAGE_BYTES: usize = 512 << 10;

/// A body larger than this is left out of an answer, which the client sees as a gap: no reply could carry it.
pub(crate) const MAX_BODY_BYTES: usize = 8 << 20;
