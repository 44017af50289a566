//! The event that goes up: the Unified Data Model (UDM) 0.0.3.
//!
//! A [`UdmEvent`] is a JSON object: an envelope (who, what, when), any of 23 [domains](Domain), the provenance with its signature, and
//! extensions. It is made by a [builder](UdmEvent::builder) with typed builders for the domains that a rig uses, or read
//! from JSON text; it is [validated](validate()) against the rules of the public schemas, and signed by a [`Signer`]. Nothing here
//! waits or knows who carries events; only the builder reads a clock.
//!
//! Source: the schemas of UDM 0.0.3; docs/udm.md has the whole of it on one page.
//!
//! ```
//! use acqbus::udm::{EventType, Identity, Safety, SafetyState, SourceType, UdmEvent};
//!
//! let event = UdmEvent::builder(EventType::EmergencyStop, "rig-7", SourceType::Custom)
//!     .domain(Identity::new().platform("treadmill").site_id("lab-2"))
//!     .domain(Safety::new().safety_state(SafetyState::EmergencyStop).is_safe(false))
//!     .build()?;
//! assert!(event.to_json().contains(r#""safety":{"safety_state":"emergency_stop","is_safe":false}"#));
//!
//! let refused = UdmEvent::builder(EventType::EmergencyStop, "", SourceType::Custom).build();
//! assert_eq!(refused.unwrap_err().to_string(), "the event is not valid: /source_id is empty");
//! # Ok::<(), acqbus::udm::UdmError>(())
//! ```

mod builder;
mod canonical;
mod date_time;
mod domain;
mod domains;
mod envelope;
mod error;
mod event;
mod json;
mod names;
mod rules;
mod signature;
mod validate;

pub use builder::UdmEventBuilder;
pub use domain::{Domain, Mode, SafetyState, State};
pub use domains::{Compute, Context, Identity, Operational, Safety};
pub use envelope::{EventType, SourceType};
pub use error::{Problem, Rule, UdmError};
pub use event::{Object, UDM_VERSION, UdmEvent};
pub use signature::{Signer, verify};
pub use validate::validate;

/// The Rust code of the page, compiled and run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/udm.md")]
struct Page;
