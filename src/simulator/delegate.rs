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
use crate::simulator::order::{DueResult, Order};
use crate::simulator::shared::{MAX_PROMISED, Shared};

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
        match self.shared.answer(&self.publisher, request) {
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
        let Some(promise) = self.shared.promise() else {
            return too_many();
        };
        let (response, pending) = request.defer();
        if !pending.is_open() {
            return response;
        }
        let due = DueResult {
            at: Instant::now() + delay,
            pending,
            _promise: promise,
            request: request.clone(),
            outcome,
            is_doubled: fate == Fate::Doubled,
        };
        match self.orders.try_send(Order::Result(Box::new(due))) {
            Ok(()) => response,
            // The promise dies with the order, and FAILED is published for it as well.
            Err(_) => too_many(),
        }
    }
}

fn too_many() -> CommandResponse {
    let message = format!("{MAX_PROMISED} commands are pending, and no more may be");
    CommandResponse::failed(0, message)
}
