//! The transmitter against bare PULL sockets.

mod common;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    CdtpError, CxxTags, DataRecord, DataTransmitter, DecodeLimits, Encoding, MessageKind,
    MessageView, Run, RunCondition, RunMetadata, RunStart, Tags, TransmitterOptions,
    TransmitterState, Value,
};
use acqbus::zsocket::{Endpoint, Frame, Socket, SocketKind};
use common::bus::{
    LIMIT, QUIET, eventually, in_time, port, raw, raw_options, recv_frames, recv_within,
    until_asleep,
};

fn options() -> TransmitterOptions {
    TransmitterOptions::default()
        .timeouts(Some(LIMIT))
        .linger(Duration::from_millis(500))
}

fn bound(options: TransmitterOptions) -> DataTransmitter {
    DataTransmitter::bind("Tests.one", &port(0), options).unwrap()
}

fn puller(transmitter: &DataTransmitter) -> Socket {
    let socket = raw(SocketKind::Pull, &raw_options());
    socket.connect(transmitter.endpoint()).unwrap();
    socket
}

/// A receiver, and a transmitter that sends to it: the BOR has been taken.
fn sending(options: TransmitterOptions) -> (DataTransmitter, Socket) {
    let transmitter = bound(options);
    let socket = puller(&transmitter);
    begin(&transmitter, &socket);
    (transmitter, socket)
}

fn begin(transmitter: &DataTransmitter, socket: &Socket) {
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(recv(socket).kind, MessageKind::Bor);
    transmitter.start_sending().unwrap();
}

/// A transmitter that has begun, and whose receiver has gone: every further send waits.
fn deserted(options: TransmitterOptions) -> DataTransmitter {
    let (transmitter, socket) = sending(options);
    drop(socket);
    // libzmq has noticed when it takes no message any more; until then they vanish with the old connection.
    eventually("the receiver is gone", || {
        transmitter
            .send_data_record(transmitter.new_data_record())
            .unwrap();
        transmitter.stop_sending_timeout(QUIET);
        let stuck = transmitter.stats().records_lost > 0;
        transmitter.start_sending().unwrap();
        stuck
    });
    transmitter
}

#[derive(Debug, PartialEq)]
struct Got {
    kind: MessageKind,
    sequences: Vec<u64>,
    payload: u64,
}

fn recv(socket: &Socket) -> Got {
    let frames = recv_frames(socket);
    assert_eq!(frames.len(), 1, "a message is one frame");
    got(&frames[0])
}

fn got(frame: &Frame) -> Got {
    let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
    assert_eq!(message.sender(), "Tests.one");
    Got {
        kind: message.kind(),
        sequences: message.records().map(|record| record.sequence()).collect(),
        payload: message.payload_bytes(),
    }
}

fn data(sequences: impl IntoIterator<Item = u64>, payload: u64) -> Got {
    Got {
        kind: MessageKind::Data,
        sequences: sequences.into_iter().collect(),
        payload,
    }
}

fn send(transmitter: &DataTransmitter, block: &[u8]) {
    let record = transmitter.new_data_record().with_block(block);
    transmitter.send_data_record(record).unwrap();
}

fn send_empty(transmitter: &DataTransmitter) {
    transmitter
        .send_data_record(transmitter.new_data_record())
        .unwrap();
}

fn try_send(transmitter: &DataTransmitter) -> bool {
    match transmitter.try_send_data_record(transmitter.new_data_record()) {
        Ok(()) => true,
        Err(refused) => {
            assert!(refused.is_full(), "{refused}");
            false
        }
    }
}

fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).unwrap()
}

/// The socket waits with one message in hand: all before it has left the queue.
fn until_stuck(transmitter: &DataTransmitter) {
    send_empty(transmitter);
    eventually("the message is in the hands of the socket", || {
        transmitter.stats().records_waiting == 0
    });
}

#[test]
fn state_follows_bor_and_eor() {
    let transmitter = bound(options());
    let socket = puller(&transmitter);
    assert_eq!(transmitter.state(), TransmitterState::NotConnected);
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(transmitter.state(), TransmitterState::BorReceived);
    transmitter.start_sending().unwrap();
    assert_eq!(transmitter.state(), TransmitterState::BorReceived);
    transmitter.stop_sending();
    assert_eq!(transmitter.state(), TransmitterState::BorReceived);
    transmitter.send_eor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(transmitter.state(), TransmitterState::EorReceived);
    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    assert_eq!(
        recv(&socket).kind,
        MessageKind::Eor,
        "no message for no records"
    );
}

#[test]
fn bor_and_eor_carry_both_maps_as_records_0_and_1() {
    let transmitter = bound(options());
    let socket = puller(&transmitter);
    let (user, other) = (Tags::new().with("u", 1), Tags::new().with("c", "x"));
    transmitter.send_bor(&user, &other).unwrap();
    transmitter.send_eor(&other, &user).unwrap();
    let frame = &recv_frames(&socket)[0];
    let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
    assert_eq!(message.bor(), Some((user.clone(), other.clone())));
    assert_eq!(got(frame).sequences, [0, 1]);
    let frame = &recv_frames(&socket)[0];
    let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
    assert_eq!(message.eor(), Some((other, user)));
}

#[test]
fn bor_waits_for_a_receiver() {
    let transmitter = bound(options());
    let endpoint = transmitter.endpoint().clone();
    thread::scope(|scope| {
        let bor = thread::Builder::new()
            .name("bor-waits".to_owned())
            .spawn_scoped(scope, || transmitter.send_bor(&Tags::new(), &Tags::new()))
            .unwrap();
        until_asleep("bor-waits");
        assert!(!bor.is_finished());
        let socket = raw(SocketKind::Pull, &raw_options());
        socket.connect(&endpoint).unwrap();
        assert_eq!(recv(&socket).kind, MessageKind::Bor);
        bor.join().unwrap().unwrap();
    });
}

#[test]
fn bor_without_a_receiver_times_out_and_disconnects() {
    for timeout in [Duration::ZERO, Duration::from_millis(100)] {
        let transmitter = bound(options().bor_timeout(Some(timeout)));
        let begin = Instant::now();
        let error = transmitter
            .send_bor(&Tags::new(), &Tags::new())
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(error.to_string().contains("BOR"), "{error}");
        assert!(begin.elapsed() >= timeout && begin.elapsed() < LIMIT / 2);
        assert_eq!(transmitter.state(), TransmitterState::NotConnected);
    }
}

#[test]
fn eor_without_a_receiver_times_out_and_disconnects() {
    let transmitter = deserted(options().eor_timeout(Some(QUIET)));
    transmitter.stop_sending();
    assert_eq!(transmitter.state(), TransmitterState::BorReceived);
    let error = transmitter
        .send_eor(&Tags::new(), &Tags::new())
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(error.to_string().contains("EOR"), "{error}");
    assert_eq!(transmitter.state(), TransmitterState::NotConnected);
}

#[test]
fn eor_behind_data_that_waits_times_out_by_its_own_time() {
    let transmitter = deserted(options().payload_threshold_kib(0).eor_timeout(Some(QUIET)));
    until_stuck(&transmitter);
    for _ in 0..2 {
        let error = transmitter
            .send_eor(&Tags::new(), &Tags::new())
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
    let socket = puller(&transmitter);
    assert_eq!(recv(&socket).kind, MessageKind::Data);
    transmitter.send_eor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(
        recv(&socket).kind,
        MessageKind::Eor,
        "the late ones never go"
    );
}

#[test]
fn eor_without_a_stop_goes_behind_the_records_before_it() {
    let (transmitter, socket) = sending(options());
    for _ in 0..3 {
        send(&transmitter, b"ab");
    }
    transmitter.send_eor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(recv(&socket), data([1, 2, 3], 6));
    assert_eq!(recv(&socket).kind, MessageKind::Eor);
}

#[test]
fn no_order_is_enforced() {
    let transmitter = bound(options());
    let socket = puller(&transmitter);
    for _ in 0..2 {
        transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
        assert_eq!(recv(&socket).kind, MessageKind::Bor);
    }
    transmitter.send_eor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(recv(&socket).kind, MessageKind::Eor);
    transmitter.start_sending().unwrap();
    send(&transmitter, b"x");
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([1], 1));
}

#[test]
fn threshold_0_sends_each_record_alone_even_an_empty_one() {
    let (transmitter, socket) = sending(options().payload_threshold_kib(0));
    send(&transmitter, &[1; 10]);
    send(&transmitter, &[]);
    send_empty(&transmitter);
    for (sequence, payload) in [(1, 10), (2, 0), (3, 0)] {
        assert_eq!(recv(&socket), data([sequence], payload));
    }
    transmitter.stop_sending();
    assert_eq!(transmitter.messages_transmitted(), 3);
}

#[test]
fn message_goes_out_at_the_threshold_and_the_rest_at_the_stop() {
    let (transmitter, socket) = sending(
        options()
            .payload_threshold_kib(1)
            .flush_interval(Duration::from_secs(3600)),
    );
    for len in [512, 511, 1, 1500, 1023] {
        send(&transmitter, &vec![1; len]);
    }
    assert_eq!(recv(&socket), data([1, 2, 3], 1024));
    assert_eq!(recv(&socket), data([4], 1500));
    assert!(recv_within(&socket, QUIET).is_none());
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([5], 1023));
}

#[test]
fn tags_do_not_count_towards_the_threshold() {
    let (transmitter, socket) = sending(
        options()
            .payload_threshold_kib(1)
            .flush_interval(Duration::from_secs(3600)),
    );
    let tags = Tags::new().with("t", "x".repeat(2000));
    for _ in 0..3 {
        let record = transmitter.new_data_record().with_tags(&tags);
        transmitter.send_data_record(record).unwrap();
    }
    send(&transmitter, &[0; 1024]);
    assert_eq!(recv(&socket), data([1, 2, 3, 4], 1024));
}

#[test]
fn timer_sends_what_has_waited_with_and_without_payload() {
    let (transmitter, socket) = sending(options());
    send(&transmitter, b"abc");
    assert_eq!(recv(&socket), data([1], 3));
    send_empty(&transmitter);
    assert_eq!(recv(&socket), data([2], 0));
}

#[test]
fn flush_interval_of_zero_sends_at_once() {
    let (transmitter, socket) = sending(options().flush_interval(Duration::ZERO));
    for sequence in 1..20 {
        send_empty(&transmitter);
        assert_eq!(recv(&socket), data([sequence], 0));
    }
}

#[test]
fn number_that_was_drawn_is_used_up() {
    let (transmitter, socket) = sending(options().payload_threshold_kib(0));
    send(&transmitter, b"1");
    let _ = transmitter.new_data_record();
    send(&transmitter, b"3");
    let _ = transmitter.new_data_record();
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([1], 1));
    assert_eq!(recv(&socket), data([3], 1));
    assert_eq!(transmitter.sequence_number(), 4);
    assert_eq!(transmitter.records_transmitted(), 2);
}

#[test]
fn start_begins_anew_with_numbers_and_counters() {
    let (transmitter, socket) = sending(options());
    send(&transmitter, b"abc");
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([1], 3));
    assert_eq!(
        (
            transmitter.records_transmitted(),
            transmitter.bytes_transmitted()
        ),
        (1, 3)
    );
    transmitter.start_sending().unwrap();
    assert_eq!(transmitter.stats(), Default::default());
    send(&transmitter, b"d");
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([1], 1));
}

#[test]
fn records_are_taken_between_start_and_stop_only() {
    let transmitter = bound(options());
    let refused = |transmitter: &DataTransmitter| {
        let error = transmitter
            .send_data_record(DataRecord::new(1))
            .unwrap_err();
        assert!(matches!(error, CdtpError::NotSending), "{error}");
        assert!(!transmitter.can_send_record() && !transmitter.is_sending());
    };
    refused(&transmitter);
    transmitter.start_sending().unwrap();
    assert!(transmitter.can_send_record() && transmitter.is_sending());
    assert!(matches!(
        transmitter.start_sending(),
        Err(CdtpError::AlreadySending)
    ));
    transmitter.stop_sending();
    refused(&transmitter);
    transmitter.stop_sending();
}

#[test]
fn queue_of_two_takes_three_records_while_the_socket_waits() {
    let transmitter = deserted(options().payload_threshold_kib(0).queue_size(2));
    until_stuck(&transmitter);
    let room = || transmitter.can_send_record();
    assert!(room());
    assert!(try_send(&transmitter) && room());
    assert!(try_send(&transmitter) && !room());
    assert!(!try_send(&transmitter) && !room());
    assert_eq!(transmitter.stats().records_waiting, 2);
}

#[test]
fn message_under_way_counts_while_the_socket_waits_and_not_before() {
    let transmitter = deserted(
        options()
            .payload_threshold_kib(1)
            .queue_size(2)
            .flush_interval(Duration::from_secs(3600)),
    );
    for _ in 0..10 {
        assert!(try_send(&transmitter), "nothing waits");
    }
    send(&transmitter, &[0; 1024]);
    eventually("the socket has the message", || {
        transmitter.stats().records_waiting == 0
    });
    assert!(try_send(&transmitter) && try_send(&transmitter));
    assert!(!try_send(&transmitter));
}

#[test]
fn queue_is_bounded_in_bytes_too_but_takes_one_large_record() {
    let transmitter = deserted(options().payload_threshold_kib(0).queue_bytes(10_000));
    until_stuck(&transmitter);
    let send = |len: usize| {
        let block = vec![0; len];
        let record = transmitter.new_data_record().with_block(&block);
        transmitter.try_send_data_record(record).is_ok()
    };
    assert!(send(20_000));
    assert!(!send(1));
    assert!(!send(20_000));
}

#[test]
fn refused_record_comes_back_and_a_wait_ends_in_time() {
    let transmitter = deserted(options().payload_threshold_kib(0).queue_size(1));
    until_stuck(&transmitter);
    assert!(try_send(&transmitter));
    let block = [7; 3];
    let record = transmitter.new_data_record().with_block(&block);
    let refused = transmitter
        .send_data_record_timeout(record.clone(), QUIET)
        .unwrap_err();
    assert!(refused.is_full());
    assert_eq!(refused.into_record(), record);
}

#[test]
fn send_blocks_until_the_receiver_makes_room() {
    let transmitter = deserted(options().payload_threshold_kib(0).queue_size(2));
    until_stuck(&transmitter);
    thread::scope(|scope| {
        let sends = scope.spawn(|| {
            for _ in 0..5000 {
                send(&transmitter, &[1; 100]);
            }
        });
        eventually("the queue is full", || !transmitter.can_send_record());
        assert!(!sends.is_finished());
        let socket = puller(&transmitter);
        for _ in 0..5001 {
            recv(&socket);
        }
        sends.join().unwrap();
    });
    transmitter.check_error().unwrap();
}

#[test]
fn stop_ends_the_wait_of_a_full_queue() {
    let transmitter = Arc::new(deserted(options().payload_threshold_kib(0).queue_size(1)));
    until_stuck(&transmitter);
    assert!(try_send(&transmitter));
    let other = Arc::clone(&transmitter);
    let sends = named("send-waits", move || {
        other.send_data_record(DataRecord::new(9))
    });
    until_asleep("send-waits");
    assert!(!sends.is_finished());
    assert!(
        !transmitter.stop_sending_timeout(QUIET),
        "two records are lost"
    );
    assert_eq!(transmitter.stats().records_lost, 2);
    let error = in_time("the send ends", move || sends.join().unwrap()).unwrap_err();
    assert!(matches!(error, CdtpError::NotSending), "{error}");
}

#[test]
fn data_time_out_is_stored_and_called_back_and_stop_returns() {
    let (sender, called) = mpsc::channel();
    let transmitter = deserted(
        options()
            .payload_threshold_kib(0)
            .data_timeout(Some(Duration::from_millis(300)))
            .queue_size(2)
            .on_failure(move |error| sender.send(error.to_string()).unwrap()),
    );
    // The tries of `deserted` ended before their time-out.
    assert!(called.try_recv().is_err());
    send(&transmitter, b"lost");
    transmitter.check_error().unwrap();
    let told = called.recv_timeout(LIMIT).unwrap();
    let error = transmitter.check_error().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.to_string(), told);
    assert_eq!(told, "no receiver took the DATA message within 0.3 s");

    // Later records still queue up to the bound; beyond it the call fails and does not hang.
    send(&transmitter, b"lost");
    send(&transmitter, b"lost");
    let record = transmitter.new_data_record();
    assert!(
        transmitter
            .send_data_record(record)
            .unwrap_err()
            .is_timeout()
    );
    transmitter.stop_sending();
    let stats = transmitter.stats();
    assert_eq!((stats.records_transmitted, stats.records_lost), (0, 3));
    assert!(
        transmitter.check_error().is_err(),
        "kept until the next start"
    );
    assert!(called.try_recv().is_err(), "called once");

    transmitter.start_sending().unwrap();
    transmitter.check_error().unwrap();
    let socket = puller(&transmitter);
    send(&transmitter, b"new run");
    assert_eq!(recv(&socket), data([1], 7));
}

#[test]
fn failure_callback_that_sends_is_refused_and_one_that_panics_is_survived() {
    let (give, take) = mpsc::channel::<std::sync::Weak<DataTransmitter>>();
    let (tell, told) = mpsc::channel();
    let take = std::sync::Mutex::new(take);
    let transmitter = Arc::new(deserted(
        options()
            .payload_threshold_kib(0)
            .data_timeout(Some(Duration::from_millis(300)))
            .eor_timeout(Some(Duration::ZERO))
            .on_failure(move |_| {
                let take = take.lock().unwrap();
                let transmitter = take.recv().unwrap().upgrade().unwrap();
                transmitter.stop_sending();
                let eor = transmitter.send_eor(&Tags::new(), &Tags::new());
                let start = transmitter.start_sending();
                let refused = [eor, start].map(|it| matches!(it, Err(CdtpError::WrongThread)));
                tell.send(refused).unwrap();
                panic!("as callbacks do");
            }),
    ));
    give.send(Arc::downgrade(&transmitter)).unwrap();
    send(&transmitter, b"lost");
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), [true; 2]);
    transmitter.stop_sending();
    let error = transmitter
        .send_eor(&Tags::new(), &Tags::new())
        .unwrap_err();
    assert!(error.is_timeout(), "the thread is alive: {error}");
}

#[test]
fn disabled_transmission_sends_nothing_and_draws_numbers() {
    let transmitter = bound(options().transmission_disabled(true));
    let socket = puller(&transmitter);
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(transmitter.state(), TransmitterState::NotConnected);
    transmitter.start_sending().unwrap();
    for _ in 0..2 {
        assert!(transmitter.can_send_record());
        send(&transmitter, &[0; 10]);
    }
    transmitter.stop_sending();
    transmitter.send_eor(&Tags::new(), &Tags::new()).unwrap();
    assert_eq!(transmitter.state(), TransmitterState::NotConnected);
    let stats = transmitter.stats();
    assert_eq!((stats.records_drawn, stats.records_discarded), (2, 2));
    assert_eq!((stats.records_transmitted, stats.bytes_transmitted), (0, 0));
    assert!(recv_within(&socket, QUIET).is_none());

    transmitter.set_transmission_disabled(false);
    begin(&transmitter, &socket);
    send(&transmitter, b"x");
    transmitter.stop_sending();
    assert_eq!(recv(&socket), data([1], 1));
}

#[test]
fn tags_that_cxx_cannot_hold_are_refused_converted_or_sent() {
    let tags = Tags::new().with("raw", vec![1_u8, 255]);
    let (transmitter, _socket) = sending(options());
    let record = transmitter.new_data_record().with_tags(&tags);
    let refused = transmitter
        .try_send_data_record(record.clone())
        .unwrap_err();
    assert!(matches!(refused.error(), CdtpError::CxxTag { .. }));
    assert_eq!(refused.into_record(), record);
    assert!(transmitter.send_bor(&tags, &Tags::new()).is_err());

    for (cxx_tags, expected) in [
        (CxxTags::Convert, Value::from("01ff")),
        (CxxTags::Allow, Value::from(vec![1_u8, 255])),
    ] {
        let (transmitter, socket) = sending(options().cxx_tags(cxx_tags));
        let record = transmitter.new_data_record().with_tags(&tags);
        transmitter.send_data_record(record).unwrap();
        transmitter.stop_sending();
        let frame = &recv_frames(&socket)[0];
        let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
        let sent = message.records().next().unwrap().tags();
        assert_eq!(sent.get("raw"), Some(&expected));
    }
}

/// The bytes of the tag are never written, so that no memory stands behind them.
#[test]
fn tag_of_4_gib_is_refused_before_anything_goes_out() {
    let (transmitter, socket) = sending(options().cxx_tags(CxxTags::Allow));
    let huge = Tags::new().with("a", Tags::new().with("raw", vec![0_u8; 1 << 32]));
    let text = "tag `a.raw` has 4294967296 bytes, over the limit of 4294967295";
    let none = Tags::new();
    let record = DataRecord::new(1).with_tags(&huge);
    let refused = transmitter
        .try_send_data_record(record.clone())
        .unwrap_err();
    assert_eq!(refused.error().to_string(), text);
    drop(refused);
    let error = transmitter.send_data_record(record).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(error.is_bad_data());
    send_empty(&transmitter);
    transmitter.stop_sending();
    for (user_tags, others) in [(&huge, &none), (&none, &huge)] {
        for refused in [
            transmitter.send_bor(user_tags, others),
            transmitter.send_eor(user_tags, others),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), text);
        }
    }
    let start = RunStart::new("run_1").metadata(huge);
    let error = Run::begin(&transmitter, start).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(transmitter.state(), TransmitterState::BorReceived);
    transmitter.send_eor(&none, &none).unwrap();
    assert_eq!(recv(&socket), data([1], 0));
    assert_eq!(recv(&socket).kind, MessageKind::Eor);
}

#[test]
fn encoding_is_that_of_the_option() {
    let (transmitter, socket) = sending(options().encoding(Encoding::Cxx).payload_threshold_kib(0));
    send(&transmitter, b"abc");
    let expected =
        b"\xa5CDTP\x02\xa9Tests.one\x00\x91\x93\xcf\0\0\0\0\0\0\0\x01\x80\x91\xc4\x03abc";
    assert_eq!(&recv_frames(&socket)[0][..], expected);
}

#[test]
fn address_off_the_loopback_wants_insecure() {
    let bind = |endpoint: &str, insecure: bool| {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        DataTransmitter::bind("Tests.one", &endpoint, options().insecure(insecure))
    };
    for endpoint in ["tcp://*:0", "tcp://0.0.0.0:0"] {
        let error = bind(endpoint, false).unwrap_err();
        assert!(error.is_refused(), "{error}");
        assert_ne!(bind(endpoint, true).unwrap().port(), 0);
    }
    for endpoint in ["tcp://127.0.0.1:0", "tcp://localhost:0", "tcp://lo:0"] {
        assert_ne!(bind(endpoint, false).unwrap().port(), 0, "{endpoint}");
    }
}

#[test]
fn taken_port_and_bad_name_are_errors() {
    let first = bound(options());
    let error = DataTransmitter::bind("Tests.two", first.endpoint(), options()).unwrap_err();
    assert!(error.is_connection(), "{error}");
    let error = DataTransmitter::bind("no-dot", &port(0), options()).unwrap_err();
    assert!(matches!(error, CdtpError::Name { .. }), "{error}");
}

#[test]
fn close_ends_every_wait() {
    let transmitter = Arc::new(deserted(
        options()
            .timeouts(None)
            .payload_threshold_kib(0)
            .queue_size(1),
    ));
    until_stuck(&transmitter);
    assert!(try_send(&transmitter));
    let spawn = |name, work: fn(&DataTransmitter) -> Result<(), CdtpError>| {
        let transmitter = Arc::clone(&transmitter);
        named(name, move || work(&transmitter))
    };
    let waits = [
        spawn("record-waits", |transmitter| {
            transmitter.send_data_record(DataRecord::new(1))
        }),
        spawn("eor-waits", |transmitter| {
            transmitter.send_eor(&Tags::new(), &Tags::new())
        }),
    ];
    until_asleep("record-waits");
    until_asleep("eor-waits");
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    let closed = Arc::clone(&transmitter);
    in_time("the transmitter closes", move || closed.close());
    for wait in waits {
        let error = in_time("the wait ends", move || wait.join().unwrap()).unwrap_err();
        assert!(error.is_closed(), "{error}");
    }
    assert!(transmitter.start_sending().unwrap_err().is_closed());
    assert!(
        transmitter
            .send_bor(&Tags::new(), &Tags::new())
            .unwrap_err()
            .is_closed()
    );
    transmitter.close();
}

#[test]
fn close_ends_the_wait_of_an_eor_before_the_socket_lingers() {
    let (transmitter, socket) = sending(
        options()
            .timeouts(None)
            .payload_threshold_kib(0)
            .queue_size(1)
            .linger(LIMIT),
    );
    let transmitter = Arc::new(transmitter);
    let block = vec![0; 1 << 20];
    let stuck = |_: &_| {
        let record = transmitter.new_data_record().with_block(&block);
        transmitter
            .send_data_record_timeout(record, 5 * QUIET)
            .is_err()
    };
    (0..10_000).find(stuck).expect("nobody reads");
    let other = Arc::clone(&transmitter);
    let eor = thread::spawn(move || other.send_eor(&Tags::new(), &Tags::new()));
    let closed = Arc::clone(&transmitter);
    let close = thread::spawn(move || closed.close());
    let error = in_time("the wait ends", move || eor.join().unwrap()).unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert!(!close.is_finished(), "the socket lingers");
    drop(socket);
    close.join().unwrap();
}

#[test]
fn a_bounded_wait_is_bounded_while_another_thread_waits_for_ever() {
    let transmitter = Arc::new(deserted(
        options()
            .timeouts(None)
            .eor_timeout(Some(QUIET))
            .payload_threshold_kib(0)
            .queue_size(1),
    ));
    until_stuck(&transmitter);
    let other = Arc::clone(&transmitter);
    let stop = thread::spawn(move || other.stop_sending());
    eventually("the other has begun to stop", || !transmitter.is_sending());
    let waits = Arc::clone(&transmitter);
    let (stopped, eor) = in_time("both waits end", move || {
        let stopped = waits.stop_sending_timeout(QUIET);
        (stopped, waits.send_eor(&Tags::new(), &Tags::new()))
    });
    assert!(!stopped && !stop.is_finished());
    assert!(eor.unwrap_err().is_timeout());
    transmitter.close();
    stop.join().unwrap();
}

#[test]
fn drop_sends_what_waits() {
    let (transmitter, socket) = sending(options());
    send(&transmitter, b"abc");
    in_time("the transmitter is dropped", move || drop(transmitter));
    assert_eq!(recv(&socket), data([1], 3));
}

#[test]
fn drop_does_not_wait_for_a_receiver_that_is_gone() {
    let transmitter = deserted(options().timeouts(None).linger(QUIET));
    send(&transmitter, &[1; 10_000]);
    in_time("the transmitter is dropped", move || drop(transmitter));
}

#[test]
fn memory_stays_bounded_while_the_receiver_does_not_read() {
    const IN_FLIGHT: usize = 4 << 20;
    let options = options()
        .payload_threshold_kib(0)
        .queue_bytes(1 << 20)
        .in_flight_bytes(IN_FLIGHT)
        .send_hwm(0);
    let transmitter = bound(options);
    let socket = raw(SocketKind::Pull, &raw_options().recv_hwm(1));
    socket.connect(transmitter.endpoint()).unwrap();
    transmitter.send_bor(&Tags::new(), &Tags::new()).unwrap();
    transmitter.start_sending().unwrap();
    let block = vec![3; 100_000];
    let mut taken = 0;
    loop {
        let record = transmitter.new_data_record().with_block(&block);
        match transmitter.send_data_record_timeout(record, QUIET) {
            Ok(()) => taken += 1,
            Err(refused) if refused.is_full() => break,
            Err(refused) => panic!("{refused:?}"),
        }
        assert!(transmitter.stats().bytes_in_flight <= IN_FLIGHT as u64);
    }
    assert!(taken > 40, "{taken}");
    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    for sequence in 1..=taken {
        assert_eq!(recv(&socket), data([sequence], 100_000));
    }
}

#[test]
fn records_of_many_threads_all_arrive_once() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5000;
    let (transmitter, socket) = sending(options().payload_threshold_kib(1).queue_size(100));
    let mut seen = vec![0_u8; (THREADS * EACH) as usize];
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let transmitter = &transmitter;
            scope.spawn(move || {
                for number in 0..EACH {
                    let block = vec![thread as u8; (number % 300) as usize];
                    send(transmitter, &block);
                }
            });
        }
        let mut count = 0;
        while count < THREADS * EACH {
            for sequence in recv(&socket).sequences {
                seen[sequence as usize - 1] += 1;
                count += 1;
            }
        }
    });
    assert!(seen.iter().all(|times| *times == 1));
}

#[test]
fn blocks_of_every_size_arrive_as_they_were() {
    let (transmitter, socket) = sending(options());
    let sizes = [
        0,
        1,
        255,
        256,
        2000,
        2100,
        65_535,
        65_536,
        300_000,
        1 << 20,
        5,
        3 << 20,
    ];
    let block = |len: usize| -> Vec<u8> { (0..len).map(|at| (at % 251) as u8).collect() };
    let mut blocks = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for &size in &sizes {
                let record = transmitter
                    .new_data_record()
                    .with_tags(Tags::new().with("size", size as i64))
                    .with_block(block(size))
                    .with_block(b"end");
                transmitter.send_data_record(record).unwrap();
            }
        });
        while blocks < sizes.len() {
            let frame = &recv_frames(&socket)[0];
            let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
            for record in message.records() {
                let expected = block(sizes[blocks]);
                let got: Vec<_> = record.blocks().collect();
                assert!(got == [&expected[..], b"end"], "{}", sizes[blocks]);
                blocks += 1;
            }
        }
    });
}

#[test]
fn run_ends_with_metadata_that_counts_every_record() {
    let transmitter = bound(options());
    let socket = puller(&transmitter);
    let start = RunStart::new("run_1")
        .license("CC0")
        .user_tags(Tags::new().with("u", 1));
    let mut run = Run::begin(&transmitter, start).unwrap();
    assert!(matches!(
        Run::begin(&transmitter, RunStart::new("run_2")),
        Err(CdtpError::AlreadySending)
    ));
    for _ in 0..3 {
        run.send_data_record(run.new_data_record().with_block(b"ab"))
            .unwrap();
    }
    let _ = run.new_data_record();
    run.set_end_tags(Tags::new().with("e", 2));
    let summary = run.finish(RunCondition::TAINTED).unwrap();
    assert_eq!((summary.records, summary.bytes), (3, 6));

    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    assert_eq!(recv(&socket), data([1, 2, 3], 6));
    let (tags, metadata) = recv_eor(&socket);
    assert_eq!(tags, Tags::new().with("e", 2));
    assert_eq!(metadata, summary.metadata);
    assert_eq!(metadata.condition, Some(RunCondition::TAINTED));
    assert_eq!(metadata.data_records, Some(4));
    assert_eq!(metadata.run_id.as_deref(), Some("run_1"));
    assert_eq!(metadata.license.as_deref(), Some("CC0"));
    assert!(metadata.time_start.unwrap() <= metadata.time_end.unwrap());
}

#[test]
fn run_that_two_receivers_shared_is_tainted() {
    let transmitter = bound(options());
    let first = puller(&transmitter);
    eventually("the first receiver is seen", || {
        transmitter.receivers() == 1
    });
    let run = Run::begin(&transmitter, RunStart::new("shared")).unwrap();
    assert!(!transmitter.had_several_receivers());
    let second = puller(&transmitter);
    eventually("the second receiver is seen", || {
        transmitter.receivers() == 2
    });
    let summary = run.finish(RunCondition::GOOD).unwrap();
    assert_eq!(summary.condition, RunCondition::TAINTED);
    drop((first, second));
    eventually("both have gone", || transmitter.receivers() == 0);
}

#[test]
fn dropped_run_ends_as_aborted() {
    let transmitter = Arc::new(bound(options()));
    let socket = puller(&transmitter);
    let run = Run::begin(Arc::clone(&transmitter), RunStart::new("run_1")).unwrap();
    run.send_data_record(run.new_data_record().with_block(b"ab"))
        .unwrap();
    in_time("the run is dropped", move || drop(run));
    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    assert_eq!(recv(&socket), data([1], 2));
    let (_, metadata) = recv_eor(&socket);
    assert_eq!(metadata.condition, Some(RunCondition::ABORTED));
    assert_eq!(metadata.data_records, Some(1));
    assert_eq!(transmitter.state(), TransmitterState::EorReceived);
}

#[test]
fn dropped_run_does_not_wait_for_a_receiver_that_is_gone() {
    let transmitter = Arc::new(deserted(options().timeouts(None).payload_threshold_kib(0)));
    transmitter.stop_sending();
    let socket = puller(&transmitter);
    let start = RunStart::new("run_1").drop_timeout(QUIET);
    let run = Run::begin(Arc::clone(&transmitter), start).unwrap();
    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    drop(socket);
    for _ in 0..1100 {
        run.send_data_record(run.new_data_record().with_block(b"ab"))
            .unwrap();
    }
    in_time("the run is dropped", move || drop(run));
    assert_eq!(transmitter.state(), TransmitterState::NotConnected);
}

#[test]
fn abandoned_run_waits_for_nobody_and_tells_a_receiver_that_is_there() {
    let options = options()
        .timeouts(None)
        .payload_threshold_kib(0)
        .data_timeout(Some(Duration::from_millis(300)));
    let transmitter = Arc::new(bound(options));
    let begin = || {
        let socket = puller(&transmitter);
        let run = Run::begin(Arc::clone(&transmitter), RunStart::new("run_1")).unwrap();
        assert_eq!(recv(&socket).kind, MessageKind::Bor);
        (run, socket)
    };
    let (run, socket) = begin();
    drop(socket);
    let mut sent = 0;
    eventually("no data can be sent any more", || {
        let fails = run.send_data_record(run.new_data_record()).is_err();
        sent += u64::from(!fails);
        fails
    });
    assert!(!in_time("the run is abandoned", move || run.abandon()));
    let stats = transmitter.stats();
    assert!(stats.records_lost > 0);
    assert_eq!(stats.records_lost + stats.records_transmitted, sent);

    let (run, socket) = begin();
    assert!(in_time("the run is abandoned", move || run.abandon()));
    let (_, metadata) = recv_eor(&socket);
    let condition = RunCondition::TAINTED | RunCondition::ABORTED;
    assert_eq!(metadata.condition, Some(condition));
}

#[test]
fn close_now_leaves_what_a_silent_receiver_does_not_take() {
    let (transmitter, socket) = sending(
        options()
            .linger(Duration::from_secs(600))
            .payload_threshold_kib(0),
    );
    let block = vec![7; 1 << 20];
    for _ in 0..200 {
        send(&transmitter, &block);
    }
    in_time("it is closed", move || {
        transmitter.close_now();
        drop(transmitter);
    });
    drop(socket);
}

#[test]
fn run_whose_data_cannot_be_sent_fails_early_and_ends_as_tainted_and_aborted() {
    let transmitter = deserted(
        options()
            .payload_threshold_kib(0)
            .data_timeout(Some(Duration::from_millis(300))),
    );
    transmitter.stop_sending();
    let socket = puller(&transmitter);
    let run = Run::begin(&transmitter, RunStart::new("run_1")).unwrap();
    assert_eq!(recv(&socket).kind, MessageKind::Bor);
    drop(socket);
    let mut error = None;
    eventually("sending fails", || {
        let record = run.new_data_record().with_block(b"ab");
        error = run.send_data_record(record).err();
        error.is_some()
    });
    assert!(error.unwrap().is_timeout());
    let socket = puller(&transmitter);
    assert!(run.finish(RunCondition::GOOD).unwrap_err().is_timeout());
    let (_, metadata) = recv_eor(&socket);
    assert_eq!(
        metadata.condition,
        Some(RunCondition::TAINTED | RunCondition::ABORTED)
    );
}

#[test]
fn run_name_is_checked() {
    let transmitter = bound(options());
    for name in ["", "a b", "a/b", "\u{e4}"] {
        let error = Run::begin(&transmitter, RunStart::new(name)).unwrap_err();
        assert!(matches!(error, CdtpError::RunId { .. }), "{name}");
    }
}

fn recv_eor(socket: &Socket) -> (Tags, RunMetadata) {
    let frame = &recv_frames(socket)[0];
    let message = MessageView::decode(frame, &DecodeLimits::default()).unwrap();
    let (tags, metadata) = message.eor().expect("an EOR");
    (tags, RunMetadata::from_tags(&metadata))
}
