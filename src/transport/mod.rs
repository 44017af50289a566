//! Uplinks: what carries events to other systems, and says of each whether it arrived.
//!
//! A [`Transport`] sends [events](crate::udm::UdmEvent) and gives a [`SendResult`] for each; an error is a value in it, with its
//! [kind](ErrorKind), whether to try again and how long the server asks to wait. When to try again is a [`RetryPolicy`], whether to
//! try at all a [`CircuitBreaker`]: both are pure and take the time as an argument.
//!
//! Methods, results and their names follow PhyTrace's transport page; there they are asynchronous, here they block.
//!
//! ```
//! use acqbus::transport::{MockTransport, Transport, TransportError};
//! use acqbus::udm::{EventType, SourceType, UdmEvent};
//!
//! let event = UdmEvent::builder(EventType::Custom, "rig-7", SourceType::Custom).build()?;
//! let mock = MockTransport::new();
//! let mut transport = mock.clone();
//! transport.connect().expect("the mock is there");
//! assert!(transport.send(&event).is_success());
//!
//! mock.fail_next(1, TransportError::server("500", None));
//! let result = transport.send(&event);
//! assert!(result.error().unwrap().is_retryable());
//! assert_eq!(mock.sent_count(), 1);
//! # Ok::<(), acqbus::udm::UdmError>(())
//! ```

mod breaker;
mod error;
mod mock;
mod result;
mod retry;

pub use breaker::{BreakerOptions, BreakerState, CircuitBreaker};
pub use error::{Cause, ErrorKind, TransportError};
pub use mock::MockTransport;
pub use result::{BatchSendResult, SendResult};
pub use retry::{RetryPolicy, Throttle, parse_retry_after};

use crate::udm::UdmEvent;

/// Sends events to another system.
///
/// Calls block, each for a time that the transport's options bound; none panics. One thread at a time has a transport. An event that
/// was sent is identified by its id: it may be sent again, and counts once.
///
/// Source: PhyTrace, "Transport"; that `connect` and `disconnect` may be called twice, and that sending connects, is *ours*.
pub trait Transport: Send {
    /// Connects, if it is not connected.
    ///
    /// # Errors
    /// Why it cannot; it is not connected then, and may be asked again.
    fn connect(&mut self) -> Result<(), TransportError>;

    /// Gives the connection up, if there is one; sending connects again.
    fn disconnect(&mut self);

    /// Whether it is connected, as far as it knows without asking.
    fn is_connected(&self) -> bool;

    /// Sends an event, and connects first where it is not connected.
    ///
    /// A failure is in the result. Then the event may have arrived all the same, unless the error
    /// [is a refusal](TransportError::is_refusal).
    fn send(&mut self, event: &UdmEvent) -> SendResult;

    /// Sends several events; there is one result for each, in their order.
    ///
    /// One after the other by default, and after an error that says nothing about the event the rest is not tried.
    fn send_batch(&mut self, events: &[UdmEvent]) -> BatchSendResult {
        let mut results = Vec::with_capacity(events.len());
        let mut rest = events.iter();
        for event in rest.by_ref() {
            let result = self.send(event);
            let stops = result.error().is_some_and(|error| !error.is_refusal());
            results.push(result);
            if stops {
                break;
            }
        }
        let error = results.last().and_then(SendResult::error).cloned();
        if let Some(error) = error {
            results.extend(rest.map(|event| SendResult::fail(event.event_id(), error.clone())));
        }
        BatchSendResult::new(results)
    }

    /// Asks the other side whether it is well.
    ///
    /// # Errors
    /// Why it is not, or why that cannot be told.
    fn health_check(&mut self) -> Result<(), TransportError>;
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn connect(&mut self) -> Result<(), TransportError> {
        (**self).connect()
    }

    fn disconnect(&mut self) {
        (**self).disconnect();
    }

    fn is_connected(&self) -> bool {
        (**self).is_connected()
    }

    fn send(&mut self, event: &UdmEvent) -> SendResult {
        (**self).send(event)
    }

    fn send_batch(&mut self, events: &[UdmEvent]) -> BatchSendResult {
        (**self).send_batch(events)
    }

    fn health_check(&mut self) -> Result<(), TransportError> {
        (**self).health_check()
    }
}
