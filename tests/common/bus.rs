//! A bus in a test: services on free ports, raw peers, and waiting with a deadline.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ClientOptions, CommandRequest, CommandResponse, Message, Notice, RemoteClient, RpcOptions,
    RpcService, Subscription, Topic,
};
use acqbus::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions};
use serde_json::Value;

/// How long a test waits for what must come; only a failing test waits so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// How long a test waits for what must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

pub(crate) fn options() -> RpcOptions {
    RpcOptions::default()
        .identifier("rig")
        .any_port()
        .linger(Duration::from_millis(500))
}

pub(crate) fn launch(options: RpcOptions) -> RpcService {
    RpcService::launch(options).unwrap()
}

/// A service on free ports whose delegate answers SUCCESS with the data of the request.
pub(crate) fn echo() -> RpcService {
    let service = launch(options());
    service.set_delegate(echo_delegate);
    service
}

pub(crate) fn echo_delegate(request: &CommandRequest) -> CommandResponse {
    CommandResponse::success().with_data(request.data())
}

pub(crate) fn client_options(service: &RpcService) -> ClientOptions {
    ClientOptions::default()
        .ports(service.subscriber_port(), service.command_port())
        .timeout(LIMIT)
}

pub(crate) fn client(service: &RpcService) -> RemoteClient {
    RemoteClient::connect(client_options(service)).unwrap()
}

pub(crate) fn port(port: u16) -> Endpoint {
    Endpoint::tcp("127.0.0.1", port).unwrap()
}

pub(crate) fn raw_options() -> SocketOptions {
    SocketOptions::default()
        .recv_timeout(Some(LIMIT))
        .send_timeout(Some(LIMIT))
        .reconnect_interval(Duration::from_millis(10))
        .linger(Some(Duration::ZERO))
}

pub(crate) fn raw(kind: SocketKind, options: &SocketOptions) -> Socket {
    Context::new().unwrap().socket(kind, options).unwrap()
}

pub(crate) fn connected(kind: SocketKind, port_number: u16) -> Socket {
    let socket = raw(kind, &raw_options());
    socket.connect(&port(port_number)).unwrap();
    socket
}

pub(crate) fn bound(kind: SocketKind) -> (Socket, u16) {
    let socket = raw(kind, &raw_options());
    let endpoint = socket.bind(&port(0)).unwrap();
    (socket, endpoint.port().unwrap())
}

/// Sends a message of these frames.
pub(crate) fn send_frames(socket: &Socket, frames: &[impl AsRef<[u8]>]) {
    for (index, frame) in frames.iter().enumerate() {
        let more = index + 1 < frames.len();
        socket.send_bytes(frame.as_ref(), more).unwrap();
    }
}

/// The next message, within [`LIMIT`].
pub(crate) fn recv_frames(socket: &Socket) -> Vec<Frame> {
    let message = socket.recv_message(1000).unwrap();
    message.expect("a message came in time").frames
}

/// The next message, or `None` when nothing comes for a while.
pub(crate) fn recv_within(socket: &Socket, limit: Duration) -> Option<Vec<Frame>> {
    socket.set_recv_timeout(Some(limit)).unwrap();
    let message = socket.recv_message(1000).unwrap();
    socket.set_recv_timeout(Some(LIMIT)).unwrap();
    message.map(|message| message.frames)
}

/// Asks over a REQ socket, in bytes; gives the reply as JSON.
pub(crate) fn ask(requester: &Socket, body: impl AsRef<[u8]>) -> Value {
    requester.send_bytes(body.as_ref(), false).unwrap();
    let reply = recv_frames(requester);
    assert_eq!(reply.len(), 1, "a reply is one frame");
    serde_json::from_slice(&reply[0]).unwrap()
}

/// A raw subscriber that a service of ours has heard: its first heartbeat came.
pub(crate) fn subscriber(service: &RpcService, topics: &[Topic]) -> Socket {
    let socket = raw(SocketKind::Sub, &raw_options().recv_hwm(0));
    follow(&socket, service, topics);
    socket
}

pub(crate) fn follow(socket: &Socket, service: &RpcService, topics: &[Topic]) {
    for topic in topics {
        socket.subscribe(&topic.to_bytes()).unwrap();
    }
    socket.subscribe(&Topic::HEARTBEAT.to_bytes()).unwrap();
    socket.connect(&port(service.subscriber_port())).unwrap();
    assert_eq!(recv_message(socket).topic, Topic::HEARTBEAT);
}

/// The next message of a raw subscriber.
pub(crate) fn recv_message(socket: &Socket) -> Message {
    Message::from_frames(&recv_frames(socket)).unwrap()
}

/// The next message that is no heartbeat.
pub(crate) fn recv_published(socket: &Socket) -> Message {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let message = recv_message(socket);
        if message.topic != Topic::HEARTBEAT {
            return message;
        }
    }
    panic!("heartbeats only");
}

/// The next notice that `wanted` takes; the others are dropped.
pub(crate) fn until<T>(
    subscription: &Subscription,
    mut wanted: impl FnMut(&Notice) -> Option<T>,
) -> T {
    let deadline = Instant::now() + LIMIT;
    let mut passed = Vec::new();
    while let Some(notice) = subscription.recv_deadline(deadline) {
        if let Some(found) = wanted(&notice) {
            return found;
        }
        passed.push(notice);
    }
    panic!("the notice did not come; these did: {passed:?}");
}

pub(crate) fn until_connected(subscription: &Subscription) {
    until(subscription, |notice| {
        matches!(notice, Notice::Connected { .. }).then_some(())
    });
}

/// Looks again and again until `holds`, for at most [`LIMIT`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a thread of this name sleeps in the system, seen twice in a row: it waits for what does not come.
///
/// Where the system does not tell (other than Linux), it returns at once.
pub(crate) fn until_asleep(name: &str) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let of_thread = format!("({name}) S ");
    let mut before = false;
    eventually(&format!("{name} sleeps"), || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let asleep = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
            .any(|stat| stat.contains(&of_thread));
        std::mem::replace(&mut before, asleep) && asleep
    });
}

/// Runs `work` on another thread; fails when it takes longer than [`LIMIT`].
pub(crate) fn in_time<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let thread = std::thread::spawn(move || {
        let _ = sender.send(work());
    });
    match receiver.recv_timeout(LIMIT) {
        Ok(value) => {
            thread.join().unwrap();
            value
        }
        Err(crossbeam_channel::RecvTimeoutError::Timeout) => panic!("not in time: {what}"),
        Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

/// A port that is free, below those that systems give to whoever asks for any: nobody takes it by chance.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Far apart in test programs that run at the same time.
        let number = std::process::id()
            .wrapping_mul(61)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a message as a service does.
pub(crate) fn publish(publisher: &Socket, topic: Topic, body: &str) {
    send_frames(publisher, &[&topic.to_bytes()[..], body.as_bytes()]);
}

/// Sends a heartbeat as a service of ours does; `events` is the last number of topic EVENT.
pub(crate) fn heartbeat(publisher: &Socket, epoch: u64, sequence: u64, events: u64) {
    let body = format!(
        r#"{{"identifier": "fake", "version": "1", "timestamp": 1.5, "sequences": {{"4001": {events}}}, "epoch": {epoch}, "sequence": {sequence}}}"#
    );
    publish(publisher, Topic::HEARTBEAT, &body);
}
