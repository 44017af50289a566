//! The rules of the discovery, without a socket or a clock.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

use crate::chirp::offers::Offers;
use crate::chirp::registry::{Offered, Registry};
use crate::chirp::{
    Beacon, BeaconKind, ChirpEvent, ChirpId, ChirpOptions, ChirpStats, DiscoveredService, ServiceId,
};

/// One host's part in the discovery: takes datagrams and the time, gives events and beacons to send.
///
/// A [`ChirpManager`](crate::chirp::ChirpManager) is one with sockets and a thread. Memory is bounded whatever comes.
///
/// ```
/// use std::net::Ipv4Addr;
/// use std::time::Instant;
/// use acqbus::chirp::{ChirpOptions, ChirpState, ServiceId};
///
/// let now = Instant::now();
/// let mut sender = ChirpState::new(&ChirpOptions::new("lab", "Camera.a"));
/// let mut reader = ChirpState::new(&ChirpOptions::new("lab", "Writer.b"));
/// sender.register(ServiceId::Data, 4242);
///
/// let (mut beacons, mut events) = (Vec::new(), Vec::new());
/// sender.due(now, &mut beacons, &mut events);
/// for beacon in beacons {
///     reader.handle(now, Ipv4Addr::LOCALHOST, &beacon.encode(), &mut events);
/// }
/// assert_eq!(events[0].service().port, 4242);
/// ```
#[derive(Debug)]
pub struct ChirpState {
    group: ChirpId,
    host: ChirpId,
    reply_delay: Duration,
    local_only: bool,
    random: Pcg32,
    offers: Offers,
    registry: Registry,
    counts: ChirpStats,
}

impl ChirpState {
    /// A host that offers and knows nothing yet.
    ///
    /// Without a [`seed`](ChirpOptions::seed), its delays are those of seed 0.
    #[must_use]
    pub fn new(options: &ChirpOptions) -> Self {
        Self {
            group: ChirpId::of(&options.group),
            host: ChirpId::of(&options.host),
            reply_delay: options.reply_delay,
            local_only: false,
            random: Pcg32::seed_from_u64(options.seed.unwrap_or_default()),
            offers: Offers::default(),
            registry: Registry::new(options.max_services, options.ageing),
            counts: ChirpStats::default(),
        }
    }

    /// Drops what comes from other machines, and counts it. Off at first.
    pub fn set_local_only(&mut self, local_only: bool) {
        self.local_only = local_only;
    }

    /// Offers a service from now on, in place of one of the same kind at another port, which departs.
    pub fn register(&mut self, service: ServiceId, port: u16) {
        self.offers.register(service, port);
    }

    /// Takes a service back; says whether it was offered.
    pub fn unregister(&mut self, service: ServiceId) -> bool {
        self.offers.unregister(service)
    }

    /// Takes all services back, and drops requests that are not sent yet.
    pub fn unregister_all(&mut self) {
        self.offers.unregister_all();
    }

    /// Asks all hosts of the group for a service.
    pub fn request(&mut self, service: ServiceId) {
        self.offers.request(service);
    }

    /// Offers and asks everything once more, as an interface that has come needs it.
    pub fn repeat(&mut self) {
        self.offers.repeat();
    }

    /// Takes one datagram, whatever it is, and appends what it changes to `events`.
    pub fn handle(
        &mut self,
        now: Instant,
        source: Ipv4Addr,
        datagram: &[u8],
        events: &mut Vec<ChirpEvent>,
    ) {
        self.counts.received += 1;
        if self.local_only && !source.is_loopback() {
            self.counts.foreign += 1;
            return;
        }
        let Ok(beacon) = Beacon::decode(datagram) else {
            self.counts.malformed += 1;
            return;
        };
        if beacon.group != self.group {
            self.counts.other_groups += 1;
        } else if beacon.host == self.host {
            self.counts.own += 1;
        } else {
            match beacon.kind {
                BeaconKind::Request => self.requested(now, beacon.service),
                BeaconKind::Offer => self.offered(now, source, &beacon, events),
                BeaconKind::Depart => {
                    self.counts.departs += 1;
                    let departed = self.registry.depart(beacon.service, beacon.host);
                    events.extend(departed.map(ChirpEvent::Departed));
                }
            }
        }
    }

    /// Appends the beacons that are to be sent now to `beacons`, and what has died of age to `events`.
    pub fn due(&mut self, now: Instant, beacons: &mut Vec<Beacon>, events: &mut Vec<ChirpEvent>) {
        let before = events.len();
        for service in self.registry.age(now, events) {
            self.offers.ask(service);
        }
        self.counts.aged += (events.len() - before) as u64;
        let (group, host) = (self.group, self.host);
        self.offers.due(now, |kind, service, port| {
            beacons.push(Beacon {
                kind,
                group,
                host,
                service,
                port,
            });
        });
    }

    /// When [`due`](Self::due) has to be called again if nothing happens until then; `None` for never.
    ///
    /// Holds right after a call to it: what was registered or asked since then is due at once.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.offers.next_deadline(), self.registry.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// The services of others, in the order of service and host.
    pub fn services(&self) -> impl Iterator<Item = DiscoveredService> + '_ {
        self.registry.list()
    }

    /// The services of this host and their ports.
    pub fn registered(&self) -> impl Iterator<Item = (ServiceId, u16)> + '_ {
        self.offers.list()
    }

    /// What it counted; the counts of sockets and subscribers are 0.
    #[must_use]
    pub fn stats(&self) -> ChirpStats {
        ChirpStats {
            services: self.registry.len(),
            ..self.counts
        }
    }

    fn requested(&mut self, now: Instant, service: ServiceId) {
        self.counts.requests += 1;
        // A fraction of the delay in steps of 2^-32; 94 and 32 bits fit into 128.
        let nanos = (self.reply_delay.as_nanos() * u128::from(self.random.next_u32())) >> 32;
        let delay = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let at = now.checked_add(delay).unwrap_or(now);
        if self.offers.answer(service, at) == Some(false) {
            self.counts.merged_requests += 1;
        }
    }

    fn offered(
        &mut self,
        now: Instant,
        source: Ipv4Addr,
        beacon: &Beacon,
        events: &mut Vec<ChirpEvent>,
    ) {
        self.counts.offers += 1;
        if beacon.port == 0 {
            self.counts.offers_without_port += 1;
            return;
        }
        let service = DiscoveredService::new(beacon.host, beacon.service, source, beacon.port);
        match self.registry.offer(now, service) {
            Offered::Known => {}
            Offered::New { dead, service } => {
                events.extend(dead.map(ChirpEvent::Died));
                events.push(ChirpEvent::Discovered(service));
            }
            Offered::Full => self.counts.refused_services += 1,
        }
    }
}
