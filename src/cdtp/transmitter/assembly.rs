//! The message that is being put together, and those that are ready to go.

use crate::cdtp::record::write_checked;
use crate::cdtp::{DataRecord, Encoding, MessageHead, MessageKind};
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
    records: u32,
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

    /// Adds a record that was checked to fit, with its bytes of blocks.
    #[inline]
    pub(super) fn push(&mut self, record: &DataRecord<'_>, payload: u64) {
        write_checked(&mut self.buffer, record, self.encoding);
        self.records += 1;
        self.payload += payload;
    }

    /// Whether the message is to go out before a record with so many bytes of blocks, for no peer to refuse it.
    #[inline]
    pub(super) fn is_full_for(&self, payload: u64) -> bool {
        self.records > 0 && self.buffer.len() as u64 + payload > FRAME_BYTES_LIMIT
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
            records: self.records.into(),
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
        std::mem::take(&mut self.records).into()
    }

    /// Records in the message so far.
    #[inline]
    pub(super) fn records(&self) -> u64 {
        self.records.into()
    }

    /// Bytes of the message so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }
}

/// A buffer with room for the head and about as many bytes as the last one had.
///
/// And some more: sequence numbers get longer, and a vector that is short of a byte takes twice its memory.
fn open(pool: &FramePool, head: &MessageHead, last_len: usize) -> PooledBuffer {
    let mut buffer = pool.take((last_len + last_len / 16).max(head.max_len()));
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

/// The same, for what a next record would make of it; the rest is for its tags.
const FRAME_BYTES_LIMIT: u64 = 96 << 20;

const KEPT_MESSAGES: usize = 65_536;
const KEPT_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cdtp::encode_message;

    const SENDER: &str = "Tests.one";

    fn assembly(threshold: u64) -> Assembly {
        let head = MessageHead::new(SENDER).unwrap();
        let pool = FramePool::new(1 << 20, None);
        Assembly::new(head, Encoding::Compact, threshold, pool)
    }

    fn bytes(message: Message) -> Vec<u8> {
        let len = message.len;
        let frame = match message.body {
            MessageBody::Copied(frame) => frame,
            MessageBody::Lent(buffer, start) => Frame::from_pooled(buffer, start),
        };
        assert_eq!(frame.len(), len);
        frame.to_vec()
    }

    /// The messages that these block sizes make, each with its records and payload.
    fn messages(threshold: u64, blocks: &[usize]) -> Vec<(u64, u64, Vec<u8>)> {
        let mut assembly = assembly(threshold);
        let mut batch = Batch::default();
        for (index, len) in blocks.iter().enumerate() {
            let block = vec![index as u8; *len];
            let record = DataRecord::new(index as u64 + 1).with_block(&block);
            assembly.push(&record, *len as u64);
            if assembly.is_full() {
                assembly.seal(&mut batch);
            }
        }
        if assembly.records() > 0 {
            assembly.seal(&mut batch);
        }
        std::iter::from_fn(|| batch.pop())
            .map(|message| (message.records, message.payload, bytes(message)))
            .collect()
    }

    /// The same by the rule of the references, record by record.
    fn model(threshold: u64, blocks: &[usize]) -> Vec<(u64, u64, Vec<u8>)> {
        let mut groups: Vec<Vec<DataRecord<'_>>> = vec![Vec::new()];
        let mut payload = 0;
        for (index, len) in blocks.iter().enumerate() {
            let block = vec![index as u8; *len];
            let group = groups.last_mut().unwrap();
            group.push(DataRecord::new(index as u64 + 1).with_block(block));
            payload += *len;
            if payload as u64 >= threshold {
                payload = 0;
                groups.push(Vec::new());
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
            .iter()
            .map(|group| {
                let payload: usize = group.iter().map(DataRecord::payload_bytes).sum();
                let bytes = encode_message(SENDER, MessageKind::Data, group, Encoding::Compact);
                (group.len() as u64, payload as u64, bytes.unwrap())
            })
            .collect()
    }

    #[test]
    fn messages_are_those_of_the_codec_on_both_sides_of_the_copy_limit() {
        for blocks in [
            &[0][..],
            &[3, 0, 7],
            &[COPY_LIMIT - 40],
            &[COPY_LIMIT],
            &[1; 15],
            &[1; 16],
            &[1; 66_000],
            &[100_000, 1, 100_000],
        ] {
            for threshold in [0, 1024, 128 * 1024] {
                assert!(messages(threshold, blocks) == model(threshold, blocks));
            }
        }
    }

    #[test]
    fn tags_alone_make_no_message_that_a_peer_refuses() {
        let mut assembly = assembly(1024);
        let tags = crate::cdtp::Tags::new().with("t", "x".repeat(1 << 20));
        let mut count = 0;
        while !assembly.is_full() {
            assembly.push(&DataRecord::new(1).with_tags(&tags), 0);
            count += 1;
        }
        assert_eq!(count, 64);
        assert!(assembly.len() < 100 << 20);
    }

    #[test]
    fn what_is_discarded_does_not_come_out() {
        let mut assembly = assembly(1024);
        let mut batch = Batch::default();
        assembly.push(&DataRecord::new(1).with_block(b"old"), 3);
        assert_eq!((assembly.discard(), assembly.records()), (1, 0));
        assembly.push(&DataRecord::new(2).with_block(b"new"), 3);
        assembly.seal(&mut batch);
        let message = batch.pop().unwrap();
        assert_eq!((message.records, message.payload), (1, 3));
        assert!(bytes(message).ends_with(b"new"));
        assert!(batch.is_empty() && batch.pop().is_none());
    }

    #[test]
    fn batch_is_used_again() {
        let mut assembly = assembly(0);
        let mut batch = Batch::default();
        for round in 1..4 {
            for len in [1, 5000, 2] {
                assembly.push(&DataRecord::new(round).with_block(vec![7; len]), len as u64);
                assembly.seal(&mut batch);
            }
            let lens: Vec<_> = std::iter::from_fn(|| batch.pop())
                .map(|message| message.payload)
                .collect();
            assert_eq!(lens, [1, 5000, 2]);
            batch.reset();
        }
    }

    proptest! {
        #[test]
        fn grouping_is_that_of_the_references(
            threshold in prop::sample::select(vec![0, 1, 1024, 4096]),
            blocks in prop::collection::vec(
                prop_oneof![Just(0), 0_usize..200, 1000_usize..1100, 0_usize..6000], 0..60
            ),
        ) {
            prop_assert!(messages(threshold, &blocks) == model(threshold, &blocks));
        }
    }
}
