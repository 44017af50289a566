use std::error::Error;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::rpc::{CommandRequest, CommandResponse};

/// Answers the commands of a service.
///
/// Called on the dispatcher's thread (`acqbus-dispatcher`), one command after the other: while it runs, events and heartbeats go
/// on and other commands wait. Work that takes longer than a client wants to wait belongs behind
/// [`CommandRequest::defer`]. NONE is answered by the service itself and never gets here.
///
/// An error or a panic is answered with EXCEPTION and its text, that of an error with its causes; the service goes on. Any `Fn(&CommandRequest) -> CommandResponse`
/// is a delegate.
///
/// ```
/// use acqbus::rpc::{ApiCommand, CommandRequest, CommandRequestDelegate, CommandResponse};
///
/// let delegate = |request: &CommandRequest| match request.command() {
///     ApiCommand::GetStatus => CommandResponse::success().with_data(&"idle"),
///     _ => CommandResponse::unrecognized(),
/// };
/// let answer = delegate.handle(&CommandRequest::new(ApiCommand::GetStatus)).unwrap();
/// assert_eq!(answer.result(), acqbus::rpc::CommandResult::Success);
/// ```
pub trait CommandRequestDelegate: Send + Sync + 'static {
    /// Answers one command.
    ///
    /// # Errors
    /// Whatever the application cannot do; the client gets result EXCEPTION with the text of the error and
    /// of its causes.
    fn handle(
        &self,
        request: &CommandRequest,
    ) -> Result<CommandResponse, Box<dyn Error + Send + Sync>>;
}

impl<F> CommandRequestDelegate for F
where
    F: Fn(&CommandRequest) -> CommandResponse + Send + Sync + 'static,
{
    fn handle(
        &self,
        request: &CommandRequest,
    ) -> Result<CommandResponse, Box<dyn Error + Send + Sync>> {
        Ok(self(request))
    }
}

/// The delegate in force; replaced from any thread while the dispatcher works.
#[derive(Default)]
pub(crate) struct DelegateSlot(RwLock<Option<Arc<dyn CommandRequestDelegate>>>);

impl DelegateSlot {
    pub(crate) fn set(&self, delegate: Option<Arc<dyn CommandRequestDelegate>>) {
        let replaced = std::mem::replace(&mut *self.0.write(), delegate);
        // Outside the lock: its end is the application's code, which may set another.
        drop(replaced);
    }

    pub(crate) fn current(&self) -> Option<Arc<dyn CommandRequestDelegate>> {
        self.0.read().clone()
    }
}

impl fmt::Debug for DelegateSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = if self.0.read().is_some() {
            "a delegate"
        } else {
            "empty"
        };
        f.debug_tuple("DelegateSlot").field(&content).finish()
    }
}
