//! Managers find each other over real sockets: on the loopback, between two machines made of namespaces, under floods.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acqbus::chirp::{
    Beacon, BeaconKind, ChirpEvent, ChirpId, ChirpManager, ChirpOptions, Interfaces,
    MULTICAST_ADDRESS, ServiceId,
};
use acqbus::rpc::{Announcement, RpcOptions, RpcService};
#[cfg(target_os = "linux")]
use common::machine::Machine;
use common::wait_until;
use crossbeam_channel::Receiver;
use socket2::{Domain, Socket, Type};

#[test]
fn managers_of_one_machine_find_each_other_on_the_real_port() {
    let group = unique("real-port");
    let start = |host: &str| ChirpManager::start(ChirpOptions::new(&group, host)).unwrap();
    let (a, b) = (start("Camera.a"), start("Writer.b"));
    let (heard_by_a, heard_by_b) = (a.subscribe(), b.subscribe());
    a.register(ServiceId::Data, 4242).unwrap();
    b.register(ServiceId::Control, 4243).unwrap();
    assert_eq!(port_of_discovered(&heard_by_b, ServiceId::Data), 4242);
    assert_eq!(port_of_discovered(&heard_by_a, ServiceId::Control), 4243);
    let found = b.services(Some(ServiceId::Data));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].host, ChirpId::of("camera.A"));
    assert_eq!(found[0].socket_address(), SocketAddrV4::new(HERE, 4242));
    assert!(b.services(Some(ServiceId::Control)).is_empty(), "its own");
}

#[test]
fn request_finds_what_was_offered_before_and_unregister_takes_it_back() {
    let net = Net::new();
    let sender = net.start("Camera.a");
    sender.register(ServiceId::Data, 7).unwrap();
    sender.register(ServiceId::Control, 8).unwrap();
    wait_until("two offers that nobody hears", || sender.stats().sent == 2);
    let reader = net.start("Writer.b");
    let events = reader.subscribe();
    reader.request(ServiceId::Data).unwrap();
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 7);
    assert!(sender.unregister(ServiceId::Data).unwrap());
    assert!(matches!(next(&events), ChirpEvent::Departed(service) if service.port == 7));
    assert_eq!(reader.services(Some(ServiceId::Data)), []);
    assert!(!sender.unregister(ServiceId::Data).unwrap());
}

#[test]
fn stop_and_drop_depart_with_every_service() {
    let net = Net::new();
    let reader = net.start("Writer.b");
    let events = reader.subscribe();
    for stop in [true, false] {
        let sender = net.start("Camera.a");
        sender.register(ServiceId::Data, 7).unwrap();
        sender.register(ServiceId::Heartbeat, 8).unwrap();
        assert!(next(&events).is_discovered());
        assert!(next(&events).is_discovered());
        if stop {
            sender.stop();
            sender.stop();
            assert!(
                sender
                    .register(ServiceId::Data, 9)
                    .unwrap_err()
                    .is_stopped()
            );
            assert!(sender.subscribe().recv().is_err());
        }
        drop(sender);
        let mut gone = [next(&events), next(&events)].map(|event| match event {
            ChirpEvent::Departed(service) => service.service,
            other => panic!("{other:?}"),
        });
        gone.sort();
        assert_eq!(gone, [ServiceId::Heartbeat, ServiceId::Data]);
    }
}

#[test]
fn service_at_another_port_departs_or_is_dead() {
    let net = Net::new();
    let (sender, reader) = (net.start("Camera.a"), net.start("Writer.b"));
    let events = reader.subscribe();
    sender.register(ServiceId::Data, 7).unwrap();
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 7);
    sender.register(ServiceId::Data, 8).unwrap();
    assert!(matches!(next(&events), ChirpEvent::Departed(service) if service.port == 7));
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 8);
    // A peer that was restarted without a word, under the same name.
    let again = net.start("Camera.a");
    again.register(ServiceId::Data, 9).unwrap();
    assert!(matches!(next(&events), ChirpEvent::Died(service) if service.port == 8));
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 9);
}

#[test]
fn late_subscriber_begins_with_what_is_known() {
    let net = Net::new();
    let (sender, reader) = (net.start("Camera.a"), net.start("Writer.b"));
    let early = reader.subscribe();
    sender.register(ServiceId::Data, 7).unwrap();
    next(&early);
    let late = reader.subscribe();
    assert_eq!(port_of_discovered(&late, ServiceId::Data), 7);
    reader.stop();
    assert!(
        late.recv_timeout(PATIENCE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn groups_do_not_see_each_other() {
    let net = Net::new();
    let reader = net.start("Writer.b");
    let events = reader.subscribe();
    let other = ChirpOptions::new("another group", "Camera.a").port(net.port);
    let stranger = ChirpManager::start(other).unwrap();
    stranger.register(ServiceId::Data, 6).unwrap();
    wait_until("the offer of the stranger", || stranger.stats().sent == 1);
    stranger.stop();
    let sender = net.start("Camera.a");
    sender.register(ServiceId::Data, 7).unwrap();
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 7);
    assert_eq!(reader.stats().other_groups, 2, "OFFER and DEPART");
}

#[test]
fn callback_may_call_and_stop_the_manager_and_panic() {
    let net = Net::new();
    let reader = Arc::new(net.start("Writer.b"));
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, owner) = (Arc::clone(&calls), Arc::downgrade(&reader));
    reader.on_change(move |event| {
        let reader = owner.upgrade().expect("it is alive while it calls");
        assert_eq!(
            reader.services(None).contains(event.service()),
            event.is_discovered()
        );
        if counted.fetch_add(1, Ordering::SeqCst) == 1 {
            reader.stop();
        }
        panic!("as expected: a callback panics");
    });
    let events = reader.subscribe();
    let sender = net.start("Camera.a");
    sender.register(ServiceId::Data, 7).unwrap();
    assert!(next(&events).is_discovered());
    sender.unregister(ServiceId::Data).unwrap();
    while events.recv_timeout(PATIENCE).is_ok() {}
    reader.stop();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(reader.stats().callback_panics, 2);
}

#[test]
fn slow_subscriber_misses_events_that_are_counted() {
    let net = Net::new();
    let options = net.options("Writer.b").event_queue(4).max_services(4);
    let reader = ChirpManager::start(options).unwrap();
    let slow = reader.subscribe();
    let probe = Probe::new(net.port);
    let host = ChirpId::of("Camera.a");
    for port in 1..=10 {
        probe.send(&Beacon::offer(net.group(), host, ServiceId::Data, port).encode());
    }
    wait_until("ten offers", || reader.stats().offers == 10);
    // The first is one event; each of the others is a death and a discovery.
    wait_until("the loss", || reader.stats().events_lost == 19 - 4);
    assert_eq!(slow.try_iter().count(), 4);
}

#[test]
fn silent_service_is_asked_for_a_sign_of_life_and_dies() {
    let net = Net::new();
    let options = net.options("Writer.b").ageing(Some(Duration::from_secs(1)));
    let reader = ChirpManager::start(options).unwrap();
    let events = reader.subscribe();
    let probe = Probe::new(net.port);
    let host = ChirpId::of("Camera.a");
    probe.send(&Beacon::offer(net.group(), host, ServiceId::Data, 7).encode());
    assert!(next(&events).is_discovered());
    for _ in 0..3 {
        assert_eq!(probe.next(BeaconKind::Request).service, ServiceId::Data);
    }
    assert!(matches!(next(&events), ChirpEvent::Died(service) if service.port == 7));
    assert_eq!(reader.stats().aged, 1);
}

#[test]
fn living_service_does_not_die_of_age() {
    let net = Net::new();
    let options = net.options("Writer.b").ageing(Some(Duration::from_secs(1)));
    let reader = ChirpManager::start(options).unwrap();
    let events = reader.subscribe();
    let sender = ChirpManager::start(net.options("Camera.a").reply_delay(Duration::ZERO)).unwrap();
    sender.register(ServiceId::Data, 7).unwrap();
    assert!(next(&events).is_discovered());
    // Five questions: the first answer alone would not have lasted that long.
    wait_until("five questions", || sender.stats().requests >= 5);
    assert_eq!(reader.stats().aged, 0);
    assert_eq!(events.try_iter().count(), 0);
}

/// The answer goes out once for all that ask before it does; the delay is long enough that it never goes out here.
#[test]
fn flood_of_requests_is_no_flood_of_offers() {
    let net = Net::new();
    let options = net.options("Camera.a").reply_delay(Duration::MAX).seed(1);
    let sender = ChirpManager::start(options).unwrap();
    sender.register(ServiceId::Data, 7).unwrap();
    let probe = Probe::new(net.port);
    wait_until("the first offer", || sender.stats().sent == 1);
    let request = Beacon::request(net.group(), ChirpId::of("Writer.b"), ServiceId::Data).encode();
    let mut asked = 0;
    while sender.stats().requests < 10_000 {
        assert!(asked < 1_000_000, "nothing arrives");
        probe.send(&request);
        asked += 1;
    }
    let stats = sender.stats();
    assert_eq!(stats.merged_requests, stats.requests - 1);
    assert_eq!(stats.sent, 1);
}

/// The Python peer's thread dies of one of these; ours answers every question between 30,000 of them.
#[test]
fn good_beacons_are_answered_among_ten_thousand_bad_ones_a_second() {
    let net = Net::new();
    let sender = net.start("Camera.a");
    sender.register(ServiceId::Data, 7).unwrap();
    let flooding = Arc::new(AtomicBool::new(true));
    let flood = {
        let (flooding, port) = (Arc::clone(&flooding), net.port);
        thread::spawn(move || flood_with_garbage(port, &flooding))
    };
    let probe = Probe::new(net.port);
    let request = Beacon::request(net.group(), ChirpId::of("Writer.b"), ServiceId::Data).encode();
    let mut answers = 0;
    while answers < 10 || sender.stats().malformed < 30_000 {
        // The system may drop a datagram in a flood; whoever gets no answer asks again.
        let answer = (0..100).find_map(|_| {
            probe.send(&request);
            probe.next_within(BeaconKind::Offer, Duration::from_millis(500))
        });
        assert_eq!(answer.expect("no answer").port, 7);
        answers += 1;
    }
    flooding.store(false, Ordering::SeqCst);
    let flooded = flood.join().unwrap();
    let stats = sender.stats();
    assert!(stats.malformed <= flooded);
    assert_eq!(stats.receive_failures, 0);
    assert_eq!(
        stats.received,
        stats.malformed + stats.own + stats.requests + stats.offers,
        "something is not counted"
    );
    drop(sender);
    assert_eq!(probe.next(BeaconKind::Depart).port, 7);
}

#[test]
fn port_that_another_program_keeps_for_itself_is_an_error_that_says_so() {
    let alone = UdpSocket::bind((MULTICAST_ADDRESS, 0)).unwrap();
    let port = alone.local_addr().unwrap().port();
    let error = ChirpManager::start(ChirpOptions::new("a", "b").port(port)).unwrap_err();
    assert!(error.is_interface());
    assert_eq!(
        error.to_string(),
        format!("listening at 239.192.7.123:{port} failed")
    );
}

#[test]
fn options_that_cannot_work_are_refused() {
    for (options, text) in [
        (ChirpOptions::new("", "b"), "the group has no name"),
        (ChirpOptions::new("a", ""), "the host has no name"),
        (
            ChirpOptions::new("a", "b").multicast(HERE),
            "127.0.0.1 is not a multicast address (224.0.0.0 to 239.255.255.255)",
        ),
        (
            ChirpOptions::new("a", "b").interfaces(Interfaces::named(["192.0.2.77"])),
            "joining the group at 192.0.2.77:7123 failed",
        ),
    ] {
        assert_eq!(ChirpManager::start(options).unwrap_err().to_string(), text);
    }
    let manager = Net::new().start("a");
    assert_eq!(
        manager
            .register(ServiceId::Data, 0)
            .unwrap_err()
            .to_string(),
        "the service data is offered without a port"
    );
}

#[test]
fn service_announces_its_ports_while_it_runs() {
    let net = Net::new();
    let finder = net.start("Console.a");
    let events = finder.subscribe();
    let announcement = Announcement::default().group(&net.name).port(net.port);
    let options = RpcOptions::default().any_port().announce(announcement);
    let (first, second) = (RpcService::new(options.clone()), RpcService::new(options));
    first.start().unwrap();
    second.start().unwrap();
    for _ in 0..4 {
        assert!(next(&events).is_discovered());
    }
    let ports = |service| {
        let found = finder.services(Some(service)).into_iter();
        let mut ports: Vec<_> = found.map(|service| service.port).collect();
        ports.sort_unstable();
        ports
    };
    let sorted = |mut ports: [u16; 2]| {
        ports.sort_unstable();
        ports
    };
    let both = sorted([first.command_port(), second.command_port()]);
    assert_eq!(ports(ServiceId::Control), both);
    let both = sorted([first.subscriber_port(), second.subscriber_port()]);
    assert_eq!(ports(ServiceId::Monitoring), both);
    first.stop();
    for _ in 0..2 {
        assert!(matches!(next(&events), ChirpEvent::Departed(_)));
    }
    assert_eq!(ports(ServiceId::Control), [second.command_port()]);
    assert_eq!(second.stats().announce_failures, 0);
}

#[test]
fn service_that_cannot_be_announced_works() {
    let alone = UdpSocket::bind((MULTICAST_ADDRESS, 0)).unwrap();
    let announcement = Announcement::default().port(alone.local_addr().unwrap().port());
    let options = RpcOptions::default().any_port().announce(announcement);
    let service = RpcService::launch(options).unwrap();
    assert_ne!(service.command_port(), 0);
    assert_eq!(service.stats().announce_failures, 1);
}

/// Two machines with a cable: managers with the default interfaces keep to their own, those with all find each other.
#[cfg(target_os = "linux")]
#[test]
fn beacons_leave_the_machine_only_where_that_is_asked_for() {
    let machines = [Machine::new(), Machine::new()];
    machines[0].cable_to(&machines[1]);
    let start = |machine: usize, host: &'static str, interfaces: Interfaces| {
        let options = ChirpOptions::new("lab", host).interfaces(interfaces);
        machines[machine].run(move || ChirpManager::start(options).unwrap())
    };
    let quiet = start(0, "Quiet.a", Interfaces::Loopback);
    let quiet_there = start(1, "Quiet.b", Interfaces::Loopback);
    quiet.register(ServiceId::Data, 1).unwrap();
    quiet_there.register(ServiceId::Data, 1).unwrap();
    wait_until("the offers that nobody hears", || {
        quiet.stats().sent == 1 && quiet_there.stats().sent == 1
    });

    let open = start(0, "Open.c", Interfaces::All);
    let open_there = start(1, "Open.d", Interfaces::named(["cable"]));
    let (events, events_there) = (open.subscribe(), open_there.subscribe());
    assert_eq!(open.stats().interfaces, 2);
    open_there.register(ServiceId::Data, 3).unwrap();
    let found = next(&events);
    assert_eq!(found.service().host, ChirpId::of("Open.d"));
    assert_eq!(found.service().address, Ipv4Addr::new(10, 99, 0, 2));
    // The quiet one of the same machine answers, that of the other one never hears the question.
    open.request(ServiceId::Data).unwrap();
    let found = next(&events);
    assert_eq!(found.service().host, ChirpId::of("Quiet.a"));
    assert_eq!(found.service().address, HERE);
    open.register(ServiceId::Data, 2).unwrap();
    let found = next(&events_there);
    assert_eq!(found.service().host, ChirpId::of("Open.c"));
    assert_eq!(found.service().address, Ipv4Addr::new(10, 99, 0, 1));

    open.request(ServiceId::Data).unwrap();
    wait_until("the answer of the neighbour", || {
        open_there.stats().requests == 2
    });
    // Whatever came over the cable would have come before its own next offer.
    quiet_there.register(ServiceId::Control, 1).unwrap();
    wait_until("the echo", || quiet_there.stats().own == 2);
    assert_eq!(quiet_there.stats().received, 2, "a beacon crossed over");
    drop(open_there);
    assert!(matches!(next(&events), ChirpEvent::Departed(service) if service.port == 3));
}

#[cfg(target_os = "linux")]
#[test]
fn interface_that_comes_later_is_used_after_a_look() {
    let machines = [Machine::new(), Machine::new()];
    let start = |machine: usize, host: &'static str| {
        let options = ChirpOptions::new("lab", host)
            .interfaces(Interfaces::All)
            .rescan(Some(Duration::from_millis(100)));
        machines[machine].run(move || ChirpManager::start(options).unwrap())
    };
    let (a, b) = (start(0, "A.a"), start(1, "B.b"));
    let events = b.subscribe();
    a.register(ServiceId::Data, 7).unwrap();
    // Whichever of the two sees the cable first, either the offer or the question is said when the other one hears.
    b.request(ServiceId::Data).unwrap();
    wait_until("both at the loopback", || {
        a.stats().sent == 1 && b.stats().sent == 1
    });
    machines[0].cable_to(&machines[1]);
    assert_eq!(port_of_discovered(&events, ServiceId::Data), 7);
    assert_eq!(a.stats().interfaces, 2);
}

/// A port of its own for the managers of one test, so that tests do not count each other's datagrams.
struct Net {
    port: u16,
    name: String,
    /// Keeps the port from those that take any free one.
    _held: Socket,
}

impl Net {
    fn new() -> Self {
        let held = Socket::from(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        let port = held.local_addr().unwrap().as_socket_ipv4().unwrap().port();
        // Now that it is taken alone, managers may share it.
        held.set_reuse_address(true).unwrap();
        Self {
            port,
            name: unique("net"),
            _held: held,
        }
    }

    fn options(&self, host: &str) -> ChirpOptions {
        ChirpOptions::new(&self.name, host).port(self.port)
    }

    fn start(&self, host: &str) -> ChirpManager {
        ChirpManager::start(self.options(host)).unwrap()
    }

    fn group(&self) -> ChirpId {
        ChirpId::of(&self.name)
    }
}

/// Sends any datagram to the group on the loopback and hears what is said there.
struct Probe {
    receiver: UdpSocket,
    sender: UdpSocket,
    to: SocketAddrV4,
}

impl Probe {
    fn new(port: u16) -> Self {
        let to = SocketAddrV4::new(MULTICAST_ADDRESS, port);
        let receiver = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        receiver.set_reuse_address(true).unwrap();
        receiver.bind(&to.into()).unwrap();
        receiver.join_multicast_v4(to.ip(), &HERE).unwrap();
        Self {
            receiver: receiver.into(),
            sender: loopback_sender(),
            to,
        }
    }

    fn send(&self, datagram: &[u8]) {
        self.sender.send_to(datagram, self.to).unwrap();
    }

    /// The next beacon of a kind.
    fn next(&self, kind: BeaconKind) -> Beacon {
        self.next_within(kind, PATIENCE)
            .unwrap_or_else(|| panic!("no {kind:?}"))
    }

    fn next_within(&self, kind: BeaconKind, patience: Duration) -> Option<Beacon> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2000];
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            if left.is_zero() {
                return None;
            }
            self.receiver.set_read_timeout(Some(left)).unwrap();
            let length = self.receiver.recv(&mut buffer).ok()?;
            match Beacon::decode(&buffer[..length]) {
                Ok(beacon) if beacon.kind == kind => return Some(beacon),
                _ => {}
            }
        }
    }
}

fn loopback_sender() -> UdpSocket {
    let sender = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    sender.set_multicast_if_v4(&HERE).unwrap();
    sender.set_multicast_loop_v4(true).unwrap();
    sender.into()
}

/// About 10,000 a second; gives how many there were.
fn flood_with_garbage(port: u16, flooding: &AtomicBool) -> u64 {
    let sender = loopback_sender();
    let good = Beacon::offer(ChirpId::of("x"), ChirpId::of("y"), ServiceId::Data, 1).encode();
    let long = [b'C'; 1500];
    let wrong_version = {
        let mut bytes = good;
        bytes[5] = 2;
        bytes
    };
    let wrong_service = {
        let mut bytes = good;
        bytes[39] = 5;
        bytes
    };
    let kinds: [&[u8]; 5] = [b"", &good[..41], &long, &wrong_version, &wrong_service];
    let mut sent = 0;
    let start = Instant::now();
    while flooding.load(Ordering::SeqCst) {
        for datagram in kinds.iter().cycle().take(50) {
            sender.send_to(datagram, (MULTICAST_ADDRESS, port)).unwrap();
            sent += 1;
        }
        // The rate, not a wait for anything.
        let due = start + Duration::from_micros(100 * sent);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

#[track_caller]
fn next(events: &Receiver<ChirpEvent>) -> ChirpEvent {
    events.recv_timeout(PATIENCE).expect("no event came")
}

#[track_caller]
fn port_of_discovered(events: &Receiver<ChirpEvent>, service: ServiceId) -> u16 {
    match next(events) {
        ChirpEvent::Discovered(found) if found.service == service => found.port,
        other => panic!("{other:?}"),
    }
}

fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{count}", std::process::id())
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_queue_without_a_bound_is_bounded() {
    let net = Net::new();
    let manager = ChirpManager::start(net.options("Camera.a").event_queue(usize::MAX)).unwrap();
    assert!(manager.subscribe().is_empty());
}
