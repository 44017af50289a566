//! Recorded conversations with the server's part played to our client: it says the same bytes, and tells its user the same.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use acqbus::event::{Event, QueryResult, Subscription};
use acqbus::eventer::chatter::Frame;
use acqbus::eventer::message::Message;
use acqbus::eventer::{ClientOptions, EventerClient, EventerError, Notice, Token};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;

use crate::Report;
use crate::common::{items, text, unhex};
use crate::frames::payload;

pub(crate) fn run_exchanges(vectors: &Value, report: &mut Report) {
    for case in items(vectors, "cases") {
        let ping_after = case["client_ping_delay_s"].as_f64().unwrap_or(20.0);
        for connection in items(case, "connections") {
            report.ran();
            let name = format!("{}, {}", text(case, "name"), connection["client_name"]);
            let frames: Vec<_> = items(connection, "frames")
                .iter()
                .map(Recorded::of)
                .collect();
            play(&name, Duration::from_secs_f64(ping_after), &frames, report);
        }
    }
}

/// One frame of the record.
#[derive(Clone)]
struct Recorded {
    of_client: bool,
    bytes: Vec<u8>,
    first: i64,
    last: bool,
    /// `None` for pings and pongs.
    message: Option<Message>,
}

impl Recorded {
    fn of(recorded: &Value) -> Self {
        let bytes = unhex(text(recorded, "frame"));
        let frame = Frame::decode(payload(&bytes)).expect("`exchanges.rs` reads it");
        Self {
            of_client: text(recorded, "dir") == "c2s",
            first: frame.first,
            last: frame.last,
            message: Message::decode(frame.kind, frame.data).ok(),
            bytes,
        }
    }
}

/// What a call of the client came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Registered(Vec<Arc<Event>>),
    NotRegistered,
    Unanswered,
    Answered(QueryResult),
    Failed(String),
}

fn play(name: &str, ping_after: Duration, frames: &[Recorded], report: &mut Report) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, hears) = unbounded();
    // It ends when all was said, and the client has nothing more to say.
    let (enough, is_enough) = bounded::<()>(0);
    let script = frames.to_vec();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        serve(stream, &script, &heard, &is_enough);
    });

    let Some(Message::InitReq(greeting)) = &frames[0].message else {
        return report.wrong(name, "it does not begin with a greeting");
    };
    let options = ClientOptions::new(address)
        .name(greeting.client_name.as_str())
        .token(greeting.client_token.clone().map(Token::new))
        .subscription(Subscription::new(greeting.subscriptions.iter().cloned()).unwrap())
        .server_id(greeting.server_id)
        .persisted(greeting.persisted)
        .keep_alive(ping_after, Duration::from_secs(20))
        .reconnect(false);
    let client = EventerClient::connect(options).expect("the server lets it in");
    let said = hears.recv().unwrap();
    report.check(name, said, frames[0].bytes.clone());

    let outcomes: Vec<_> = thread::scope(|scope| {
        let mut calls = Vec::new();
        for frame in frames[1..].iter().filter(|frame| frame.of_client) {
            if let Some(request @ (Message::RegisterReq(_) | Message::QueryReq(_))) = &frame.message
            {
                let (client, request, last) = (&client, request.clone(), frame.last);
                calls.push((frame, scope.spawn(move || call(client, request, last))));
            }
            // The next one when this one is there, as in the record.
            let Ok(said) = hears.recv_timeout(Duration::from_secs(20)) else {
                report.wrong(name, "the client does not say what it did");
                break;
            };
            report.check(name, said, frame.bytes.clone());
        }
        let outcome = |(frame, call): (&Recorded, thread::ScopedJoinHandle<'_, Outcome>)| {
            (frame.clone(), call.join().unwrap())
        };
        calls.into_iter().map(outcome).collect()
    });
    for (frame, outcome) in outcomes {
        report.check(name, outcome, expected_outcome(&frame, frames));
    }
    let expected: Vec<_> = frames.iter().filter_map(notice).collect();
    let notices = client.notices().iter().take(expected.len());
    report.check(name, notices.collect(), expected);
    drop(enough);
    server.join().unwrap();
}

/// Says what the server said; what the client says at those places goes to `heard`.
fn serve(
    mut stream: TcpStream,
    script: &[Recorded],
    heard: &Sender<Vec<u8>>,
    is_enough: &Receiver<()>,
) {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for frame in script {
        if frame.of_client {
            let mut said = vec![0; frame.bytes.len()];
            stream.read_exact(&mut said).expect("the client says it");
            heard.send(said).unwrap();
        } else {
            stream.write_all(&frame.bytes).unwrap();
        }
    }
    let _ = is_enough.recv();
}

fn call(client: &EventerClient, request: Message, last: bool) -> Outcome {
    let outcome = match request {
        Message::RegisterReq(events) if last => client
            .register_unanswered(events)
            .map(|()| Outcome::Unanswered),
        Message::RegisterReq(events) => client.register(events).map(Outcome::Registered),
        Message::QueryReq(params) => client.query(&params).map(Outcome::Answered),
        _ => Err(EventerError::Closed { what: "test" }),
    };
    outcome.unwrap_or_else(|error| match error {
        EventerError::NotRegistered { .. } => Outcome::NotRegistered,
        error => Outcome::Failed(error.to_string()),
    })
}

fn expected_outcome(request: &Recorded, frames: &[Recorded]) -> Outcome {
    let answer = frames.iter().find_map(|frame| match &frame.message {
        Some(Message::RegisterRes(Some(events))) if frame.first == request.first => {
            Some(Outcome::Registered(events.clone()))
        }
        Some(Message::RegisterRes(None)) if frame.first == request.first => {
            Some(Outcome::NotRegistered)
        }
        Some(Message::QueryRes(result)) if frame.first == request.first => {
            Some(Outcome::Answered(result.clone()))
        }
        _ => None,
    });
    answer.unwrap_or(Outcome::Unanswered)
}

fn notice(frame: &Recorded) -> Option<Notice> {
    match frame.message.clone()? {
        Message::InitRes(Ok(status)) => Some(Notice::Connected { status }),
        Message::StatusNotify(status) => Some(Notice::Status(status)),
        Message::EventsNotify(events) => Some(Notice::Events(events)),
        _ => None,
    }
}
