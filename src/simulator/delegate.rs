//! The delegate of a simulated rig: does on the service's thread what the rig's state says.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::rpc::{
    CommandRequest, CommandRequestDelegate, CommandResponse, CommandResult, Publisher,
};
use crate::simulator::answer::Action;
use crate::simulator::faults::Fate;
use crate::simulator::shared::Shared;
use crate::simulator::worker::{DueResult, Order};

/// Answers the commands of one service.
pub(crate) struct SimulatedDelegate {
    pub(crate) shared: Arc<Shared>,
    pub(crate) publisher: Publisher,
    pub(crate) orders: Sender<Order>,
    /// Disconnected when the service is about to stop: a blocking command ends then.
    pub(crate) closing: Receiver<Infallible>,
}

impl CommandRequestDelegate for SimulatedDelegate {
    fn handle(
        &self,
        request: &CommandRequest,
    ) -> Result<CommandResponse, Box<dyn Error + Send + Sync>> {
        let answer = self.shared.rig.lock().handle(request);
        self.shared.command(request, result_of(&answer.action));
        for told in answer.occurrences {
            // The command has done its work: a full queue does not undo it, and is counted.
            if let Err(error) = self.shared.tell(Some(&self.publisher), told) {
                log::warn!(
                    "the event of {:?} was not published: {error}",
                    request.command()
                );
            }
        }
        match answer.action {
            Action::Reply(response) => Ok(response),
            Action::Raise(text) => Err(text.into()),
            Action::Block { during, outcome } => {
                // Nothing is ever sent: it ends with the time or with the service.
                let _ = self.closing.recv_timeout(during);
                Ok(outcome)
            }
            Action::Defer { after, outcome } => Ok(self.defer(request, after, outcome)),
        }
    }
}

impl SimulatedDelegate {
    /// Promises a result, and orders it with the fate that the script has for it.
    fn defer(
        &self,
        request: &CommandRequest,
        after: Duration,
        outcome: CommandResponse,
    ) -> CommandResponse {
        let fate = self.shared.faults.lock().next();
        let delay = match fate {
            Fate::Lost => return CommandResponse::new(CommandResult::PendingWithNotification),
            Fate::Late(by) => after.saturating_add(by),
            Fate::Good | Fate::Doubled => after,
        };
        let (response, pending) = request.defer();
        let due = DueResult {
            at: Instant::now() + delay,
            pending,
            request: request.clone(),
            outcome,
            is_doubled: fate == Fate::Doubled,
        };
        match self.orders.try_send(Order::Result(Box::new(due))) {
            Ok(()) => response,
            // The promise dies with the order, and FAILED is published for it as well.
            Err(_) => CommandResponse::failed(0, "too many commands are pending"),
        }
    }
}

fn result_of(action: &Action) -> CommandResult {
    match action {
        Action::Reply(response)
        | Action::Block {
            outcome: response, ..
        } => response.result(),
        Action::Defer { .. } => CommandResult::PendingWithNotification,
        Action::Raise(_) => CommandResult::Exception,
    }
}
