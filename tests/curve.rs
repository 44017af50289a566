//! Who is served and who is not, over real ports with CURVE; and what revoking does to live
//! connections.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use acqbus::zsocket::{
    ClientKeys, Context, CurveKeyPair, Endpoint, Frame, HandshakeFailure, KeyError, KeyRing,
    MonitorEvent, PeerTable, PublicKey, Refusal, Role, SharedKeyRing, Socket, SocketKind,
    SocketOptions, SocketSecurity, ZapHandler, ZsocketError,
};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: Duration = Duration::from_secs(10);

fn options() -> SocketOptions {
    SocketOptions::default()
        .recv_timeout(Some(LIMIT))
        .send_timeout(Some(LIMIT))
        .linger(Some(Duration::ZERO))
        .reconnect_interval(Duration::from_millis(10))
}

/// A server with a key ring, an authenticator, one port for commands and one for events.
struct Server {
    // Dropped in this order: sockets before the authenticator.
    commands: Socket,
    events: Socket,
    command_endpoint: Endpoint,
    event_endpoint: Endpoint,
    zap: ZapHandler,
    shared: SharedKeyRing,
    ring: KeyRing,
    context: Context,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::create(directory.path().join("keys")).unwrap();
        let shared = SharedKeyRing::open(ring.directory()).unwrap();
        let context = Context::new().unwrap();
        let zap = ZapHandler::start(&context, shared.clone()).unwrap();
        let security = SocketSecurity::CurveServer {
            keys: shared.server().clone(),
            zap_domain: "acqbus".to_owned(),
        };
        let options = options().security(security).xpub_verbose(true);
        let commands = context.socket(SocketKind::Router, &options).unwrap();
        let events = context.socket(SocketKind::Xpub, &options).unwrap();
        let any = Endpoint::tcp("127.0.0.1", 0).unwrap();
        Self {
            command_endpoint: commands.bind(&any).unwrap(),
            event_endpoint: events.bind(&any).unwrap(),
            commands,
            events,
            zap,
            shared,
            ring,
            context,
            _directory: directory,
        }
    }

    fn add(&mut self, name: &str) -> ClientKeys {
        let file = self.ring.add(name, Role::Operator).unwrap();
        let keys = ClientKeys::load(file).unwrap();
        let key = keys.keys.public();
        eventually(|| self.shared.authorize(&key).is_some());
        keys
    }

    fn client(&self, kind: SocketKind, security: SocketSecurity) -> Socket {
        // A context of its own, as another program has.
        let context = Context::new().unwrap();
        let socket = context.socket(kind, &options().security(security)).unwrap();
        socket.monitor().unwrap();
        if kind == SocketKind::Sub {
            socket.subscribe(b"").unwrap();
            socket.connect(&self.event_endpoint).unwrap();
        } else {
            socket.connect(&self.command_endpoint).unwrap();
        }
        socket
    }

    fn peers(&self) -> PeerTable {
        PeerTable::new(&[self.command_endpoint.clone(), self.event_endpoint.clone()])
    }

    /// Nothing has come in on either port.
    fn assert_untouched(&self) {
        assert!(self.commands.try_recv_message(1).unwrap().is_none());
        assert!(self.events.try_recv_message(1).unwrap().is_none());
    }
}

fn security(keys: &ClientKeys) -> SocketSecurity {
    SocketSecurity::CurveClient {
        keys: keys.keys.clone(),
        server: keys.server,
    }
}

fn stranger(server: PublicKey) -> SocketSecurity {
    SocketSecurity::CurveClient {
        keys: CurveKeyPair::generate().unwrap(),
        server,
    }
}

fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        std::thread::yield_now();
    }
}

/// Waits for the end of a handshake.
fn handshake(socket: &Socket) -> Result<(), HandshakeFailure> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = socket.monitor().unwrap().next_event(Some(left)).unwrap();
        match event.expect("no end of the handshake in time") {
            MonitorEvent::HandshakeSucceeded => return Ok(()),
            MonitorEvent::HandshakeFailed(failure) => return Err(failure),
            _ => {}
        }
    }
}

fn wait_for_loss(socket: &Socket, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = socket.monitor().unwrap().next_event(Some(left)).unwrap();
        if event.expect("the connection was not lost in time") == MonitorEvent::Disconnected {
            return;
        }
    }
}

#[test]
fn known_key_is_served_and_its_name_is_on_each_message() -> Outcome {
    let mut server = Server::start();
    let ada = server.add("ada");
    let client = server.client(SocketKind::Dealer, security(&ada));
    let subscriber = server.client(SocketKind::Sub, security(&ada));
    handshake(&client).unwrap();
    client.send_bytes(b"command", false)?;
    let request = server.commands.recv_message(8)?.expect("a command");
    assert_eq!(request.frames.len(), 2);
    for frame in &request.frames {
        assert_eq!(frame.user_id(), Some("ada"));
        assert_eq!(frame.peer_address(), Some("127.0.0.1"));
    }
    let subscription = server.events.recv_message(1)?.expect("a subscription");
    assert_eq!(subscription.frames[0].user_id(), Some("ada"));
    let member = server.shared.member_by_name("ada").expect("a member");
    assert_eq!(member.role, Role::Operator);
    server.events.send_bytes(b"event", false)?;
    assert_eq!(
        &subscriber.recv_message(1)?.unwrap().frames[0][..],
        b"event"
    );
    assert_eq!(
        (server.zap.stats().accepted, server.zap.stats().refused()),
        (2, 0)
    );
    Ok(())
}

#[test]
fn unknown_and_revoked_keys_are_refused_and_see_it() -> Outcome {
    let mut server = Server::start();
    let ada = server.add("ada");
    server.ring.revoke("ada")?;
    eventually(|| server.shared.member_by_name("ada").is_none());
    for kind in [SocketKind::Dealer, SocketKind::Sub] {
        let unknown = server.client(kind, stranger(server.ring.server().public()));
        assert_eq!(handshake(&unknown), Err(HandshakeFailure::Auth(400)));
        let revoked = server.client(kind, security(&ada));
        assert_eq!(handshake(&revoked), Err(HandshakeFailure::Auth(400)));
    }
    let stats = server.zap.stats();
    assert_eq!(
        (
            stats.accepted,
            stats.unknown_key >= 2,
            stats.revoked_key >= 2
        ),
        (0, true, true)
    );
    server.assert_untouched();
    Ok(())
}

#[test]
fn null_client_is_refused_and_sees_it() -> Outcome {
    let server = Server::start();
    for kind in [SocketKind::Dealer, SocketKind::Sub] {
        let client = server.client(kind, SocketSecurity::Null);
        // The first attempt may end before libzmq has compared the mechanisms; the second says it.
        while !handshake(&client).unwrap_err().is_other_mechanism() {}
    }
    assert_eq!(server.zap.stats().accepted, 0);
    server.assert_untouched();
    Ok(())
}

#[test]
fn plain_client_is_refused() -> Outcome {
    let server = Server::start();
    let context = zmq::Context::new();
    let client = context.socket(zmq::DEALER)?;
    client.set_linger(0)?;
    client.set_plain_username(Some("admin"))?;
    client.set_plain_password(Some("secret"))?;
    client.monitor("inproc://plain", i32::from(zmq::SocketEvent::ALL.to_raw()))?;
    let monitor = context.socket(zmq::PAIR)?;
    monitor.set_rcvtimeo(10_000)?;
    monitor.connect("inproc://plain")?;
    client.connect(server.command_endpoint.as_str())?;
    client.send("command", 0)?;
    loop {
        let frames = monitor.recv_multipart(0)?;
        let number = u16::from_ne_bytes([frames[0][0], frames[0][1]]);
        assert_ne!(number, zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw());
        if number == zmq::SocketEvent::DISCONNECTED.to_raw() {
            break;
        }
    }
    assert_eq!(server.zap.stats().accepted, 0);
    server.assert_untouched();
    Ok(())
}

#[test]
fn wrong_server_key_is_refused_by_the_handshake() -> Outcome {
    let mut server = Server::start();
    let ada = server.add("ada");
    let wrong = SocketSecurity::CurveClient {
        keys: ada.keys,
        server: CurveKeyPair::generate()?.public(),
    };
    let client = server.client(SocketKind::Dealer, wrong);
    assert!(handshake(&client).is_err());
    // The authenticator is not even asked.
    assert_eq!(
        (server.zap.stats().accepted, server.zap.stats().refused()),
        (0, 0)
    );
    server.assert_untouched();
    Ok(())
}

#[test]
fn server_without_an_authenticator_refuses_everybody() -> Outcome {
    let mut server = Server::start();
    let ada = server.add("ada");
    let Server {
        zap,
        commands,
        command_endpoint,
        events,
        event_endpoint,
        shared,
        ring,
        context,
        _directory,
    } = server;
    drop(zap);
    let zap = None::<ZapHandler>;
    assert!(zap.is_none());
    let client = Context::new()?.socket(SocketKind::Dealer, &options().security(security(&ada)))?;
    client.monitor()?;
    client.connect(&command_endpoint)?;
    assert!(handshake(&client).is_err());
    assert!(commands.try_recv_message(1)?.is_none());

    // A new one may take its place.
    let zap = ZapHandler::start(&context, shared.clone())?;
    let server = Server {
        commands,
        events,
        command_endpoint,
        event_endpoint,
        zap,
        shared,
        ring,
        context,
        _directory,
    };
    let client = server.client(SocketKind::Dealer, security(&ada));
    assert_eq!(handshake(&client), Ok(()));
    Ok(())
}

#[test]
fn context_has_one_authenticator() -> Outcome {
    let server = Server::start();
    let error = ZapHandler::start(&server.context, server.shared.clone()).unwrap_err();
    assert!(
        matches!(error, ZsocketError::AddressInUse { .. }),
        "{error}"
    );
    Ok(())
}

#[test]
fn revoking_ends_live_connections_within_a_second_and_others_lose_nothing() -> Outcome {
    let mut server = Server::start();
    let peers = server.peers();
    let _following = peers.follow(&server.shared);
    let ada = server.add("ada");
    let bob = server.add("bob");
    let clients = [&ada, &bob].map(|keys| {
        (
            server.client(SocketKind::Dealer, security(keys)),
            server.client(SocketKind::Sub, security(keys)),
        )
    });
    for (client, subscriber) in &clients {
        handshake(client).unwrap();
        handshake(subscriber).unwrap();
        client.send_bytes(b"command", false)?;
        let request = server.commands.recv_message(8)?.expect("a command");
        assert!(peers.saw(&request.frames[1]));
        let subscription = server.events.recv_message(1)?.expect("a subscription");
        assert!(peers.saw(&subscription.frames[0]));
    }
    assert_eq!(peers.connection_count(), 4);
    assert_eq!(peers.users(), ["ada", "bob"]);

    let [(ada_client, ada_subscriber), (bob_client, bob_subscriber)] = &clients;
    let count = 3000u32;
    let mut revoked = None;
    let mut seen_by_ada = 0;
    for number in 0..count {
        server.events.send_bytes(&number.to_le_bytes(), false)?;
        if number == count / 3 {
            server.ring.revoke("ada")?;
            revoked = Some(Instant::now());
        }
        let event = bob_subscriber.recv_message(1)?.expect("an event");
        assert_eq!(event.frames[0][..], number.to_le_bytes());
        // A socket with a full queue does not notice that its connection is gone.
        while ada_subscriber.try_recv_message(1)?.is_some() {
            seen_by_ada += 1;
        }
    }
    assert!(
        seen_by_ada < count,
        "all events reached a revoked subscriber"
    );
    let revoked = revoked.expect("revoked in the loop");
    for socket in [ada_client, ada_subscriber] {
        wait_for_loss(
            socket,
            Duration::from_secs(1).saturating_sub(revoked.elapsed()),
        );
        assert_eq!(handshake(socket), Err(HandshakeFailure::Auth(400)));
    }
    eventually(|| peers.connection_count() == 2);
    bob_client.send_bytes(b"command", false)?;
    let request = server.commands.recv_message(8)?.expect("a command");
    assert_eq!(request.frames[1].user_id(), Some("bob"));
    assert!(peers.saw(&request.frames[1]));
    let lost = bob_subscriber.monitor()?.events()?;
    assert!(lost.is_empty(), "{lost:?}");
    Ok(())
}

#[test]
fn connection_that_was_silent_when_its_user_was_revoked_ends_with_its_first_message() -> Outcome {
    let mut server = Server::start();
    let peers = server.peers();
    let ada = server.add("ada");
    let client = server.client(SocketKind::Dealer, security(&ada));
    handshake(&client).unwrap();
    assert_eq!(peers.disconnect_user("ada"), 0);
    client.send_bytes(b"command", false)?;
    let request = server.commands.recv_message(8)?.expect("a command");
    assert!(!peers.saw(&request.frames[1]));
    wait_for_loss(&client, LIMIT);

    peers.allow_user("ada");
    handshake(&client).unwrap();
    client.send_bytes(b"command", false)?;
    let request = server.commands.recv_message(8)?.expect("a command");
    assert!(peers.saw(&request.frames[1]));
    Ok(())
}

#[test]
fn files_have_narrow_modes_and_wide_ones_are_refused() -> Outcome {
    let mut server = Server::start();
    server.add("ada");
    let directory = server.ring.directory().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let client = directory.join("clients/ada.key");
    for path in [&directory, &directory.join("clients")] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let files = [
        directory.join("server.key"),
        directory.join("members.json"),
        client.clone(),
    ];
    for path in &files {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        fs::set_permissions(path, Permissions::from_mode(0o640))?;
        let error = if *path == client {
            ClientKeys::load(path).map(|_| ()).unwrap_err()
        } else {
            KeyRing::open(&directory).map(|_| ()).unwrap_err()
        };
        assert!(
            matches!(error, KeyError::WideMode { mode: 0o640, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
    let error = KeyRing::open(&directory).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");
    Ok(())
}

#[test]
fn debug_and_errors_show_no_secret() -> Outcome {
    let mut server = Server::start();
    let ada = server.add("ada");
    let secrets = [
        server.ring.server().secret().to_z85(),
        ada.keys.secret().to_z85(),
    ];
    let options = options().security(security(&ada));
    let shown = format!(
        "{:?} {:?} {:?} {ada:?} {options:?}",
        server.ring, server.shared, server.zap
    );
    assert!(shown.contains("SecretKey(..)"));
    for secret in secrets {
        assert!(!shown.contains(secret.as_str()));
    }
    assert_eq!(Refusal::UnknownKey.to_string(), "unknown key");
    assert_eq!(format!("{:?}", Frame::from("secret")), "Frame(6 bytes)");
    Ok(())
}
