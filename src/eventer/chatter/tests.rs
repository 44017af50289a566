//! Both ends of a connection, without one.

use std::time::Duration;

use super::*;

fn ends(options: ChatterOptions) -> (Chatter, Chatter, Instant) {
    let now = Instant::now();
    (Chatter::new(options, now), Chatter::new(options, now), now)
}

#[test]
fn replies_keep_the_number_and_know_who_started() {
    let (mut a, mut b, now) = ends(ChatterOptions::default());
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    a.begin("T.A", b"1", false, &mut to_b).unwrap();
    let second = a.begin("T.B", b"2", false, &mut to_b).unwrap();
    assert_eq!((second.first, second.owner), (2, true));
    b.receive(&to_b, now);
    b.next(&mut to_a).unwrap().unwrap();
    let received = b.next(&mut to_a).unwrap().unwrap();
    assert!(received.is_first && !received.last && received.data == b"2");
    let conversation = received.conversation;
    assert_eq!((conversation.first, conversation.owner), (2, false));
    assert_eq!(b.next(&mut to_a).unwrap(), None);

    b.reply(conversation, "T.C", b"3", false, &mut to_a)
        .unwrap();
    a.receive(&to_a, now);
    to_b.clear();
    let reply = a.next(&mut to_b).unwrap().unwrap();
    assert_eq!((reply.conversation, reply.is_first), (second, false));
    a.reply(second, "T.D", b"4", true, &mut to_b).unwrap();
    b.receive(&to_b, now);
    let end = b.next(&mut to_a).unwrap().unwrap();
    assert!(end.last && !end.is_first);
    assert_eq!(end.conversation, conversation);
}

#[test]
fn messages_come_whole_from_single_bytes() {
    let (mut a, mut b, now) = ends(ChatterOptions::default());
    let (mut out, mut stream) = (Vec::new(), Vec::new());
    for size in [0, 1, 300, 70_000, 2] {
        a.begin("T.A", &vec![7; size], true, &mut stream).unwrap();
    }
    let mut sizes = Vec::new();
    for byte in stream {
        b.receive(&[byte], now);
        while let Some(received) = b.next(&mut out).unwrap() {
            sizes.push(received.data.len());
        }
    }
    assert_eq!(sizes, [0, 1, 300, 70_000, 2]);
    assert!(out.is_empty());
}

#[test]
fn a_ping_is_answered_in_its_conversation_and_not_shown() {
    let (mut a, mut b, now) = ends(ChatterOptions::default());
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    a.begin("T.A", b"", true, &mut to_b).unwrap();
    a.begin(PING, b"whatever", false, &mut to_b).unwrap();
    a.begin(PONG, b"unexpected", true, &mut to_b).unwrap();
    a.begin("T.B", b"", true, &mut to_b).unwrap();
    b.receive(&to_b, now);
    assert_eq!(b.next(&mut to_a).unwrap().unwrap().kind, "T.A");
    assert!(to_a.is_empty());
    assert_eq!(b.next(&mut to_a).unwrap().unwrap().kind, "T.B");
    let pong = Frame::decode(&to_a[2..]).unwrap();
    assert_eq!((pong.id, pong.first, pong.owner), (1, 2, false));
    assert_eq!((pong.kind, pong.data, pong.last), (PONG, &b""[..], true));
    a.receive(&to_a, now);
    assert_eq!(a.next(&mut to_b).unwrap(), None);
}

#[test]
fn a_silent_peer_is_pinged_then_given_up() {
    let (mut a, mut b, start) = ends(ChatterOptions::default());
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    let second = Duration::from_secs(1);
    assert_eq!(a.deadline(), start + 20 * second);
    a.tick(start + 19 * second, &mut to_b).unwrap();
    assert!(to_b.is_empty());
    a.tick(start + 21 * second, &mut to_b).unwrap();
    assert_eq!(a.deadline(), start + 41 * second);

    b.receive(&to_b, start + 22 * second);
    assert_eq!(b.next(&mut to_a).unwrap(), None);
    a.receive(&to_a, start + 23 * second);
    assert_eq!(a.next(&mut to_b).unwrap(), None);
    assert_eq!(a.deadline(), start + 43 * second);

    to_b.clear();
    a.tick(start + 43 * second, &mut to_b).unwrap();
    assert_eq!(Frame::decode(&to_b[2..]).unwrap().kind, PING);
    a.tick(start + 62 * second, &mut to_b).unwrap();
    let silent = a.tick(start + 63 * second, &mut to_b);
    assert!(matches!(silent, Err(ChatterError::Silent)));
}

#[test]
fn a_message_too_large_uses_no_number() {
    let (mut a, mut b, now) = ends(ChatterOptions::default().max_frame(20));
    let (mut out, mut stream) = (Vec::new(), Vec::new());
    let refused = a.begin("T.A", &[0; 11], true, &mut stream);
    let Err(ChatterError::TooLarge { bytes, limit }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((bytes, limit, stream.len()), (21, 20, 0));
    a.begin("T.A", &[0; 10], true, &mut stream).unwrap();
    assert_eq!(Frame::decode(&stream[2..]).unwrap().id, 1);
    b.receive(&stream, now);
    assert!(b.next(&mut out).unwrap().is_some());
    let mut small = Chatter::new(ChatterOptions::default().max_frame(19), now);
    small.receive(&stream[..2], now);
    assert!(small.next(&mut out).is_err());
}

#[test]
fn the_room_of_a_large_message_is_given_back() {
    let (mut a, mut b, now) = ends(ChatterOptions::default());
    let (mut out, mut stream) = (Vec::new(), Vec::new());
    a.begin("T.A", &vec![0; 10_000_000], true, &mut stream)
        .unwrap();
    b.receive(&stream, now);
    assert!(b.next(&mut out).unwrap().is_some());
    assert!(b.next(&mut out).unwrap().is_none());
    assert!(b.received.capacity() <= KEPT_BYTES);
}

#[test]
fn a_claimed_length_reserves_nothing() {
    let (_, mut b, now) = ends(ChatterOptions::default());
    let mut out = Vec::new();
    b.receive(b"\x03\xff\xff\xffabc", now);
    assert_eq!(b.next(&mut out).unwrap(), None);
    assert!(b.received.capacity() < 100);
    for _ in 0..100_000 {
        b.receive(&[0; 100], now);
        assert_eq!(b.next(&mut out).unwrap(), None);
    }
    assert!(b.received.capacity() < 40_000_000, "twice what came");
}

#[test]
fn patience_without_end_has_no_deadline_that_comes() {
    let options = ChatterOptions::default()
        .ping_after(Duration::MAX)
        .close_after_ping(Duration::MAX);
    let (mut a, _, now) = ends(options);
    let later = now + Duration::from_secs(3600);
    assert!(a.deadline() > later);
    let mut out = Vec::new();
    a.tick(later, &mut out).unwrap();
    assert!(out.is_empty());
}
