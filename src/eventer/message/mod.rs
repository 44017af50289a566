//! What server and client of an eventer say to each other.
//!
//! | message | from | answered by |
//! |---|---|---|
//! | [`InitReq`](Message::InitReq) | client | [`InitRes`](Message::InitRes) |
//! | [`StatusNotify`](Message::StatusNotify) | server | nothing |
//! | [`EventsNotify`](Message::EventsNotify) | server | [`EventsAck`](Message::EventsAck), unless it is the last of its conversation |
//! | [`RegisterReq`](Message::RegisterReq) | client | [`RegisterRes`](Message::RegisterRes), unless it is the last of its conversation |
//! | [`QueryReq`](Message::QueryReq) | client | [`QueryRes`](Message::QueryRes) |
//!
//! Bytes after a message are ignored, as in the reference. An array may have 1,048,576 items, an event type 65,536 segments
//! (*ours*), so that a message takes memory in proportion to its bytes. Source: hat-event 0.9.44, `HatEventer`.

mod error;
mod event;
mod init;
mod query;

use std::sync::Arc;

pub use error::MessageError;
pub(crate) use event::{encode_event, encode_events_notify, encode_register_res};
pub use init::InitReq;
pub(crate) use query::encode_query_res;

use crate::event::{Event, QueryParams, QueryResult, RegisterEvent, Status};
use crate::eventer::sbs::{Reader, Writer};
use crate::wire::DecodeError;

/// A message of either end.
///
/// ```
/// use acqbus::event::Status;
/// use acqbus::eventer::message::Message;
///
/// let message = Message::InitRes(Ok(Status::Operational));
/// let mut data = Vec::new();
/// message.encode(&mut data);
/// assert_eq!((message.kind(), &data[..]), ("HatEventer.MsgInitRes", &b"\x80\x82"[..]));
/// assert_eq!(Message::decode(message.kind(), &data)?, message);
/// # Ok::<(), acqbus::eventer::message::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A client says who it is and what it wants.
    InitReq(InitReq),
    /// The server takes the client and says what it is doing, or says why it does not take it.
    InitRes(Result<Status, String>),
    /// The server does something else now.
    StatusNotify(Status),
    /// Events that the client wants.
    EventsNotify(Vec<Arc<Event>>),
    /// The client has handled the events of the conversation.
    EventsAck,
    /// Events to register.
    RegisterReq(Vec<RegisterEvent>),
    /// The registered events, one for each that was sent, in their order; `None` where they were not registered.
    RegisterRes(Option<Vec<Arc<Event>>>),
    /// A question to the history.
    QueryReq(QueryParams),
    /// The answer of the history.
    QueryRes(QueryResult),
}

impl Message {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InitReq(_) => INIT_REQ,
            Self::InitRes(_) => INIT_RES,
            Self::StatusNotify(_) => STATUS_NOTIFY,
            Self::EventsNotify(_) => EVENTS_NOTIFY,
            Self::EventsAck => EVENTS_ACK,
            Self::RegisterReq(_) => REGISTER_REQ,
            Self::RegisterRes(_) => REGISTER_RES,
            Self::QueryReq(_) => QUERY_REQ,
            Self::QueryRes(_) => QUERY_RES,
        }
    }

    /// Reads a message of a type.
    ///
    /// A JSON payload has to be one that can be written again, and microseconds have 32 bits; the reference takes others, and
    /// fails later.
    ///
    /// # Errors
    /// [`MessageError::Unknown`] for another type, [`MessageError::Content`] for bytes that are not of the type.
    pub fn decode(kind: &str, data: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(data);
        let (kind, message) = match kind {
            INIT_REQ => (INIT_REQ, init::read(&mut reader).map(Self::InitReq)),
            INIT_RES => (INIT_RES, read_init_res(&mut reader)),
            STATUS_NOTIFY => (
                STATUS_NOTIFY,
                read_status(&mut reader).map(Self::StatusNotify),
            ),
            EVENTS_NOTIFY => (
                EVENTS_NOTIFY,
                event::read_events(&mut reader).map(Self::EventsNotify),
            ),
            EVENTS_ACK => (EVENTS_ACK, Ok(Self::EventsAck)),
            REGISTER_REQ => (
                REGISTER_REQ,
                event::read_register_events(&mut reader).map(Self::RegisterReq),
            ),
            REGISTER_RES => (REGISTER_RES, read_register_res(&mut reader)),
            QUERY_REQ => (
                QUERY_REQ,
                query::read_params(&mut reader).map(Self::QueryReq),
            ),
            QUERY_RES => (
                QUERY_RES,
                query::read_result(&mut reader).map(Self::QueryRes),
            ),
            _ => {
                let kind = kind.chars().take(SHOWN).collect();
                return Err(MessageError::Unknown { kind });
            }
        };
        message.map_err(|source| MessageError::Content { kind, source })
    }

    /// Writes the content, behind what is there already.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::InitReq(request) => init::write(request, &mut Writer::new(out)),
            Self::InitRes(Ok(status)) => {
                let mut writer = Writer::new(out);
                writer.choice(0);
                write_status(*status, &mut writer);
            }
            Self::InitRes(Err(text)) => {
                let mut writer = Writer::new(out);
                writer.choice(1);
                writer.string(text);
            }
            Self::StatusNotify(status) => write_status(*status, &mut Writer::new(out)),
            Self::EventsNotify(events) => encode_events_notify(events, out),
            Self::EventsAck => {}
            Self::RegisterReq(events) => event::write_register_events(events, out),
            Self::RegisterRes(events) => encode_register_res(events.as_deref(), out),
            Self::QueryReq(params) => query::write_params(params, &mut Writer::new(out)),
            Self::QueryRes(result) => encode_query_res(&result.events, result.more_follows, out),
        }
    }
}

fn read_init_res(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(Message::InitRes(match reader.choice(2, "the answer")? {
        0 => Ok(read_status(reader)?),
        _ => Err(reader.string("the error")?.to_owned()),
    }))
}

fn read_register_res(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(Message::RegisterRes(
        match reader.choice(2, "the answer")? {
            0 => Some(event::read_events(reader)?),
            _ => None,
        },
    ))
}

fn read_status(reader: &mut Reader<'_>) -> Result<Status, DecodeError> {
    let place = reader.choice(STATUSES.len(), "the status")?;
    Ok(STATUSES[place])
}

fn write_status(status: Status, writer: &mut Writer<'_>) {
    writer.choice(match status {
        Status::Standby => 0,
        Status::Starting => 1,
        Status::Operational => 2,
        Status::Stopping => 3,
    });
}

/// The count of an array whose items have at least `min_item_bytes`, up to the limit of all arrays.
fn read_count(
    min_item_bytes: usize,
    what: &'static str,
    reader: &mut Reader<'_>,
) -> Result<usize, DecodeError> {
    let offset = reader.offset();
    let count = reader.count(min_item_bytes, what)?;
    if count > MAX_ITEMS {
        return Err(DecodeError::Count {
            what,
            offset,
            limit: MAX_ITEMS,
        });
    }
    Ok(count)
}

/// Reads the items of an array; memory is reserved as they come, not as the count says.
fn read_array<'a, T>(
    min_item_bytes: usize,
    what: &'static str,
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = read_count(min_item_bytes, what, reader)?;
    let mut items = Vec::with_capacity(count.min(RESERVED));
    for _ in 0..count {
        items.push(read(reader)?);
    }
    Ok(items)
}

fn read_optional<'a, T>(
    what: &'static str,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    reader.optional(what)?.then(|| read(reader)).transpose()
}

fn write_optional<T>(
    value: Option<T>,
    writer: &mut Writer<'_>,
    write: impl FnOnce(T, &mut Writer<'_>),
) {
    writer.optional(value.is_some());
    if let Some(value) = value {
        write(value, writer);
    }
}

/// In the order of the wire.
const STATUSES: [Status; 4] = [
    Status::Standby,
    Status::Starting,
    Status::Operational,
    Status::Stopping,
];

/// The most items of an array.
const MAX_ITEMS: usize = 1 << 20;

/// Items that room is reserved for before they are read.
const RESERVED: usize = 1024;

/// Characters of an unknown type that its error shows.
const SHOWN: usize = 80;

pub(crate) const INIT_REQ: &str = "HatEventer.MsgInitReq";
pub(crate) const INIT_RES: &str = "HatEventer.MsgInitRes";
pub(crate) const STATUS_NOTIFY: &str = "HatEventer.MsgStatusNotify";
pub(crate) const EVENTS_NOTIFY: &str = "HatEventer.MsgEventsNotify";
pub(crate) const EVENTS_ACK: &str = "HatEventer.MsgEventsAck";
pub(crate) const REGISTER_REQ: &str = "HatEventer.MsgRegisterReq";
pub(crate) const REGISTER_RES: &str = "HatEventer.MsgRegisterRes";
pub(crate) const QUERY_REQ: &str = "HatEventer.MsgQueryReq";
pub(crate) const QUERY_RES: &str = "HatEventer.MsgQueryRes";
