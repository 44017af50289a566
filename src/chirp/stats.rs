//! What a manager counts.

/// Counts of a manager since its start.
///
/// What the system itself drops because datagrams come faster than they can be read shows nowhere; whoever misses an OFFER asks
/// again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChirpStats {
    /// Datagrams that came, whatever they were.
    pub received: u64,
    /// Datagrams that are no beacon: wrong length, header, kind or service.
    pub malformed: u64,
    /// Datagrams from another machine although only the loopback is used; dropped.
    pub foreign: u64,
    /// Beacons of other groups.
    pub other_groups: u64,
    /// Beacons under the own name: the echo of what was sent, or another host of that name.
    pub own: u64,
    /// REQUESTs of others.
    pub requests: u64,
    /// Those of them that shared the answer to an earlier one.
    pub merged_requests: u64,
    /// OFFERs of others.
    pub offers: u64,
    /// Those of them that had port 0, which nobody can connect to; ignored.
    pub offers_without_port: u64,
    /// Those of them that were forgotten because [`max_services`](crate::chirp::ChirpOptions::max_services) were known.
    pub refused_services: u64,
    /// DEPARTs of others.
    pub departs: u64,
    /// Services declared dead by age.
    pub aged: u64,
    /// Datagrams sent: each beacon once an interface.
    pub sent: u64,
    /// Datagrams that an interface did not take.
    pub send_failures: u64,
    /// Failures of the receive socket.
    pub receive_failures: u64,
    /// Events that a slow subscriber missed.
    pub events_lost: u64,
    /// Callbacks that panicked.
    pub callback_panics: u64,
    /// Times that an interface could not be used.
    pub interface_failures: u64,
    /// Interfaces in use now.
    pub interfaces: usize,
    /// Services of others known now.
    pub services: usize,
}
