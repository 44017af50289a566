#![no_main]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use acqbus::chirp::{Beacon, ChirpOptions, ChirpState, ServiceId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(beacon) = Beacon::decode(data) {
        assert_eq!(beacon.encode(), data, "what decodes has one form");
    }
    // A history: each piece of 43 bytes is a source and a time, then a datagram.
    let start = Instant::now();
    let options = ChirpOptions::new("edda", "Sputnik.One")
        .max_services(8)
        .ageing(Some(Duration::from_secs(1)))
        .seed(0);
    let mut state = ChirpState::new(&options);
    state.register(ServiceId::Data, 4242);
    let (mut now, mut beacons, mut events) = (start, Vec::new(), Vec::new());
    let mut pieces = 0;
    for piece in data.chunks(1 + Beacon::LEN) {
        pieces += 1;
        now += Duration::from_millis(u64::from(piece[0]));
        let source = Ipv4Addr::new(127, 0, 0, piece[0]);
        state.handle(now, source, &piece[1..], &mut events);
        state.due(now, &mut beacons, &mut events);
        assert!(state.next_deadline().is_none_or(|at| at > now));
    }
    let stats = state.stats();
    assert_eq!(stats.received, pieces);
    assert!(stats.services <= 8);
    for beacon in beacons {
        assert_eq!(Beacon::decode(&beacon.encode()), Ok(beacon));
    }
});
