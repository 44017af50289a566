//! What comes in: one message, checked whole, then read without a copy.

use crate::cdtp::limits::{DecodeLimits, or_none};
use crate::cdtp::msgpack::{Budget, Reader, Token, wrong};
use crate::cdtp::record::PROTOCOL;
use crate::cdtp::tags::Tags;
use crate::cdtp::view::RecordView;
use crate::wire::DecodeError;

/// What a message is for.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Records of a run.
    Data,
    /// Begin of run.
    Bor,
    /// End of run.
    Eor,
}

impl MessageKind {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Bor => 1,
            Self::Eor => 2,
        }
    }
}

impl std::fmt::Display for MessageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Data => "DATA",
            Self::Bor => "BOR",
            Self::Eor => "EOR",
        })
    }
}

/// One message as it came in; the bytes stay where they are.
///
/// All of it is checked by [`MessageView::decode`], so nothing that it gives can fail afterwards.
///
/// ```
/// use acqbus::cdtp::{DecodeLimits, MessageView};
///
/// let frame = b"\xa5CDTP\x02\xabSputnik.One\x00\x91\x93\x01\x80\x91\xc4\x03abc";
/// let message = MessageView::decode(frame, &DecodeLimits::default())?;
/// assert_eq!((message.record_count(), message.payload_bytes()), (1, 3));
/// assert!(MessageView::decode(&frame[..20], &DecodeLimits::default()).is_err());
/// # Ok::<(), acqbus::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MessageView<'a> {
    frame: &'a [u8],
    sender: &'a str,
    kind: MessageKind,
    records_at: usize,
    record_count: usize,
    payload_bytes: u64,
}

impl<'a> MessageView<'a> {
    /// Reads the one frame of a message.
    ///
    /// Every form of a MessagePack value is taken where its kind is. Bytes after the message are ignored, as both references do. A DATA message
    /// may have no records. A negative sequence number is refused, as by C++; Python takes it.
    /// Source: CDTP2.
    ///
    /// # Errors
    /// A [`DecodeError`] with offset and rule.
    pub fn decode(frame: &'a [u8], limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let limit = or_none(limits.frame_bytes);
        if frame.len() > limit {
            return Err(DecodeError::Size {
                what: "the message",
                limit,
                found: frame.len(),
            });
        }
        let mut reader = Reader::new(frame, 0);
        protocol(&mut reader)?;
        let sender = reader.text("the sender")?;
        let limit = or_none(limits.name_bytes);
        if sender.len() > limit {
            return Err(DecodeError::Size {
                what: "the name of the sender",
                limit,
                found: sender.len(),
            });
        }
        let kind = kind(&mut reader)?;
        let count_at = reader.offset();
        let record_count = reader.array_head("the records")?;
        check_count(kind, record_count, count_at, limits)?;
        let records_at = reader.offset();
        let mut budget = Budget::new(limits);
        let (mut at, mut payload_bytes) = (records_at, 0);
        for _ in 0..record_count {
            let (record, end) = RecordView::parse(frame, at, Some(&mut budget))?;
            payload_bytes += record.payload_bytes();
            at = end;
        }
        Ok(Self {
            frame,
            sender,
            kind,
            records_at,
            record_count,
            payload_bytes,
        })
    }

    /// Reads a message from all its frames, of which there must be one.
    ///
    /// # Errors
    /// [`DecodeError::FrameCount`] otherwise, and as [`MessageView::decode`].
    pub fn from_frames<F: AsRef<[u8]>>(
        frames: &'a [F],
        limits: &DecodeLimits,
    ) -> Result<Self, DecodeError> {
        match frames {
            [frame] => Self::decode(frame.as_ref(), limits),
            _ => Err(DecodeError::FrameCount {
                what: "the message",
                expected: 1,
                found: frames.len(),
            }),
        }
    }

    /// The name that the sender gives itself, whatever text it is.
    #[must_use]
    pub fn sender(&self) -> &'a str {
        self.sender
    }

    /// What the message is for.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.record_count
    }

    /// Bytes of the blocks of all records together.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The records in their order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records {
            frame: self.frame,
            at: self.records_at,
            left: self.record_count,
        }
    }

    /// User tags and configuration, if the message begins a run.
    #[must_use]
    pub fn bor(&self) -> Option<(Tags, Tags)> {
        self.pair(MessageKind::Bor)
    }

    /// User tags and metadata of the run, if the message ends a run.
    #[must_use]
    pub fn eor(&self) -> Option<(Tags, Tags)> {
        self.pair(MessageKind::Eor)
    }

    fn pair(&self, kind: MessageKind) -> Option<(Tags, Tags)> {
        let mut records = self.records();
        let tags = (records.next()?.tags(), records.next()?.tags());
        (self.kind == kind).then_some(tags)
    }
}

/// The records of a message, as they came.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    frame: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (record, end) = RecordView::parse(self.frame, self.at, None).ok()?;
        self.at = end;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Records<'_> {}

fn protocol(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let what = "the protocol";
    let rule = match reader.token(what)? {
        Token::Str(name) if name == PROTOCOL.as_bytes() => return Ok(()),
        Token::Str(b"CDTP\x01" | b"CSCP\x01" | b"CMDP\x01" | b"CHP\x01") => {
            "it is another protocol of Constellation, not CDTP2"
        }
        Token::Str(_) => "the protocol is CDTP2",
        other => return Err(wrong(what, 0, "text", other)),
    };
    Err(DecodeError::Rule {
        what,
        offset: 0,
        rule,
    })
}

fn kind(reader: &mut Reader<'_>) -> Result<MessageKind, DecodeError> {
    let (what, offset) = ("the type", reader.offset());
    match reader.token(what)? {
        Token::Uint(0) => Ok(MessageKind::Data),
        Token::Uint(1) => Ok(MessageKind::Bor),
        Token::Uint(2) => Ok(MessageKind::Eor),
        Token::Uint(_) | Token::Negative(_) => Err(DecodeError::Rule {
            what,
            offset,
            rule: "the type is 0, 1 or 2",
        }),
        other => Err(wrong(what, offset, "an integer", other)),
    }
}

fn check_count(
    kind: MessageKind,
    record_count: usize,
    offset: usize,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    let limit = or_none(limits.records);
    let what = "the records";
    if kind != MessageKind::Data && record_count != 2 {
        let rule = "a message that begins or ends a run has two records";
        return Err(DecodeError::Rule { what, offset, rule });
    }
    if record_count > limit {
        return Err(DecodeError::Count {
            what,
            offset,
            limit,
        });
    }
    Ok(())
}
