//! The message that is being put together, and those that are ready to go.

use crate::cdtp::{DataRecord, Encoding, MessageHead, MessageKind, write_record};
use crate::zsocket::{Frame, FramePool, PooledBuffer};

/// Puts records into one message after the other.
///
/// A record is written once, at its place in the buffer that becomes the frame:
///
/// ```text
/// [ headroom ........ | record | record | ...     ]   while records come
/// [ ..... | head      | record | record | ...     ]   once their number is known
///         ^ the frame starts here
/// ```
pub(super) struct Assembly {
    head: MessageHead,
    encoding: Encoding,
    /// Bytes of blocks that make a message full.
    threshold: u64,
    pool: FramePool,
    buffer: PooledBuffer,
    records: usize,
    payload: u64,
}

impl Assembly {
    pub(super) fn new(
        head: MessageHead,
        encoding: Encoding,
        threshold: u64,
        pool: FramePool,
    ) -> Self {
        let buffer = open(&pool, &head, 0);
        Self {
            head,
            encoding,
            threshold,
            pool,
            buffer,
            records: 0,
            payload: 0,
        }
    }

    /// Adds a record with its bytes of blocks.
    #[inline]
    pub(super) fn push(&mut self, record: &DataRecord<'_>, payload: u64) {
        write_record(&mut self.buffer, record, self.encoding);
        self.records += 1;
        self.payload += payload;
    }

    /// Whether the message is to go out before another record comes.
    ///
    /// The blocks decide, as in the references, so that the same records make the same messages. Tags alone may make a message
    /// that no receiver takes; it goes before that (*ours*).
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.records > 0
            && (self.payload >= self.threshold || self.buffer.len() >= MESSAGE_BYTES_LIMIT)
    }

    /// Hands the message over, which must have a record, and begins the next; gives its size in bytes.
    pub(super) fn seal(&mut self, batch: &mut Batch) -> usize {
        let headroom = self.head.max_len();
        let start = self.head.write_before(
            MessageKind::Data,
            self.records,
            &mut self.buffer[..headroom],
        );
        let len = self.buffer.len() - start;
        let body = if len <= COPY_LIMIT {
            batch.copied.extend_from_slice(&self.buffer[start..]);
            self.buffer.truncate(headroom);
            Body::Copied
        } else {
            let next = open(&self.pool, &self.head, self.buffer.len());
            Body::Lent(std::mem::replace(&mut self.buffer, next), start)
        };
        batch.sealed.push(Sealed {
            records: self.records as u64,
            payload: self.payload,
            len,
            body,
        });
        self.records = 0;
        self.payload = 0;
        len
    }

    /// Forgets the message; gives the number of its records.
    pub(super) fn discard(&mut self) -> u64 {
        self.buffer.truncate(self.head.max_len());
        self.payload = 0;
        std::mem::take(&mut self.records) as u64
    }

    /// Records in the message so far.
    #[inline]
    pub(super) fn records(&self) -> u64 {
        self.records as u64
    }

    /// Bytes of the message so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }
}

/// A buffer with room for the head and about as many bytes as the last one had.
fn open(pool: &FramePool, head: &MessageHead, len_hint: usize) -> PooledBuffer {
    let mut buffer = pool.take(len_hint.max(head.max_len()));
    buffer.resize(head.max_len(), 0);
    buffer
}

/// Messages in their order; memory for small ones is used again.
#[derive(Default)]
pub(super) struct Batch {
    sealed: Vec<Sealed>,
    /// The messages that are cheaper copied than lent, one after the other.
    copied: Vec<u8>,
    taken: usize,
    copied_taken: usize,
}

impl Batch {
    /// The next message; the bytes of a small one are copied here, into memory of libzmq.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let sealed = self.sealed.get_mut(self.taken)?;
        self.taken += 1;
        let body = match std::mem::replace(&mut sealed.body, Body::Copied) {
            Body::Lent(buffer, start) => MessageBody::Lent(buffer, start),
            Body::Copied => {
                let start = self.copied_taken;
                self.copied_taken += sealed.len;
                MessageBody::Copied(Frame::from_slice(&self.copied[start..self.copied_taken]))
            }
        };
        Some(Message {
            records: sealed.records,
            payload: sealed.payload,
            len: sealed.len,
            body,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.sealed.len()
    }

    /// Forgets what was taken and keeps the memory, unless a burst made it large.
    pub(super) fn reset(&mut self) {
        self.sealed.clear();
        self.copied.clear();
        self.sealed.shrink_to(KEPT_MESSAGES);
        self.copied.shrink_to(KEPT_BYTES);
        self.taken = 0;
        self.copied_taken = 0;
    }
}

/// A message on its way to the socket.
pub(super) struct Message {
    /// Its records.
    pub(super) records: u64,
    /// Their bytes of blocks.
    pub(super) payload: u64,
    /// Its bytes.
    pub(super) len: usize,
    pub(super) body: MessageBody,
}

pub(super) enum MessageBody {
    Copied(Frame),
    /// A buffer and where the frame starts in it.
    Lent(PooledBuffer, usize),
}

struct Sealed {
    records: u64,
    payload: u64,
    len: usize,
    body: Body,
}

enum Body {
    Copied,
    Lent(PooledBuffer, usize),
}

/// Largest message that is copied to libzmq: for it that is cheaper than to lend a buffer and take it back.
const COPY_LIMIT: usize = 2048;

/// Python's receiver refuses a frame above 100 MiB, for which tags alone can be enough.
const MESSAGE_BYTES_LIMIT: usize = 64 << 20;

const KEPT_MESSAGES: usize = 65_536;
const KEPT_BYTES: usize = 8 << 20;
