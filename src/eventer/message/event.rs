//! Events and their parts.

use std::borrow::Borrow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::event::{
    Binary, Event, EventError, EventId, EventType, Json, Payload, RegisterEvent, Timestamp,
};
use crate::eventer::message::{read_array, read_optional, write_optional};
use crate::eventer::sbs::{Reader, Writer};
use crate::wire::DecodeError;

/// Writes the content of a notification: the count of events, then each as [`encode_event`] does.
pub(crate) fn encode_events_notify<E: Borrow<Event>>(events: &[E], out: &mut Vec<u8>) {
    write_events(events, out);
}

/// Writes the content of the answer to a registration.
pub(crate) fn encode_register_res<E: Borrow<Event>>(events: Option<&[E]>, out: &mut Vec<u8>) {
    match events {
        Some(events) => {
            Writer::new(out).choice(0);
            write_events(events, out);
        }
        None => Writer::new(out).choice(1),
    }
}

/// Writes one event of an array.
pub(crate) fn encode_event(event: &Event, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    write_id(event.id, &mut writer);
    write_event_type(&event.event_type, &mut writer);
    write_timestamp(event.timestamp, &mut writer);
    write_optional(event.source_timestamp, &mut writer, write_timestamp);
    write_optional(event.payload.as_ref(), &mut writer, write_payload);
}

pub(super) fn write_events<E: Borrow<Event>>(events: &[E], out: &mut Vec<u8>) {
    Writer::new(out).count(events.len());
    for event in events {
        encode_event(event.borrow(), out);
    }
}

pub(super) fn write_register_events(events: &[RegisterEvent], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.count(events.len());
    for event in events {
        write_event_type(&event.event_type, &mut writer);
        write_optional(event.source_timestamp, &mut writer, write_timestamp);
        write_optional(event.payload.as_ref(), &mut writer, write_payload);
    }
}

pub(super) fn write_event_types(event_types: &[EventType], writer: &mut Writer<'_>) {
    writer.count(event_types.len());
    for event_type in event_types {
        write_event_type(event_type, writer);
    }
}

pub(super) fn write_timestamp(timestamp: Timestamp, writer: &mut Writer<'_>) {
    writer.integer(timestamp.s());
    writer.integer(timestamp.us().into());
}

pub(super) fn write_id(id: EventId, writer: &mut Writer<'_>) {
    writer.integer(id.server);
    writer.integer(id.session);
    writer.integer(id.instance);
}

pub(super) fn read_events(reader: &mut Reader<'_>) -> Result<Vec<Arc<Event>>, DecodeError> {
    read_array(MIN_EVENT, "the events", reader, |reader| {
        read_event(reader).map(Arc::new)
    })
}

pub(super) fn read_register_events(
    reader: &mut Reader<'_>,
) -> Result<Vec<RegisterEvent>, DecodeError> {
    read_array(MIN_REGISTER_EVENT, "the events", reader, |reader| {
        Ok(RegisterEvent {
            event_type: read_event_type(reader)?,
            source_timestamp: read_source_timestamp(reader)?,
            payload: read_optional("the payload", reader, read_payload)?,
        })
    })
}

pub(super) fn read_event_types(
    what: &'static str,
    reader: &mut Reader<'_>,
) -> Result<Vec<EventType>, DecodeError> {
    read_array(1, what, reader, read_event_type)
}

pub(super) fn read_timestamp(reader: &mut Reader<'_>) -> Result<Timestamp, DecodeError> {
    let s = reader.integer("the seconds")?;
    let what = "the microseconds";
    let offset = reader.offset();
    let us = u32::try_from(reader.integer(what)?).map_err(|_| DecodeError::Rule {
        what,
        offset,
        rule: "microseconds have 32 bits and no sign",
    })?;
    Ok(Timestamp::new(s, us))
}

pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<EventId, DecodeError> {
    Ok(EventId {
        server: reader.integer("the server of the event")?,
        session: reader.integer("the session of the event")?,
        instance: reader.integer("the instance of the event")?,
    })
}

fn write_event_type(event_type: &EventType, writer: &mut Writer<'_>) {
    let segments = event_type.segments();
    writer.count(segments.len());
    for segment in segments {
        writer.string(segment);
    }
}

fn write_payload(payload: &Payload, writer: &mut Writer<'_>) {
    match payload {
        Payload::Binary(binary) => {
            writer.choice(0);
            writer.string(binary.kind());
            writer.bytes(binary.data());
        }
        Payload::Json(json) => {
            writer.choice(1);
            writer.string(json.as_str());
        }
    }
}

fn read_event(reader: &mut Reader<'_>) -> Result<Event, DecodeError> {
    Ok(Event {
        id: read_id(reader)?,
        event_type: read_event_type(reader)?,
        timestamp: read_timestamp(reader)?,
        source_timestamp: read_source_timestamp(reader)?,
        payload: read_optional("the payload", reader, read_payload)?,
    })
}

fn read_source_timestamp(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, DecodeError> {
    read_optional("the source timestamp", reader, read_timestamp)
}

fn read_event_type(reader: &mut Reader<'_>) -> Result<EventType, DecodeError> {
    let what = "the segments of an event type";
    let offset = reader.offset();
    let count = reader.count(1, what)?;
    if count > MAX_SEGMENTS {
        return Err(DecodeError::Count {
            what,
            offset,
            limit: MAX_SEGMENTS,
        });
    }
    let mut segments: SmallVec<[&str; 8]> = SmallVec::new();
    for _ in 0..count {
        segments.push(reader.string("a segment")?);
    }
    Ok(EventType::new(segments))
}

fn read_payload(reader: &mut Reader<'_>) -> Result<Payload, DecodeError> {
    match reader.choice(2, "the payload")? {
        0 => {
            let kind = reader.string("the type of the payload")?;
            let data = reader.bytes("the data of the payload")?;
            Ok(Binary::new(kind, data).into())
        }
        _ => {
            let text = reader.string("the JSON payload")?;
            let start = reader.offset() - text.len();
            match Json::new(text) {
                Ok(json) => Ok(json.into()),
                Err(error) => Err(json_error(error, start)),
            }
        }
    }
}

/// The error of a JSON text that starts at some byte of the content.
fn json_error(error: EventError, start: usize) -> DecodeError {
    match error {
        EventError::Json(DecodeError::Json { offset, rule }) => DecodeError::Json {
            offset: start + offset,
            rule,
        },
        EventError::Json(DecodeError::Depth { limit, offset }) => DecodeError::Depth {
            limit,
            offset: start + offset,
        },
        EventError::Json(DecodeError::TrailingBytes { offset }) => DecodeError::TrailingBytes {
            offset: start + offset,
        },
        EventError::Json(other) => other,
        _ => DecodeError::Json {
            offset: start,
            rule: "the payload is JSON text",
        },
    }
}

/// The fewest bytes of an event: each number, count and flag has one.
const MIN_EVENT: usize = 8;

/// The fewest bytes of an event that is to be registered.
const MIN_REGISTER_EVENT: usize = 3;

/// The most segments of an event type.
const MAX_SEGMENTS: usize = 1 << 16;
