//! Commands that are answered now and finished later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::rpc::nonce::Nonce;
use crate::rpc::{ApiCommand, CommandResponse, CommandResult, RpcError};

/// Where unfinished commands are kept; the service is one.
pub(crate) trait Deferrals: Send + Sync {
    /// Notes a command as unfinished and returns its handle's number.
    ///
    /// # Errors
    /// [`RpcError::TooManyPending`].
    fn open(&self, command: Deferred) -> Result<u64, RpcError>;
    /// Publishes how far the command is.
    fn progress(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError>;
    /// Publishes the outcome and forgets the command.
    fn finish(&self, id: u64, response: &CommandResponse) -> Result<(), RpcError>;
    /// Publishes FAILED, whatever waits to be published, and forgets the command; nothing after its end.
    fn abandon(&self, id: u64, why: &str);
    /// Whether the command still owes its result.
    fn is_open(&self, id: u64) -> bool;
    /// Moves the time at which the command fails by itself.
    fn set_deadline(&self, id: u64, deadline: Instant) -> Result<(), RpcError>;
}

/// What is kept of an unfinished command.
#[derive(Clone, Debug)]
pub(crate) struct Deferred {
    pub(crate) command: ApiCommand,
    pub(crate) custom_command: Option<i64>,
    pub(crate) nonce: Nonce,
    pub(crate) user: Option<String>,
}

/// A command that was answered as pending and still owes its result.
///
/// It can go to another thread. [`complete`](Self::complete) or [`finish`](Self::finish) publishes COMMAND_RESULT under
/// the nonce of the request, once; dropped unfinished, it publishes FAILED, so that no client waits for ever. With a
/// [deadline](Self::with_deadline) it does so by itself, even while its owner is stuck.
///
/// ```
/// use acqbus::rpc::{ApiCommand, CommandRequest, CommandResult, RpcOptions, RpcService};
///
/// let service = RpcService::launch(RpcOptions::default().any_port())?;
/// service.set_delegate(|request: &CommandRequest| {
///     let (response, pending) = request.defer();
///     if pending.is_open() {
///         std::thread::spawn(move || pending.complete(CommandResult::Success, &"calibrated"));
///     }
///     response
/// });
/// # Ok::<(), acqbus::rpc::RpcError>(())
/// ```
#[derive(Debug)]
pub struct PendingCommand {
    origin: Origin,
    /// `None` for a command that no service keeps.
    id: Option<u64>,
    command: ApiCommand,
    nonce: Nonce,
}

impl PendingCommand {
    /// Notes the command where its request came from, and gives the response that fits.
    pub(crate) fn open(origin: &Origin, deferred: Deferred) -> (CommandResponse, Self) {
        let (command, nonce) = (deferred.command, deferred.nonce.clone());
        let opened = origin.0.as_ref().map(|origin| origin.open(deferred));
        let (response, id) = match opened.transpose() {
            Ok(id) => (
                CommandResponse::new(CommandResult::PendingWithNotification),
                id,
            ),
            Err(error) => {
                let refusal = CommandResponse::unavailable().with_error_message(error.to_string());
                (refusal, None)
            }
        };
        let pending = Self {
            origin: origin.clone(),
            id,
            command,
            nonce,
        };
        (response, pending)
    }

    /// The command that waits for its result.
    #[must_use]
    pub fn command(&self) -> ApiCommand {
        self.command
    }

    /// The nonce of the request.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Whether the result is still owed; never blocks.
    ///
    /// `false` from the beginning where the service has too many pending commands: the response says UNAVAILABLE, so the work
    /// must not be begun. `false` later once there is a result, the deadline is past or the service has stopped: long work can
    /// ask and give up. A request that no service received (one made in a test) owes nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.kept().is_ok_and(|(origin, id)| origin.is_open(id))
    }

    /// Publishes FAILED by itself unless the command ends within `limit` from now.
    #[must_use]
    pub fn with_deadline(self, limit: Duration) -> Self {
        if let (Ok((origin, id)), Some(deadline)) = (self.kept(), Instant::now().checked_add(limit))
        {
            // A command that is over needs no deadline.
            let _ = origin.set_deadline(id, deadline);
        }
        self
    }

    /// Publishes how far the command is, on topic COMMAND_PROGRESS (*ours*).
    ///
    /// The topic is its own because clients of the reference take any COMMAND_RESULT for the last word (section 4.6 of
    /// `docs/wire.md`). Never blocks.
    ///
    /// # Errors
    /// [`RpcError::Finished`] after the result; else as [`Publisher::send_dict`](crate::rpc::Publisher::send_dict).
    pub fn progress<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), RpcError> {
        let response = CommandResponse::new(CommandResult::PendingWithNotification).with_data(data);
        let (origin, id) = self.kept()?;
        origin.progress(id, &response)
    }

    /// Publishes the outcome: a result and its data.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn complete<T: Serialize + ?Sized>(
        &self,
        result: CommandResult,
        data: &T,
    ) -> Result<(), RpcError> {
        self.finish(&CommandResponse::new(result).with_data(data))
    }

    /// Publishes the outcome with all that a response can say.
    ///
    /// # Errors
    /// [`RpcError::Finished`] when the command has its result already (a second answer, a passed deadline, a stopped
    /// service). A full queue is no obstacle: a result is published past its bound, and never dropped for another message.
    pub fn finish(&self, response: &CommandResponse) -> Result<(), RpcError> {
        let (origin, id) = self.kept()?;
        origin.finish(id, response)
    }

    fn kept(&self) -> Result<(&dyn Deferrals, u64), RpcError> {
        let origin = self.origin.0.as_deref().ok_or(RpcError::Stopped)?;
        Ok((origin, self.id.ok_or(RpcError::Finished)?))
    }
}

impl Drop for PendingCommand {
    fn drop(&mut self) {
        if let Ok((origin, id)) = self.kept() {
            origin.abandon(id, "the application gave no result");
        }
    }
}

/// The service that a request came to, if any.
#[derive(Clone, Default)]
pub(crate) struct Origin(pub(crate) Option<Arc<dyn Deferrals>>);

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Origin(service)"
        } else {
            "Origin(none)"
        })
    }
}
