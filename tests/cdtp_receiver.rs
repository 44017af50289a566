//! The receiver on real sockets: bare PUSH ends that say whatever they like.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    Arrival, CdtpError, DataReceiver, DataRecord, DataTransmitter, Encoding, MessageKind, NoEvent,
    ReceiveThreads, ReceiverOptions, Record, Run, RunCondition, RunEvent, RunEvents, RunStart,
    Tags, TransmitterOptions, TransmitterState, encode_bor, encode_eor, encode_message,
};
use acqbus::chirp::{ChirpId, DiscoveredService, ServiceId};
use acqbus::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions};

const DEADLINE: Duration = Duration::from_secs(30);

/// A sender without rules: a bound PUSH socket.
struct Sender {
    name: String,
    socket: Socket,
    endpoint: Endpoint,
}

impl Sender {
    fn new(context: &Context, name: &str) -> Self {
        Self::at(context, name, &Endpoint::tcp("127.0.0.1", 0).unwrap())
    }

    fn at(context: &Context, name: &str, endpoint: &Endpoint) -> Self {
        let options = SocketOptions::default()
            .send_timeout(Some(DEADLINE))
            .linger(Some(Duration::ZERO));
        let socket = context.socket(SocketKind::Push, &options).unwrap();
        let until = Instant::now() + DEADLINE;
        // The port of a sender that was closed just now may take a moment to be free.
        let endpoint = loop {
            match socket.bind(endpoint) {
                Ok(endpoint) => break endpoint,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            thread::yield_now();
        };
        Self {
            name: name.to_owned(),
            socket,
            endpoint,
        }
    }

    fn service(&self) -> DiscoveredService {
        let port = self.endpoint.port().unwrap();
        let host = ChirpId::of(&self.name);
        DiscoveredService::new(host, ServiceId::Data, [127, 0, 0, 1].into(), port)
    }

    /// Waits until libzmq has seen that the receiver is gone; before, it would still give it messages.
    fn wait_until_alone(&self) {
        let until = Instant::now() + DEADLINE;
        while self.socket.writable().unwrap() {
            assert!(Instant::now() < until, "the receiver is still there");
            thread::yield_now();
        }
    }

    fn send(&self, bytes: Vec<u8>) {
        self.socket.send(Frame::from(bytes), false).unwrap();
    }

    fn bor(&self) {
        let none = Tags::new();
        self.send(encode_bor(&self.name, &none, &none, Encoding::Compact).unwrap());
    }

    fn data(&self, numbers: impl IntoIterator<Item = u64>) {
        let record =
            |number: u64| DataRecord::new(number).with_block(number.to_le_bytes().to_vec());
        let records: Vec<_> = numbers.into_iter().map(record).collect();
        let kind = MessageKind::Data;
        self.send(encode_message(&self.name, kind, &records, Encoding::Compact).unwrap());
    }

    fn eor(&self, data_records: i64) {
        let metadata = Tags::new()
            .with("condition_code", 0)
            .with("condition", "GOOD")
            .with("data_records", data_records);
        self.send(encode_eor(&self.name, &Tags::new(), &metadata, Encoding::Compact).unwrap());
    }
}

fn quick() -> ReceiverOptions {
    ReceiverOptions::default().eor_timeout(Duration::from_millis(100))
}

fn start(options: ReceiverOptions) -> (DataReceiver, RunEvents) {
    DataReceiver::start_with_events(options).unwrap()
}

fn next(events: &mut RunEvents) -> RunEvent {
    events.recv_timeout(DEADLINE).expect("an event")
}

fn next_record(events: &mut RunEvents) -> Record {
    match next(events) {
        RunEvent::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

fn is_bor(event: &RunEvent) -> bool {
    matches!(event, RunEvent::Bor(bor) if !bor.restarted)
}

#[test]
fn a_run_arrives_whole_and_in_order_by_handler_and_by_iterator() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (told, events) = mpsc::channel();
    let receiver = DataReceiver::start(quick(), move |event| told.send(event).unwrap()).unwrap();
    assert!(receiver.add_sender(&sender.service()).unwrap());
    send_run(&sender);
    let by_handler: Vec<_> = take_run(|| events.recv_timeout(DEADLINE).unwrap());
    drop(receiver);
    sender.wait_until_alone();

    let (receiver, mut events) = start(quick());
    receiver.add_endpoint(&sender.endpoint).unwrap();
    send_run(&sender);
    let by_iterator = take_run(|| next(&mut events));
    assert_eq!(by_handler, by_iterator);
    assert_eq!(receiver.bytes_received(), 800);
    receiver.stop_receiving().unwrap();
    assert_eq!(events.next().map(|event| format!("{event:?}")), None);
}

fn send_run(sender: &Sender) {
    sender.bor();
    for start in (1..=100).step_by(10) {
        sender.data(start..start + 10);
    }
    sender.eor(100);
}

/// The numbers of a run, which nothing is wrong with.
fn take_run(mut next: impl FnMut() -> RunEvent) -> Vec<u64> {
    assert!(is_bor(&next()));
    let mut numbers = Vec::new();
    loop {
        match next() {
            RunEvent::Record(record) => {
                assert_eq!(record.sender(), "Sputnik.One");
                assert_eq!(record.arrival(), Arrival::InOrder);
                let block = record.sequence().to_le_bytes();
                assert_eq!(record.blocks().collect::<Vec<_>>(), [&block[..]]);
                numbers.push(record.sequence());
            }
            RunEvent::Eor(eor) => {
                assert_eq!(eor.condition, RunCondition::GOOD);
                assert_eq!((eor.counts.records, eor.counts.missed), (100, 0));
                assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
                return numbers;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_message_that_is_wrong_marks_its_run_and_stops_nobody() {
    let context = Context::new().unwrap();
    let (bad, good) = (
        Sender::new(&context, "Bad.one"),
        Sender::new(&context, "Good.one"),
    );
    let (receiver, mut events) = start(quick());
    for sender in [&bad, &good] {
        receiver.add_sender(&sender.service()).unwrap();
        sender.data([7]);
        let RunEvent::Fault(fault) = next(&mut events) else {
            panic!("data without BOR was taken");
        };
        assert!(!fault.marked);
        assert_eq!((fault.records, fault.bytes), (1, 8));
        sender.bor();
        assert!(is_bor(&next(&mut events)));
    }
    let junk = [
        b"junk".to_vec(),
        Vec::new(),
        b"\xa5CDTP\x01\xa7Bad.one\x00\x90".to_vec(),
        b"\xa5CDTP\x02\xa7Bad.one\x00\x90".to_vec(),
        b"\xa5CDTP\x02\xa7Bad.one\x01\x90".to_vec(),
    ];
    for bytes in &junk {
        bad.send(bytes.clone());
    }
    bad.socket.send_bytes(b"two", true).unwrap();
    bad.socket.send_bytes(b"frames", false).unwrap();
    for _ in 0..junk.len() + 1 {
        let RunEvent::Fault(fault) = next(&mut events) else {
            panic!("junk was taken");
        };
        assert!(fault.marked, "{}", fault.kind);
        assert_eq!(fault.sender.as_ref().unwrap().as_str(), "Bad.one");
    }
    for (sender, condition) in [(&bad, RunCondition::TAINTED), (&good, RunCondition::GOOD)] {
        sender.data([1]);
        assert_eq!(next_record(&mut events).sequence(), 1);
        sender.eor(1);
        let RunEvent::Eor(eor) = next(&mut events) else {
            panic!("no end");
        };
        assert_eq!((eor.condition, eor.counts.missed), (condition, 0));
        sender.eor(1);
        assert!(matches!(next(&mut events), RunEvent::Fault(fault) if !fault.marked));
    }
    assert_eq!(receiver.stats().faults, 10);
    receiver.stop_receiving().unwrap();
}

#[test]
fn a_sender_restarted_in_a_run_begins_a_new_one() {
    let context = Context::new().unwrap();
    let (receiver, mut events) = start(quick());
    let sender = Sender::new(&context, "Camera.Top");
    receiver.add_sender(&sender.service()).unwrap();
    sender.bor();
    sender.data([1, 3]);
    assert!(is_bor(&next(&mut events)));
    assert_eq!(next_record(&mut events).sequence(), 1);
    assert!(matches!(next(&mut events), RunEvent::Lost(lost) if lost.first == 2));
    assert_eq!(next_record(&mut events).sequence(), 3);
    let endpoint = sender.endpoint.clone();
    drop(sender);

    let sender = Sender::at(&context, "Camera.Top", &endpoint);
    assert!(!receiver.add_sender(&sender.service()).unwrap());
    send_short_run(&sender);
    let RunEvent::Substitute(eor) = next(&mut events) else {
        panic!("the old run has no end");
    };
    assert_eq!(eor.condition.to_string(), "INCOMPLETE|ABORTED");
    assert_eq!(eor.metadata.len(), 2);
    assert!(matches!(next(&mut events), RunEvent::Bor(bor) if bor.restarted));
    assert_eq!(next_record(&mut events).sequence(), 1);
    assert!(matches!(next(&mut events), RunEvent::Eor(_)));
    drop(sender);

    // And at another port, as CHIRP would tell.
    let sender = Sender::new(&context, "Camera.Top");
    assert!(receiver.add_sender(&sender.service()).unwrap());
    send_short_run(&sender);
    assert!(is_bor(&next(&mut events)), "the run before had ended");
    receiver.stop_receiving().unwrap();
}

#[test]
fn a_sender_that_comes_back_at_another_port_is_read_after_what_it_had_sent_before() {
    const COUNT: u64 = 300;
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let context = Context::new().unwrap();
        let old = Sender::new(&context, "Camera.Top");
        let options = quick().threads(threads).queue_messages(1).recv_hwm(1000);
        let (receiver, mut events) = start(options);
        assert!(receiver.add_sender(&old.service()).unwrap());
        old.bor();
        for number in 1..=COUNT {
            old.data([number]);
        }
        assert!(is_bor(&next(&mut events)));
        let new = Sender::new(&context, "Camera.Top");
        assert!(receiver.remove_sender(&old.service()));
        assert!(receiver.add_sender(&new.service()).unwrap());
        send_short_run(&new);
        for number in 1..=COUNT {
            assert_eq!(next_record(&mut events).sequence(), number);
        }
        assert!(matches!(next(&mut events), RunEvent::Substitute(_)));
        assert!(matches!(next(&mut events), RunEvent::Bor(bor) if bor.restarted));
        assert_eq!(next_record(&mut events).sequence(), 1);
        let end = next(&mut events);
        assert!(matches!(&end, RunEvent::Eor(eor) if eor.condition == RunCondition::GOOD));
        receiver.stop_receiving().unwrap();
    }
}

fn send_short_run(sender: &Sender) {
    sender.bor();
    sender.data([1]);
    sender.eor(1);
}

#[test]
fn a_receiver_restarted_in_a_run_tells_that_it_has_no_begin() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (receiver, mut events) = start(quick());
    receiver.add_sender(&sender.service()).unwrap();
    sender.bor();
    assert!(is_bor(&next(&mut events)));
    drop(receiver);
    assert!(matches!(events.recv_timeout(DEADLINE), Err(NoEvent::Ended)));
    sender.wait_until_alone();

    let (receiver, mut events) = start(quick());
    receiver.add_sender(&sender.service()).unwrap();
    sender.data([1, 2]);
    sender.eor(2);
    send_short_run(&sender);
    assert!(matches!(next(&mut events), RunEvent::Fault(fault) if fault.records == 2));
    assert!(matches!(next(&mut events), RunEvent::Fault(_)));
    assert!(is_bor(&next(&mut events)));
    assert_eq!(next_record(&mut events).sequence(), 1);
    assert!(matches!(next(&mut events), RunEvent::Eor(eor) if eor.condition == RunCondition::GOOD));
    assert_eq!(receiver.bytes_received(), 24);
}

#[test]
fn stopping_substitutes_the_ends_that_do_not_come() {
    let context = Context::new().unwrap();
    let senders = ["A.whole", "B.open", "C.gap"].map(|name| Sender::new(&context, name));
    let options = quick().senders(["A.whole", "B.open", "C.gap", "D.silent"]);
    let (receiver, mut events) = start(options.degraded(true));
    for sender in &senders {
        assert!(receiver.add_sender(&sender.service()).unwrap());
        sender.bor();
        assert!(is_bor(&next(&mut events)));
    }
    senders[0].eor(0);
    senders[1].data([1]);
    senders[2].data([2]);
    let error = receiver.stop_receiving().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no end of run from B.open, C.gap within 100ms"
    );
    let mut conditions: Vec<_> = events
        .filter_map(|event| match event {
            RunEvent::Eor(eor) | RunEvent::Substitute(eor) => {
                Some(format!("{} {}", eor.sender, eor.condition))
            }
            _ => None,
        })
        .collect();
    conditions.sort();
    assert_eq!(
        conditions,
        [
            "A.whole DEGRADED",
            "B.open ABORTED|DEGRADED",
            "C.gap INCOMPLETE|ABORTED|DEGRADED"
        ]
    );
    let states = receiver.states();
    assert_eq!(states["D.silent"].state, TransmitterState::NotConnected);
    assert_eq!(states["B.open"].state, TransmitterState::BorReceived);
    assert_eq!(states["C.gap"].missed, 1);
    let again = receiver.stop_receiving().unwrap_err();
    assert!(matches!(again, CdtpError::EorTimeout { senders, .. } if senders.len() == 2));
    let late = receiver.add_sender(&senders[0].service());
    assert!(matches!(late, Err(CdtpError::ReceiverStopped)));
}

#[test]
fn an_end_that_comes_while_stopping_ends_the_wait() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let options = ReceiverOptions::default().eor_timeout(10 * DEADLINE);
    let (receiver, mut events) = start(options);
    receiver.add_sender(&sender.service()).unwrap();
    sender.bor();
    assert!(is_bor(&next(&mut events)));
    receiver.request_stop();
    sender.data([1]);
    sender.eor(1);
    receiver.stop_receiving().unwrap();
    assert_eq!(events.count(), 2);
}

#[test]
fn an_end_that_cannot_come_is_not_waited_for() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let options = ReceiverOptions::default().eor_timeout(10 * DEADLINE);
    let (receiver, mut events) = start(options.remove_grace(Duration::ZERO));
    receiver.add_sender(&sender.service()).unwrap();
    sender.bor();
    assert!(is_bor(&next(&mut events)));
    assert!(receiver.remove_sender(&sender.service()));
    assert!(!receiver.remove_sender(&sender.service()));
    let started = Instant::now();
    assert!(receiver.stop_receiving().is_err());
    assert!(started.elapsed() < DEADLINE);
    assert!(matches!(next(&mut events), RunEvent::Substitute(_)));
}

#[test]
fn a_removed_sender_is_read_to_the_end_of_its_run() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (told, events) = mpsc::sync_channel(0);
    let handler = move |event| {
        let _ = told.send(event);
    };
    let receiver = DataReceiver::start(quick(), handler).unwrap();
    receiver.add_sender(&sender.service()).unwrap();
    sender.bor();
    assert!(is_bor(&events.recv_timeout(DEADLINE).unwrap()));
    for number in 1..=200 {
        sender.data([number]);
    }
    sender.eor(200);
    // It departs while the handler still has the first record.
    assert!(receiver.remove_sender(&sender.service()));
    let records = events
        .iter()
        .take(200)
        .filter(|event| matches!(event, RunEvent::Record(_)));
    assert_eq!(records.count(), 200);
    let end = events.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(end, RunEvent::Eor(eor) if eor.counts.missed == 0));
    receiver.stop_receiving().unwrap();
}

#[test]
fn a_sender_that_is_added_twice_has_one_connection() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (receiver, mut events) = start(quick().senders(["SPUTNIK.ONE"]));
    assert!(receiver.add_sender(&sender.service()).unwrap());
    assert!(!receiver.add_sender(&sender.service()).unwrap());
    assert!(!receiver.add_endpoint(&sender.endpoint).unwrap());
    let other = Sender::new(&context, "Other.one");
    assert!(!receiver.add_sender(&other.service()).unwrap());
    sender.bor();
    for number in 1..=50 {
        sender.data([number]);
    }
    assert!(is_bor(&next(&mut events)));
    for number in 1..=50 {
        let record = next_record(&mut events);
        assert_eq!(
            (record.sequence(), record.arrival()),
            (number, Arrival::InOrder)
        );
    }
    // A name that is listed in another case is the same sender, called as it calls itself.
    let names: Vec<_> = receiver.states().into_keys().collect();
    assert_eq!(names, ["Sputnik.One"]);
}

#[test]
fn a_slow_consumer_holds_up_the_sender_and_loses_nothing() {
    for options in [
        quick().recv_hwm(2).queue_messages(2),
        quick().recv_hwm(2).queue_bytes(0),
    ] {
        let context = Context::new().unwrap();
        let options = options.eor_timeout(DEADLINE);
        let (receiver, mut events) = start(options);
        let (ready, bound) = mpsc::channel();
        let thread = thread::spawn(move || {
            let socket = SocketOptions::default().send_hwm(2);
            let socket = context.socket(SocketKind::Push, &socket).unwrap();
            let any = Endpoint::tcp("127.0.0.1", 0).unwrap();
            let endpoint = socket.bind(&any).unwrap();
            ready.send(endpoint.clone()).unwrap();
            let sender = Sender {
                name: "Fast.one".to_owned(),
                socket,
                endpoint,
            };
            sender.bor();
            let block = vec![5; 1 << 20];
            let mut refused = 0;
            for number in 1..=60 {
                let record = DataRecord::new(number).with_block(&block);
                let kind = MessageKind::Data;
                let bytes = encode_message(&sender.name, kind, &[record], Encoding::Compact);
                let frame = Frame::from(bytes.unwrap());
                if let Err(acqbus::zsocket::TrySendError::Full(frame)) =
                    sender.socket.try_send(frame, false)
                {
                    refused += 1;
                    sender.socket.send(frame, false).unwrap();
                }
            }
            sender.eor(60);
            refused
        });
        receiver.add_endpoint(&bound.recv().unwrap()).unwrap();
        assert!(is_bor(&next(&mut events)));
        // Nothing is taken until all that fits on the way is there: then the sender has stopped.
        let mut before = 0;
        while receiver.stats().messages != before || before < 3 {
            before = receiver.stats().messages;
            thread::park_timeout(Duration::from_millis(50));
        }
        assert!(!thread.is_finished(), "60 MiB fit on the way");
        for number in 1..=60 {
            assert_eq!(next_record(&mut events).sequence(), number);
        }
        assert!(matches!(next(&mut events), RunEvent::Eor(eor) if eor.counts.missed == 0));
        assert!(thread.join().unwrap() > 0, "the sender was never refused");
        receiver.stop_receiving().unwrap();
    }
}

#[test]
fn many_senders_are_received_side_by_side_in_one_thread_and_in_many() {
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let context = Context::new().unwrap();
        let senders: Vec<_> = (0..80)
            .map(|index| Sender::new(&context, &format!("Many.s{index}")))
            .collect();
        let (receiver, mut events) = start(quick().threads(threads));
        for sender in &senders {
            receiver.add_sender(&sender.service()).unwrap();
        }
        senders.iter().for_each(Sender::bor);
        for start in [1, 4, 7] {
            senders
                .iter()
                .for_each(|sender| sender.data(start..start + 3));
        }
        senders.iter().for_each(|sender| sender.eor(9));
        let (mut records, mut ends) = (0, 0);
        while ends < senders.len() {
            match next(&mut events) {
                RunEvent::Record(record) => {
                    assert_eq!(record.arrival(), Arrival::InOrder);
                    records += 1;
                }
                RunEvent::Eor(eor) => {
                    assert_eq!(eor.condition, RunCondition::GOOD, "{}", eor.sender);
                    ends += 1;
                }
                event => assert!(is_bor(&event), "{event:?}"),
            }
        }
        assert_eq!(records, 9 * senders.len());
        senders[0].bor();
        assert!(is_bor(&next(&mut events)));
        let error = receiver.stop_receiving().unwrap_err();
        assert!(matches!(error, CdtpError::EorTimeout { senders, .. } if senders == ["Many.s0"]));
        assert!(matches!(next(&mut events), RunEvent::Substitute(_)));
        assert!(events.next().is_none());
    }
}

#[test]
fn records_that_are_kept_stay_as_they_were() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (receiver, mut events) = start(quick());
    receiver.add_endpoint(&sender.endpoint).unwrap();
    sender.bor();
    assert!(is_bor(&next(&mut events)));
    let mut kept = Vec::new();
    for number in 1..=500 {
        sender.data([number]);
        let record = next_record(&mut events);
        if number % 10 == 0 {
            kept.push(record);
        }
    }
    drop(receiver);
    drop(events);
    for (index, record) in kept.iter().enumerate() {
        let number = 10 * (index as u64 + 1);
        assert_eq!(record.sequence(), number);
        assert_eq!(record.blocks().next(), Some(&number.to_le_bytes()[..]));
    }
}

#[test]
fn a_receiver_is_dropped_at_once_though_nobody_reads() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let options = ReceiverOptions::default()
        .queue_messages(1)
        .eor_timeout(10 * DEADLINE);
    let (receiver, events) = start(options);
    receiver.add_endpoint(&sender.endpoint).unwrap();
    sender.bor();
    for number in 1..=20 {
        sender.data([number]);
    }
    let started = Instant::now();
    drop(receiver);
    assert!(started.elapsed() < DEADLINE);
    // What was taken before is still there, and no end is made up.
    assert!(
        events
            .into_iter()
            .all(|event| !matches!(event, RunEvent::Substitute(_)))
    );
}

#[test]
fn dropping_the_iterator_ends_the_receiving_and_says_so() {
    let context = Context::new().unwrap();
    let sender = Sender::new(&context, "Sputnik.One");
    let (receiver, events) = start(quick());
    receiver.add_endpoint(&sender.endpoint).unwrap();
    drop(events);
    sender.bor();
    let until = Instant::now() + DEADLINE;
    let error = loop {
        match receiver.check_error() {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < until, "no failure is told"),
        }
        thread::yield_now();
    };
    assert!(matches!(error, CdtpError::NobodyListens), "{error}");
}

#[test]
fn a_handler_that_panics_or_stops_its_own_receiver_is_told_so() {
    for threads in [ReceiveThreads::One, ReceiveThreads::PerSender] {
        let context = Context::new().unwrap();
        let sender = Sender::new(&context, "Sputnik.One");
        let (give, take) = mpsc::channel::<std::sync::Arc<DataReceiver>>();
        let (told, answer) = mpsc::channel();
        let handler = move |event: RunEvent| {
            if let Ok(receiver) = take.try_recv() {
                told.send(receiver.stop_receiving()).unwrap();
                assert!(is_bor(&event));
                // Not the last handle, so this drop waits for nothing.
                drop(receiver);
                panic!("the handler of a test");
            }
        };
        let receiver = DataReceiver::start(quick().threads(threads), handler).unwrap();
        let receiver = std::sync::Arc::new(receiver);
        give.send(receiver.clone()).unwrap();
        receiver.add_endpoint(&sender.endpoint).unwrap();
        sender.bor();
        let inside = answer.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(inside, Err(CdtpError::StopFromHandler)));
        let outside = receiver.stop_receiving();
        assert!(
            matches!(outside, Err(CdtpError::HandlerPanicked)),
            "{outside:?}"
        );
    }
}

#[test]
fn what_a_transmitter_sends_comes_out_byte_for_byte() {
    for threshold in [0, 128] {
        let options = TransmitterOptions::default().payload_threshold_kib(threshold);
        let any = Endpoint::tcp("127.0.0.1", 0).unwrap();
        let transmitter = DataTransmitter::bind("Camera.Top", &any, options).unwrap();
        let (receiver, mut events) = start(quick());
        receiver.add_endpoint(transmitter.endpoint()).unwrap();
        let sizes = [0, 1, 31, 64, 255, 256, 65_535, 65_536, 300_000, 8 << 20];
        let image = |size: usize| -> Vec<u8> { (0..size).map(|at| (at % 251) as u8).collect() };
        let sending = thread::spawn(move || {
            let run = Run::begin(&transmitter, RunStart::new("run_1")).unwrap();
            for size in sizes {
                let record = run
                    .new_data_record()
                    .with_tags(Tags::new().with("size", size as i64));
                let record = record.with_block(image(size)).with_block(b"end");
                run.send_data_record(record).unwrap();
            }
            // A number that is drawn and not sent is a record that is missing.
            let _ = run.new_data_record();
            run.finish(RunCondition::GOOD).unwrap();
        });
        assert!(is_bor(&next(&mut events)));
        for (index, size) in sizes.into_iter().enumerate() {
            let record = next_record(&mut events);
            assert_eq!(record.sequence(), index as u64 + 1);
            assert_eq!(record.tags(), Tags::new().with("size", size as i64));
            let blocks: Vec<_> = record.blocks().collect();
            assert!(blocks == [&image(size)[..], b"end"], "{size} bytes");
        }
        let last = sizes.len() as u64 + 1;
        assert!(matches!(next(&mut events), RunEvent::Lost(lost) if lost.first == last));
        let RunEvent::Eor(eor) = next(&mut events) else {
            panic!("no end");
        };
        assert_eq!(eor.condition, RunCondition::INCOMPLETE);
        assert_eq!((eor.counts.records, eor.counts.missed), (last - 1, 1));
        sending.join().unwrap();
        receiver.stop_receiving().unwrap();
    }
}
