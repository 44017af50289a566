//! Whom a server follows, and when it takes over.

use std::time::Duration;

use crate::event::Subscription;
use crate::eventer::{ClientOptions, EventerError, ServerOptions};
use crate::store::EngineOptions;

/// Whom a server follows.
///
/// # Examples
/// ```
/// use acqbus::eventer::{ClientOptions, SyncOptions};
///
/// let options = SyncOptions::new(ClientOptions::new("rig-7"), 2, 1);
/// assert_eq!(options.client.name, "event/2");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// How the server that is followed is reached. What it wants to be told, and its name, are set here.
    pub client: ClientOptions,
    /// The id of the server that follows.
    pub server_id: i64,
    /// The id of the server that is followed.
    pub remote_server_id: i64,
}

impl SyncOptions {
    /// Server `server_id` follows server `remote_server_id`, as the client `event/` and its own id.
    #[must_use]
    pub fn new(client: ClientOptions, server_id: i64, remote_server_id: i64) -> Self {
        let client = client
            .name(format!("event/{server_id}"))
            .subscription(Subscription::all())
            .server_id(remote_server_id)
            .persisted(true)
            .reconnect(true)
            // The store says where to go on.
            .resume(false);
        Self {
            client,
            server_id,
            remote_server_id,
        }
    }

    /// Sets the name under which it is a client, `event/` and a name by convention.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.client = self.client.name(name);
        self
    }

    pub(super) fn check(&self) -> Result<(), EventerError> {
        if self.server_id == self.remote_server_id {
            return Err(EventerError::Option {
                option: "remote_server_id",
                reason: format!("server {} cannot follow itself", self.server_id),
            });
        }
        Ok(())
    }
}

/// A server that stands by for another.
#[non_exhaustive]
#[derive(Debug)]
pub struct StandbyOptions {
    /// Where it is served from, also while it stands by.
    pub server: ServerOptions,
    /// Whom it follows.
    pub sync: SyncOptions,
    /// The engine that starts when it takes over. Its server id is that of [`sync`](Self::sync).
    pub engine: EngineOptions,
    /// How long the other server must have been gone, or not operational. Default 10 s; the one with the greater id waits twice as
    /// long.
    pub take_over_after: Duration,
}

impl StandbyOptions {
    /// Follows as these say, with an engine without modules.
    #[must_use]
    pub fn new(server: ServerOptions, sync: SyncOptions) -> Self {
        Self {
            server,
            sync,
            engine: EngineOptions::default(),
            take_over_after: Duration::from_secs(10),
        }
    }

    /// Sets [`engine`](Self::engine).
    #[must_use]
    pub fn engine(mut self, engine: EngineOptions) -> Self {
        self.engine = engine;
        self
    }

    /// Sets [`take_over_after`](Self::take_over_after).
    #[must_use]
    pub fn take_over_after(mut self, gone: Duration) -> Self {
        self.take_over_after = gone;
        self
    }
}
