//! A million frames and contents that somebody damaged, and what good ones must keep.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::event::{
    Binary, Event, EventId, EventType, Json, Order, OrderBy, Payload, QueryLatestParams,
    QueryParams, QueryResult, QueryServerParams, QueryTimeseriesParams, RegisterEvent, Status,
    Timestamp,
};
use acqbus::eventer::chatter::{Chatter, ChatterError, ChatterOptions};
use acqbus::eventer::message::{InitReq, Message};
use acqbus::eventer::sbs::{Reader, Writer};
use common::mutate::Dice;
use proptest::prelude::*;

mod common;

#[test]
fn a_million_damaged_inputs_do_no_harm() {
    let started = Instant::now();
    let (contents, streams) = thread::scope(|scope| {
        let contents = scope.spawn(|| damage_contents(Dice(1)));
        let streams = scope.spawn(|| damage_streams(Dice(2)));
        let values = scope.spawn(|| damage_values(Dice(3)));
        values.join().expect("no panic");
        (
            contents.join().expect("no panic"),
            streams.join().expect("no panic"),
        )
    });
    let took = started.elapsed();
    println!("(contents, messages of streams) still good: {contents}, {streams}, {took:?}");
    assert!(contents > CONTENTS / 100, "hardly any is good: {contents}");
    assert!(
        contents < CONTENTS * 9 / 10,
        "the damage does hardly any harm: {contents}"
    );
    assert!(streams > STREAMS / 100, "hardly any is good: {streams}");
    assert!(took < Duration::from_secs(300), "they took {took:?}");
}

/// Those that are read are written and read as the same.
fn damage_contents(mut dice: Dice) -> usize {
    let seeds = messages();
    let (mut good, mut damaged, mut again) = (0, Vec::new(), Vec::new());
    for _ in 0..CONTENTS {
        let (kind, data) = &seeds[dice.below(seeds.len())];
        dice.mutate_with(data, PIECES, &mut damaged);
        let Ok(message) = Message::decode(kind, &damaged) else {
            continue;
        };
        good += 1;
        again.clear();
        message.encode(&mut again);
        assert!(again.len() <= damaged.len(), "{damaged:x?}");
        assert_eq!(Message::decode(kind, &again), Ok(message));
    }
    good
}

/// Whatever comes in whatever pieces, an end holds no more than one frame and one piece, and answers pings only.
fn damage_streams(mut dice: Dice) -> usize {
    let (seeds, now) = (streams(), Instant::now());
    let options = ChatterOptions::default().max_frame(MAX_FRAME);
    let (mut good, mut damaged, mut out) = (0, Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let seed = dice.below(seeds.len());
        dice.mutate_with(&seeds[seed], PIECES, &mut damaged);
        let mut end = Chatter::new(options, now);
        let mut rest = &damaged[..];
        out.clear();
        'stream: while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + dice.below(rest.len()));
            rest = after;
            end.receive(piece, now);
            loop {
                match end.next(&mut out) {
                    Ok(Some(received)) => {
                        good += 1;
                        assert!(received.data.len() < MAX_FRAME);
                        let own = ["HatChatter.Ping", "HatChatter.Pong"];
                        assert!(!own.contains(&received.kind), "{received:?}");
                    }
                    Ok(None) => break,
                    Err(ChatterError::Frame(_)) => break 'stream,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        assert!(out.len() <= 2 * damaged.len(), "{damaged:x?}");
    }
    good
}

/// Random rows of reads of random bytes never go backwards or beyond the end.
fn damage_values(mut dice: Dice) {
    let mut bytes = Vec::new();
    for _ in 0..VALUES {
        bytes.clear();
        for _ in 0..dice.below(64) {
            let byte = match dice.below(3) {
                0 => 0x80 | dice.below(8),
                _ => dice.below(256),
            };
            bytes.push(byte as u8);
        }
        let mut reader = Reader::new(&bytes);
        loop {
            let before = reader.offset();
            let read = match dice.below(8) {
                0 => reader.boolean("it").is_ok(),
                1 => reader.integer("it").is_ok(),
                2 => reader.float("it").is_ok(),
                3 => reader.string("it").is_ok(),
                4 => reader.bytes("it").is_ok(),
                5 => match reader.count(2, "it") {
                    Ok(count) => {
                        assert!(count * 2 <= reader.rest().len());
                        true
                    }
                    Err(_) => false,
                },
                6 => reader.choice(3, "it").is_ok_and(|place| place < 3),
                _ => reader.optional("it").is_ok(),
            };
            if !read {
                break;
            }
            assert!(reader.offset() > before);
            assert_eq!(reader.rest(), &bytes[reader.offset()..]);
        }
    }
}

#[test]
fn every_cut_of_a_good_message_is_refused() {
    for (kind, data) in messages() {
        for end in 0..data.len() {
            assert!(Message::decode(kind, &data[..end]).is_err(), "{kind} {end}");
        }
    }
}

#[test]
fn every_cut_of_a_good_stream_waits_for_the_rest() {
    let now = Instant::now();
    for stream in streams() {
        let (mut whole, mut out) = (0, Vec::new());
        let mut end = Chatter::new(ChatterOptions::default(), now);
        end.receive(&stream, now);
        while end.next(&mut out).unwrap().is_some() {
            whole += 1;
        }
        for cut in 0..stream.len() {
            let mut end = Chatter::new(ChatterOptions::default(), now);
            let mut came = 0;
            for piece in [&stream[..cut], &stream[cut..]] {
                end.receive(piece, now);
                while end.next(&mut out).unwrap().is_some() {
                    came += 1;
                }
            }
            assert_eq!(came, whole);
        }
    }
}

/// A claim of many items costs no memory before they are there.
#[test]
fn a_huge_count_is_refused_at_once() {
    for (kind, before) in [
        ("HatEventer.MsgInitReq", &b""[..]),
        ("HatEventer.MsgInitReq", b"\x81a\x80"),
        ("HatEventer.MsgInitReq", b"\x81a\x80\x81"),
        ("HatEventer.MsgInitRes", b"\x81"),
        ("HatEventer.MsgEventsNotify", b""),
        ("HatEventer.MsgRegisterReq", b""),
        ("HatEventer.MsgRegisterReq", b"\x81"),
        ("HatEventer.MsgRegisterReq", b"\x81\x80\x80\x81\x80"),
        ("HatEventer.MsgRegisterRes", b"\x80"),
        ("HatEventer.MsgQueryReq", b"\x80\x81"),
        ("HatEventer.MsgQueryReq", b"\x81\x81"),
        ("HatEventer.MsgQueryRes", b""),
    ] {
        let mut data = before.to_vec();
        Writer::new(&mut data).count(1 << 40);
        assert!(Message::decode(kind, &data).is_err(), "{kind}");
    }
    let mut data = Vec::new();
    Writer::new(&mut data).count(2_000_000);
    data.extend(vec![0x80; 6_000_000]);
    let error = Message::decode("HatEventer.MsgRegisterReq", &data).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("more than the limit of 1048576"),
        "{source}"
    );
}

#[test]
fn a_message_of_another_kind_is_refused_by_name() {
    for kind in [
        "",
        "MsgInitReq",
        "HatEventer.MsgInitReq ",
        "HatChatter.Ping",
    ] {
        let error = Message::decode(kind, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{kind}` is no message of the eventer")
        );
    }
}

#[test]
fn a_token_is_not_shown() {
    let mut request = InitReq::new("comp/a");
    request.client_token = Some(String::from("tok-7f3a"));
    let shown = format!("{:?}", Message::InitReq(request.clone()));
    assert!(
        shown.contains("comp/a") && !shown.contains("7f3a"),
        "{shown}"
    );
    request.client_token = None;
    assert!(format!("{request:?}").contains("None"));
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(message in message()) {
        let mut data = Vec::new();
        message.encode(&mut data);
        prop_assert_eq!(Message::decode(message.kind(), &data), Ok(message.clone()));
        let whole = data.len();
        data.push(7);
        prop_assert_eq!(Message::decode(message.kind(), &data), Ok(message.clone()));
        for end in (0..whole).rev().take(50) {
            prop_assert!(Message::decode(message.kind(), &data[..end]).is_err());
        }
    }

    #[test]
    fn messages_keep_their_order_in_any_pieces(
        sizes in prop::collection::vec(0..5000_usize, 1..8),
        pieces in prop::collection::vec(1..3000_usize, 1..20),
    ) {
        let now = Instant::now();
        let [mut sender, mut receiver] = [(); 2].map(|()| Chatter::new(ChatterOptions::default(), now));
        let (mut stream, mut out) = (Vec::new(), Vec::new());
        for size in &sizes {
            sender.begin("T.A", &vec![1; *size], true, &mut stream).unwrap();
        }
        let (mut rest, mut came) = (&stream[..], Vec::new());
        for size in pieces.into_iter().cycle() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            receiver.receive(piece, now);
            while let Some(received) = receiver.next(&mut out).unwrap() {
                came.push(received.data.len());
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(came, sizes);
    }
}

fn message() -> impl Strategy<Value = Message> {
    let events = || prop::collection::vec(event().prop_map(Arc::new), 0..5);
    prop_oneof![
        init_req().prop_map(Message::InitReq),
        prop_oneof![status().prop_map(Ok), any::<String>().prop_map(Err)]
            .prop_map(Message::InitRes),
        status().prop_map(Message::StatusNotify),
        events().prop_map(Message::EventsNotify),
        Just(Message::EventsAck),
        prop::collection::vec(register_event(), 0..5).prop_map(Message::RegisterReq),
        prop::option::of(events()).prop_map(Message::RegisterRes),
        query().prop_map(Message::QueryReq),
        (events(), any::<bool>())
            .prop_map(|(events, more)| Message::QueryRes(QueryResult::new(events, more))),
    ]
}

fn init_req() -> impl Strategy<Value = InitReq> {
    let token = prop::option::of(any::<String>());
    let server = prop::option::of(any::<i64>());
    (any::<String>(), token, event_types(), server, any::<bool>()).prop_map(
        |(name, token, subscriptions, server, persisted)| {
            let mut request = InitReq::new(name);
            request.client_token = token;
            request.subscriptions = subscriptions;
            request.server_id = server;
            request.persisted = persisted;
            request
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Standby,
        Status::Starting,
        Status::Operational,
        Status::Stopping,
    ])
}

fn event() -> impl Strategy<Value = Event> {
    (register_event(), event_id(), timestamp())
        .prop_map(|(event, id, timestamp)| event.register(id, timestamp))
}

fn register_event() -> impl Strategy<Value = RegisterEvent> {
    let source = prop::option::of(timestamp());
    (event_type(), source, prop::option::of(payload())).prop_map(|(event_type, source, payload)| {
        RegisterEvent::new(event_type)
            .with_source_timestamp(source)
            .with_payload(payload)
    })
}

fn event_type() -> impl Strategy<Value = EventType> {
    prop::collection::vec(any::<String>(), 0..12).prop_map(EventType::new)
}

fn event_types() -> impl Strategy<Value = Vec<EventType>> {
    prop::collection::vec(event_type(), 0..4)
}

fn event_id() -> impl Strategy<Value = EventId> {
    any::<(i64, i64, i64)>().prop_map(|(a, b, c)| EventId::new(a, b, c))
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<(i64, u32)>().prop_map(|(s, us)| Timestamp::new(s, us))
}

fn payload() -> impl Strategy<Value = Payload> {
    let json = any::<(String, i64, bool)>().prop_map(|value| Json::from_serialize(&value).unwrap());
    let binary = any::<(String, Vec<u8>)>().prop_map(|(kind, data)| Binary::new(kind, data));
    prop_oneof![json.prop_map(Payload::from), binary.prop_map(Payload::from)]
}

fn query() -> impl Strategy<Value = QueryParams> {
    let latest = prop::option::of(event_types()).prop_map(|event_types| {
        let mut params = QueryLatestParams::default();
        params.event_types = event_types;
        params.into()
    });
    let server = (
        any::<(i64, bool, Option<i64>)>(),
        prop::option::of(event_id()),
    )
        .prop_map(|((server, persisted, max), last)| {
            let mut params = QueryServerParams::new(server).persisted(persisted);
            params.max_results = max;
            params.last_event_id = last;
            params.into()
        });
    prop_oneof![latest, timeseries(), server]
}

fn timeseries() -> impl Strategy<Value = QueryParams> {
    let time = || prop::option::of(timestamp());
    let types = prop::option::of(event_types());
    let last = prop::option::of(event_id());
    let flags = any::<(bool, bool, Option<i64>)>();
    (types, [time(), time(), time(), time()], flags, last).prop_map(
        |(types, times, (ascending, by_source, max), last)| {
            let mut params = QueryTimeseriesParams::default();
            params.event_types = types;
            [
                params.t_from,
                params.t_to,
                params.source_t_from,
                params.source_t_to,
            ] = times;
            if ascending {
                params.order = Order::Ascending;
            }
            if by_source {
                params.order_by = OrderBy::SourceTimestamp;
            }
            params.max_results = max;
            params.last_event_id = last;
            params.into()
        },
    )
}

/// The contents of good messages, one of each kind at least.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let given = RegisterEvent::new(EventType::from("m/v0/long-segment"))
        .with_source_timestamp(Timestamp::new(1_600_000_000, 749_055));
    let json = given
        .clone()
        .with_payload(Payload::from(Json::new(r#"{"value": [8, "é"]}"#).unwrap()));
    let binary = given.with_payload(Payload::from(Binary::new("raw", [0, 128, 255])));
    let event = |instance, given: &RegisterEvent| {
        let id = EventId::new(7, 300, instance);
        Arc::new(given.clone().register(id, Timestamp::new(-5, 6000)))
    };
    let events = vec![event(1, &json), event(2, &binary)];
    let mut init = InitReq::new("comp/b");
    init.client_token = Some(String::from("secret"));
    init.subscriptions = vec![EventType::from("m/?"), EventType::from("x/*")];
    init.server_id = Some(7);
    let series = QueryTimeseriesParams::default()
        .event_types([EventType::from("m/*")])
        .from(Timestamp::new(3, 4))
        .source_to(Timestamp::new(1_700_000_000, 0))
        .order(Order::Ascending)
        .max_results(100)
        .after(EventId::new(7, 1, 1));
    let server = QueryServerParams::new(7).after(EventId::new(7, 8, 9));
    [
        Message::InitReq(init),
        Message::InitRes(Ok(Status::Operational)),
        Message::InitRes(Err(String::from("invalid client token"))),
        Message::StatusNotify(Status::Stopping),
        Message::EventsNotify(events.clone()),
        Message::EventsAck,
        Message::RegisterReq(vec![json, binary]),
        Message::RegisterRes(Some(events.clone())),
        Message::RegisterRes(None),
        Message::QueryReq(QueryLatestParams::default().into()),
        Message::QueryReq(series.into()),
        Message::QueryReq(server.into()),
        Message::QueryRes(QueryResult::new(events, true)),
    ]
    .into_iter()
    .map(|message| {
        let mut data = Vec::new();
        message.encode(&mut data);
        (message.kind(), data)
    })
    .collect()
}

/// Two streams of frames, with pings in them.
fn streams() -> Vec<Vec<u8>> {
    let now = Instant::now();
    let mut end = Chatter::new(ChatterOptions::default().ping_after(Duration::ZERO), now);
    let mut streams = vec![Vec::new(), Vec::new()];
    for (number, (kind, data)) in messages().into_iter().enumerate() {
        let stream = &mut streams[usize::from(number > 3)];
        end.begin(kind, &data, number % 2 == 0, stream).unwrap();
        if number % 3 == 0 {
            end.begin("HatChatter.Ping", &[], false, stream).unwrap();
        }
    }
    streams
}

/// Integers at the edges, wrong text, and a frame of the largest length.
const PIECES: &[&[u8]] = &[
    b"\x80",
    b"\x81",
    b"\xff",
    b"\x00\x80",
    b"\x00\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff",
    b"\x7f\x00\x00\x00\x00\x00\x00\x00\x00\x80",
    b"\x3f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\xff",
    b"\x84\xf0\x9f\x98\x80",
    b"\x82\xed\xa0",
    b"\x83NaN",
    b"\x85[[[[[",
    b"\x08\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x03\x00\xff\xff",
];

const MAX_FRAME: usize = 64 * 1024;
const CONTENTS: usize = 400_000;
const STREAMS: usize = 300_000;
const VALUES: usize = 300_000;
