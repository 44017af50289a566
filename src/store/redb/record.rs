//! The bytes of one event in the file. `docs/store-file.md` has the table of them.

use crc32c::crc32c;

use crate::event::{Binary, Event, EventId, EventType, Json, Payload, Timestamp};
use crate::store::StoreError;
use crate::wire::DecodeError;

/// An event as it lies in the file, with its checksum found right; the payload is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The number of its event type.
    pub(super) type_number: u32,
    /// Its identity.
    pub(super) id: EventId,
    /// When it was registered.
    pub(super) timestamp: Timestamp,
    /// When it happened, where that is known.
    pub(super) source_timestamp: Option<Timestamp>,
    payload: PayloadBytes<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PayloadBytes<'a> {
    None,
    Json(&'a str),
    Binary { kind: &'a str, data: &'a [u8] },
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`, and gives what follows it.
    ///
    /// # Errors
    /// [`DecodeError::End`] where it is not whole, [`DecodeError::Rule`] and others where it is not what was written.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(end("a record", HEAD_BYTES, bytes.len()));
        };
        let [crc @ .., len_0, len_1, len_2, len_3] = *head;
        let len = u32::from_le_bytes([len_0, len_1, len_2, len_3]) as usize;
        if len > rest.len() {
            return Err(end("a record", HEAD_BYTES + len, bytes.len()));
        }
        let (body, rest) = rest.split_at(len);
        if crc32c(&bytes[4..HEAD_BYTES + len]) != u32::from_le_bytes(crc) {
            return Err(rule(
                "the checksum of a record",
                0,
                "it is that of its bytes",
            ));
        }
        Ok((Self::decode_body(body)?, rest))
    }

    fn decode_body(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { body, at: 0 };
        let type_number = u32::from_le_bytes(*reader.array("the event type")?);
        let id = EventId::from_bytes(reader.array("the identity")?);
        let timestamp = Timestamp::from_bytes(reader.array("the timestamp")?);
        let [flags] = *reader.array("the flags")?;
        let source_timestamp = match flags & HAS_SOURCE {
            0 => None,
            _ => Some(Timestamp::from_bytes(reader.array("the source timestamp")?)),
        };
        let payload = match flags & !HAS_SOURCE {
            NO_PAYLOAD if reader.at == body.len() => PayloadBytes::None,
            NO_PAYLOAD => {
                return Err(rule("a record", reader.at, "it ends where no payload is"));
            }
            JSON => PayloadBytes::Json(reader.text(body.len() - reader.at)?),
            BINARY => {
                let len = u32::from_le_bytes(*reader.array("the length of the kind")?) as usize;
                let kind = reader.text(len)?;
                let data = &body[reader.at..];
                PayloadBytes::Binary { kind, data }
            }
            found => {
                return Err(DecodeError::UnknownNumber {
                    what: "the kind of payload",
                    found: found.into(),
                });
            }
        };
        Ok(Self {
            type_number,
            id,
            timestamp,
            source_timestamp,
            payload,
        })
    }

    /// The event, whose type has the record's number.
    pub(super) fn to_event(self, event_type: EventType) -> Event {
        let payload = match self.payload {
            PayloadBytes::None => None,
            // It was checked when it came in, and the checksum says that it is the same.
            PayloadBytes::Json(text) => Some(Payload::Json(Json::from_checked_text(text))),
            PayloadBytes::Binary { kind, data } => Some(Payload::Binary(Binary::new(kind, data))),
        };
        Event::new(self.id, event_type, self.timestamp)
            .with_source_timestamp(self.source_timestamp)
            .with_payload(payload)
    }
}

/// The most bytes that the body of an event's record may take, if it may be that many.
///
/// # Errors
/// [`StoreError::Encode`] above 1 GiB.
pub(super) fn check_size(event: &Event) -> Result<usize, StoreError> {
    let (_, parts) = parts(event);
    let len = FIXED_BYTES + TIMESTAMP_BYTES + 4 + parts[0].len() + parts[1].len();
    if len > MAX_BYTES {
        return Err(StoreError::Encode {
            id: event.id,
            reason: format!("it has {len} bytes, over the limit of {MAX_BYTES}"),
        });
    }
    Ok(len)
}

/// Appends the record of an event to `out`.
///
/// # Errors
/// [`StoreError::Encode`] above 1 GiB; `out` is as before then.
pub(super) fn encode(event: &Event, type_number: u32, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let len = check_size(event)?;
    let (flag, parts) = parts(event);
    let start = out.len();
    out.reserve(HEAD_BYTES + len);
    out.extend([0; HEAD_BYTES]);
    out.extend(type_number.to_le_bytes());
    out.extend(event.id.to_bytes());
    out.extend(event.timestamp.to_bytes());
    match event.source_timestamp {
        None => out.push(flag),
        Some(source) => {
            out.push(flag | HAS_SOURCE);
            out.extend(source.to_bytes());
        }
    }
    if flag == BINARY {
        // Below the limit of the record.
        out.extend((parts[0].len() as u32).to_le_bytes());
    }
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
    let record = &mut out[start..];
    let len = (record.len() - HEAD_BYTES) as u32;
    record[4..HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
    let crc = crc32c(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// Reads bytes as a record and writes it again, for the fuzzer, which cannot guess a checksum.
///
/// # Panics
/// Where what is written is not what was read.
#[doc(hidden)]
pub fn fuzz_record(body: &[u8]) {
    let _ = Record::decode(body);
    let Ok(record) = Record::decode_body(body) else {
        return;
    };
    let event = record.to_event(EventType::empty());
    let mut out = Vec::new();
    encode(&event, record.type_number, &mut out).expect("it is small");
    assert_eq!(&out[HEAD_BYTES..], body);
    assert_eq!(Record::decode(&out), Ok((record, &[][..])));
}

/// The kind of the payload, and its bytes: the label of binary data first.
fn parts(event: &Event) -> (u8, [&[u8]; 2]) {
    match &event.payload {
        None => (NO_PAYLOAD, [&[], &[]]),
        Some(Payload::Json(json)) => (JSON, [&[], json.as_str().as_bytes()]),
        Some(Payload::Binary(binary)) => (BINARY, [binary.kind().as_bytes(), binary.data()]),
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], DecodeError> {
        let rest = &self.body[self.at..];
        let Some(found) = rest.first_chunk() else {
            return Err(DecodeError::End {
                what,
                offset: HEAD_BYTES + self.at,
                needed: N,
                left: rest.len(),
            });
        };
        self.at += N;
        Ok(found)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        let rest = &self.body[self.at..];
        let Some(bytes) = rest.get(..len) else {
            return Err(DecodeError::End {
                what: "a text",
                offset: HEAD_BYTES + self.at,
                needed: len,
                left: rest.len(),
            });
        };
        let text = str::from_utf8(bytes).map_err(|error| DecodeError::Utf8 {
            offset: HEAD_BYTES + self.at + error.valid_up_to(),
        })?;
        self.at += len;
        Ok(text)
    }
}

fn end(what: &'static str, needed: usize, left: usize) -> DecodeError {
    DecodeError::End {
        what,
        offset: 0,
        needed,
        left,
    }
}

fn rule(what: &'static str, offset: usize, rule: &'static str) -> DecodeError {
    DecodeError::Rule { what, offset, rule }
}

/// Checksum and length.
const HEAD_BYTES: usize = 8;
/// Number of the type, identity, timestamp, flags.
const FIXED_BYTES: usize = 4 + 24 + TIMESTAMP_BYTES + 1;
const TIMESTAMP_BYTES: usize = 12;
/// Largest record.
const MAX_BYTES: usize = 1 << 30;
const HAS_SOURCE: u8 = 1;
const NO_PAYLOAD: u8 = 0;
const JSON: u8 = 2;
const BINARY: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn golden() -> Vec<(Event, Vec<u8>)> {
        let id = EventId::new(1, 2, -3);
        let event = Event::new(id, EventType::from("a/b"), Timestamp::new(5, 6));
        let common = "07000000\
            8000000000000001 8000000000000002 7ffffffffffffffd\
            8000000000000005 00000006";
        let with = |head: &str, rest: &str| unhex(&format!("{head}{common}{rest}"));
        vec![
            (event.clone(), with("2813e57a 29000000", "00")),
            (
                event
                    .clone()
                    .with_source_timestamp(Timestamp::new(-1, 0))
                    .with_payload(Payload::Json(Json::new("{}").unwrap())),
                with("27cd7279 37000000", "03 7fffffffffffffff00000000 7b7d"),
            ),
            (
                event.with_payload(Payload::Binary(Binary::new("k", [1, 255]))),
                with("1582bc8e 30000000", "04 01000000 6b 01ff"),
            ),
        ]
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect()
    }

    #[test]
    fn records_have_these_bytes() {
        for (event, bytes) in golden() {
            let mut out = Vec::new();
            encode(&event, 7, &mut out).unwrap();
            assert_eq!(out, bytes);
            let (record, rest) = Record::decode(&bytes).unwrap();
            assert_eq!((record.type_number, rest.len()), (7, 0));
            assert_eq!(record.to_event(EventType::from("a/b")), event);
        }
    }

    #[test]
    fn a_changed_or_cut_record_is_no_record() {
        for (_, bytes) in golden() {
            for bit in 0..bytes.len() * 8 {
                let mut wrong = bytes.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert!(Record::decode(&wrong).is_err(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                let error = Record::decode(&bytes[..len]).unwrap_err();
                assert!(
                    matches!(error, DecodeError::End { .. }),
                    "{len} bytes: {error}"
                );
            }
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let payload = prop_oneof![
            Just(None),
            any::<String>().prop_map(|text| {
                let text = serde_json::to_string(&text).expect("any text is JSON");
                Some(Payload::Json(Json::new(text).expect("it is JSON")))
            }),
            (any::<String>(), vec(any::<u8>(), 0..300))
                .prop_map(|(kind, data)| Some(Payload::Binary(Binary::new(kind, data)))),
        ];
        let time = || (any::<i64>(), any::<u32>()).prop_map(|(s, us)| Timestamp::new(s, us));
        let id = any::<(i64, i64, i64)>().prop_map(|(a, b, c)| EventId::new(a, b, c));
        (id, time(), proptest::option::of(time()), payload).prop_map(
            |(id, timestamp, source, payload)| {
                Event::new(id, EventType::from("t"), timestamp)
                    .with_source_timestamp(source)
                    .with_payload(payload)
            },
        )
    }

    proptest! {
        #[test]
        fn every_event_comes_back(event in any_event(), number in any::<u32>(), behind in vec(any::<u8>(), 0..9)) {
            let mut bytes = Vec::new();
            encode(&event, number, &mut bytes).unwrap();
            bytes.extend(&behind);
            let (record, rest) = Record::decode(&bytes).unwrap();
            prop_assert_eq!(record.type_number, number);
            prop_assert_eq!(rest, &behind[..]);
            prop_assert_eq!(record.to_event(EventType::from("t")), event);
        }

        #[test]
        fn no_bytes_make_a_record_panic(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Record::decode(&bytes).is_err());
            fuzz_record(&bytes);
        }
    }
}
