//! Whom a recorder registers with: an engine of this process, or a server elsewhere.

use std::fmt;
use std::sync::Arc;

use crate::event::{QueryLatestParams, RegisterEvent, Subscription, Timestamp};
use crate::eventer::{EventerClient, EventerError};
use crate::relay::RelayError;
use crate::store::{EngineHandle, FaultKind, Source, StoreError};

/// Whom a [`BusRecorder`](crate::relay::BusRecorder) registers with.
///
/// | is one | registers with |
/// |---|---|
/// | [`EngineHandle`] | the engine of a store in this process |
/// | [`ServerRegistrar`] | an eventer server, ours or hat-event's |
pub trait Registrar: fmt::Debug + Send {
    /// Registers events as one session and returns when they are: the time that they got, where that is known.
    ///
    /// After an error that is not [final](RelayError::is_final) the recorder calls again with the same events.
    ///
    /// # Errors
    /// What registering gave.
    fn register(&mut self, events: &[RegisterEvent]) -> Result<Option<Timestamp>, RelayError>;
}

impl<R: Registrar + ?Sized> Registrar for Box<R> {
    fn register(&mut self, events: &[RegisterEvent]) -> Result<Option<Timestamp>, RelayError> {
        (**self).register(events)
    }
}

impl Registrar for EngineHandle {
    fn register(&mut self, events: &[RegisterEvent]) -> Result<Option<Timestamp>, RelayError> {
        let registered = Self::register(self, Source::SERVER, events.to_vec())?;
        Ok(registered.first().map(|event| event.timestamp))
    }
}

/// Registers with an eventer server, through a client that is shared with others.
///
/// While the server cannot be reached or is on standby, what is recorded waits with the recorder, within its bounds. A
/// connection that breaks between a request and its answer leaves open whether the events are registered; then the server is
/// asked for the latest event of the last one's type first, so that nothing is registered twice. Only a server that keeps no
/// latest events, or a later event of that type, can keep this from finding it.
#[derive(Debug)]
pub struct ServerRegistrar {
    client: Arc<EventerClient>,
    /// An answer is missing for what was sent last.
    is_unsure: bool,
}

impl ServerRegistrar {
    /// Registers through this client; closing that ends the recording.
    #[must_use]
    pub const fn new(client: Arc<EventerClient>) -> Self {
        Self {
            client,
            is_unsure: false,
        }
    }

    /// When the events were registered already, if they were.
    fn find(&self, events: &[RegisterEvent]) -> Result<Option<Timestamp>, EventerError> {
        let Some(last) = events.last() else {
            return Ok(None);
        };
        // A type with a wildcard cannot be asked for by itself.
        let mut params = QueryLatestParams::default();
        if Subscription::new([last.event_type.clone()]).is_ok() {
            params = params.event_types([last.event_type.clone()]);
        }
        let latest = self.client.query(&params.into())?.events;
        // The events of a request are the first of their session; an equal one at another place is of another request.
        let place = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let found = latest.iter().find(|event| {
            event.id.instance == place
                && event.event_type == last.event_type
                && event.source_timestamp == last.source_timestamp
                && event.payload == last.payload
        });
        Ok(found.map(|event| event.timestamp))
    }
}

impl Registrar for ServerRegistrar {
    fn register(&mut self, events: &[RegisterEvent]) -> Result<Option<Timestamp>, RelayError> {
        // The recorder tries again, and can be stopped between two tries.
        self.client.check_connection()?;
        if self.is_unsure {
            let found = self.find(events)?;
            self.is_unsure = false;
            if found.is_some() {
                return Ok(found);
            }
        }
        match self.client.register(events.to_vec()) {
            Ok(registered) => Ok(registered.first().map(|event| event.timestamp)),
            Err(error) => {
                self.is_unsure = error.is_timeout() || error.is_connection();
                Err(error.into())
            }
        }
    }
}

impl RelayError {
    /// Whether nothing can be registered any more: the store or the client was closed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => error.is_closed(),
            Self::Eventer(error) => error.is_closed(),
            _ => false,
        }
    }

    /// Whether the same events are refused again, however often they are tried.
    pub(super) fn is_hopeless(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error,
                StoreError::Encode { .. }
                    | StoreError::Loop { .. }
                    | StoreError::Full { held: 0, .. }
                    | StoreError::Owner {
                        kind: FaultKind::Request,
                        ..
                    }
            ),
            Self::Eventer(error) => matches!(error, EventerError::TooLarge { .. }),
            _ => false,
        }
    }
}
