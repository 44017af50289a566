//! What this host offers and asks for, and when the next beacon about it is due.

use std::time::Instant;

use crate::chirp::{BeaconKind, ServiceId};

/// The services of this host, at most one of each kind; pure.
///
/// Whatever is asked of it comes together in one beacon a service, so that no flood makes it send one.
#[derive(Debug, Default)]
pub(super) struct Offers([Offer; ServiceId::ALL.len()]);

/// One kind of service.
#[derive(Debug, Default)]
struct Offer {
    /// Where it is offered.
    port: Option<u16>,
    /// Where others may believe it.
    told: Option<u16>,
    /// An OFFER goes out as soon as can be.
    announce: bool,
    /// A REQUEST of another host is answered then.
    answer_at: Option<Instant>,
    /// Somebody asked for it in this program, so that a new interface is asked too.
    wanted: bool,
    /// A REQUEST goes out as soon as can be.
    ask: bool,
}

impl Offers {
    /// Offers a service, in place of the one at another port.
    pub(super) fn register(&mut self, service: ServiceId, port: u16) {
        let offer = self.at(service);
        if offer.port != Some(port) {
            offer.port = Some(port);
            offer.announce = true;
        }
    }

    /// Takes a service back; says whether it was offered.
    pub(super) fn unregister(&mut self, service: ServiceId) -> bool {
        let offer = self.at(service);
        offer.announce = false;
        offer.answer_at = None;
        offer.port.take().is_some()
    }

    pub(super) fn request(&mut self, service: ServiceId) {
        let offer = self.at(service);
        offer.ask = true;
        offer.wanted = true;
    }

    /// Another host asks; says whether its answer is a new one, and `None` where there is nothing to answer.
    pub(super) fn answer(&mut self, service: ServiceId, at: Instant) -> Option<bool> {
        let offer = self.at(service);
        offer.port?;
        let new = offer.answer_at.is_none() && !offer.announce;
        offer.answer_at.get_or_insert(at);
        Some(new)
    }

    /// A host asks itself for signs of life; unlike [`request`](Self::request), new interfaces are not asked.
    pub(super) fn ask(&mut self, service: ServiceId) {
        self.at(service).ask = true;
    }

    /// Says and asks everything once more, as to an interface that has come.
    pub(super) fn repeat(&mut self) {
        for offer in &mut self.0 {
            offer.announce = offer.port.is_some();
            offer.ask = offer.wanted;
        }
    }

    /// Takes what is due now: kind, service and port of each beacon.
    pub(super) fn due(&mut self, now: Instant, mut send: impl FnMut(BeaconKind, ServiceId, u16)) {
        for (service, offer) in ServiceId::ALL.into_iter().zip(&mut self.0) {
            let answer = offer.answer_at.is_some_and(|at| at <= now);
            match offer.port {
                Some(port) if offer.announce || answer => {
                    offer.announce = false;
                    offer.answer_at = None;
                    // The OFFER alone would do, but C++ peers then forget every service of this host.
                    if let Some(old) = offer.told.replace(port)
                        && old != port
                    {
                        send(BeaconKind::Depart, service, old);
                    }
                    send(BeaconKind::Offer, service, port);
                }
                Some(_) => {}
                None => {
                    if let Some(port) = offer.told.take() {
                        send(BeaconKind::Depart, service, port);
                    }
                }
            }
            if std::mem::take(&mut offer.ask) {
                send(BeaconKind::Request, service, 0);
            }
        }
    }

    /// When [`due`](Self::due) has something, other than at once.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|offer| offer.answer_at).min()
    }

    /// Takes everything back.
    pub(super) fn unregister_all(&mut self) {
        for service in ServiceId::ALL {
            self.unregister(service);
            self.at(service).ask = false;
        }
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (ServiceId, u16)> + '_ {
        ServiceId::ALL
            .into_iter()
            .zip(&self.0)
            .filter_map(|(service, offer)| Some((service, offer.port?)))
    }

    fn at(&mut self, service: ServiceId) -> &mut Offer {
        // The services have the numbers 1 to 4, without a gap.
        &mut self.0[service as usize - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn many_requests_share_one_offer() {
        let mut offers = Offers::default();
        let now = Instant::now();
        offers.register(ServiceId::Data, 7);
        assert_eq!(due(&mut offers, now), [OFFER]);
        assert_eq!(offers.answer(ServiceId::Data, now + MS), Some(true));
        for _ in 0..1000 {
            assert_eq!(offers.answer(ServiceId::Data, now + 2 * MS), Some(false));
        }
        assert_eq!(offers.next_deadline(), Some(now + MS));
        assert_eq!(due(&mut offers, now), []);
        assert_eq!(due(&mut offers, now + MS), [OFFER]);
        assert_eq!(due(&mut offers, now + 3 * MS), []);
        assert_eq!(offers.next_deadline(), None);
    }

    #[test]
    fn request_for_what_is_not_offered_is_not_answered() {
        let mut offers = Offers::default();
        let now = Instant::now();
        assert_eq!(offers.answer(ServiceId::Data, now), None);
        assert_eq!(due(&mut offers, now + MS), []);
    }

    #[test]
    fn unregistered_service_departs_once_and_only_if_told() {
        let mut offers = Offers::default();
        let now = Instant::now();
        offers.register(ServiceId::Data, 7);
        assert!(offers.unregister(ServiceId::Data));
        assert_eq!(due(&mut offers, now), []);
        offers.register(ServiceId::Data, 7);
        due(&mut offers, now);
        assert!(offers.unregister(ServiceId::Data));
        assert!(!offers.unregister(ServiceId::Data));
        assert_eq!(due(&mut offers, now), [(BeaconKind::Depart, 7)]);
        assert_eq!(due(&mut offers, now), []);
    }

    #[test]
    fn other_port_departs_first_and_the_same_not_at_all() {
        let mut offers = Offers::default();
        let now = Instant::now();
        offers.register(ServiceId::Data, 7);
        due(&mut offers, now);
        offers.unregister(ServiceId::Data);
        offers.register(ServiceId::Data, 8);
        let moved = [(BeaconKind::Depart, 7), (BeaconKind::Offer, 8)];
        assert_eq!(due(&mut offers, now), moved);
        offers.unregister(ServiceId::Data);
        offers.register(ServiceId::Data, 8);
        assert_eq!(due(&mut offers, now), [(BeaconKind::Offer, 8)]);
        offers.unregister(ServiceId::Data);
        offers.register(ServiceId::Data, 9);
        offers.unregister(ServiceId::Data);
        assert_eq!(due(&mut offers, now), [(BeaconKind::Depart, 8)]);
    }

    #[test]
    fn new_interface_hears_offers_and_wishes_again() {
        let mut offers = Offers::default();
        let now = Instant::now();
        offers.register(ServiceId::Data, 7);
        offers.request(ServiceId::Data);
        let all = [OFFER, (BeaconKind::Request, 0)];
        assert_eq!(due(&mut offers, now), all);
        offers.repeat();
        assert_eq!(due(&mut offers, now), all);
        offers.ask(ServiceId::Control);
        assert_eq!(due(&mut offers, now), [(BeaconKind::Request, 0)]);
        offers.repeat();
        assert_eq!(due(&mut offers, now), all);
    }

    fn due(offers: &mut Offers, now: Instant) -> Vec<(BeaconKind, u16)> {
        let mut out = Vec::new();
        offers.due(now, |kind, _, port| out.push((kind, port)));
        out
    }

    const MS: Duration = Duration::from_millis(1);
    const OFFER: (BeaconKind, u16) = (BeaconKind::Offer, 7);
}
