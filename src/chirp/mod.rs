//! Discovery: who offers which service where, on the wire of Constellation (CHIRP).
//!
//! Hosts of one group tell each other by multicast which services they offer at which TCP port. A beacon says OFFER when a service
//! comes, DEPART when it goes, and answers every REQUEST with another OFFER. `docs/discovery.md` has names, numbers and what is
//! ours.
//!
//! ```text
//!                 register, request ──> ChirpState (pure) ──> beacons ──> one send socket an interface ──> group, port 7123
//! services, subscribe, on_change <──────     │     <───────── datagrams <── one receive socket, joined on each interface
//!                                      ChirpManager: the thread `acqbus-chirp`, which waits for whatever comes first
//! ```
//!
//! | file | knows |
//! |---|---|
//! | `id`, `beacon` | bytes |
//! | `state`, `registry`, `offers` | the rules, without a socket or a clock |
//! | `manager`, `sockets`, `interfaces`, `wait` | the thread and what it waits for |

mod beacon;
mod error;
mod event;
mod id;
mod interfaces;
mod listeners;
mod manager;
mod offers;
mod options;
mod registry;
mod sockets;
mod state;
mod stats;
mod wait;

pub use beacon::{Beacon, BeaconKind, ServiceId};
pub use error::ChirpError;
pub use event::{ChirpEvent, DiscoveredService};
pub use id::ChirpId;
pub use interfaces::Interfaces;
pub use manager::ChirpManager;
pub use options::{ChirpOptions, MULTICAST_ADDRESS, PORT};
pub use state::ChirpState;
pub use stats::ChirpStats;
