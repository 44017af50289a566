//! Properties of the messages of the data plane, and damage that they must survive.

mod common;

use std::thread;
use std::time::Instant;

use acqbus::cdtp::{
    CxxTags, DataRecord, DecodeLimits, Encoding, MessageKind, MessageView, RecordView, Tags,
    Timestamp, Value, encode_bor, encode_message,
};
use acqbus::wire::DecodeError;
use common::mutate::Dice;
use common::{items, text, unhex, vectors_of};
use proptest::prelude::*;

/// Any value of a tag; not NaN, which is unequal to itself.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-40_i64..300).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| Value::from(if float.is_nan() { 0.5 } else { float })),
        (-9_i32..9).prop_map(|whole| Value::Float(whole.into())),
        "\\PC{0,40}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bin),
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(time),
        (0..1_i64 << 35, prop_oneof![Just(0), 0..1_000_000_000_u32]).prop_map(time),
        (0..=i8::MAX, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(code, data)| Value::Ext { code, data }),
    ];
    leaf.prop_recursive(4, 48, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec(("\\PC{0,6}", inner), 0..20)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

fn time((seconds, nanoseconds): (i64, u32)) -> Value {
    Value::Time(Timestamp::new(seconds, nanoseconds).expect("below a second"))
}

fn tags() -> impl Strategy<Value = Tags> {
    let tags = prop::collection::vec(("\\PC{0,40}", values()), 0..20)
        .prop_map(|entries| entries.into_iter().collect());
    prop_oneof![Just(Tags::new()), tags]
}

fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let block = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        prop::collection::vec(block.clone(), 1),
        prop::collection::vec(block, 0..20)
    ]
}

fn sequences() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn records() -> impl Strategy<Value = Vec<DataRecord<'static>>> {
    let record = (sequences(), tags(), blocks()).prop_map(|(sequence, tags, blocks)| {
        let record = DataRecord::new(sequence).with_tags(tags);
        blocks.into_iter().fold(record, DataRecord::with_block)
    });
    prop::collection::vec(record, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn messages_read_back(sender in "\\PC{0,40}", records in records(), cut in any::<prop::sample::Index>()) {
        let frame = encode_message(&sender, MessageKind::Data, &records, Encoding::Compact)
            .expect("a short name");
        let message = decode(&frame).expect("our message is a message");
        prop_assert_eq!((message.sender(), message.kind()), (&*sender, MessageKind::Data));
        let payload: usize = records.iter().map(DataRecord::payload_bytes).sum();
        prop_assert_eq!(message.payload_bytes(), payload as u64);
        prop_assert_eq!(message.records().len(), records.len());
        for (read, record) in message.records().zip(&records) {
            prop_assert_eq!(&read.tags(), record.tags());
            prop_assert!(read.tags().iter().eq(record.tags().iter()), "the order of the tags");
            prop_assert_eq!(&copy(&read), record);
            prop_assert_eq!(read.payload_bytes(), record.payload_bytes() as u64);
            let bytes = &frame[read.offset()..][..read.as_bytes().len()];
            let alone = RecordView::decode(bytes).expect("a record of a message");
            prop_assert_eq!(copy(&alone), copy(&read));
            prop_assert_eq!(alone.tags_bytes(), read.tags_bytes());
        }
        let length = cut.index(frame.len());
        prop_assert!(decode(&frame[..length]).is_err());
    }

    /// Floats that are whole come back as integers; what comes back is then written as it came.
    #[test]
    fn messages_as_cxx_writes_them_read_back(records in records()) {
        let encode = |records: &[DataRecord<'_>]| {
            encode_message("A.b", MessageKind::Data, records, Encoding::Cxx).expect("a short name")
        };
        let frame = encode(&records);
        let message = decode(&frame).expect("our message is a message");
        let copies: Vec<_> = message.records().map(|record| copy(&record)).collect();
        prop_assert_eq!(encode(&copies), frame);
        for (copy, record) in copies.iter().zip(&records) {
            prop_assert_eq!((copy.sequence(), copy.blocks()), (record.sequence(), record.blocks()));
            prop_assert_eq!(copy.tags().len(), record.tags().len());
            let keys: Vec<_> = copy.tags().iter().map(|(key, _)| key.as_bytes()).collect();
            prop_assert!(keys.is_sorted());
        }
    }

    /// Also after the float of a tag became an integer on the way.
    #[test]
    fn converted_tags_are_such_as_cxx_holds(tags in tags()) {
        let converted = CxxTags::convert(tags.clone());
        prop_assert!(CxxTags::check(&converted).is_ok(), "{:?}", converted);
        prop_assert_eq!(converted.len(), tags.len());
        if CxxTags::check(&tags).is_ok() {
            prop_assert_eq!(CxxTags::Refuse.apply(&tags).expect("checked").into_owned(), tags);
        }
        let frame = encode_bor("A.b", &converted, &Tags::new(), Encoding::Cxx).expect("a short name");
        let (read, _) = decode(&frame).expect("a message").bor().expect("a BOR");
        prop_assert!(CxxTags::check(&read).is_ok(), "{:?}", read);
    }

    #[test]
    fn tags_go_through_serde_and_back(tags in tags()) {
        prop_assert_eq!(&Tags::from_serialize(&tags).expect("tags"), &tags);
        prop_assert_eq!(tags.to::<Tags>().expect("tags"), tags);
    }
}

#[test]
fn good_messages_are_refused_at_every_length_but_their_own() {
    let mut lengths = 0;
    for (name, frame) in good_messages() {
        let whole = decode(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        // What follows the message is ignored, and is no part of it.
        let end = match whole.records().last() {
            _ if !name.contains("trailing") => frame.len(),
            Some(last) => last.offset() + last.as_bytes().len(),
            None => (0..frame.len())
                .find(|length| decode(&frame[..*length]).is_ok())
                .expect("a message with something behind it"),
        };
        for length in 0..end {
            assert!(
                decode(&frame[..length]).is_err(),
                "{name} cut to {length} bytes"
            );
            lengths += 1;
        }
        for length in end..=frame.len() {
            let cut = decode(&frame[..length]).expect("the whole message");
            assert_eq!(cut.payload_bytes(), whole.payload_bytes(), "{name}");
        }
    }
    println!("{lengths} truncated messages refused");
    assert!(lengths > 0);
}

#[test]
fn a_million_damaged_messages_do_no_harm() {
    const THREADS: u64 = 4;
    const FRAMES: u32 = 1_000_000;
    let started = Instant::now();
    let seeds: Vec<_> = good_messages()
        .into_iter()
        .map(|(_, frame)| frame)
        .filter(|frame| frame.len() < 200)
        .collect();
    let seeds = &seeds;
    let good = thread::scope(|scope| {
        let share = |seed| move || damage(seeds, Dice(seed), FRAMES / THREADS as u32);
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(share(seed))).collect();
        let counts = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        counts.sum::<u32>()
    });
    println!("{good} messages still good, {:?}", started.elapsed());
    assert!(
        good > FRAMES / 100,
        "the damage leaves hardly any message good: {good}"
    );
    assert!(good < FRAMES / 2, "the damage does hardly any harm: {good}");
}

/// Gives damaged messages to the decoder, looks at all of those that are still good, and counts them.
fn damage(seeds: &[Vec<u8>], mut dice: Dice, frames: u32) -> u32 {
    let mut good = 0;
    let mut frame = Vec::new();
    for round in 0..frames {
        let seed = dice.below(seeds.len());
        dice.mutate_with(&seeds[seed], PIECES, &mut frame);
        match decode(&frame) {
            Ok(message) => {
                good += 1;
                look_at(&message, round % 16 == 0);
            }
            Err(error) if round % 64 == 0 => assert!(!error.to_string().is_empty()),
            Err(_) => {}
        }
        if round % 64 == 0 {
            // A place in a frame that nobody checked.
            let at = dice.below(frame.len() + 1);
            let record = RecordView::checked_before(&frame[at..]);
            let _all = (record.tags(), record.tags_bytes(), record.blocks().count());
        }
    }
    good
}

fn look_at(message: &MessageView<'_>, closely: bool) {
    let mut payload = 0;
    for record in message.records() {
        let bytes: usize = record.blocks().map(<[u8]>::len).sum();
        assert_eq!(record.blocks().count(), record.block_count());
        assert_eq!(bytes as u64, record.payload_bytes());
        payload += record.payload_bytes();
        if closely {
            let alone = RecordView::decode(record.as_bytes()).expect("a record of a message");
            assert_eq!(alone.sequence(), record.sequence());
            assert_eq!(alone.has_tags(), !record.tags().is_empty());
        }
    }
    assert_eq!(payload, message.payload_bytes());
    assert_eq!(message.records().count(), message.record_count());
    if closely {
        let records: Vec<_> = message.records().map(|record| copy(&record)).collect();
        let again = encode_message(
            message.sender(),
            message.kind(),
            &records,
            Encoding::Compact,
        )
        .expect("a name that came in a small frame");
        let again = decode(&again).expect("what we write, we read");
        assert_eq!(again.payload_bytes(), message.payload_bytes());
    }
}

/// Each claims far more than it brings; none may take memory or time for it.
#[test]
fn claims_beyond_the_frame_are_refused_at_once() {
    let head = b"\xa5CDTP\x02\xa3a.b\x00";
    let claims: [&[u8]; 9] = [
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff",
        b"\x91\x93\x01\xdf\xff\xff\xff\xff",
        b"\x91\x93\x01\x81\xa1k\xdd\xff\xff\xff\xff",
        b"\x91\x93\x01\x81\xa1k\xdf\x80\x00\x00\x00",
        b"\x91\x93\x01\x81\xa1k\xdb\xff\xff\xff\xff",
        b"\x91\x93\x01\x81\xa1k\xc9\xff\xff\xff\xff\x05",
        b"\x91\x93\x01\x80\xdd\xff\xff\xff\xff",
        b"\x91\x93\x01\x80\x91\xc6\xff\xff\xff\xff",
    ];
    for claim in claims {
        let frame = [&head[..], claim, &[0xc0; 16]].concat();
        let error = decode(&frame).unwrap_err();
        assert!(
            matches!(error, DecodeError::End { .. }),
            "{claim:?}: {error}"
        );
    }
}

#[test]
fn each_limit_is_kept_to_the_last_unit() {
    let tags = Tags::new()
        .with("a", vec![Value::Nil; 7])
        .with("b", Tags::new().with("c", 1));
    let record = DataRecord::new(1).with_tags(&tags);
    let frame = encode_message(
        "A.b",
        MessageKind::Data,
        &[record.clone(), record],
        Encoding::Compact,
    )
    .expect("a short name");
    let limits = DecodeLimits::default();
    for (just, over) in [
        (
            limits.frame_bytes(frame.len()),
            limits.frame_bytes(frame.len() - 1),
        ),
        (limits.records(2), limits.records(1)),
        (limits.depth(1), limits.depth(0)),
        (limits.tag_values(20), limits.tag_values(19)),
    ] {
        assert!(MessageView::decode(&frame, &just).is_ok(), "{just:?}");
        assert!(MessageView::decode(&frame, &over).is_err(), "{over:?}");
    }
    let none = limits.frame_bytes(0).records(0).tag_values(0);
    assert!(MessageView::decode(&frame, &none).is_ok());
}

/// On the 2 MiB of a thread, with the large frames of a debug build.
#[test]
fn tags_as_deep_as_the_limit_can_be_used() {
    let nested = |levels: usize| {
        let wrap = |value, level: usize| match level % 2 {
            0 => Value::Array(vec![value]),
            _ => Value::Map(Tags::new().with("k", value)),
        };
        let value = (0..levels).fold(Value::Nil, wrap);
        encode_bor(
            "A.b",
            &Tags::new().with("deep", value),
            &Tags::new(),
            Encoding::Compact,
        )
        .expect("a short name")
    };
    let limit = DecodeLimits::default().depth;
    let error = decode(&nested(limit + 1)).unwrap_err();
    assert!(matches!(error, DecodeError::Nesting { .. }), "{error}");
    let (tags, _) = decode(&nested(limit))
        .expect("just deep enough")
        .bor()
        .expect("a BOR");
    let copy = tags.clone();
    assert_eq!(copy, tags);
    assert!(format!("{tags:?}").len() > limit);
    assert!(CxxTags::check(&CxxTags::convert(tags)).is_ok());
}

fn decode(frame: &[u8]) -> Result<MessageView<'_>, DecodeError> {
    MessageView::decode(frame, &DecodeLimits::default())
}

/// The record as one to send.
fn copy(record: &RecordView<'_>) -> DataRecord<'static> {
    let copy = DataRecord::new(record.sequence()).with_tags(record.tags());
    let blocks = record.blocks().map(<[u8]>::to_vec);
    blocks.fold(copy, DataRecord::with_block)
}

/// The messages of the golden vectors; of our own making where these are absent.
fn good_messages() -> Vec<(String, Vec<u8>)> {
    let Some(file) = vectors_of("constellation", "cdtp2_valid.json") else {
        let tags = Tags::new()
            .with("k", 1.5)
            .with("nested", Tags::new().with("a", "text"));
        let record = DataRecord::new(1).with_tags(tags).with_block(b"abc");
        let frame = encode_message("A.b", MessageKind::Data, &[record], Encoding::Cxx);
        return vec![("ours".to_owned(), frame.expect("a short name"))];
    };
    let message = |vector| (text(vector, "name").to_owned(), unhex(text(vector, "hex")));
    let messages = items(&file, "vectors").iter().map(message);
    // Negative sequence numbers we refuse on purpose: see `vectors_constellation.rs`.
    messages
        .filter(|(_, frame)| {
            decode(frame).map_or_else(|error| !error.to_string().contains("negative"), |_| true)
        })
        .collect()
}

/// Pieces of MessagePack, good and bad, that random bytes would seldom make.
const PIECES: &[&[u8]] = &[
    b"\xa5CDTP\x02",
    b"\x93\x01\x80\x90",
    b"\x93\x01\x80\x91\xc4\x03abc",
    b"\x93\xcf\x00\x00\x00\x00\x00\x00\x00\x05\x81\xa1k\xc0\x90",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x80\x00\x00\x00",
    b"\xdc\x00\x02",
    b"\xc6\x7f\xff\xff\xff",
    b"\xdb\x00\x00\x00\x02ab",
    b"\xd6\xff\x65\x53\xf1\x00",
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc7\x0c\xff",
    b"\xc7\x00\x80",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\x91\x91\x91\x91\x91\x91\x91\x91",
    b"\x81\xa1k",
    b"\xc1",
    b"\xc0",
    b"\xa2\xc3\x28",
];
