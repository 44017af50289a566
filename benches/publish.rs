//! The call that publishes an event beside a bare send, and the bytes of events.
//!
//! `acqbus bench rpc` measures the same in turns, with percentiles and targets.

use acqbus::rpc::{
    Dialect, Event, EventKind, Message, RpcOptions, RpcService, Topic, append_extras, json,
};
use acqbus::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions, ZsocketError};
use divan::{Bencher, black_box};
use serde::Serialize;

fn main() {
    divan::main();
}

// Fewer calls in all than the queue holds, so that none is refused.
#[divan::bench(sample_count = 60, sample_size = 1000)]
fn send_event(bencher: Bencher<'_, '_>) {
    let options = RpcOptions::default().any_port().send_hwm(0);
    let service = RpcService::launch(options).expect("ports are free");
    let endpoint = Endpoint::tcp("127.0.0.1", service.subscriber_port()).expect("an address");
    subscriber(&endpoint).expect("descriptors are left");
    let event = event();
    bencher.bench_local(|| {
        service
            .send_event(black_box(&event))
            .expect("the queue has room")
    });
}

#[divan::bench(sample_count = 60, sample_size = 1000)]
fn send_raw(bencher: Bencher<'_, '_>) {
    let context = Context::new().expect("descriptors are left");
    let publisher = context
        .socket(SocketKind::Pub, &SocketOptions::default().send_hwm(0))
        .expect("descriptors are left");
    let any = Endpoint::tcp("127.0.0.1", 0).expect("an address");
    let endpoint = publisher.bind(&any).expect("a port is free");
    subscriber(&endpoint).expect("descriptors are left");
    let (topic, body) = (Topic::EVENT.to_bytes(), body());
    bencher.bench_local(|| {
        publisher.send_bytes(&topic, true)?;
        publisher.send_bytes(&body, false)
    });
}

#[divan::bench]
fn event_bytes(bencher: Bencher<'_, '_>) {
    let event = event();
    let mut out = Vec::with_capacity(512);
    bencher.bench_local(|| {
        out.clear();
        json::to_camel_json(black_box(&event), &mut out)
    });
}

#[divan::bench]
fn message_read(bencher: Bencher<'_, '_>) {
    let (topic, body) = (Topic::EVENT.to_bytes(), body());
    bencher.bench(|| Message::decode(black_box(&topic), black_box(&body[..])));
}

/// A subscriber of events and the thread that takes them; both end with the process.
fn subscriber(endpoint: &Endpoint) -> Result<(), ZsocketError> {
    let socket: Socket =
        Context::new()?.socket(SocketKind::Sub, &SocketOptions::default().recv_hwm(0))?;
    socket.subscribe(&Topic::EVENT.to_bytes())?;
    socket.connect(endpoint)?;
    std::thread::spawn(move || {
        let mut frame = Frame::new();
        while let Ok(true) = socket.recv_into(&mut frame) {}
    });
    Ok(())
}

#[derive(Serialize)]
struct Context200 {
    session_id: &'static str,
    trial_id: i64,
    batch_id: Option<&'static str>,
    location: &'static str,
}

/// An event of 200 bytes.
fn event() -> Event<Context200> {
    let event = Event::new(
        EventKind::TrialStarted,
        1_735_787_045.5,
        1_000_000_000_000_000_000,
    );
    event.with_context(Context200 {
        session_id: "S20250102_001",
        trial_id: 42,
        batch_id: None,
        location: "/data/20250102/session_001/tri",
    })
}

/// The same as the service puts it on the wire.
fn body() -> Vec<u8> {
    let mut body = Vec::new();
    json::to_camel_json(&event(), &mut body).expect("serialisable");
    append_extras(&mut body, 1_735_787_045_500_000, 123_456, Dialect::Plain);
    body
}
