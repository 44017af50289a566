//! What a transmitter puts on the wire, and how it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use acqbus::cdtp::{
    DataTransmitter, DecodeLimits, MessageKind, MessageView, Tags, TransmitterOptions,
};
use acqbus::zsocket::{Frame, Socket, SocketKind};
use serde_json::Value as Json;

use crate::common::bus::{
    LIMIT, QUIET, eventually, port, raw, raw_options, recv_frames, recv_within,
};
use crate::common::{items, text};
use crate::messages::hex;
use crate::typed::tags;
use crate::{Difference, Report};

pub(crate) fn run_transmitter(file: &Json, report: &mut Report) {
    for run in items(file, "runs") {
        report.ran();
        send_run(text(run, "name"), run, report);
    }
    for failure in items(file, "failures") {
        report.ran();
        Failing::new(failure).run(text(failure, "name"), failure, report);
    }
}

fn send_run(case: &str, run: &Json, report: &mut Report) {
    let peers = items(run, "messages");
    let ops = items(run, "ops");
    let waits = ops.iter().any(|op| text(op, "op") == "wait");
    let mut options = TransmitterOptions::default()
        .timeouts(Some(LIMIT))
        .payload_threshold_kib(number(&run["payload_threshold_kib"]) as u32)
        .transmission_disabled(run["transmission_disabled"] == true);
    if !waits {
        // The grouping is exact only without the timer.
        options = options.flush_interval(Duration::from_secs(3600));
    }
    let transmitter = DataTransmitter::bind(text(run, "sender"), &port(0), options).unwrap();
    let socket = raw(SocketKind::Pull, &raw_options());
    socket.connect(transmitter.endpoint()).unwrap();

    let mut states = vec![transmitter.state().to_string()];
    let mut ours = Vec::new();
    let (user, configuration) = pair(peers.first());
    transmitter.send_bor(&user, &configuration).unwrap();
    states.push(transmitter.state().to_string());
    transmitter.start_sending().unwrap();
    let tags = tags_by_number(peers);
    for op in ops {
        match text(op, "op") {
            "record" => {
                let mut record = transmitter.new_data_record();
                let fill = record.sequence() as u8;
                for len in items(op, "blocks") {
                    record.add_block(vec![fill; number(len) as usize]);
                }
                if let Some(tags) = tags.get(&record.sequence()) {
                    record = record.with_tags(tags);
                }
                transmitter.send_data_record(record).unwrap();
            }
            "drop" => drop(transmitter.new_data_record()),
            "wait" => ours.extend(until_data(&socket)),
            other => report.wrong(case, &format!("no operation {other}")),
        }
    }
    transmitter.stop_sending();
    let (user, metadata) = pair(peers.last());
    transmitter.send_eor(&user, &metadata).unwrap();
    states.push(transmitter.state().to_string());

    let disabled = transmitter.options().transmission_disabled;
    while !disabled && !ours.last().is_some_and(is_eor) {
        ours.extend(recv_frames(&socket));
    }
    report.check(case, recv_within(&socket, QUIET).map(|_| ()), None);
    let expected: Vec<_> = items(run, "states")
        .iter()
        .filter_map(Json::as_str)
        .collect();
    report.check(case, states.iter().map(String::as_str).collect(), expected);
    for (what, ours) in [
        ("sequence_number", transmitter.sequence_number()),
        ("records_transmitted", transmitter.records_transmitted()),
        ("bytes_transmitted", transmitter.bytes_transmitted()),
    ] {
        report.check(case, Some(ours), run[what].as_u64());
    }
    if waits && ours.len() != peers.len() {
        report.differs(case, Difference::TimerWithoutPayload);
        let count = |frame: &Frame| view(frame).record_count();
        let peers = peers.iter().map(|message| items(message, "records").len());
        report.check(case, ours.iter().map(count).sum::<usize>(), peers.sum());
        return;
    }
    report.check(case, ours.len(), peers.len());
    for (ours, peers) in ours.iter().zip(peers) {
        compare(case, ours, peers, report);
    }
}

fn compare(case: &str, ours: &Frame, peers: &Json, report: &mut Report) {
    if let Some(bytes) = peers["hex"].as_str() {
        report.check(case, hex(ours), bytes.to_owned());
    }
    let message = view(ours);
    report.check(
        case,
        message.kind().to_string(),
        text(peers, "type").to_owned(),
    );
    report.check(
        case,
        Some(message.payload_bytes()),
        peers["payload_bytes"].as_u64(),
    );
    let ours: Vec<_> = message
        .records()
        .map(|record| {
            let sizes: Vec<_> = record.blocks().map(|block| block.len() as u64).collect();
            (record.sequence().to_string(), record.tags(), sizes)
        })
        .collect();
    let peers = items(peers, "records").iter().map(|record| {
        let sizes = items(record, "block_sizes").iter().map(number).collect();
        (text(record, "seq").to_owned(), tags(&record["tags"]), sizes)
    });
    report.check(case, ours, peers.collect());
}

/// One of the stories of a transmitter that fails; the times are a third of the peer's.
struct Failing {
    transmitter: DataTransmitter,
    socket: Option<Socket>,
    failures: Arc<AtomicUsize>,
}

impl Failing {
    fn new(story: &Json) -> Self {
        let all = story.to_string();
        let seconds = |before: &str| {
            let (_, rest) = all.split_once(before)?;
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[..digits].parse::<u64>().ok()
        };
        let limit = |seconds: Option<u64>| {
            let shorter = |seconds: u64| Duration::from_millis(seconds * 333);
            Some(seconds.map_or(LIMIT, shorter))
        };
        let failures = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&failures);
        let options = TransmitterOptions::default()
            .bor_timeout(limit(seconds("Timed out sending BOR after ")))
            .eor_timeout(limit(seconds("Timed out sending EOR after ")))
            .data_timeout(limit(seconds("Failed sending DATA message after ")))
            .queue_size(seconds("queue_size ").unwrap_or(32_768) as usize)
            .payload_threshold_kib(0)
            .linger(QUIET)
            .on_failure(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            });
        let transmitter = DataTransmitter::bind("Failing.a", &port(0), options).unwrap();
        let socket = (!all.contains("no receiver")).then(|| {
            let socket = raw(SocketKind::Pull, &raw_options());
            socket.connect(transmitter.endpoint()).unwrap();
            socket
        });
        Self {
            transmitter,
            socket,
            failures,
        }
    }

    fn run(&mut self, case: &str, story: &Json, report: &mut Report) {
        for step in items(story, "steps") {
            let what = text(step, "step");
            let case = format!("{case}: {what}");
            if what.contains("receiver gone") || what.contains("push thread blocked") {
                self.desert();
            }
            let begin = Instant::now();
            let failed = self.take(what, &case, report);
            if step["seconds_rounded"] == 0.0 {
                report.check(&case, begin.elapsed() < LIMIT / 2, true);
            }
            if let Some(failed) = failed {
                report.check(&case, failed, !step["error"].is_null());
            }
            let state = self.transmitter.state().to_string();
            report.check(&case, state.as_str(), text(step, "state"));
        }
        let texts = items(story, "failure_callback_texts").len();
        eventually("the failure callback", || {
            self.failures.load(Ordering::SeqCst) == texts
        });
        let transmitter = &self.transmitter;
        report.check(
            case,
            Some(transmitter.sequence_number()),
            story["sequence_number"].as_u64(),
        );
        report.check(
            case,
            Some(transmitter.bytes_transmitted()),
            story["bytes_transmitted"].as_u64(),
        );
    }

    /// Does a step; tells whether it failed, where it can.
    fn take(&self, what: &str, case: &str, report: &mut Report) -> Option<bool> {
        let none = Tags::new();
        let transmitter = &self.transmitter;
        let verb = what.split([' ', ',']).next().unwrap_or_default();
        match verb {
            "send_bor" => {
                let sent = transmitter.send_bor(&none, &none);
                if sent.is_ok() && !what.contains("next run") {
                    transmitter.start_sending().unwrap();
                }
                Some(sent.is_err())
            }
            "send_eor" => Some(transmitter.send_eor(&none, &none).is_err()),
            "start_sending" => Some(transmitter.start_sending().is_err()),
            "stop_sending" => {
                transmitter.stop_sending();
                Some(false)
            }
            "send_data_record" => {
                let record = transmitter.new_data_record().with_block(vec![1; 10]);
                let refused = transmitter.try_send_data_record(record).is_err();
                if transmitter.sequence_number() == 1 {
                    eventually("the first record is in the hands of the socket", || {
                        transmitter.stats().records_waiting == 0
                    });
                }
                Some(refused)
            }
            "check_exception" => {
                eventually("an error", || transmitter.check_error().is_err());
                Some(true)
            }
            "can_send_record" => {
                let expected = what.ends_with("True");
                report.check(case, transmitter.can_send_record(), expected);
                None
            }
            "sequence_number" => {
                let number = transmitter.sequence_number();
                let expected = what.starts_with(&format!("sequence_number {number}"));
                report.check(case, expected, true);
                None
            }
            "numbers" => {
                let expected = what.ends_with(&format!(": {}", transmitter.sequence_number()));
                report.check(case, expected, true);
                None
            }
            other => {
                report.wrong(case, &format!("no step {other}"));
                None
            }
        }
    }

    /// Takes the receiver away, and waits until libzmq has noticed: until a record stays.
    fn desert(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        drop(socket);
        let transmitter = &self.transmitter;
        transmitter.stop_sending_timeout(QUIET);
        eventually("the receiver is gone", || {
            transmitter.start_sending().unwrap();
            let record = transmitter.new_data_record();
            transmitter.send_data_record(record).unwrap();
            !transmitter.stop_sending_timeout(QUIET / 4)
        });
        transmitter.start_sending().unwrap();
    }
}

/// All messages up to the one that the timer sends, without waiting for a fixed time.
fn until_data(socket: &Socket) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !frames
        .last()
        .is_some_and(|frame| view(frame).kind() == MessageKind::Data)
    {
        frames.extend(recv_frames(socket));
    }
    frames
}

fn view(frame: &Frame) -> MessageView<'_> {
    MessageView::decode(frame, &DecodeLimits::default()).expect("our own message")
}

fn is_eor(frame: &Frame) -> bool {
    view(frame).kind() == MessageKind::Eor
}

/// Both maps of a BOR or EOR.
fn pair(message: Option<&Json>) -> (Tags, Tags) {
    let of = |index: usize| {
        let records = message.map_or(&[][..], |message| items(message, "records"));
        records
            .get(index)
            .map_or_else(Tags::new, |record| tags(&record["tags"]))
    };
    (of(0), of(1))
}

fn tags_by_number(messages: &[Json]) -> BTreeMap<u64, Tags> {
    let data = messages.iter().filter(|message| message["type"] == "DATA");
    data.flat_map(|message| items(message, "records"))
        .filter_map(|record| {
            let number = text(record, "seq").parse().ok()?;
            Some((number, tags(&record["tags"])))
        })
        .collect()
}

fn number(value: &Json) -> u64 {
    value.as_u64().expect("a number")
}
