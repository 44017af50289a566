//! What holds for any datagram and any order of beacons.

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use acqbus::chirp::{
    Beacon, BeaconKind, ChirpEvent, ChirpId, ChirpOptions, ChirpState, DiscoveredService, ServiceId,
};
use common::mutate::Dice;
use proptest::prelude::*;

/// A million damaged beacons: each is counted once, and memory and what is sent stay bounded.
#[test]
fn any_datagram_is_counted_and_harms_nothing() {
    let mut dice = Dice(7123);
    let options = ChirpOptions::new("edda", "Sputnik.One")
        .max_services(50)
        .ageing(Some(Duration::from_secs(5)))
        .reply_delay(Duration::from_millis(200));
    let mut state = ChirpState::new(&options);
    state.set_local_only(true);
    state.register(ServiceId::Data, 4242);
    let good: Vec<_> = (0..1000).map(|_| good_beacon(&mut dice)).collect();
    let start = Instant::now();
    let (mut beacons, mut events, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    for round in 0..1_000_000u32 {
        let now = start + Duration::from_micros(100) * round;
        let good = good[dice.below(good.len())];
        dice.mutate(&good, &mut frame);
        let source = match dice.below(10) {
            0 => Ipv4Addr::from(dice.roll() as u32),
            _ => Ipv4Addr::LOCALHOST,
        };
        state.handle(now, source, &frame, &mut events);
        // As the manager does, which takes what has come before it looks at what is due.
        if dice.below(4) != 0 {
            continue;
        }
        state.due(now, &mut beacons, &mut events);
        assert!(state.next_deadline().is_none_or(|at| at > now));
        for beacon in beacons.drain(..) {
            assert_eq!(Beacon::decode(&beacon.encode()), Ok(beacon));
            sent += 1;
        }
        assert!(state.stats().services <= 50);
        assert!(events.len() <= 60);
        events.clear();
    }
    let stats = state.stats();
    assert_eq!(stats.received, 1_000_000);
    assert_eq!(
        stats.received,
        stats.malformed
            + stats.foreign
            + stats.other_groups
            + stats.own
            + stats.requests
            + stats.offers
            + stats.departs
    );
    for count in [
        stats.malformed,
        stats.foreign,
        stats.other_groups,
        stats.own,
        stats.requests,
        stats.merged_requests,
        stats.offers,
        stats.departs,
        stats.aged,
    ] {
        assert!(count > 0, "a kind never came: {stats:?}");
    }
    // 100 s: an answer at most every few milliseconds, three questions a second and kind.
    assert!(sent < 100_000, "{sent} beacons sent");
}

#[test]
fn every_truncation_and_extension_of_a_beacon_is_refused() {
    let beacon = good_beacon(&mut Dice(1));
    for length in 0..beacon.len() {
        assert!(Beacon::decode(&beacon[..length]).is_err(), "{length} bytes");
    }
    let mut longer = beacon.to_vec();
    for _ in 0..100 {
        longer.push(0);
        assert!(Beacon::decode(&longer).is_err());
    }
}

/// One source, one group: what a manager should know after any beacons, in a few lines.
#[test]
fn two_thousand_histories_end_as_a_simple_model_says() {
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let now = Instant::now();
        let mut state = ChirpState::new(&ChirpOptions::new("g", "me"));
        let mut model: BTreeMap<(ServiceId, ChirpId), (Ipv4Addr, u16)> = BTreeMap::new();
        let mut expected = Vec::new();
        let mut events = Vec::new();
        for _ in 0..dice.below(60) {
            let host = ChirpId::of(["me", "a", "b", "c"][dice.below(4)]);
            let group = ChirpId::of(["g", "G", "other"][dice.below(3)]);
            let service = ServiceId::ALL[dice.below(4)];
            let port = dice.below(3) as u16;
            let source = Ipv4Addr::new(10, 0, 0, dice.below(2) as u8);
            let beacon = match dice.below(3) {
                0 => Beacon::request(group, host, service),
                1 => Beacon::offer(group, host, service, port),
                _ => Beacon::depart(group, host, service, port),
            };
            state.handle(now, source, &beacon.encode(), &mut events);
            if group != ChirpId::of("g") || host == ChirpId::of("me") {
                continue;
            }
            let key = (service, host);
            let describe = |(address, port)| DiscoveredService::new(host, service, address, port);
            let known = model.get(&key).copied();
            match beacon.kind {
                BeaconKind::Offer if port != 0 && known.is_none_or(|known| known.1 != port) => {
                    expected.extend(known.map(|known| ChirpEvent::Died(describe(known))));
                    expected.push(ChirpEvent::Discovered(describe((source, port))));
                    model.insert(key, (source, port));
                }
                BeaconKind::Depart => {
                    expected.extend(known.map(|known| ChirpEvent::Departed(describe(known))));
                    model.remove(&key);
                }
                _ => {}
            }
        }
        assert_eq!(events, expected, "seed {seed}");
        let known: Vec<_> = model
            .iter()
            .map(|((service, host), (address, port))| {
                DiscoveredService::new(*host, *service, *address, *port)
            })
            .collect();
        assert_eq!(state.services().collect::<Vec<_>>(), known, "seed {seed}");
    }
}

/// However requests come, each is answered within the delay, and no two answers lie closer than the requests between them.
#[test]
fn every_request_is_answered_within_the_delay() {
    let longest = Duration::from_millis(200);
    for seed in 0..500 {
        let mut dice = Dice(seed);
        let options = ChirpOptions::new("g", "me").seed(seed);
        let mut state = ChirpState::new(&options);
        let mut now = Instant::now();
        state.register(ServiceId::Data, 1);
        let (mut beacons, mut events) = (Vec::new(), Vec::new());
        state.due(now, &mut beacons, &mut events);
        beacons.clear();
        let request = Beacon::request(ChirpId::of("g"), ChirpId::of("a"), ServiceId::Data);
        let mut oldest_unanswered: Option<Instant> = None;
        for _ in 0..50 {
            state.handle(now, Ipv4Addr::LOCALHOST, &request.encode(), &mut events);
            let asked = *oldest_unanswered.get_or_insert(now);
            let deadline = state.next_deadline().expect("an answer is due");
            assert!(deadline <= asked + longest, "seed {seed}");
            now += Duration::from_millis(dice.below(100) as u64);
            state.due(now, &mut beacons, &mut events);
            assert_eq!(beacons.len(), usize::from(deadline <= now), "seed {seed}");
            if deadline <= now {
                oldest_unanswered = None;
                beacons.clear();
            }
        }
    }
}

proptest! {
    #[test]
    fn beacons_read_back_as_they_were(
        group: [u8; 16],
        host: [u8; 16],
        kind in 0..3usize,
        service in 0..4usize,
        port: u16,
    ) {
        let beacon = Beacon {
            kind: [BeaconKind::Request, BeaconKind::Offer, BeaconKind::Depart][kind],
            group: ChirpId::from_bytes(group),
            host: ChirpId::from_bytes(host),
            service: ServiceId::ALL[service],
            port,
        };
        prop_assert_eq!(Beacon::decode(&beacon.encode()), Ok(beacon));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes: [u8; 42], damage: bool) {
        let mut bytes = bytes;
        if !damage {
            bytes[..6].copy_from_slice(b"CHIRP\x01");
            bytes[6] = bytes[6] % 3 + 1;
            bytes[39] = bytes[39] % 4 + 1;
        }
        match Beacon::decode(&bytes) {
            Ok(beacon) => prop_assert_eq!(beacon.encode(), bytes),
            Err(_) => prop_assert!(damage),
        }
    }

    #[test]
    fn case_of_a_name_makes_no_difference(name in "[a-zA-Z0-9_]{1,20}\\.[a-zA-Z0-9_]{1,20}") {
        prop_assert_eq!(ChirpId::of(&name), ChirpId::of(&name.to_uppercase()));
    }
}

fn good_beacon(dice: &mut Dice) -> [u8; Beacon::LEN] {
    let group = ChirpId::of(if dice.below(10) == 0 { "other" } else { "edda" });
    let host = match dice.below(100) {
        0 => ChirpId::of("Sputnik.One"),
        number => ChirpId::of(&format!("Host.{number}")),
    };
    let service = ServiceId::ALL[dice.below(4)];
    match dice.below(3) {
        0 => Beacon::request(group, host, service),
        1 => Beacon::offer(group, host, service, dice.roll() as u16),
        _ => Beacon::depart(group, host, service, dice.roll() as u16),
    }
    .encode()
}
