//! Which services others offer: what their OFFERs and DEPARTs make of it, and what their silence does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::chirp::{ChirpEvent, ChirpId, DiscoveredService, ServiceId};

/// The services of others; pure.
#[derive(Debug)]
pub(super) struct Registry {
    known: BTreeMap<(ServiceId, ChirpId), Known>,
    limit: usize,
    ageing: Option<Duration>,
}

/// What is known of one service.
#[derive(Debug)]
struct Known {
    address: Ipv4Addr,
    port: u16,
    /// When its host is asked for a sign of life, or it is dead if that was done often enough; `None` for never.
    step: Option<Instant>,
    /// How often its host was asked since it was heard.
    asked: u32,
}

/// What became of an OFFER.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The service is known already.
    Known,
    /// It is known from now on; in place of another one, which is dead, if the host had it at another port.
    New {
        dead: Option<DiscoveredService>,
        service: DiscoveredService,
    },
    /// It is forgotten, for as many are known as are remembered.
    Full,
}

impl Registry {
    pub(super) fn new(limit: usize, ageing: Option<Duration>) -> Self {
        Self {
            known: BTreeMap::new(),
            limit: limit.max(1),
            ageing: ageing.map(|ageing| ageing.max(SHORTEST_AGEING)),
        }
    }

    /// Source: CHIRP 1 and ConstellationDAQ 1.0.2: the first address stays while the port is the same.
    pub(super) fn offer(&mut self, now: Instant, service: DiscoveredService) -> Offered {
        let key = (service.service, service.host);
        let new = Known {
            address: service.address,
            port: service.port,
            step: self.first_step(now),
            asked: 0,
        };
        if let Some(known) = self.known.get_mut(&key) {
            if known.port != service.port {
                let dead = std::mem::replace(known, new).describe(key);
                return Offered::New {
                    dead: Some(dead),
                    service,
                };
            }
            // A host that is heard from elsewhere only has moved: its first address is to grow old.
            if known.address == service.address {
                *known = new;
            }
            return Offered::Known;
        }
        if self.known.len() >= self.limit {
            return Offered::Full;
        }
        self.known.insert(key, new);
        Offered::New {
            dead: None,
            service,
        }
    }

    /// Whatever the port. Source: CHIRP 1 and ConstellationDAQ 1.0.2.
    pub(super) fn depart(
        &mut self,
        service: ServiceId,
        host: ChirpId,
    ) -> Option<DiscoveredService> {
        let key = (service, host);
        Some(self.known.remove(&key)?.describe(key))
    }

    /// Removes what has died of age into `events`, and gives the services whose hosts are to be asked for a sign of life.
    pub(super) fn age(&mut self, now: Instant, events: &mut Vec<ChirpEvent>) -> Vec<ServiceId> {
        let Some(ageing) = self.ageing else {
            return Vec::new();
        };
        let mut ask = Vec::new();
        self.known.retain(|key, known| {
            if known.step.is_none_or(|step| now < step) {
                return true;
            }
            if known.asked == QUESTIONS {
                events.push(ChirpEvent::Died(known.describe(*key)));
                return false;
            }
            known.asked += 1;
            // From now, so that a thread that comes late leaves time for the answer all the same.
            known.step = now.checked_add(ageing / STEPS);
            if !ask.contains(&key.0) {
                ask.push(key.0);
            }
            true
        });
        ask
    }

    /// When [`age`](Self::age) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.ageing?;
        self.known.values().filter_map(|known| known.step).min()
    }

    /// In the order of service and host.
    pub(super) fn list(&self) -> impl Iterator<Item = DiscoveredService> + '_ {
        self.known.iter().map(|(key, known)| known.describe(*key))
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Asked at two, three and four fifths of the time, dead at the end of it. Beyond the end of the clock is never.
    fn first_step(&self, heard: Instant) -> Option<Instant> {
        heard.checked_add(self.ageing? / STEPS * 2)
    }
}

impl Known {
    fn describe(&self, (service, host): (ServiceId, ChirpId)) -> DiscoveredService {
        DiscoveredService::new(host, service, self.address, self.port)
    }
}

/// How often a silent host is asked before its service is declared dead: a datagram may be lost.
const QUESTIONS: u32 = 3;

/// Into how many parts the time of ageing is cut: two before the first question, one behind each.
const STEPS: u32 = QUESTIONS + 2;

/// Hosts wait up to 200 ms before they answer, and the last question comes at four fifths.
const SHORTEST_AGEING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    #[test]
    fn same_port_from_elsewhere_keeps_the_first_address() {
        let mut registry = Registry::new(10, None);
        let now = Instant::now();
        assert!(matches!(
            registry.offer(now, data(HERE, 1)),
            Offered::New { dead: None, .. }
        ));
        assert_eq!(registry.offer(now, data(THERE, 1)), Offered::Known);
        assert_eq!(registry.list().collect::<Vec<_>>(), [data(HERE, 1)]);
    }

    #[test]
    fn other_port_kills_the_old_service() {
        let mut registry = Registry::new(1, None);
        let now = Instant::now();
        registry.offer(now, data(HERE, 1));
        let expected = Offered::New {
            dead: Some(data(HERE, 1)),
            service: data(THERE, 2),
        };
        assert_eq!(registry.offer(now, data(THERE, 2)), expected);
        assert_eq!(registry.list().collect::<Vec<_>>(), [data(THERE, 2)]);
    }

    #[test]
    fn one_more_than_the_limit_is_refused_until_one_departs() {
        let mut registry = Registry::new(1, None);
        let now = Instant::now();
        let other = DiscoveredService::new(ChirpId::of("b"), ServiceId::Data, HERE, 5);
        registry.offer(now, data(HERE, 1));
        assert_eq!(registry.offer(now, other), Offered::Full);
        assert_eq!(registry.depart(ServiceId::Control, ChirpId::of("a")), None);
        assert_eq!(
            registry.depart(ServiceId::Data, ChirpId::of("a")),
            Some(data(HERE, 1))
        );
        assert!(matches!(registry.offer(now, other), Offered::New { .. }));
    }

    #[test]
    fn silent_service_is_asked_three_times_and_dies() {
        let mut registry = Registry::new(10, Some(Duration::from_secs(10)));
        let start = Instant::now();
        registry.offer(start, data(HERE, 1));
        let mut events = Vec::new();
        for second in [4, 6, 8] {
            let due = start + Duration::from_secs(second);
            assert_eq!(registry.next_deadline(), Some(due));
            let early = due - Duration::from_nanos(1);
            assert_eq!(registry.age(early, &mut events), []);
            assert_eq!(registry.age(due, &mut events), [ServiceId::Data]);
        }
        let end = start + Duration::from_secs(10);
        assert_eq!(registry.next_deadline(), Some(end));
        assert_eq!(registry.age(end, &mut events), []);
        assert_eq!(events, [ChirpEvent::Died(data(HERE, 1))]);
        assert_eq!(registry.next_deadline(), None);
    }

    #[test]
    fn thread_that_comes_late_still_waits_for_the_answer() {
        let mut registry = Registry::new(10, Some(Duration::from_secs(10)));
        let start = Instant::now();
        registry.offer(start, data(HERE, 1));
        let late = start + Duration::from_secs(60);
        let mut events = Vec::new();
        assert_eq!(registry.age(late, &mut events), [ServiceId::Data]);
        assert_eq!(
            registry.next_deadline(),
            Some(late + Duration::from_secs(2))
        );
        assert_eq!(events, []);
    }

    #[test]
    fn sign_of_life_starts_the_age_anew_but_not_from_elsewhere() {
        let mut registry = Registry::new(10, Some(Duration::from_secs(10)));
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        registry.offer(start, data(HERE, 1));
        registry.age(later, &mut Vec::new());
        registry.offer(later, data(THERE, 1));
        assert_eq!(
            registry.next_deadline(),
            Some(start + Duration::from_secs(7))
        );
        registry.offer(later, data(HERE, 1));
        assert_eq!(
            registry.next_deadline(),
            Some(later + Duration::from_secs(4))
        );
    }

    #[test]
    fn ageing_beyond_the_clock_never_comes() {
        let mut registry = Registry::new(10, Some(Duration::MAX));
        let now = Instant::now();
        registry.offer(now, data(HERE, 1));
        assert!(registry.next_deadline() > Some(now + Duration::from_secs(3600)));
        assert_eq!(registry.age(now, &mut Vec::new()), []);
    }

    fn data(address: Ipv4Addr, port: u16) -> DiscoveredService {
        DiscoveredService::new(ChirpId::of("a"), ServiceId::Data, address, port)
    }
}
