//! Sockets, waiting and monitors, on real ports.

use std::error::Error;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use acqbus::zsocket::{
    Context, Endpoint, Frame, Monitor, MonitorEvent, Socket, SocketKind, SocketOptions,
    TrySendError, ZsocketError, wait, wake_pair,
};

type Outcome = Result<(), Box<dyn Error>>;

const LIMIT: Duration = Duration::from_secs(10);

fn any_port() -> Endpoint {
    Endpoint::tcp("127.0.0.1", 0).unwrap()
}

fn options() -> SocketOptions {
    SocketOptions::default()
        .recv_timeout(Some(LIMIT))
        .send_timeout(Some(LIMIT))
        .linger(Some(Duration::ZERO))
}

fn pair(
    context: &Context,
    bound: SocketKind,
    connected: SocketKind,
) -> Result<(Socket, Socket), ZsocketError> {
    let server = context.socket(bound, &options())?;
    let endpoint = server.bind(&any_port())?;
    let client = context.socket(connected, &options())?;
    client.connect(&endpoint)?;
    Ok((server, client))
}

fn until(monitor: &Monitor, wanted: impl Fn(&MonitorEvent) -> bool) -> MonitorEvent {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = monitor.next_event(Some(left)).unwrap();
        let event = event.expect("no such event in time");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn port_zero_becomes_the_real_port() -> Outcome {
    let socket = Context::new()?.socket(SocketKind::Rep, &options())?;
    let endpoint = socket.bind(&any_port())?;
    assert_ne!(endpoint.port(), Some(0));
    assert_eq!(endpoint.host(), Some("127.0.0.1"));
    let second = socket.bind(&any_port())?;
    assert_ne!(second, endpoint);
    socket.unbind(&endpoint)?;
    let error = socket.unbind(&endpoint).unwrap_err();
    assert!(matches!(error, ZsocketError::NotAttached { .. }), "{error}");
    Ok(())
}

#[test]
fn port_in_use_is_its_own_error() -> Outcome {
    let context = Context::new()?;
    let socket = context.socket(SocketKind::Rep, &options())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let taken = Endpoint::tcp_ip([127, 0, 0, 1].into(), listener.local_addr()?.port());
    let error = socket.bind(&taken).unwrap_err();
    assert!(error.is_address_in_use(), "{error}");
    let ZsocketError::AddressInUse { endpoint } = error else {
        panic!("{error}");
    };
    assert_eq!(endpoint, taken);
    drop(listener);
    assert_eq!(socket.bind(&taken)?, taken);
    Ok(())
}

#[test]
fn foreign_address_and_unknown_interface_are_their_own_error() -> Outcome {
    let socket = Context::new()?.socket(SocketKind::Rep, &options())?;
    for host in ["192.0.2.1", "nosuchif0"] {
        let error = socket.bind(&Endpoint::tcp(host, 0)?).unwrap_err();
        assert!(
            matches!(error, ZsocketError::AddressNotAvailable { .. }),
            "{host}: {error:?}"
        );
    }
    Ok(())
}

#[test]
fn connecting_to_everywhere_is_refused_and_to_an_unknown_name_is_not() -> Outcome {
    let socket = Context::new()?.socket(SocketKind::Req, &options())?;
    let error = socket.connect(&Endpoint::tcp("*", 5556)?).unwrap_err();
    assert!(
        matches!(error, ZsocketError::InvalidEndpoint { .. }),
        "{error:?}"
    );
    let unknown = Endpoint::tcp("no-such-host.invalid", 5556)?;
    socket.connect(&unknown)?;
    socket.disconnect(&unknown)?;
    assert!(socket.disconnect(&unknown).is_err());
    Ok(())
}

#[test]
fn second_request_before_the_reply_is_a_wrong_state() -> Outcome {
    let context = Context::new()?;
    let (server, client) = pair(&context, SocketKind::Rep, SocketKind::Req)?;
    client.send_bytes(b"ask", false)?;
    let error = client.send_bytes(b"ask again", false).unwrap_err();
    assert!(matches!(error, ZsocketError::WrongState { .. }), "{error}");
    let mut frame = Frame::new();
    assert!(server.recv_into(&mut frame)?);
    assert_eq!(&frame[..], b"ask");
    Ok(())
}

#[test]
fn frames_beyond_the_limit_are_read_dropped_and_counted() -> Outcome {
    let context = Context::new()?;
    let (pull, push) = pair(&context, SocketKind::Pull, SocketKind::Push)?;
    for count in [1usize, 2, 64] {
        for index in 0..count {
            push.send_bytes(&[index as u8], index + 1 < count)?;
        }
    }
    push.send_bytes(b"last", false)?;

    let one = pull.recv_message(2)?.unwrap();
    assert_eq!((one.frames.len(), one.dropped_frames), (1, 0));
    let two = pull.recv_message(1)?.unwrap();
    assert_eq!((two.frames.len(), two.dropped_frames), (1, 1));
    let many = pull.recv_message(3)?.unwrap();
    assert_eq!((many.frames.len(), many.dropped_frames), (3, 61));
    assert_eq!(&many.frames[2][..], [2]);
    let none = pull.recv_message(0)?.unwrap();
    assert_eq!((none.frames.len(), none.dropped_frames), (0, 1));
    assert!(pull.try_recv_message(1)?.is_none());
    Ok(())
}

#[test]
fn full_queue_gives_the_frame_back() -> Outcome {
    let context = Context::new()?;
    let push = context.socket(SocketKind::Push, &options())?;
    push.bind(&any_port())?;
    let body = vec![9; 5000];
    let Err(TrySendError::Full(frame)) = push.try_send(Frame::from(body.clone()), false) else {
        panic!("sent without a peer");
    };
    assert_eq!(&frame[..], body);
    push.set_send_timeout(Some(Duration::from_millis(20)))?;
    let started = Instant::now();
    assert!(push.send(frame, false).unwrap_err().is_timeout());
    assert!(started.elapsed() >= Duration::from_millis(20));
    Ok(())
}

#[test]
fn receive_ends_at_its_time_out() -> Outcome {
    let pull = Context::new()?.socket(SocketKind::Pull, &options())?;
    pull.set_recv_timeout(Some(Duration::from_millis(20)))?;
    let started = Instant::now();
    assert!(!pull.recv_into(&mut Frame::new())?);
    assert!(started.elapsed() >= Duration::from_millis(20));
    assert!(pull.recv_message(1)?.is_none());
    Ok(())
}

#[test]
fn oversize_frame_cuts_its_sender_and_nobody_else() -> Outcome {
    let context = Context::new()?;
    let pull = context.socket(SocketKind::Pull, &options().max_message_bytes(Some(100)))?;
    let endpoint = pull.bind(&any_port())?;
    let [good, bad] = [0, 1].map(|_| {
        let push = context.socket(SocketKind::Push, &options()).unwrap();
        push.connect(&endpoint).unwrap();
        push
    });
    let monitor = bad.monitor()?;
    bad.send_bytes(&[0; 101], false)?;
    until(monitor, |event| *event == MonitorEvent::Disconnected);
    good.send_bytes(&[0; 100], false)?;
    assert_eq!(pull.recv_message(1)?.unwrap().frames[0].len(), 100);
    assert!(pull.try_recv_message(1)?.is_none());
    Ok(())
}

#[test]
fn wait_tells_which_socket_is_ready() -> Outcome {
    let context = Context::new()?;
    let sockets: Vec<_> = (0..6)
        .map(|_| pair(&context, SocketKind::Pull, SocketKind::Push).unwrap())
        .collect();
    let pulls: Vec<&Socket> = sockets.iter().map(|(pull, _)| pull).collect();
    let (_waker, receiver) = wake_pair()?;
    for (index, (pull, push)) in sockets.iter().enumerate() {
        push.send_bytes(b"x", false)?;
        let ready = wait(&pulls, Some(&receiver), Some(Instant::now() + LIMIT))?;
        assert!(ready.any_socket() && !ready.woken() && !ready.timed_out());
        for other in 0..pulls.len() {
            assert_eq!(ready.socket(other), other == index);
        }
        assert!(pull.readable()?);
        assert!(pull.try_recv_into(&mut Frame::new())?);
        assert!(!pull.readable()?);
    }
    Ok(())
}

/// A send may take the signal of a message that has just come: a wait that then looked at the descriptor only would sleep.
#[test]
fn wait_sees_what_came_while_the_socket_sent() -> Outcome {
    fn exchange(socket: &Socket) -> Result<u64, ZsocketError> {
        let mut frame = Frame::new();
        let mut received = 0;
        for sent in 1..=2_000 {
            socket.send_bytes(b"x", false)?;
            while received < sent {
                let ready = wait(&[socket], None, Some(Instant::now() + LIMIT))?;
                if ready.timed_out() {
                    return Ok(received);
                }
                // Empty on every other round only, so that waits begin in either state.
                while socket.try_recv_into(&mut frame)? {
                    received += 1;
                    if received % 2 == 0 {
                        break;
                    }
                }
            }
        }
        Ok(received)
    }
    let context = Context::new()?;
    let (bound, connected) = pair(&context, SocketKind::Dealer, SocketKind::Dealer)?;
    let other = thread::spawn(move || exchange(&bound));
    assert_eq!(exchange(&connected)?, 2_000);
    assert_eq!(other.join().unwrap()?, 2_000);
    Ok(())
}

#[test]
fn another_thread_wakes_a_wait() -> Outcome {
    let context = Context::new()?;
    let (pull, push) = pair(&context, SocketKind::Pull, SocketKind::Push)?;
    let (waker, receiver) = wake_pair()?;
    let thread = thread::spawn(move || waker.wake());
    let ready = wait(
        &[&pull, &push],
        Some(&receiver),
        Some(Instant::now() + LIMIT),
    )?;
    assert!(ready.woken() && !ready.socket(0));
    thread.join().unwrap();
    Ok(())
}

#[test]
fn context_shutdown_ends_a_wait_and_a_receive() -> Outcome {
    let context = Context::with_io_threads(2)?;
    let pull = context.socket(SocketKind::Pull, &options())?;
    pull.bind(&any_port())?;
    let thread = thread::spawn(move || {
        let waited = wait(&[&pull], None, Some(Instant::now() + LIMIT));
        let received = pull.recv_into(&mut Frame::new());
        (waited, received)
    });
    context.shutdown();
    let (waited, received) = thread.join().unwrap();
    assert!(waited.unwrap_err().is_terminated());
    assert!(received.unwrap_err().is_terminated());
    assert!(
        context
            .socket(SocketKind::Pull, &options())
            .unwrap_err()
            .is_terminated()
    );
    Ok(())
}

#[test]
fn verbose_xpub_hears_of_every_subscriber() -> Outcome {
    let context = Context::new()?;
    let publisher = context.socket(SocketKind::Xpub, &options().xpub_verbose(true))?;
    let endpoint = publisher.bind(&any_port())?;
    let subscribers = [0, 1].map(|_| {
        let subscriber = context.socket(SocketKind::Sub, &options()).unwrap();
        subscriber.subscribe(b"topic").unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber
    });
    for _ in &subscribers {
        let message = publisher.recv_message(1)?.expect("a subscription");
        assert_eq!(&message.frames[0][..], b"\x01topic");
        assert_eq!(message.frames[0].peer_address(), Some("127.0.0.1"));
        assert_eq!(message.frames[0].property("Socket-Type"), Some("SUB"));
    }
    publisher.send_bytes(b"topic 1", true)?;
    publisher.send_bytes(b"body", false)?;
    for subscriber in &subscribers {
        let message = subscriber.recv_message(2)?.expect("an event");
        assert_eq!(&message.frames[1][..], b"body");
    }
    Ok(())
}

#[test]
fn monitor_tells_of_connection_and_loss() -> Outcome {
    let context = Context::new()?;
    let server = context.socket(SocketKind::Rep, &options())?;
    let endpoint = server.bind(&any_port())?;
    let client = context.socket(SocketKind::Req, &options())?;
    let monitor = client.monitor()?;
    assert!(std::ptr::eq(monitor, client.monitor()?));
    client.connect(&endpoint)?;
    let ready = wait(
        &[&client, monitor.socket()],
        None,
        Some(Instant::now() + LIMIT),
    )?;
    assert!(ready.socket(1) && !ready.socket(0));
    until(monitor, |event| *event == MonitorEvent::Connected);
    until(monitor, |event| *event == MonitorEvent::HandshakeSucceeded);
    drop(server);
    until(monitor, |event| *event == MonitorEvent::Disconnected);
    until(monitor, |event| {
        matches!(event, MonitorEvent::ConnectRetried(_))
    });
    Ok(())
}

#[test]
fn dropping_a_monitored_socket_leaves_the_context_usable() -> Outcome {
    let context = Context::new()?;
    for _ in 0..20 {
        let (server, client) = pair(&context, SocketKind::Rep, SocketKind::Req)?;
        server.monitor()?;
        client.monitor()?;
        client.send_bytes(b"ask", false)?;
        assert!(server.recv_into(&mut Frame::new())?);
    }
    Ok(())
}

#[test]
fn ipv6_loopback_works_where_the_machine_has_it() -> Outcome {
    let context = Context::new()?;
    let pull = context.socket(SocketKind::Pull, &options())?;
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let bound = pull.bind(&Endpoint::tcp("::1", 0)?);
    assert_eq!(bound.is_ok(), has_ipv6, "{bound:?}");
    let Ok(endpoint) = bound else {
        return Ok(());
    };
    let push = context.socket(SocketKind::Push, &options())?;
    push.connect(&endpoint)?;
    push.send_bytes(b"six", false)?;
    assert_eq!(&pull.recv_message(1)?.unwrap().frames[0][..], b"six");
    Ok(())
}

#[test]
fn monitor_of_sessions_stays_empty_while_nobody_is_there() -> Result<(), ZsocketError> {
    let context = Context::new()?;
    let vacant = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    let options = SocketOptions::default().reconnect_interval(Duration::from_millis(1));
    let all = context.socket(SocketKind::Dealer, &options)?;
    let sessions = context.socket(SocketKind::Dealer, &options)?;
    all.monitor()?;
    sessions.monitor_sessions()?;
    let endpoint = Endpoint::tcp("127.0.0.1", vacant)?;
    sessions.connect(&endpoint)?;
    all.connect(&endpoint)?;
    for _ in 0..10 {
        let event = all.monitor()?.next_event(Some(Duration::from_secs(10)))?;
        assert!(event.is_some(), "an attempt to connect is reported");
    }
    assert_eq!(sessions.monitor_sessions()?.events()?, []);
    Ok(())
}
