//! How a host takes part in the discovery.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::chirp::Interfaces;

/// Who takes part, where, and how much it remembers.
///
/// ```
/// use acqbus::chirp::{ChirpOptions, Interfaces};
///
/// let options = ChirpOptions::new("edda", "Sputnik.One").interfaces(Interfaces::All);
/// assert_eq!(options.port, 7123);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChirpOptions {
    /// Name of the group, in any case: hosts of other groups are not seen and do not see this one. Not empty.
    pub group: String,
    /// Name of this host, in any case; `Type.name` in a Constellation. Not empty, and unique in the group: beacons of the own name
    /// are dropped, so that two hosts of one name do not see each other.
    pub host: String,
    /// UDP port. Defaults to [`PORT`], which all of a Constellation use; 0 counts as that.
    pub port: u16,
    /// Multicast address. Defaults to [`MULTICAST_ADDRESS`].
    pub multicast: Ipv4Addr,
    /// Interfaces to send to and listen at. Defaults to [`Interfaces::Loopback`]: this machine only.
    pub interfaces: Interfaces,
    /// Time between looks for interfaces that came or went; `None`, the default, looks at the start only. At least 100 ms
    /// (*ours*).
    pub rescan: Option<Duration>,
    /// How many routers a beacon may pass, at most 255. Defaults to 8, as in Constellation.
    pub ttl: u8,
    /// The longest of the random delays before a REQUEST is answered; requests that come meanwhile share the answer. Defaults to
    /// 200 ms, as in ConstellationDAQ 1.0.2; zero answers at once, each burst of requests once.
    pub reply_delay: Duration,
    /// How long a service stays known that is not heard of. `None`, the default and what Constellation does: until its host says
    /// DEPART. Else its host is asked three times before it is declared dead; at least 1 s, and shorter ones count as that (*ours*).
    pub ageing: Option<Duration>,
    /// How many services of others are remembered; more are counted and forgotten. At least 1. Defaults to 1,024 (*ours*).
    pub max_services: usize,
    /// How many events wait for one subscriber before it misses some, which is counted. At least [`max_services`](Self::max_services).
    /// At most 262,144, for memory is taken for all at once. Defaults to 4,096 (*ours*).
    pub event_queue: usize,
    /// Seed of the random delays; `None`, the default, takes one from the system.
    pub seed: Option<u64>,
}

impl ChirpOptions {
    /// Takes part in `group` as `host`, on this machine only, with the defaults of each field.
    #[must_use]
    pub fn new(group: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            host: host.into(),
            port: PORT,
            multicast: MULTICAST_ADDRESS,
            interfaces: Interfaces::Loopback,
            rescan: None,
            ttl: 8,
            reply_delay: Duration::from_millis(200),
            ageing: None,
            max_services: 1024,
            event_queue: 4096,
            seed: None,
        }
    }

    /// Sets [`port`](Self::port); tests that run side by side take one each.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets [`multicast`](Self::multicast).
    #[must_use]
    pub fn multicast(mut self, address: Ipv4Addr) -> Self {
        self.multicast = address;
        self
    }

    /// Sets [`interfaces`](Self::interfaces).
    #[must_use]
    pub fn interfaces(mut self, interfaces: Interfaces) -> Self {
        self.interfaces = interfaces;
        self
    }

    /// Sets [`rescan`](Self::rescan).
    #[must_use]
    pub fn rescan(mut self, interval: Option<Duration>) -> Self {
        self.rescan = interval;
        self
    }

    /// Sets [`ttl`](Self::ttl).
    #[must_use]
    pub fn ttl(mut self, routers: u8) -> Self {
        self.ttl = routers;
        self
    }

    /// Sets [`reply_delay`](Self::reply_delay).
    #[must_use]
    pub fn reply_delay(mut self, longest: Duration) -> Self {
        self.reply_delay = longest;
        self
    }

    /// Sets [`ageing`](Self::ageing).
    #[must_use]
    pub fn ageing(mut self, ageing: Option<Duration>) -> Self {
        self.ageing = ageing;
        self
    }

    /// Sets [`max_services`](Self::max_services).
    #[must_use]
    pub fn max_services(mut self, services: usize) -> Self {
        self.max_services = services;
        self
    }

    /// Sets [`event_queue`](Self::event_queue).
    #[must_use]
    pub fn event_queue(mut self, events: usize) -> Self {
        self.event_queue = events;
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// The multicast address of CHIRP.
pub const MULTICAST_ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 192, 7, 123);

/// The UDP port of CHIRP.
pub const PORT: u16 = 7123;
