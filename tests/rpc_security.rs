//! A service with keys over real sockets: who is let in, who may do what, and the end of a right.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, CommandResult, History,
    HistoryPage, HistoryRequest, HistoryStart, Notice, RemoteClient, RpcError, RpcOptions,
    RpcService, Subscription, Topic, Verdict,
};
use acqbus::zsocket::{
    ClientKeys, CurveKeyPair, KeyRing, MonitorEvent, PublicKey, Role, Socket, SocketKind,
    SocketSecurity,
};
use serde_json::json;
use tempfile::TempDir;

use common::bus::{
    LIMIT, QUIET, client_options, eventually, launch, options, port, raw, raw_options, recv_within,
    send_frames, until, until_connected,
};
use common::zmtp::greeting;

/// A service with keys, whose delegate counts what it runs and notes who asked.
struct Rig {
    service: RpcService,
    ring: KeyRing,
    runs: Arc<AtomicU32>,
    users: Arc<Mutex<BTreeSet<String>>>,
    _folder: TempDir,
}

impl Rig {
    fn start(options: RpcOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::create(folder.path().join("keys")).unwrap();
        let service = launch(options.keys(ring.directory()));
        let (runs, users) = (Arc::new(AtomicU32::new(0)), Arc::default());
        let (counted, noted) = (Arc::clone(&runs), Arc::<Mutex<BTreeSet<_>>>::clone(&users));
        service.set_delegate(move |request: &CommandRequest| {
            counted.fetch_add(1, Ordering::Relaxed);
            let user = request.user().unwrap_or("nobody").to_owned();
            noted.lock().unwrap().insert(user.clone());
            CommandResponse::success().with_data(&user)
        });
        Self {
            service,
            ring,
            runs,
            users,
            _folder: folder,
        }
    }

    fn add(&mut self, name: &str, role: Role) -> ClientKeys {
        ClientKeys::load(self.file(name, role)).unwrap()
    }

    fn file(&mut self, name: &str, role: Role) -> PathBuf {
        self.ring.add(name, role).unwrap()
    }

    /// A client that the service lets in; waits until the new key is known there.
    fn client(&self, keys: ClientKeys) -> RemoteClient {
        let known = self.options().timeout(Duration::from_millis(200));
        eventually("the key is known", || {
            let client = RemoteClient::connect(known.clone().keys(keys.clone())).unwrap();
            client.request(ApiCommand::None, &()).is_ok()
        });
        let client = RemoteClient::connect(self.options().keys(keys)).unwrap();
        assert!(client.request(ApiCommand::None, &()).unwrap().is_success());
        client
    }

    fn options(&self) -> ClientOptions {
        client_options(&self.service)
            .timeout(Duration::from_secs(5))
            .retries(0)
    }

    fn server_key(&self) -> PublicKey {
        self.ring.server().public()
    }

    fn raw(&self, kind: SocketKind, security: SocketSecurity) -> Socket {
        let socket = raw(kind, &raw_options().security(security));
        socket.monitor().unwrap();
        if kind == SocketKind::Sub {
            socket.subscribe(b"").unwrap();
            socket
                .connect(&port(self.service.subscriber_port()))
                .unwrap();
        } else {
            socket.connect(&port(self.service.command_port())).unwrap();
        }
        socket
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }
}

fn as_client(keys: CurveKeyPair, server: PublicKey) -> SocketSecurity {
    SocketSecurity::CurveClient { keys, server }
}

fn until_handshake_failed(socket: &Socket) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match socket.monitor().unwrap().next_event(Some(left)).unwrap() {
            Some(MonitorEvent::HandshakeFailed(_)) => return,
            Some(MonitorEvent::HandshakeSucceeded) => panic!("the service lets it in"),
            Some(_) => {}
            None => panic!("no end of the handshake in time"),
        }
    }
}

#[test]
fn strangers_run_no_command_and_see_no_event() {
    let mut rig = Rig::start(options());
    let revoked = rig.add("eve", Role::Admin);
    rig.client(revoked.clone());
    rig.ring.revoke("eve").unwrap();
    eventually("the key is revoked", || {
        let options = rig.options().timeout(Duration::from_millis(200));
        let client = RemoteClient::connect(options.keys(revoked.clone())).unwrap();
        client.request(ApiCommand::None, &()).is_err()
    });
    let known = rig.add("ada", Role::Operator);
    let ada = rig.client(known.clone());
    let watching = ada.subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&watching);

    let strange = || CurveKeyPair::generate().unwrap();
    let kinds = [
        ("no mechanism", SocketSecurity::Null),
        (
            "wrong server key",
            as_client(known.keys.clone(), strange().public()),
        ),
        ("unknown", as_client(strange(), rig.server_key())),
        ("revoked", as_client(revoked.keys.clone(), rig.server_key())),
        (
            "own server key",
            as_client(rig.ring.server().clone(), rig.server_key()),
        ),
    ];
    let mut sockets = Vec::new();
    for (name, security) in kinds {
        let asking = rig.raw(SocketKind::Dealer, security.clone());
        send_frames(&asking, &[&b""[..], br#"{"command": 200, "nonce": 1}"#]);
        until_handshake_failed(&asking);
        let listening = rig.raw(SocketKind::Sub, security);
        until_handshake_failed(&listening);
        sockets.push((name, asking, listening));
    }
    for _ in 0..10 {
        rig.service.send_string(Topic::EVENT, "secret").unwrap();
        until(&watching, |notice| {
            matches!(notice, Notice::Message(_)).then_some(())
        });
    }
    for (name, asking, listening) in &sockets {
        assert!(recv_within(asking, QUIET).is_none(), "{name}");
        assert!(recv_within(listening, QUIET).is_none(), "{name}");
    }
    assert_eq!(rig.runs(), 0, "a command of a stranger ran");
    assert!(rig.service.stats().refused_handshakes >= 4);
    assert!(
        ada.request(ApiCommand::EmergencyStop, &())
            .unwrap()
            .is_success()
    );
    assert_eq!(rig.runs(), 1);
}

#[test]
fn client_is_told_that_it_is_refused() {
    let mut rig = Rig::start(options());
    let ada = rig.add("ada", Role::Operator);
    rig.client(ada.clone());
    let mut stranger = ada.clone();
    stranger.keys = CurveKeyPair::generate().unwrap();
    let mut misled = ada.clone();
    misled.server = CurveKeyPair::generate().unwrap().public();
    for (what, options) in [
        ("no keys", rig.options()),
        ("unknown key", rig.options().keys(stranger)),
        ("wrong server", rig.options().keys(misled)),
    ] {
        let client = RemoteClient::connect(options.timeout(Duration::from_millis(400))).unwrap();
        // A handshake may end before the two have compared what they want; the next one tells.
        eventually(what, || {
            let error = client.request(ApiCommand::GetStatus, &()).unwrap_err();
            error.is_refused()
        });
        let subscription = client.subscribe(&[]).unwrap();
        until(&subscription, |notice| {
            matches!(notice, Notice::Refused { .. }).then_some(())
        });
    }
    assert_eq!(rig.runs(), 0);
    let open = launch(options());
    let keyed = client_options(&open)
        .keys(ada)
        .timeout(Duration::from_millis(400));
    let client = RemoteClient::connect(keyed.retries(0)).unwrap();
    eventually("a service without keys", || {
        let error = client.request(ApiCommand::GetStatus, &()).unwrap_err();
        error.is_refused()
    });
}

/// Reads until the other side ends the connection, in time.
fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the connection was kept: {error}"),
        }
    }
}

#[test]
fn password_opens_nothing() {
    let rig = Rig::start(options().handshake_timeout(Duration::from_millis(300)));
    for number in [rig.service.command_port(), rig.service.subscriber_port()] {
        let mut stream = TcpStream::connect(("127.0.0.1", number)).unwrap();
        stream.write_all(&greeting(b"PLAIN")).unwrap();
        let hello = b"\x05HELLO\x05admin\x06secret";
        // The service may have ended the connection already.
        let _ = stream.write_all(&[4, hello.len() as u8]);
        let _ = stream.write_all(hello);
        let answer = read_to_end(&stream);
        assert!(answer.len() <= 64, "nothing but a greeting comes back");
    }
    assert_eq!(rig.runs(), 0);
}

/// Hands bytes on in both directions and keeps what the client sent.
struct Relay {
    port: u16,
    recorded: Arc<Mutex<Vec<u8>>>,
    stopping: Arc<AtomicBool>,
}

impl Relay {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            recorded: Arc::default(),
            stopping: Arc::default(),
        };
        let (recorded, stopping) = (Arc::clone(&relay.recorded), Arc::clone(&relay.stopping));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let keep = Arc::clone(&recorded);
                let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(from, into, |bytes| keep.lock().unwrap().extend(bytes)));
                thread::spawn(move || pass(server, client, |_| {}));
            }
        });
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the listener; it may have ended already.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..count]);
        if into.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn recorded_connection_cannot_be_played_again() {
    let mut rig = Rig::start(options().handshake_timeout(Duration::from_millis(500)));
    let ada = rig.add("ada", Role::Operator);
    rig.client(ada.clone());
    let commands = Relay::start(rig.service.command_port());
    let events = Relay::start(rig.service.subscriber_port());
    let through = rig.options().ports(events.port, commands.port).keys(ada);
    let client = RemoteClient::connect(through).unwrap();
    let watching = client.subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&watching);
    assert!(
        client
            .request(ApiCommand::EmergencyStop, &())
            .unwrap()
            .is_success()
    );
    assert_eq!(rig.runs(), 1);

    for (relay, number) in [
        (&commands, rig.service.command_port()),
        (&events, rig.service.subscriber_port()),
    ] {
        let recorded = relay.recorded.lock().unwrap().clone();
        assert!(recorded.len() > 64 + 200, "a whole handshake was recorded");
        let mut stream = TcpStream::connect(("127.0.0.1", number)).unwrap();
        // The service ends the connection where the old bytes do not fit its new keys.
        let _ = stream.write_all(&recorded);
        rig.service.send_string(Topic::EVENT, "secret").unwrap();
        let answer = read_to_end(&stream);
        let readable = answer.windows(6).any(|window| window == b"secret");
        assert!(
            !readable && answer.len() < 64 + 400,
            "{} bytes came",
            answer.len()
        );
    }
    assert_eq!(rig.runs(), 1, "the recorded command ran again");
}

#[test]
fn roles_limit_commands() {
    let mut rig = Rig::start(options().admin_commands([ApiCommand::EmergencyResume]));
    let clients = [Role::Viewer, Role::Operator, Role::Admin].map(|role| {
        let keys = rig.add(&format!("{role}-1"), role);
        rig.client(keys)
    });
    let mut expected = 0;
    for (command, allowed) in [
        (ApiCommand::GetStatus, [true, true, true]),
        (ApiCommand::GetConfiguration, [true, true, true]),
        (ApiCommand::EmergencyStop, [false, true, true]),
        (ApiCommand::UserDefined, [false, true, true]),
        (ApiCommand::EmergencyResume, [false, false, true]),
    ] {
        for (client, allowed) in clients.iter().zip(allowed) {
            let response = client.request(command, &()).unwrap();
            assert_eq!(response.is_success(), allowed, "{command:?}");
            expected += u32::from(allowed);
            if !allowed {
                assert_eq!(response.result(), CommandResult::Failed);
                assert_eq!(response.error_code(), 403);
                assert!(response.error_message().unwrap().contains("role"));
            }
            assert_eq!(rig.runs(), expected);
        }
    }
    assert!(
        clients[0]
            .request(ApiCommand::None, &())
            .unwrap()
            .is_success()
    );
    assert_eq!(rig.service.stats().refused_commands, 4);
}

#[test]
fn viewer_may_listen() {
    let mut rig = Rig::start(options());
    let viewer = rig.add("vic", Role::Viewer);
    let subscription = rig.client(viewer).subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&subscription);
    rig.service.send_string(Topic::EVENT, "seen").unwrap();
    until(&subscription, |notice| {
        matches!(notice, Notice::Message(message) if message.body == b"seen").then_some(())
    });
}

/// Keeps the lines of the library's log.
struct Lines(Mutex<Vec<String>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

fn log_lines() -> &'static Lines {
    static LINES: OnceLock<&'static Lines> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines: &'static Lines = Box::leak(Box::new(Lines(Mutex::default())));
        log::set_logger(lines).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        lines
    })
}

#[test]
fn name_of_the_user_is_in_the_log_and_in_the_request() {
    let lines = log_lines();
    let mut rig = Rig::start(options());
    let grace = rig.add("grace", Role::Operator);
    let client = rig.client(grace.clone());
    let request = CommandRequest::new(ApiCommand::EmergencyStop).with_nonce(778_899);
    assert_eq!(client.send(&request).unwrap().data(), "grace");
    assert!(rig.users.lock().unwrap().contains("grace"));
    let linus = rig.add("linus", Role::Viewer);
    rig.client(linus).send(&request).unwrap();
    let lines = lines.0.lock().unwrap();
    let has = |parts: &[&str]| {
        lines
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    assert!(
        has(&["INFO", "EMERGENCY_STOP", "grace", "778899"]),
        "{lines:?}"
    );
    assert!(
        has(&["WARN", "EMERGENCY_STOP", "linus", "refused"]),
        "{lines:?}"
    );
    let secret = grace.keys.secret().to_z85();
    assert!(!has(&[secret.as_str()]), "a secret is in the log");
}

#[test]
fn pending_command_knows_its_user() {
    let mut rig = Rig::start(options());
    let ada = rig.add("ada", Role::Operator);
    let client = rig.client(ada);
    let held = Arc::new(Mutex::new(None));
    let hold = Arc::clone(&held);
    rig.service.set_delegate(move |request: &CommandRequest| {
        let (response, pending) = request.defer();
        *hold.lock().unwrap() = Some(pending);
        response
    });
    client.request(ApiCommand::UserDefined, &()).unwrap();
    let listed = rig.service.pending_commands();
    assert_eq!(listed[0].user.as_deref(), Some("ada"));
}

#[test]
fn one_user_gets_no_answer_of_another() {
    let mut rig = Rig::start(options());
    let request = br#"{"command": 400, "nonce": 5, "clientId": "same"}"#;
    for name in ["ada", "bob"] {
        let keys = rig.add(name, Role::Operator);
        rig.client(keys.clone());
        let socket = rig.raw(SocketKind::Req, as_client(keys.keys, keys.server));
        for _ in 0..2 {
            socket.send_bytes(request, false).unwrap();
            let reply = recv_within(&socket, LIMIT).unwrap();
            let reply: serde_json::Value = serde_json::from_slice(&reply[0]).unwrap();
            assert_eq!(reply["data"], json!(name));
        }
    }
    assert_eq!((rig.runs(), rig.service.stats().repeats), (2, 2));
}

fn until_cut_off(subscription: &Subscription) {
    until(subscription, |notice| {
        matches!(notice, Notice::Disconnected | Notice::Refused { .. }).then_some(())
    });
}

#[test]
fn revoking_ends_live_connections_within_a_second_and_others_lose_nothing() {
    let mut rig = Rig::start(options().send_hwm(0));
    let (ada, bob) = (
        rig.add("ada", Role::Operator),
        rig.add("bob", Role::Operator),
    );
    let ada = RemoteClient::connect(rig.options().timeout(Duration::from_secs(1)).keys(ada));
    let (ada, bob) = (ada.unwrap(), rig.client(bob));
    assert!(ada.request(ApiCommand::None, &()).unwrap().is_success());
    let hers = ada.subscribe(&[Topic::EVENT]).unwrap();
    let his = bob.subscribe(&[Topic::EVENT]).unwrap();
    until_connected(&hers);
    until_connected(&his);
    // A delegate that is busy must not keep anybody connected.
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let (entered, busy) = crossbeam_channel::bounded(1);
    rig.service.set_delegate(move |_: &CommandRequest| {
        entered.send(()).unwrap();
        let _ = released.recv_timeout(LIMIT);
        CommandResponse::success()
    });
    let asking = bob.clone();
    let asking = thread::spawn(move || asking.request(ApiCommand::GetStatus, &()));
    busy.recv_timeout(LIMIT).unwrap();

    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let publisher = rig.service.publisher();
    let publishing = thread::spawn(move || {
        let mut count = 0u64;
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            publisher
                .send_dict(Topic::EVENT, &json!({"n": count}))
                .unwrap();
            thread::sleep(Duration::from_micros(500));
        }
        count
    });
    until(&hers, |notice| {
        matches!(notice, Notice::Message(_)).then_some(())
    });
    rig.ring.revoke("ada").unwrap();
    let revoked = Instant::now();
    until_cut_off(&hers);
    let took = revoked.elapsed();
    eprintln!("a revoked subscriber was cut off after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    release.send(()).unwrap();
    assert!(asking.join().unwrap().unwrap().is_success());
    // Her connection for commands has carried NONE only, and is cut off all the same.
    let error = ada.request(ApiCommand::GetStatus, &()).unwrap_err();
    assert!(error.is_refused(), "{error}");
    stopping.store(true, Ordering::Relaxed);
    let count = publishing.join().unwrap();
    for expected in 1..=count {
        match his.recv_timeout(LIMIT).expect("his stream goes on") {
            Notice::Message(message) => assert_eq!(message.sequence, Some(expected)),
            other => panic!("his stream broke: {other:?}"),
        }
    }
    while let Some(notice) = hers.try_recv() {
        let seen = matches!(&notice, Notice::Message(message) if message.sequence == Some(count));
        assert!(!seen, "she saw the last event");
    }
}

#[test]
fn loopback_works_without_keys_and_any_address_with_them() {
    let open = launch(options());
    let client = RemoteClient::connect(client_options(&open)).unwrap();
    assert_eq!(
        client.request(ApiCommand::GetStatus, &()).unwrap().result(),
        CommandResult::Unavailable
    );
    let mut rig = Rig::start(options().reachable(true));
    let ada = rig.add("ada", Role::Viewer);
    let client = rig.client(ada);
    assert!(
        client
            .request(ApiCommand::GetStatus, &())
            .unwrap()
            .is_success()
    );
}

#[test]
fn keys_that_others_can_read_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = RpcService::new(options().keys(folder.path().join("none")));
    assert!(missing.start().is_err());
    let directory = folder.path().join("keys");
    KeyRing::create(&directory).unwrap();
    let file = directory.join("server.key");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let service = RpcService::new(options().keys(&directory));
    let error = service.start().unwrap_err();
    let text = source_text(&error);
    assert!(text.contains("server.key"), "{text}");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    service.start().unwrap();
}

fn source_text(error: &RpcError) -> String {
    let mut text = error.to_string();
    let mut source = Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn stopped_service_with_keys_leaves_no_thread() {
    let count = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
            .filter(|name| name.starts_with("acqbus-keys") || name.starts_with("acqbus-zap"))
            .count()
    };
    let rig = Rig::start(options());
    eventually("the threads have their names", || count() > 0);
    rig.service.stop();
    // Other tests of this file may run beside; their services end too.
    eventually("the threads have ended", || count() == 0);
}

#[test]
fn client_whose_key_is_made_known_later_is_let_in() {
    let mut rig = Rig::start(options());
    let members = rig.ring.directory().join("members.json");
    let without = fs::read(&members).unwrap();
    let ada = rig.add("ada", Role::Operator);
    let with = fs::read(&members).unwrap();
    rig.client(ada.clone());
    fs::write(&members, without).unwrap();
    eventually("the key is unknown", || {
        let options = rig.options().timeout(Duration::from_millis(200));
        let client = RemoteClient::connect(options.keys(ada.clone())).unwrap();
        client.request(ApiCommand::None, &()).is_err()
    });
    let client = RemoteClient::connect(rig.options().keys(ada)).unwrap();
    let subscription = client.subscribe(&[Topic::EVENT]).unwrap();
    until(&subscription, |notice| {
        matches!(notice, Notice::Refused { .. }).then_some(())
    });
    fs::write(&members, with).unwrap();
    until_connected(&subscription);
    assert!(
        client
            .request(ApiCommand::GetStatus, &())
            .unwrap()
            .is_success()
    );
}

/// A history without messages.
#[derive(Debug)]
struct Blank;

impl History for Blank {
    fn page(&self, request: &HistoryRequest) -> Result<HistoryPage, Box<dyn Error + Send + Sync>> {
        Ok(HistoryPage::new(Verdict::Resumed, request.epoch))
    }
}

#[test]
fn viewer_may_ask_for_history_and_nothing_else_of_his_own() {
    let mut rig = Rig::start(options().history(Arc::new(Blank)));
    let keys = rig.add("vera", Role::Viewer);
    let client = rig.client(keys);
    let page = client
        .history(&HistoryRequest::new(HistoryStart::Beginning))
        .unwrap();
    assert_eq!(page.verdict, Verdict::Resumed);
    let other = CommandRequest::new(ApiCommand::UserDefined).with_custom_command("acqbus.other");
    let reply = client.send(&other).unwrap();
    assert_eq!(
        (reply.result(), reply.error_code()),
        (CommandResult::Failed, 403)
    );
    assert_eq!(rig.runs(), 0, "the delegate got neither");
}
